"""A watermark: a small value of one list, with one text; anything else is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dp_async import ConfigError, CrawlOptions, Watermark
from dp_async._plan.known import CAPACITY, CROWD_COST, SHORT, Crowd, digest, summary
from dp_async._plan.watermark import VERSION
from tests.support.fake_server import SETTINGS, Server, client

SCOPE = "0123456789abcdef01234567"
NOW = 1_690_000_000
MARK = Watermark.at(
    SCOPE, NOW, [42, 2**62 + 5], [Crowd(NOW - 3, NOW, 20, 9)], compared=NOW - 10, recent=22
)
TEXT = (
    '{"v":2,"list":"0123456789abcdef01234567","updated":1690000000,"compared":1689999990,'
    '"recent":22,"by_create":true,"rows":"AAAAAAAqAAAAAAAF","crowds":[[1689999997,1690000000,20,9]]}'
)


def test_the_text_is_stable() -> None:
    assert MARK.to_json() == TEXT
    assert Watermark.from_json(TEXT) == MARK
    assert Watermark.from_json(TEXT.encode()) == MARK
    start = Watermark.start(SCOPE)
    assert start.to_json() == (
        f'{{"v":2,"list":"{SCOPE}","updated":0,"compared":0,"recent":0,"by_create":true,'
        '"rows":"","crowds":[]}'
    )
    assert Watermark.from_json(start.to_json()) == start


def test_digests_are_kept_in_their_order() -> None:
    assert MARK.digests == [42, 5]
    assert hash(Watermark.from_json(TEXT)) == hash(MARK)


def test_the_first_version_is_refused_with_the_way_on() -> None:
    old = f'{{"v":1,"list":"{SCOPE}","updated":1690000000,"keys":[[7,1689999999,42]]}}'
    with pytest.raises(ConfigError, match="another version of this library; begin again with"):
        Watermark.from_json(old)


SIZES = [(10, 1, 250), (10_000, 10_000, 2_000), (20_000, 1, 300), (700, 11, 2_000)]
"""Rows, seconds that they share, and the most characters. Measured: 250, 2,000, 198 and 1,900."""


@pytest.mark.parametrize(("number", "seconds", "most"), SIZES)
def test_a_watermark_is_small_whatever_the_list_holds(number: int, seconds: int, most: int) -> None:
    rows = [
        (NOW - place % seconds, digest(place, NOW - place % seconds, None))
        for place in range(number)
    ]
    single, crowds = summary(rows, CAPACITY)
    mark = Watermark.at(SCOPE, NOW, single, crowds, compared=NOW - 10, recent=number)
    assert len(mark.to_json()) <= most
    assert Watermark.from_json(mark.to_json()) == mark


def test_the_largest_watermark_has_2000_characters() -> None:
    longest = 253_402_300_799  # the end of the year 9999
    crowd = Crowd(longest, longest, 10**7, 2**63 - 1)
    full = Watermark.at(SCOPE, longest, [SHORT] * CAPACITY, compared=-(2**53), recent=10**7)
    assert len(full.to_json()) <= 2_000
    crowds = [crowd] * (CAPACITY // CROWD_COST)
    full = Watermark.at(SCOPE, longest, [], crowds, compared=-(2**53), recent=10**7)
    assert len(full.to_json()) <= 2_000


def test_a_watermark_is_frozen() -> None:
    with pytest.raises(AttributeError):
        MARK.updated = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "not a watermark"),
        (7, "not a watermark"),
        (MARK, "not a watermark"),
        ("", "not a watermark"),
        ("hello", "not a watermark"),
        (b"\xff\xfe", "not a watermark"),
        ("[]", "not a watermark"),
        ("{}", "not a watermark"),
        ('{"v":2}', "not a watermark"),
        ("[" * 100_000, "not a watermark"),
        (TEXT[:-3], "not a watermark"),
        (TEXT.replace("1690000000", '"1690000000"'), "not a watermark"),
        (TEXT.replace("1690000000", "-1"), "not a watermark"),
        (TEXT.replace("1690000000", "1e99"), "not a watermark"),
        (TEXT.replace(",20,9]", ",20]"), "not a watermark"),
        (TEXT.replace("AAAF", "AA=="), "not a watermark"),
        (TEXT.replace("AAAF", "AAA"), "damaged"),
        (TEXT.replace("89ab", "89aX"), "damaged"),
        (TEXT.replace(SCOPE, ""), "damaged"),
        (TEXT.replace('"v":2', f'"v":{VERSION + 1}'), "another version"),
    ],
    ids=lambda value: "",
)
def test_a_text_that_is_no_watermark_is_refused(text: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        Watermark.from_json(text)
    assert "since(None)" in str(caught.value)


async def marked(server: Server, **filters: Any) -> Watermark:
    """The watermark of the whole list."""
    async with client(server) as api, api.works(**filters).since(None) as crawl:
        async for _ in crawl:
            pass
        assert crawl.watermark is not None
        return crawl.watermark


async def test_other_lists_other_accounts_and_other_filters_are_refused_before_any_request() -> (
    None
):
    server = Server(30)
    mark = await marked(server)
    server.pages.clear()
    async with client(server) as api:
        for other in (
            api.messages(),
            api.works(status="DRAFT"),
            api.works(name="x"),
            api.for_account("13800001234").works(),
            client(server, replace(SETTINGS, app_id="other")).works(),
            client(server, replace(SETTINGS, base_url="http://127.0.0.1:2")).works(),
        ):
            with pytest.raises(ConfigError, match="the watermark is of another list"):
                other.since(mark)
    assert not server.pages


async def test_options_and_item_type_do_not_change_the_list() -> None:
    server = Server(30)
    mark = await marked(server)
    async with client(server) as api:
        api.works(options=CrawlOptions(page_size=7, allowed_lateness=5)).since(mark)
        api.works().typed(dict).since(mark)
        api.works().typed(msgspec.Raw).since(Watermark.from_json(mark.to_json()))


async def test_a_watermark_holds_no_secret_and_no_filter() -> None:
    text = (await marked(Server(30), name="private")).to_json()
    assert not [hidden for hidden in ("sesame", "private", "app", "127.0") if hidden in text]
