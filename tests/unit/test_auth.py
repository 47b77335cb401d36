"""Every request is signed afresh, by a recipe that can be changed, and the secret stays inside."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from rich.pretty import pretty_repr

from dp_async import ConfigError, Md5Signer, Request, Response
from dp_async._auth import identity, signed
from dp_async._http import VERSION
from tests.unit.given import REQUEST, SECRET, Script, settings

NOW = 1689239796.5


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def signer(**changes: Any) -> Md5Signer:
    given: dict[str, Any] = {"app_id": "app", "app_secret": SECRET}
    return Md5Signer(**{**given, **changes})


def asking_as(account: str | None) -> Request:
    headers = {} if account is None else {"account": account}
    return Request(endpoint="work_list", method="GET", target="/", headers=headers)


RECIPES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, f"app{SECRET}1689239796500"),
    ({}, "1999", f"app{SECRET}1689239796500"),
    ({"unit": "s"}, None, f"app{SECRET}1689239796"),
    ({"template": "{timestamp}-{app_secret}"}, None, f"1689239796500-{SECRET}"),
    ({"template": "{account}{app_secret}{timestamp}"}, "1999", f"1999{SECRET}1689239796500"),
    ({"template": "{account:}{app_secret}{timestamp}"}, "1999", f"1999{SECRET}1689239796500"),
    (
        {"template": "{{account}}{app_secret}{timestamp}"},
        None,
        "{account}" + f"{SECRET}1689239796500",
    ),
    ({"app_secret": "{app_id}秘密"}, None, "app{app_id}秘密1689239796500"),
]


@pytest.mark.parametrize(("changes", "account", "text"), RECIPES)
def test_the_signature_is_the_md5_of_the_template(
    changes: dict[str, Any], account: str | None, text: str
) -> None:
    headers = signer(**changes)(asking_as(account), NOW)
    timestamp = "1689239796" if "unit" in changes else "1689239796500"
    assert headers == {"authorization": md5(text), "timestamp": timestamp}


def test_the_signature_is_lower_case_hex() -> None:
    # printf 'appopen-sesame0' | md5sum
    assert signer()(REQUEST, 0.0)["authorization"] == "54f8de94b86027ea356cc942edd0db9c"


@pytest.mark.parametrize(
    "template", ["{account}{app_secret}{timestamp}", "{account:}{app_secret}{timestamp}"]
)
def test_an_account_that_is_signed_must_be_there(template: str) -> None:
    with pytest.raises(ConfigError, match=r"auth_template signs \{account\}.*Settings\(account="):
        signer(template=template)(asking_as(None), NOW)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"unit": "us"}, "unit"),
        ({"template": "{app_secret}{timestamp}{other}"}, "auth_template"),
        ({"template": None}, "auth_template"),
        ({"app_secret": None}, "app_secret"),
        ({"app_secret": "\ud800"}, "app_secret"),
        ({"app_id": 7}, "app_id"),
    ],
)
def test_a_signer_that_could_not_sign_is_refused(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} "):
        signer(**changes)


def test_a_signer_shows_no_secret() -> None:
    for shown in (
        repr(signer()),
        str(signer()),
        pretty_repr(signer(template="salt{app_secret}{timestamp}")),
    ):
        assert SECRET not in shown
        assert "salt" not in shown
        assert shown == "Md5Signer(app_id='app', unit='ms')"


def test_a_signer_cannot_be_changed_but_can_be_pickled() -> None:
    with pytest.raises(AttributeError):
        setattr(signer(), "unit", "s")  # noqa: B010  # frozen for type checkers too
    assert pickle.loads(pickle.dumps(signer())) == signer()


def test_the_identity_has_the_vendor_s_header_names() -> None:
    assert identity(settings()) == {
        "req_from": "C",
        "app_id": "app",
        "accept": "application/json",
        "user-agent": f"dp_async/{VERSION}",
    }
    assert identity(settings(account="1999"))["account"] == "1999"


async def test_a_signed_request_is_the_request_and_its_headers() -> None:
    send = Script(Response(status=200))
    plain = Request(
        endpoint="msg_list",
        method="POST",
        target="/path?a=%20",
        headers={"content-type": "application/json"},
        body=b"{}",
        idempotent=False,
    )
    await signed(send, signer(), identity(settings(account="1999")), lambda: NOW)(plain)
    (sent,) = send.requests
    assert sent.headers == {
        "content-type": "application/json",
        "req_from": "C",
        "app_id": "app",
        "accept": "application/json",
        "user-agent": f"dp_async/{VERSION}",
        "account": "1999",
        "timestamp": "1689239796500",
        "authorization": md5(f"app{SECRET}1689239796500"),
    }
    assert (sent.endpoint, sent.method, sent.target) == ("msg_list", "POST", "/path?a=%20")
    assert (sent.body, sent.idempotent) == (b"{}", False)
    assert plain.headers == {"content-type": "application/json"}


async def test_each_attempt_is_signed_at_its_own_time() -> None:
    send = Script(Response(status=200), Response(status=200))
    times = iter([1.0, 2.0])
    sending = signed(send, signer(), {}, lambda: next(times))
    await sending(REQUEST)
    await sending(REQUEST)
    assert [sent.headers["timestamp"] for sent in send.requests] == ["1000", "2000"]
    assert len({sent.headers["authorization"] for sent in send.requests}) == 2


async def test_another_signer_sees_the_request_and_its_headers_are_sent() -> None:
    send = Script(Response(status=200))
    seen: list[tuple[Request, float]] = []

    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        seen.append((request, now))
        return {"authorization": "Bearer a b", "x-new": "1", "app_id": "other"}

    await signed(send, sign, {"app_id": "app"}, lambda: NOW)(REQUEST)
    ((request, now),) = seen
    assert (request.headers, request.target, now) == ({"app_id": "app"}, REQUEST.target, NOW)
    assert send.requests[0].headers == {
        "app_id": "other",
        "authorization": "Bearer a b",
        "x-new": "1",
    }


BAD_SIGNATURES: list[dict[Any, Any]] = [
    {"authorization": "a\r\nx-evil: 1"},
    {"authorization": "a\n"},
    {"authorization": "a\x00"},
    {"authorization": ""},
    {"authorization": " a"},
    {"authorization": "签名"},
    {"authorization": "\ud800"},
    {"authorization": None},
    {"timestamp": 1689239796},
    {"x\r\ny": "a"},
    {"x y": "a"},
    {"x:": "a"},
    {"": "a"},
    {"名": "a"},
]


@pytest.mark.parametrize("signature", BAD_SIGNATURES)
async def test_a_signature_that_could_not_be_sent_is_refused(signature: dict[Any, Any]) -> None:
    send: Script[Response] = Script()
    with pytest.raises(ConfigError, match=r"^sign\(\): ") as caught:
        await signed(send, lambda request, now: signature, {}, lambda: NOW)(REQUEST)
    assert not send.requests
    assert repr(next(iter(signature))) in str(caught.value)
    assert "evil" not in str(caught.value)


async def test_a_signer_s_own_error_is_not_ours() -> None:
    def broken(request: Request, now: float, /) -> Mapping[str, str]:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await signed(Script[Response](), broken, {}, lambda: NOW)(REQUEST)
