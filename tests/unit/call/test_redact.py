"""No error repeats what a request told of its sender and its filters, whatever the server wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from dp_async import ApiError, Request, Response
from dp_async._call.envelope import opened
from dp_async._call.redact import REDACTED, Secrets, printable, redacted, unsigned
from dp_async._page.endpoints import MESSAGES, WORKS
from tests.support.samples import SECRET

SALT = "pepper-of-ours"
SIGNATURE = "0123456789abcdef0123456789ABCDEF"
MD5 = "54f8de94b86027ea356cc942edd0db9c"  # of nothing here
ACCOUNT = "13800001234"
TOKEN = "own-token"
NAME = "张三 & sons"
SECRETS = Secrets(SECRET, SALT)
NONE = Secrets()

HEADERS = {
    "req_from": "C",
    "app_id": "the-app",
    "accept": "application/json",
    "user-agent": "dp_async/1",
    "timestamp": "1689239796500",
    "authorization": SIGNATURE,
    "account": ACCOUNT,
    "x-own": TOKEN,
}


def get(name: str | None = NAME, headers: dict[str, str] = HEADERS, num: int = 12) -> Request:
    """A request for works whose filter is in its query."""
    query = WORKS.query({"name": name, "sort": None, "status": None})
    return replace(WORKS.request(query, num, 34), headers=headers)


def post(read_status: str | None = NAME, headers: dict[str, str] = HEADERS) -> Request:
    """A request for messages whose filter is in its body."""
    request = MESSAGES.request(MESSAGES.query({"read_status": read_status}), 12, 34)
    return replace(request, headers={**request.headers, **headers})


def refusal(request: Request, result_msg: object, request_id: object = "abc") -> ApiError:
    """The error for an answer to *request* that says no in these words."""
    said = {"code": 500, "resultMsg": result_msg, "requestId": request_id}
    with pytest.raises(ApiError) as caught:
        opened(request, Response(status=200, body=json.dumps(said).encode()), SECRETS)
    return caught.value


def shown(error: ApiError) -> str:
    """All that can be read of *error*."""
    return f"{error} {error!r} {error.args} {vars(error)}"


HIDDEN = {
    SECRET: REDACTED,
    SALT: REDACTED,
    SIGNATURE: REDACTED,
    TOKEN: REDACTED,
    ACCOUNT: "…1234",
    NAME: REDACTED,
    quote(NAME, safe=""): REDACTED,
    quote(NAME, safe="").lower(): REDACTED,
    json.dumps(NAME)[1:-1]: REDACTED,
    json.dumps(NAME)[1:-1].upper(): REDACTED,
    SECRET.upper(): REDACTED,
    SALT.title(): REDACTED,
    SIGNATURE.lower(): REDACTED,
    TOKEN.swapcase(): REDACTED,
}
PLAIN = ["the-app", "C", "application/json", "dp_async/1", "1689239796500", "12", "34", "1234"]

BOTH = pytest.mark.parametrize("request_", [get(), post()], ids=["GET", "POST"])


@BOTH
@pytest.mark.parametrize(("value", "instead"), HIDDEN.items())
@pytest.mark.parametrize("around", ["{}", "a{}b", "错误：{}，{}", '{{"x": "{}"}}', "{}{}{}"])
def test_what_the_request_said_is_blotted_wherever_it_stands(
    request_: Request, value: str, instead: str, around: str
) -> None:
    text = around.replace("{}", value)
    expected = around.replace("{}", instead)
    assert redacted(text, request_, SECRETS) == expected
    error = refusal(request_, text, text)
    assert error.message == expected
    assert error.request_id == expected
    assert value not in shown(error)


@BOTH
@pytest.mark.parametrize("text", [*PLAIN, "", "pageNum=12&pageSize=34: too large"])
def test_what_helps_stays(request_: Request, text: str) -> None:
    assert redacted(text, request_, SECRETS) == text
    assert refusal(request_, text, text).message == text


def test_what_is_in_any_text_stays() -> None:
    headers = {"x-one": "a", "x-more": "all of long-one"}
    text = "a b of all that is for long-one"
    assert redacted(text, get("b", headers), Secrets("f")) == "a b of all that is for ***"


@pytest.mark.parametrize("request_id", [int(ACCOUNT), f"{ACCOUNT}-7"])
def test_the_last_digits_of_an_account_stay(request_id: object) -> None:
    error = refusal(get(), f"no such account {ACCOUNT}", request_id)
    assert error.message == "no such account …1234"
    assert error.request_id == str(request_id).replace(ACCOUNT, "…1234")


def test_nothing_stays_of_an_account_that_is_no_longer_than_that() -> None:
    assert redacted("no 1234.", get(headers={"account": "1234"}), NONE) == "no ***."


def test_all_of_them_at_once() -> None:
    text = " ".join([*HIDDEN, *PLAIN])
    assert redacted(text, get(), SECRETS) == " ".join([*HIDDEN.values(), *PLAIN])


def test_of_two_that_overlap_the_longer_goes_first() -> None:
    headers = {"x-short": "abc", "x-long": "abcdef", "x-mid": "cdef"}
    assert redacted("abcdef abc cdef", get(headers=headers), NONE) == "*** *** ***"


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_a_header_is_known_in_any_case(case: Any) -> None:
    headers = {case(name): value for name, value in HEADERS.items()}
    text = f"the-app 1689239796500 {SIGNATURE} {TOKEN}"
    assert (
        redacted(text, get(headers=headers), NONE) == f"the-app 1689239796500 {REDACTED} {REDACTED}"
    )


def test_a_request_that_says_nothing_hides_nothing() -> None:
    text = "".join(HIDDEN)
    for request in (get(None, {}), post(None, {}), get("", {}), post("", {})):
        assert redacted(text, request, NONE) == text


@pytest.mark.parametrize(("value", "instead"), HIDDEN.items())
def test_none_is_cut_in_two_where_a_long_text_ends(value: str, instead: str) -> None:
    starts = {instead[:length] for length in range(7)}
    for before in range(201):
        text = "·" * before + value
        for left in (refusal(get(), text).message, refusal(get(), "no", text).request_id):
            assert left.replace("·", "").removesuffix("…") in starts


@pytest.mark.parametrize("md5", [MD5, MD5.upper(), MD5.title()])
@pytest.mark.parametrize("around", ["{}", "签名：{}，", "sign={}&x", "{} {}", '"{}"', "-{}-"])
def test_whatever_looks_like_a_signature_is_blotted_out_of_the_message(
    md5: str, around: str
) -> None:
    text = around.replace("{}", md5)
    assert unsigned(text) == around.replace("{}", REDACTED)
    error = refusal(get(), text)
    assert error.message == around.replace("{}", REDACTED)
    assert md5 not in shown(error)


def test_a_request_id_may_look_like_a_signature() -> None:
    assert refusal(get(), "no", MD5).request_id == MD5
    assert refusal(get(), "no", SIGNATURE).request_id == REDACTED


@pytest.mark.parametrize("text", [MD5[:-1], f"{MD5}0", f"{MD5}{MD5}", f"g{MD5[1:]}", "f" * 40])
def test_other_hex_digits_are_no_signature(text: str) -> None:
    assert unsigned(text) == text


SIGNED = {"authorization": f"Bearer {TOKEN}", "x-own": 'key="a-long-one", mode=5'}
ABROAD = {"account": "+8613800001234"}
WIDE = 'the "one\u3000two"'  # a space that is not shown as it is

OTHERWISE: list[tuple[Request, str, str]] = [
    # an md5 is one too between letters that are no hex digits
    (get(), f"签名{MD5}不符", "签名***不符"),
    (get(), f"sign_{MD5}", "sign_***"),
    # made printable, a text may come to hold what it did not hold before
    (get(), "张三\u00a0&\tsons", "***"),
    (get("张三\t& sons"), "张三 &\nsons", "***"),
    (get(headers={}), "张三\t&\nsons", "***"),
    (get(WIDE), f"no {WIDE}", "no ***"),
    (get(WIDE), f"no {quote(WIDE, safe='')}", "no ***"),
    (get(WIDE), f"no {json.dumps(WIDE)}", 'no "***"'),
    # a filter may look like a number
    (get("13900005678"), "no work 13900005678", "no work ***"),
    (post("13900005678"), "no work 13900005678", "no work ***"),
    # what is sent is not always repeated letter by letter
    (get(), f"name={quote(NAME, safe='').lower()}&", "name=***&"),
    (post('a"b'), '{"readStatus":"a\\"b"}', '{"readStatus":"***"}'),
    (post("a\\b\n"), json.dumps("a\\b\n"), '"***"'),
    (post(), json.dumps(NAME), '"***"'),
    (post(), json.dumps(NAME, ensure_ascii=False), '"***"'),
    (get("QxZ"), "no qXz", "no ***"),
    (get(".+(a|b)[c]$^"), "ab .+(a|b)[c]$^ c", "ab *** c"),
    # the word after the scheme is the secret one
    (get(headers=SIGNED), "bad token: own-token", "bad token: ***"),
    (get(headers=SIGNED), f"bad: Bearer {TOKEN}", "bad: ***"),
    (get(headers=SIGNED), 'bad: key="a-long-one",', "bad: ***"),
    (get(headers=SIGNED), "mode=5 of 5", "*** of 5"),
    # as a number with its country's code
    (get(headers=ABROAD), "no +8613800001234", "no …1234"),
    (get(headers=ABROAD), "account=%2B8613800001234&", "account=***&"),
    (get(headers=ABROAD), "account=%2b8613800001234&", "account=***&"),
]


@pytest.mark.parametrize(("request_", "text", "left"), OTHERWISE)
def test_a_server_s_own_way_to_write_it_makes_no_difference(
    request_: Request, text: str, left: str
) -> None:
    assert refusal(request_, text).message == left


HOLES: list[tuple[Request, str, str]] = [
    # a form's way to write a space, and a path's to leave a slash
    (get("ax by"), quote_plus("ax by"), "***"),
    (get("ax/by cz"), quote("ax/by cz"), "***"),
    # JSON escapes more than it must, or has an odd space beside what is escaped
    (post("ax/by"), "ax\\/by", "***"),
    (post("ax&by"), "ax\\u0026by", "***"),
    (post(WIDE), json.dumps(WIDE, ensure_ascii=False), '"***"'),
    # the account within a longer word
    (get(f"of {ACCOUNT}, a draft"), f"no work of {ACCOUNT}, a draft", "no work ***"),
]


@pytest.mark.parametrize(("request_", "text", "left"), HOLES)
def test_nor_does_a_way_that_mixes_them(request_: Request, text: str, left: str) -> None:
    assert refusal(request_, text).message == left


@pytest.mark.parametrize("words", [(SECRET,), (SECRET, SALT)])
def test_secrets_show_nothing(words: tuple[str, ...]) -> None:
    secrets = Secrets(*words)
    for text in (repr(secrets), str(secrets), f"{secrets}", pretty_repr(secrets)):
        assert not [word for word in words if word in text]
    assert not hasattr(secrets, "__dict__")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, 中文 😀", "plain, 中文 😀"),
        ("a\r\nb\tc\x00d", "a  b c d"),
        ("\x1b[31m\x7f\x85", " [31m  "),
        ("a\u00a0b\u3000c\u2028d\u202ee\ufefff", "a b c d e f"),
        ("\ud800", " "),
        ("", ""),
    ],
)
def test_a_text_becomes_one_line_of_the_same_length(text: str, line: str) -> None:
    assert printable(text) == line
    for request in (get(), get(headers={}), get(None, {})):
        assert redacted(text, request, SECRETS) == redacted(text, request, NONE) == line


# Letters that stand in no text of ours, so that to find one is to have found what was hidden.
LETTERS = "QXZJK秘密猫狗€Ω§"
CASES: list[Callable[[str], str]] = [str, str.lower, str.upper, str.swapcase]
FORMS: list[Callable[[str], str]] = [
    str,
    lambda text: quote(text, safe=""),
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
]


def repeat(text: str, form: Callable[[str], str], case: Callable[[str], str]) -> str:
    return case(form(text))


def worded(inner: str, most: int = 10, letters: str = LETTERS) -> st.SearchStrategy[str]:
    """Words of *letters* at both ends, and what *inner* holds in between."""
    ends = st.sampled_from(letters)
    return st.tuples(ends, st.text(letters + inner, max_size=most), ends).map("".join)


# Either what JSON escapes or what cannot be shown: of both in one word, see HOLES.
words = worded(' "\\/&=+%.?()[]{}|^$#~') | worded(" \u00a0\u3000\u200b")
values = worded(' "\\/&=+%.?()[]{}|^$#~', 40, "QXZJK")
# With one digit that does not come again, so that no two of them overlap.
accounts = st.from_regex(r"\+?1[02-9]{4,14}", fullmatch=True)
fillers = st.text(LETTERS + "0123456789 .:/=&%'\"\n\\\u3000", max_size=150)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.lists(words, max_size=3), words, words, accounts, values, values)
def test_whatever_the_server_writes_no_error_repeats_it(
    data: st.DataObject,
    secrets: list[str],
    name: str,
    status: str,
    account: str,
    signature: str,
    own: str,
) -> None:
    headers = {"authorization": signature, "x-own": own, "account": account}
    works = WORKS.request(WORKS.query({"name": name, "sort": None, "status": status}), 1, 20)
    messages = MESSAGES.request(MESSAGES.query({"read_status": name}), 1, 20)
    request = data.draw(st.sampled_from([works, messages]))
    hidden = [*secrets, name, account, signature, own]
    hidden += [part for value in (signature, own) for part in value.split() if len(part) > 5]
    if request is works:
        hidden.append(status)
    repeated = st.builds(
        repeat, st.sampled_from(hidden), st.sampled_from(FORMS), st.sampled_from(CASES)
    )
    written = st.lists(repeated | fillers, max_size=8).map("".join)
    said = {
        "code": data.draw(st.sampled_from([401, 429, 500, 10086, "x", None])),
        "resultMsg": data.draw(written),
        "requestId": data.draw(written),
        "host": data.draw(written),
    }
    response = Response(status=401, body=json.dumps(said).encode())
    with pytest.raises(ApiError) as caught:
        opened(replace(request, headers=headers), response, Secrets(*secrets))
    forms = {printable(form(value)).casefold() for value in hidden for form in FORMS}
    for left in (caught.value.message, caught.value.request_id):
        assert not [form for form in forms if form in left.casefold()]
    text = shown(caught.value)
    # A backslash is doubled in a repr: what looks like one of them there may be another text.
    assert not [value for value in hidden if value in text and "\\" not in value]


@given(st.text(LETTERS + " .:/=&%'\"\\+", max_size=100))
def test_what_none_of_them_said_stays(text: str) -> None:
    assert redacted(text, get(), SECRETS) == text
