"""A watermark: a small value of one list, with one text; anything else is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from dp_async import ConfigError, CrawlOptions, Watermark
from dp_async._plan.watermark import VERSION
from tests.support.fake_server import SETTINGS, Server, client

SCOPE = "0123456789abcdef01234567"
MARK = Watermark(scope=SCOPE, updated=1_690_000_000, keys=((7, 1_689_999_999, 42), (9, 1, 2)))
TEXT = (
    '{"v":1,"list":"0123456789abcdef01234567","updated":1690000000,'
    '"keys":[[7,1689999999,42],[9,1,2]]}'
)


def test_the_text_is_stable() -> None:
    assert MARK.to_json() == TEXT
    assert Watermark.from_json(TEXT) == MARK
    assert Watermark.from_json(TEXT.encode()) == MARK
    start = Watermark.start(SCOPE)
    assert start.to_json() == f'{{"v":1,"list":"{SCOPE}","updated":0,"keys":[]}}'
    assert Watermark.from_json(start.to_json()) == start


def test_keys_in_any_order_make_the_same_text() -> None:
    made = Watermark.at(SCOPE, 1_690_000_000, reversed(MARK.keys))
    assert made == MARK
    assert hash(made) == hash(MARK)


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
        ("[" * 100_000, "not a watermark"),
        (TEXT[:-3], "not a watermark"),
        (TEXT.replace("1690000000", '"1690000000"'), "not a watermark"),
        (TEXT.replace("1690000000", "-1"), "not a watermark"),
        (TEXT.replace("1690000000", "1e99"), "not a watermark"),
        (TEXT.replace("[9,1,2]", "[9,1]"), "not a watermark"),
        (TEXT.replace("89ab", "89aX"), "damaged"),
        (TEXT.replace(SCOPE, ""), "damaged"),
        (TEXT.replace('"v":1', f'"v":{VERSION + 1}'), "another version"),
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
