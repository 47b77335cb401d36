"""Signing: the md5 recipe, custom signers, and the clock that follows the server's."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from msgspec import Raw
from rich.pretty import pretty_repr

from dp_async import (
    ApiError,
    AuthError,
    CallError,
    ConfigError,
    Md5Signer,
    RateLimited,
    Request,
    RetryPolicy,
    ServerError,
    TransportError,
)
from dp_async._call.auth import Clock, Signing, hidden, identity, signed
from dp_async._call.retry import RetryBudget, retrying
from dp_async._call.stats import Tally
from dp_async._errors import allow_retry_now, clock_ahead_of, may_retry_now
from dp_async._http import Answer
from dp_async._version import VERSION
from tests.support.samples import REQUEST, SECRET, Script, settings

NOW = 1689239796.5
GOOD = Answer(Raw(b"{}"))
CLOCK = Clock(lambda: NOW)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def signer(**changes: Any) -> Md5Signer:
    given: dict[str, Any] = {"app_id": "app", "app_secret": SECRET}
    return Md5Signer(**{**given, **changes})


def request_of(account: str | None) -> Request:
    headers = {} if account is None else {"account": account}
    return Request(endpoint="work_list", method="GET", target="/", headers=headers)


RECIPES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, None, f"app{SECRET}1689239796500"),
    ({}, "1999", f"app{SECRET}1689239796500"),
    ({"unit": "s"}, None, f"app{SECRET}1689239796"),
    ({"template": "{timestamp}-{app_secret}"}, None, f"1689239796500-{SECRET}"),
    ({"template": "{account}{app_secret}{timestamp}"}, "1999", f"1999{SECRET}1689239796500"),
    (
        {"template": "{{account}}{app_secret}{timestamp}"},
        None,
        "{account}" + f"{SECRET}1689239796500",
    ),
    ({"app_secret": "{app_id}秘密"}, None, "app{app_id}秘密1689239796500"),
]


def test_the_signature_is_the_md5_of_the_template() -> None:
    for changes, account, text in RECIPES:
        headers = signer(**changes)(request_of(account), NOW)
        timestamp = "1689239796" if "unit" in changes else "1689239796500"
        assert headers == {"authorization": md5(text), "timestamp": timestamp}


def test_the_signature_is_lower_case_hex() -> None:
    # printf 'appopen-sesame0' | md5sum
    assert signer()(REQUEST, 0.0)["authorization"] == "54f8de94b86027ea356cc942edd0db9c"


@pytest.mark.parametrize(
    "template", ["{account}{app_secret}{timestamp}", "{account:}{app_secret}{timestamp}"]
)
def test_a_template_with_an_account_needs_one(template: str) -> None:
    with pytest.raises(ConfigError, match=r"auth_template signs \{account\}.*Settings\(account="):
        signer(template=template)(request_of(None), NOW)


def test_a_bad_signer_setting_is_refused_by_name() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"unit": "us"}, "unit"),
        ({"template": "{app_secret}{timestamp}{other}"}, "auth_template"),
        ({"template": None}, "auth_template"),
        ({"app_secret": None}, "app_secret"),
        ({"app_secret": "\ud800"}, "app_secret"),
        ({"app_id": 7}, "app_id"),
    ]
    for changes, name in cases:
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


def test_the_secret_and_the_literals_of_a_custom_template_are_hidden() -> None:
    assert hidden(settings()).words == (SECRET,)
    template = "salt-of-ours{app_secret}abc{timestamp}{{tail}}"
    # Redacting a short literal would redact parts of ordinary words.
    assert hidden(settings(auth_template=template)).words == (SECRET, "salt-of-ours", "tail}")


async def test_signing_adds_headers_and_changes_nothing_else() -> None:
    call = Script(GOOD)
    plain = Request(
        endpoint="msg_list",
        method="POST",
        target="/path?a=%20",
        headers={"content-type": "application/json"},
        body=b"{}",
        idempotent=False,
        attempt=7,
    )
    signing = Signing(signer(), identity(settings(account="1999")))
    assert await signed(call, signing, CLOCK)(plain) is GOOD
    (sent,) = call.requests
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
    assert (sent.body, sent.idempotent, sent.attempt) == (b"{}", False, 7)
    assert plain.headers == {"content-type": "application/json"}


async def test_what_a_send_changes_in_its_request_is_not_in_the_next_attempt() -> None:
    sent: list[str] = []

    async def changing(request: Request, /) -> Answer:
        sent.append(f"{request.target} {sorted(request.headers)}")
        request.target = "/other"
        cast("dict[str, str]", request.headers).clear()
        return GOOD

    calling = signed(changing, Signing(signer(), {"app_id": "app"}), CLOCK)
    await calling(REQUEST)
    await calling(REQUEST)
    assert sent[0] == sent[1]


def test_signing_shows_no_header_and_no_signer() -> None:
    signing = Signing(signer(template="salt{app_secret}{timestamp}"), identity(settings()))
    for shown in (repr(signing), str(signing), pretty_repr(signing)):
        assert re.fullmatch(r"<dp_async\._call\.auth\.Signing object at 0x[0-9a-f]+>", shown)


async def test_each_attempt_is_signed_at_its_own_time() -> None:
    call = Script(GOOD, GOOD)
    times = iter([1.0, 2.0])
    calling = signed(call, Signing(signer(), {}), Clock(lambda: next(times)))
    await calling(REQUEST)
    await calling(REQUEST)
    assert [sent.headers["timestamp"] for sent in call.requests] == ["1000", "2000"]
    assert len({sent.headers["authorization"] for sent in call.requests}) == 2


async def test_a_custom_signer_gets_the_request_and_its_headers_are_sent() -> None:
    call = Script(GOOD)
    seen: list[tuple[dict[str, str], str, float]] = []

    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        seen.append((dict(request.headers), request.target, now))
        return {"authorization": "Bearer a b", "x-new": "1", "app_id": "other"}

    await signed(call, Signing(sign, {"app_id": "app"}), CLOCK)(REQUEST)
    assert seen == [({"app_id": "app"}, REQUEST.target, NOW)]
    assert call.requests[0].headers == {
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


async def test_a_signature_that_is_no_header_is_refused() -> None:
    for signature in BAD_SIGNATURES:
        call, signing = Script[Answer](), Signing(lambda _request, _now, made=signature: made, {})
        with pytest.raises(ConfigError, match=r"^sign\(\): ") as caught:
            await signed(call, signing, CLOCK)(REQUEST)
        assert not call.requests
        assert repr(next(iter(signature))) in str(caught.value)
        assert "evil" not in str(caught.value)


async def test_a_signer_may_be_a_coroutine_function() -> None:
    call = Script(GOOD)

    async def fetched(request: Request, now: float, /) -> Mapping[str, str]:
        await asyncio.sleep(0)
        return {"authorization": f"{request.endpoint} {now}"}

    await signed(call, Signing(fetched, {}), CLOCK)(REQUEST)
    assert call.requests[0].headers == {"authorization": f"work_list {NOW}"}


@pytest.mark.parametrize("made", [None, 7, "text", [("a", "b")], {"a"}])
@pytest.mark.parametrize("fetched", [True, False])
async def test_a_signer_that_returns_no_mapping_is_refused(made: Any, fetched: bool) -> None:
    async def later() -> Any:
        return made

    call, signing = (
        Script[Answer](),
        Signing(lambda _request, _now: later() if fetched else made, {}),
    )
    with pytest.raises(ConfigError) as caught:
        await signed(call, signing, CLOCK)(REQUEST)
    kind = type(made).__name__
    assert str(caught.value) == f"sign() must return a mapping of headers, not {kind}"
    assert not call.requests


async def test_an_exception_of_a_custom_signer_is_not_caught() -> None:
    def broken(request: Request, now: float, /) -> Mapping[str, str]:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await signed(Script[Answer](), Signing(broken, {}), CLOCK)(REQUEST)


class Rig:
    """A signed call over a script; this machine's time is ``now``, in seconds."""

    def __init__(self, *outcomes: Answer | BaseException) -> None:
        self.now = NOW
        self.clock = Clock(lambda: self.now)
        self.script = Script(*outcomes)
        self.call = signed(self.script, Signing(signer(), {}), self.clock)

    @property
    def times(self) -> list[float]:
        """The times that were signed, in seconds."""
        return [int(sent.headers["timestamp"]) / 1000 for sent in self.script.requests]

    async def refusal(self, request: Request = REQUEST) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.call(request)
        return caught.value

    async def repeated(self, error: ApiError) -> Answer:
        """Call again as the retries do after *error*."""
        return await self.call(replace(REQUEST, attempt=2, clock_ahead=clock_ahead_of(error)))


def refused(date: float | None, status: int = 401, code: int | None = None) -> AuthError:
    return AuthError("no", status=status, code=code, date=date)


@pytest.mark.parametrize(
    ("status", "code", "ahead"),
    [(401, None, 5.5), (401, 401, -5.5), (401, 10086, 3600.0), (200, 401, -1e9), (403, 401, 1e9)],
)
async def test_after_a_401_the_call_is_signed_by_the_server_s_date(
    status: int, code: int | None, ahead: float
) -> None:
    error = refused(NOW + ahead, status, code)
    rig = Rig(error, GOOD, GOOD)
    assert await rig.refusal() is error
    assert (may_retry_now(error), clock_ahead_of(error)) == (True, ahead)
    await rig.repeated(error)
    rig.now += 60
    await rig.call(REQUEST)  # the good answer confirmed it: all calls are signed so
    assert rig.times == [NOW, NOW + ahead, NOW + 60 + ahead]
    assert [sent.headers["authorization"] for sent in rig.script.requests] == [
        md5(f"app{SECRET}{time * 1000:.0f}") for time in rig.times
    ]
    assert {sent.clock_ahead for sent in rig.script.requests} == {None}


@pytest.mark.parametrize("again", [refused(NOW + 3600), ServerError("down"), TransportError("no")])
async def test_a_correction_that_no_good_answer_confirms_is_not_shared(
    again: CallError, caplog: pytest.LogCaptureFixture
) -> None:
    error = refused(NOW + 3600)
    rig = Rig(error, again, GOOD)
    await rig.refusal()
    with pytest.raises(CallError) as caught:
        await rig.repeated(error)
    assert not may_retry_now(caught.value)
    await rig.call(REQUEST)
    assert rig.times == [NOW, NOW + 3600, NOW]
    assert not caplog.records


async def test_a_correction_that_did_not_help_is_not_tried_again_for_a_minute() -> None:
    rig = Rig(*(refused(NOW + ahead) for ahead in (3600, 3600, 3604, 3620, 3720)))
    with pytest.raises(AuthError):
        await rig.repeated(await rig.refusal())
    assert not may_retry_now(await rig.refusal())  # by about the same
    assert clock_ahead_of(await rig.refusal()) == 3620  # the offset has changed
    rig.now += Clock.PATIENCE
    assert clock_ahead_of(await rig.refusal()) == 3660


async def test_a_fruitless_correction_does_not_count_for_other_accounts_nor_after_one_helped() -> (
    None
):
    clock = Clock(lambda: NOW)
    clock.refused(3600, "revoked")
    assert clock.correction(NOW + 3600, NOW, 0, "revoked") is None
    assert clock.correction(NOW + 3600, NOW, 0, "other") == 3600
    clock.accepted(3600)
    assert clock.correction(NOW - 60, NOW + 3600, 3600, "revoked") == -60
    assert clock.correction(NOW + 3600, NOW, 0, "revoked") == 3600


async def test_a_confirmed_correction_survives_one_that_is_refused() -> None:
    right, wrong = refused(NOW + 3600), refused(NOW - 60)
    rig = Rig(right, GOOD, wrong, refused(NOW - 60), GOOD)
    await rig.refusal()
    await rig.repeated(right)
    await rig.refusal()
    with pytest.raises(AuthError):
        await rig.repeated(wrong)
    await rig.call(REQUEST)
    assert rig.times == [NOW, NOW + 3600, NOW + 3600, NOW - 60, NOW + 3600]


async def test_a_401_with_the_same_time_corrects_nothing() -> None:
    cases: list[float | None] = [None, 0.0, 0.5, -0.5, 5.0, -5.0]
    for ahead in cases:
        assert not may_retry_now(
            await Rig(refused(None if ahead is None else NOW + ahead)).refusal()
        )


@pytest.mark.parametrize(("status", "code"), [(403, None), (200, 403)])
async def test_a_403_corrects_nothing(status: int, code: int | None) -> None:
    assert not may_retry_now(await Rig(refused(NOW + 3600, status, code)).refusal())


async def test_no_other_error_corrects_the_clock() -> None:
    cases: list[type[ApiError]] = [RateLimited, ServerError, ApiError]
    for kind in cases:
        error = kind("no", status=401, code=401, date=NOW + 3600)
        assert not may_retry_now(await Rig(error).refusal())


async def test_the_retry_now_mark_of_another_layer_stays() -> None:
    error = TransportError("gone")
    allow_retry_now(error)
    with pytest.raises(TransportError):
        await Rig(error).call(REQUEST)
    assert (may_retry_now(error), clock_ahead_of(error)) == (True, None)


class Slow:
    """A call that takes *seconds* of this machine's time, then raises *error*."""

    def __init__(self, seconds: float, error: AuthError) -> None:
        self.now = NOW
        self.clock = Clock(lambda: self.now)
        self.seconds = seconds
        self.error = error

    async def __call__(self, request: Request, /) -> Answer:
        self.now += self.seconds
        raise self.error

    async def correction(self) -> float | None:
        with pytest.raises(AuthError):
            await signed(self, Signing(signer(), {}), self.clock)(REQUEST)
        assert may_retry_now(self.error) is (clock_ahead_of(self.error) is not None)
        return clock_ahead_of(self.error)


async def test_a_slow_refusal_is_judged_by_all_of_its_time() -> None:
    cases = [
        (-5.0, None),
        (0.0, None),
        (30.0, None),
        (65.0, None),
        (-5.5, -65.5),
        (65.5, 5.5),
        (3660.0, 3600.0),
    ]
    for after, ahead in cases:
        assert await Slow(60.0, refused(NOW + after)).correction() == ahead


class Server:
    """A call that accepts signatures of *right* alone, from accounts but "revoked".

    Its ``Date`` is *date*. The first *hold* requests are answered together.
    """

    def __init__(self, right: float, date: float, hold: int) -> None:
        self.clock = Clock(lambda: NOW)
        self.right, self.date = right, date
        self.requests = 0
        self._hold = hold
        self._enough = asyncio.Event()

    async def __call__(self, request: Request, /) -> Answer:
        self.requests += 1
        if self.requests == self._hold:
            self._enough.set()
        await self._enough.wait()
        signed_at = int(request.headers["timestamp"]) / 1000
        if signed_at != self.right or request.headers["account"] == "revoked":
            raise refused(self.date)
        return GOOD

    async def outcome(self, account: str) -> str:
        call = signed(self, Signing(signer(), {"account": account}), self.clock)

        async def unused(seconds: float) -> None:
            raise AssertionError

        repeating = retrying(
            call,
            RetryPolicy(attempts=1),
            Tally(),
            RetryBudget(),
            clock=lambda: 0.0,
            sleep=unused,
        )
        try:
            await repeating(REQUEST)
        except AuthError:
            return "refused"
        return "good"

    async def outcomes(self, *accounts: str) -> list[str]:
        return await asyncio.gather(*map(self.outcome, accounts))


async def test_a_refused_account_does_not_disturb_calls_of_others() -> None:
    server = Server(right=NOW, date=NOW + 3600, hold=4)  # the Date is wrong, the machine is right
    outcomes = await server.outcomes("a", "revoked", "b", "revoked")
    assert outcomes == ["good", "refused", "good", "refused"]
    assert server.requests == 5  # the second refused call does not try what did not help the first
    assert await server.outcomes("a", "b") == ["good", "good"]
    assert server.requests == 7


async def test_calls_signed_by_the_wrong_clock_are_all_corrected() -> None:
    server = Server(right=NOW + 3600, date=NOW + 3600, hold=4)
    outcomes = await server.outcomes("revoked", "a", "revoked", "b")
    assert outcomes == ["refused", "good", "refused", "good"]
    assert server.requests == 8
    assert await server.outcomes("a", "revoked") == ["good", "refused"]
    assert server.requests == 10  # the refusal agrees with the signed time now


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(3600.25, "3600 s behind the server"), (-59.75, "60 s ahead of the server")],
)
async def test_a_wrong_clock_is_warned_of_once(
    ahead: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [refused(NOW + ahead), refused(NOW), refused(NOW + 9 * ahead)]
    outcomes: list[Answer | BaseException] = [each for error in errors for each in (error, GOOD)]
    rig = Rig(*outcomes)
    for error in errors:  # the second one corrects it back
        await rig.refusal()
        await rig.repeated(error)
    assert rig.times == [NOW, NOW + ahead, NOW + ahead, NOW, NOW, NOW + 9 * ahead]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("dp_async", "WARNING")
    assert f"this machine's clock is {words}" in record.getMessage()


def test_accounts_whose_servers_disagree_keep_their_own_correction() -> None:
    clock = Clock(lambda: NOW)
    clock.accepted(3600.0, "1")
    assert clock.of("2") == 3600.0  # the best guess
    clock.accepted(0.0, "2")
    assert (clock.of("1"), clock.of("2")) == (3600.0, 0.0)


async def test_an_account_is_signed_by_the_clock_that_it_accepted() -> None:
    clock = Clock(lambda: NOW)
    clock.accepted(3600.0, "1")
    clock.accepted(0.0, "2")
    script = Script(GOOD, GOOD)
    for account in ("1", "2"):
        await signed(script, Signing(signer(), {"account": account}), clock)(REQUEST)
    assert [sent.headers["timestamp"] for sent in script.requests] == [
        f"{(NOW + ahead) * 1000:.0f}" for ahead in (3600, 0)
    ]
