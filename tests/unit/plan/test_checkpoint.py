"""A checkpoint: opaque, of one list and one version, and never a gap when it is resumed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from dp_async import ConfigError, CrawlOptions, ServerError
from dp_async._plan.checkpoint import PREFIX, Checkpoint, _check, read, scope_of, written
from tests.support.fake_server import SETTINGS, Server, client, row

OPTIONS = CrawlOptions(page_size=10, concurrency=2)
HALFWAY = Checkpoint(scope="s", size=10, pages=3, total=55, head=(7, 1_690_000_000), unique=30)


def test_a_checkpoint_survives_its_text() -> None:
    assert read(written(HALFWAY), "s") == HALFWAY
    empty = Checkpoint(scope="s", size=10, pages=0, total=0, head=None, unique=0)
    assert read(written(empty), "s") == empty


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "not a checkpoint"),
        (b"dp1.x", "not a checkpoint"),
        ("", "not a checkpoint"),
        ("hello", "not a checkpoint"),
        ("dp2.AAAA", "another version"),
        ("dp1.", "damaged"),
        ("dp1.!!!!", "damaged"),
        ("dp1.A", "damaged"),
        (written(HALFWAY)[:-3], "damaged"),
        (written(HALFWAY).replace("dp1.", "dp1.A"), "damaged"),
        (written(HALFWAY)[:-1] + "ü", "damaged"),
        (written(HALFWAY), "another list"),
    ],
)
def test_a_text_that_is_no_checkpoint_of_this_list_is_refused(text: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read(text, "other")
    assert "resume" in str(caught.value)


def test_a_checkpoint_of_another_layout_is_refused() -> None:
    body = b'["s",1]'
    text = PREFIX + base64.urlsafe_b64encode(_check(body) + body).decode().rstrip("=")
    with pytest.raises(ConfigError, match="damaged"):
        read(text, "s")


def test_any_changed_character_is_noticed() -> None:
    text = written(HALFWAY)
    for index in range(4, len(text) - 1):
        for other in "A_":
            if text[index] != other:
                with pytest.raises(ConfigError, match="damaged"):
                    read(text[:index] + other + text[index + 1 :], "s")


def test_each_list_has_its_own_scope() -> None:
    scopes = [("a", "b"), ("ab", ""), ("a", "c"), ("a",)]
    assert len({scope_of(parts) for parts in scopes}) == len(scopes)


async def stopped(server: Server, items: int) -> tuple[list[int], str]:
    """The ids of a crawl that was stopped after *items* items, and its checkpoint."""
    async with client(server) as api, api.works(options=OPTIONS).crawl() as crawl:
        ids = [(await anext(crawl)).digital_person_works_id for _ in range(items)]
        return ids, crawl.checkpoint()


@pytest.mark.parametrize("items", [0, 1, 9, 10, 11, 20, 35, 54, 55])
async def test_resuming_leaves_no_gap_and_repeats_a_page_or_two(items: int) -> None:
    server = Server(55)
    before, token = await stopped(server, items)
    server.pages.clear()
    async with client(server) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
        after = [work.digital_person_works_id async for work in crawl]
        report = crawl.report
    assert {*before, *after} == {100_000 - index for index in range(55)}
    assert len(after) == len(set(after))
    assert len(after) <= 55 - items + 20
    if items >= 20:
        assert (2, 10) not in server.pages
        assert report.complete is None
        assert report.reason == "resumed: the pages before the checkpoint were not read again"


async def test_a_resumed_crawl_can_be_stopped_and_resumed_again() -> None:
    server = Server(95)
    ids, token = await stopped(server, 30)
    for _ in range(10):
        async with client(server) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
            for _ in range(21):
                work = await anext(crawl, None)
                if work is None:
                    break
                ids.append(work.digital_person_works_id)
            else:
                token = crawl.checkpoint()
                continue
            break
    assert set(ids) == {100_000 - index for index in range(95)}


@pytest.mark.parametrize("change", ["insert", "delete", "update"])
async def test_a_changed_list_is_read_from_its_start(change: str) -> None:
    server = Server(55)
    _, token = await stopped(server, 35)
    if change == "delete":
        del server.rows[40]
    else:
        if change == "update":
            del server.rows[40]
        server.rows.insert(
            0, {**row(0), "digitalPersonWorksId": 5, "updateTime": "2024-01-01 00:00:00"}
        )
    async with client(server) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
        works = [work async for work in crawl]
        report = crawl.report
    assert len(works) == len(server.rows)
    assert report.complete
    assert "started over: the list had changed since the checkpoint" in report.reason


async def test_a_list_that_changes_while_resumed_is_read_from_its_start() -> None:
    server = Server(55)
    _, token = await stopped(server, 35)

    def delete(num: int) -> None:
        if num == 5 and len(server.rows) == 55:
            del server.rows[15]

    server.before = delete
    async with client(server) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
        ids = {work.digital_person_works_id async for work in crawl}
        report = crawl.report
    assert ids >= {100_000 - index for index in range(55) if index != 15}
    assert "started over: the list had changed since the checkpoint" in report.reason


async def test_the_checkpoint_of_a_list_that_drifted_starts_over() -> None:
    server = Server(55)

    def insert(num: int) -> None:
        if num == 6:
            server.rows.insert(0, {**row(0), "digitalPersonWorksId": 5})

    server.before = insert
    _, token = await stopped(server, 15)
    async with client(Server(55)) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
        assert len([work async for work in crawl]) == 55


async def test_other_lists_other_accounts_and_other_filters_are_refused() -> None:
    server = Server(55)
    _, token = await stopped(server, 35)
    async with client(server) as api:
        requests = len(server.pages)
        with pytest.raises(ConfigError, match="another list"):
            api.messages(options=OPTIONS).crawl(resume=token)
        for other in (
            api.works(status="DRAFT", options=OPTIONS),
            api.works(sort="ASC", options=OPTIONS),
            api.for_account("13800001234").works(options=OPTIONS),
            client(server, replace(SETTINGS, app_id="other")).works(options=OPTIONS),
            client(server, replace(SETTINGS, base_url="http://127.0.0.1:2")).works(),
        ):
            with pytest.raises(ConfigError, match="another list"):
                other.crawl(resume=token)
        for options in (replace(OPTIONS, limit=5), replace(OPTIONS, verify=False)):
            with pytest.raises(ConfigError, match="verify=True and without a limit"):
                api.works(options=options).crawl(resume=token)
    assert len(server.pages) == requests


async def test_another_page_size_starts_over() -> None:
    server = Server(55)
    _, token = await stopped(server, 35)
    async with client(server) as api:
        async with api.works(options=CrawlOptions(page_size=20)).crawl(resume=token) as crawl:
            assert len([work async for work in crawl]) == 55
            reason = crawl.report.reason
    assert reason.endswith("(started over: the page size is not that of the checkpoint)")


async def test_a_checkpoint_before_the_first_page_is_done_starts_over() -> None:
    server = Server(55)
    _, token = await stopped(server, 5)
    async with client(server) as api:
        async with api.works(options=OPTIONS).crawl(resume=token) as crawl:
            assert len([work async for work in crawl]) == 55
            reason = crawl.report.reason
    assert reason.endswith("(started over: no page before the checkpoint could be skipped)")


async def test_a_checkpoint_after_an_error_resumes() -> None:
    server = Server(55)
    server.script[4] = [ServerError("no")]
    seen: list[int] = []
    async with client(server) as api, api.works(options=OPTIONS).crawl() as crawl:
        with pytest.raises(ServerError):
            while True:
                seen.append((await anext(crawl)).digital_person_works_id)
        token = crawl.checkpoint()
    async with client(server) as api, api.works(options=OPTIONS).crawl(resume=token) as crawl:
        seen += [work.digital_person_works_id async for work in crawl]
    assert set(seen) == {100_000 - index for index in range(55)}


def test_a_checkpoint_holds_no_secret_and_no_filter() -> None:
    server = Server(5)
    listing = client(server, replace(SETTINGS, account="13800001234")).works(name="private")
    token = listing.crawl().checkpoint()
    decoded = base64.urlsafe_b64decode(token[4:] + "=" * (-len(token[4:]) % 4))[4:]
    assert json.loads(decoded)[1:] == [100, 0, 0, None, 0]
    for hidden in (b"sesame", b"13800001234", b"private", b"app"):
        assert hidden not in decoded


async def test_a_checkpoint_in_the_progress_callback_counts_only_delivered_items() -> None:
    tokens: list[str] = []
    seen: list[int] = []
    async with client(Server(55)) as api:
        crawl = api.works(options=OPTIONS).crawl(
            progress=lambda _: tokens.append(crawl.checkpoint())
        )
        async with crawl:
            async for work in crawl:
                seen.append(work.digital_person_works_id)
                if len(tokens) == 4:  # the fourth page is in, and one of its rows delivered
                    break
        before = seen[:-1]
        async with api.works(options=OPTIONS).crawl(resume=tokens[-1]) as again:
            after = [work.digital_person_works_id async for work in again]
    assert {*before, *after} == {100_000 - index for index in range(55)}
