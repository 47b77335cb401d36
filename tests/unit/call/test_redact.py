"""No error repeats a secret, a signature, an account or a filter, whatever the server wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from dp_async import ApiError, ReadStatus, Request, Response, WorkStatus
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
    status = None if read_status is None else ReadStatus(read_status)
    request = MESSAGES.request(MESSAGES.query({"read_status": status}), 12, 34)
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


#: What is redacted, and what replaces it.
REDACTIONS = {
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
    SIGNATURE.lower(): REDACTED,
    TOKEN.swapcase(): REDACTED,
}
PLAIN = ["the-app", "C", "application/json", "dp_async/1", "1689239796500", "12", "34", "1234"]


@pytest.mark.parametrize("make", [get, post])
@pytest.mark.parametrize("around", ["{}", "a{}b", "错误：{}，{}", '{{"x": "{}"}}', "{}{}{}"])
def test_secrets_signatures_account_and_filters_are_redacted(
    make: Callable[[], Request], around: str
) -> None:
    for value, replacement in REDACTIONS.items():
        text, expected = around.replace("{}", value), around.replace("{}", replacement)
        assert redacted(text, make(), SECRETS) == expected


@pytest.mark.parametrize("make", [get, post])
def test_an_error_shows_redacted_texts_only(make: Callable[[], Request]) -> None:
    text = " ".join([*REDACTIONS, *PLAIN])
    expected = " ".join([*REDACTIONS.values(), *PLAIN])
    assert redacted(text, make(), SECRETS) == expected
    error = refusal(make(), text, text)
    assert (error.message, error.request_id) == (expected, f"{expected[:63]}…")
    assert not [value for value in REDACTIONS if value in shown(error)]


@pytest.mark.parametrize("make", [get, post])
def test_headers_that_are_no_secret_and_paging_stay(make: Callable[[], Request]) -> None:
    for text in [*PLAIN, "", "pageNum=12&pageSize=34: too large"]:
        assert redacted(text, make(), SECRETS) == text


def test_single_characters_and_short_header_words_stay() -> None:
    headers = {"x-one": "a", "x-more": "all of long-one"}
    text = "a b of all that is for long-one"
    assert redacted(text, get("b", headers), Secrets("f")) == "a b of all that is for ***"


@pytest.mark.parametrize("request_id", [int(ACCOUNT), f"{ACCOUNT}-7"])
def test_the_last_4_digits_of_an_account_stay(request_id: object) -> None:
    error = refusal(get(), f"no such account {ACCOUNT}", request_id)
    assert error.message == "no such account …1234"
    assert error.request_id == str(request_id).replace(ACCOUNT, "…1234")


def test_an_account_of_4_digits_is_redacted_whole() -> None:
    assert redacted("no 1234.", get(headers={"account": "1234"}), NONE) == "no ***."


def test_of_two_overlapping_words_the_longer_is_redacted() -> None:
    headers = {"x-short": "abc", "x-long": "abcdef", "x-mid": "cdef"}
    assert redacted("abcdef abc cdef", get(headers=headers), NONE) == "*** *** ***"


@pytest.mark.parametrize("case", [str.lower, str.title])
def test_header_names_are_found_in_any_case(case: Callable[[str], str]) -> None:
    headers = {case(name): value for name, value in HEADERS.items()}
    text = f"the-app 1689239796500 {SIGNATURE} {TOKEN}"
    expected = f"the-app 1689239796500 {REDACTED} {REDACTED}"
    assert redacted(text, get(headers=headers), NONE) == expected


def test_without_private_values_nothing_is_redacted() -> None:
    text = "".join(REDACTIONS)
    for request in (get(None, {}), post(None, {}), get("", {}), post("", {})):
        assert redacted(text, request, NONE) == text


@pytest.mark.parametrize("value", [SECRET, ACCOUNT, quote(NAME, safe=""), SIGNATURE])
def test_a_text_is_redacted_before_it_is_truncated(value: str) -> None:
    replacement = REDACTIONS[value]
    prefixes = {replacement[:length] for length in range(len(replacement) + 1)}
    for most, field in ((200, "message"), (64, "request_id")):
        for before in range(most - 7, most + 1):
            text = "·" * before + value
            kept: str = getattr(refusal(get(), text, text), field)
            assert len(kept) <= most
            assert kept.replace("·", "").removesuffix("…") in prefixes


@pytest.mark.parametrize("around", ["{}", "签名：{}，", "sign_{}&x", "签名{}不符", '"{}" -{}-'])
def test_anything_like_an_md5_signature_is_redacted_in_a_message(around: str) -> None:
    for md5 in (MD5, MD5.upper(), MD5.title()):
        text = around.replace("{}", md5)
        assert unsigned(text) == around.replace("{}", REDACTED)
        error = refusal(get(), text)
        assert error.message == around.replace("{}", REDACTED)
        assert md5 not in shown(error)


def test_a_request_id_may_be_like_an_md5_but_not_this_request_s_signature() -> None:
    assert refusal(get(), "no", MD5).request_id == MD5
    assert refusal(get(), "no", SIGNATURE).request_id == REDACTED


def test_hex_digits_of_another_length_are_no_signature() -> None:
    for text in (MD5[:-1], f"{MD5}0", f"{MD5}{MD5}", f"g{MD5[1:]}", "f" * 40):
        assert unsigned(text) == text


SIGNED = {"authorization": f"Bearer {TOKEN}", "x-own": 'key="a-long-one", mode=5'}
ABROAD = {"account": "+8613800001234"}
WIDE = 'the "one\u3000two"'  # a space that is not shown as it is

ENCODED: list[tuple[Request, str, str]] = [
    # characters that are not printable, in the text or in the filter
    (get(), "张三\u00a0&\tsons", "***"),
    (get("张三\t& sons"), "张三 &\nsons", "***"),
    (get(headers={}), "张三\t&\nsons", "***"),
    (get(WIDE), f"no {WIDE}", "no ***"),
    (get(WIDE), f"no {quote(WIDE, safe='')}", "no ***"),
    (get(WIDE), f"no {json.dumps(WIDE)}", 'no "***"'),
    # a filter may look like a number
    (get("13900005678"), "no work 13900005678", "no work ***"),
    (post("13900005678"), "no work 13900005678", "no work ***"),
    # encodings: percent, JSON, another case, characters special in a pattern
    (get(), f"name={quote(NAME, safe='').lower()}&", "name=***&"),
    (post('a"b'), '{"readStatus":"a\\"b"}', '{"readStatus":"***"}'),
    (post("a\\b\n"), json.dumps("a\\b\n"), '"***"'),
    (post(), json.dumps(NAME), '"***"'),
    (post(), json.dumps(NAME, ensure_ascii=False), '"***"'),
    (get("QxZ"), "no qXz", "no ***"),
    (get(".+(a|b)[c]$^"), "ab .+(a|b)[c]$^ c", "ab *** c"),
    # the token after a scheme is secret by itself
    (get(headers=SIGNED), "bad token: own-token", "bad token: ***"),
    (get(headers=SIGNED), f"bad: Bearer {TOKEN}", "bad: ***"),
    (get(headers=SIGNED), 'bad: key="a-long-one",', "bad: ***"),
    (get(headers=SIGNED), "mode=5 of 5", "*** of 5"),
    # as a number with its country's code
    (get(headers=ABROAD), "no +8613800001234", "no …1234"),
    (get(headers=ABROAD), "account=%2B8613800001234&", "account=***&"),
    (get(headers=ABROAD), "account=%2b8613800001234&", "account=***&"),
    # a form's way to write a space, and a path's to leave a slash
    (get("ax by"), quote_plus("ax by"), "***"),
    (get("ax/by cz"), quote("ax/by cz"), "***"),
    # needless escapes of JSON, and an odd space beside an escape
    (post("ax/by"), "ax\\/by", "***"),
    (post("ax&by"), "ax\\u0026by", "***"),
    (post(WIDE), json.dumps(WIDE, ensure_ascii=False), '"***"'),
    # the account within a longer word
    (get(f"of {ACCOUNT}, a draft"), f"no work of {ACCOUNT}, a draft", "no work ***"),
]


def test_a_value_is_redacted_in_any_encoding() -> None:
    for request, text, expected in ENCODED:
        assert refusal(request, text).message == expected


def test_secrets_show_nothing() -> None:
    secrets = Secrets(SECRET, SALT)
    for text in (repr(secrets), str(secrets), pretty_repr(secrets)):
        assert SECRET not in text
        assert SALT not in text
    assert not hasattr(secrets, "__dict__")


def test_printable_text_is_one_line_of_the_same_length() -> None:
    cases: list[tuple[str, str]] = [
        ("plain, 中文 😀", "plain, 中文 😀"),
        ("a\r\nb\tc\x00d", "a  b c d"),
        ("\x1b[31m\x7f\x85", " [31m  "),
        ("a\u00a0b\u3000c\u2028d\u202ee\ufefff", "a b c d e f"),
        ("\ud800", " "),
        ("", ""),
    ]
    for text, line in cases:
        assert printable(text) == line
        for request in (get(), get(headers={}), get(None, {})):
            assert redacted(text, request, SECRETS) == redacted(text, request, NONE) == line


# Letters that occur in no text of ours, so that finding one means that a private value leaked.
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


# Either what JSON escapes or what is not printable; for both in one word, see ENCODED.
words = worded(' "\\/&=+%.?()[]{}|^$#~') | worded(" \u00a0\u3000\u200b")
values = worded(' "\\/&=+%.?()[]{}|^$#~', 40, "QXZJK")
# With one digit that does not come again, so that no two of them overlap.
accounts = st.from_regex(r"\+?1[02-9]{4,14}", fullmatch=True)
fillers = st.text(LETTERS + "0123456789 .:/=&%'\"\n\\\u3000", max_size=150)


@settings(max_examples=50)
@given(st.data(), st.lists(words, max_size=3), words, words, accounts, values, values)
def test_no_error_repeats_a_private_value_whatever_the_server_writes(
    data: st.DataObject,
    secrets: list[str],
    name: str,
    status: str,
    account: str,
    signature: str,
    own: str,
) -> None:
    headers = {"authorization": signature, "x-own": own, "account": account}
    works = WORKS.request(
        WORKS.query({"name": name, "sort": None, "status": WorkStatus(status)}), 1, 20
    )
    messages = MESSAGES.request(MESSAGES.query({"read_status": ReadStatus(name)}), 1, 20)
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


@settings(max_examples=30)
@given(st.text(LETTERS + " .:/=&%'\"\\+", max_size=100))
def test_any_other_text_stays(text: str) -> None:
    assert redacted(text, get(), SECRETS) == text
