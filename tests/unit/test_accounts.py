"""Many accounts crawled at once: items, shares of the limiter, progress, failures, bad input."""

from __future__ import annotations

import asyncio
import gc
import pickle
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest

from dp_async import (
    AccountsCrawl,
    AccountsFailed,
    AuthError,
    Client,
    ClientClosed,
    ConfigError,
    CrawlOptions,
    CrawlReport,
    IncompleteCrawl,
    Listing,
    RateLimited,
    Request,
    Response,
    RetryPolicy,
    ServerError,
    Watermark,
    Work,
    crawl_accounts,
)
from tests.support.fake_server import SETTINGS, answer, row, until
from tests.support.fake_server import page_of as page_of
from tests.support.virtual_loop import run

OPTIONS = CrawlOptions(page_size=10)


class Many:
    """A server of many accounts: *rows* each, an answer takes *seconds*, some have *trouble*."""

    def __init__(self, rows: int = 25, seconds: float = 0.1) -> None:
        self.rows: Counter[str] = Counter()
        self.new: Counter[str] = Counter()  # rows that are newer than these
        self.seconds: dict[str, float] = {}
        self.pages: dict[int, float] = {}  # seconds, where a page takes longer
        self.trouble: dict[str, Callable[[int], Response | Exception]] = {}
        self.unsorted: set[str] = set()  # in another order in each answer
        self.accounts: list[str] = []
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.max_in_flight = 0
        self._rows = rows
        self._seconds = seconds
        self._random = Random(0)

    async def __call__(self, request: Request, /) -> Response:
        account = request.headers["account"]
        num, size = page_of(request)
        self.accounts.append(account)
        self.in_flight[account] += 1
        self.most[account] = max(self.most[account], self.in_flight[account])
        self.max_in_flight = max(self.max_in_flight, self.in_flight.total())
        try:
            await asyncio.sleep(self.pages.get(num, self.seconds.get(account, self._seconds)))
            if account in self.trouble:
                outcome = self.trouble[account](num)
                if isinstance(outcome, Exception):
                    raise outcome
                if outcome.status != 200:
                    return outcome
            count = self.rows.get(account, self._rows)
            rows = [row(index) for index in range(-self.new[account], count)]
            if account in self.unsorted:
                self._random.shuffle(rows)
            return answer(rows, num, size)
        finally:
            self.in_flight[account] -= 1


def works(sub: Client) -> Listing[Work]:
    return sub.works(options=OPTIONS)


def client(server: Many, **changes: Any) -> Client:
    return Client(replace(SETTINGS, **changes), send=server)


def down(num: int) -> Response:
    return Response(status=503)


def later(num: int) -> Response:
    return Response(status=429, headers={"retry-after": "60"})


async def drain(accounts: AccountsCrawl[Work]) -> dict[str, list[int]]:
    """The ids that came, by account."""
    found: dict[str, list[int]] = {}
    async for account, work in accounts:
        found.setdefault(account, []).append(work.digital_person_works_id)
    return found


def expected(rows: int = 25) -> list[int]:
    return [100_000 - index for index in range(rows)]


NAMES = [f"139{index:08}" for index in range(30)]


# Items


def test_the_items_of_each_account_come_in_order_and_each_report_is_complete() -> None:
    async def main() -> None:
        async with client(Many()) as api, crawl_accounts(api, NAMES, works) as accounts:
            assert await drain(accounts) == {name: expected() for name in NAMES}
            assert not accounts.errors
            assert set(accounts.reports) == set(NAMES)
            assert all(each.complete and each.items == 25 for each in accounts.reports.values())
            with pytest.raises(StopAsyncIteration):
                await anext(accounts)

    run(main())


def test_an_account_given_twice_is_crawled_once() -> None:
    async def main() -> None:
        server = Many()
        given = ["1390", "1391", "1390", "1391", "1390"]
        async with client(server) as api, crawl_accounts(api, iter(given), works) as accounts:
            assert await drain(accounts) == {"1390": expected(), "1391": expected()}
        assert Counter(server.accounts) == {"1390": 4, "1391": 4}

    run(main())


def test_no_accounts_are_no_items_and_empty_lists_are_complete() -> None:
    async def main() -> None:
        async with client(Many(0)) as api:
            async with crawl_accounts(api, [], works) as accounts:
                assert await drain(accounts) == {}
            async with crawl_accounts(api, NAMES, works) as accounts:
                assert await drain(accounts) == {}
                assert all(report.complete for report in accounts.reports.values())

    run(main())


# Concurrency


def test_at_most_at_once_accounts_have_begun_and_none_before_the_first_anext() -> None:
    async def main() -> None:
        server = Many()
        async with client(server) as api:
            async with crawl_accounts(api, NAMES, works, at_once=3) as accounts:
                await asyncio.sleep(10)
                assert not server.accounts
                await anext(accounts)
                assert len(set(server.accounts)) == 3
                begun: list[int] = []
                async for _ in accounts:
                    done = [each.reason != "not finished" for each in accounts.reports.values()]
                    begun.append(len(set(server.accounts)) - sum(done))
                assert max(begun) == 3

    run(main())


@pytest.mark.parametrize(("places", "at_once"), [(1, 8), (16, 100)])
def test_max_in_flight_of_the_client_is_kept(places: int, at_once: int) -> None:
    async def main() -> None:
        server = Many(55)
        async with client(server, max_in_flight=places) as api:
            async with crawl_accounts(api, NAMES, works, at_once=at_once) as accounts:
                found = await drain(accounts)
        assert found == {name: expected(55) for name in NAMES}
        assert server.max_in_flight == places

    run(main())


@pytest.mark.parametrize(
    ("accounts", "at_once", "options", "share"),
    [
        (10, 8, {}, 2),
        (20, 100, {}, 1),
        (3, 8, {"concurrency": "auto"}, 5),
        (3, 8, {"concurrency": 4}, 4),
        (3, 8, {"concurrency": "auto", "window": 2}, 2),
        (1, 8, {}, 8),
    ],
)
def test_each_account_has_a_share_of_max_in_flight(
    accounts: int, at_once: int, options: Any, share: int
) -> None:
    async def main() -> None:
        server = Many(155 if accounts == 1 else 85)
        async with client(server) as api:
            async with crawl_accounts(
                api,
                NAMES[:accounts],
                lambda sub: works(sub).with_options(**options),
                at_once=at_once,
            ) as several:
                await drain(several)
        assert max(server.most.values()) == share

    run(main())


def test_slow_accounts_do_not_delay_the_others() -> None:
    async def main() -> None:
        server = Many()
        slow = NAMES[:5]
        server.seconds = dict.fromkeys(slow, 25.0)
        done: dict[str, float] = {}
        async with client(server) as api, crawl_accounts(api, NAMES, works) as accounts:
            async for account, _ in accounts:
                done[account] = asyncio.get_running_loop().time()
        assert max(done[name] for name in NAMES if name not in slow) < 10
        assert min(done[name] for name in slow) > 50

    run(main())


def test_a_long_list_and_short_ones_alternate() -> None:
    async def main() -> None:
        server = Many()
        server.rows["long"] = 1_000
        came: list[str] = []
        async with client(server) as api:
            async with crawl_accounts(api, ["long", *NAMES[:16]], works, at_once=2) as accounts:
                async for account, _ in accounts:
                    came.append(account)
        before = came[: came.index(NAMES[15])]
        assert before.count("long") < len(before) * 0.75

    run(main())


def test_a_slow_consumer_is_bounded_by_the_windows_of_the_accounts_begun() -> None:
    async def main() -> None:
        server = Many(5_000)
        options = CrawlOptions(page_size=10, concurrency=2, window=4)
        async with client(server) as api:
            async with crawl_accounts(
                api, NAMES, lambda sub: sub.works(options=options), at_once=3
            ) as accounts:
                await anext(accounts)
                await asyncio.sleep(1_000)
                assert len(set(server.accounts)) == 3
                assert len(server.accounts) <= 3 * (1 + 1 + 4)

    run(main())


# Cancelling and closing


def test_timeouts_round_anext_lose_nothing() -> None:
    async def main() -> None:
        found: dict[str, list[int]] = {}
        server = Many()
        server.trouble[NAMES[3]] = down
        async with client(server) as api, crawl_accounts(api, NAMES, works) as accounts:
            with pytest.raises(AccountsFailed):
                while True:
                    with anyio.move_on_after(0.03):
                        account, work = await anext(accounts)
                        found.setdefault(account, []).append(work.digital_person_works_id)
        assert found == {name: expected() for name in NAMES if name != NAMES[3]}

    run(main())


def test_closing_ends_all_requests_at_once() -> None:
    async def main() -> None:
        server = Many(500, seconds=5.0)
        async with client(server) as api:
            async with crawl_accounts(api, NAMES, works) as accounts:
                for _ in range(12):
                    await anext(accounts)
                assert server.in_flight.total()
                left = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() == left
            assert not server.in_flight.total()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with pytest.raises(ClientClosed):
                while True:
                    await anext(accounts)
            await accounts.aclose()

    run(main())


def test_a_waiting_consumer_gets_client_closed() -> None:
    async def main(close: Callable[[Client, AccountsCrawl[Work]], Any]) -> None:
        server = Many(seconds=5.0)
        api = client(server)
        accounts = crawl_accounts(api, NAMES, works)
        waiting = asyncio.create_task(drain(accounts))
        await until(lambda: server.in_flight.total() > 0)
        await close(api, accounts)
        with pytest.raises(ClientClosed):
            await waiting
        assert asyncio.get_running_loop().time() == 0
        await accounts.aclose()
        await api.aclose()

    run(main(lambda api, accounts: api.aclose()))
    run(main(lambda api, accounts: accounts.aclose()))


def test_a_cancelled_aclose_still_closes() -> None:
    async def main() -> None:
        server = Many(500, seconds=5.0)
        async with client(server) as api:
            accounts = crawl_accounts(api, NAMES, works)
            await anext(accounts)
            closing = asyncio.create_task(accounts.aclose())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            assert not server.in_flight.total()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_dropping_it_warns_and_ends_its_tasks() -> None:
    async def main() -> None:
        server = Many(500)
        async with client(server) as api:
            accounts = crawl_accounts(api, NAMES, works, at_once=1)
            await anext(accounts)
            await asyncio.sleep(0)  # the loop holds what it is about to call back
            with pytest.warns(ResourceWarning, match="a Crawl was dropped"):
                del accounts
                gc.collect()
            await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})

    run(main())


@pytest.mark.parametrize("closed", [False, True])
def test_it_is_freed_with_the_last_reference_to_it(closed: bool) -> None:
    async def main() -> None:
        async with client(Many()) as api:
            gc.disable()
            try:
                accounts = crawl_accounts(api, NAMES, works)
                async for _ in accounts:
                    if closed:
                        await accounts.aclose()
                        break
                with pytest.raises(ClientClosed if closed else StopAsyncIteration):
                    while True:
                        await anext(accounts)
                freed = weakref.ref(accounts)
                del accounts
                await asyncio.sleep(0)  # the loop holds what it is about to call back
                assert freed() is None
            finally:
                gc.enable()

    run(main())


def test_it_has_one_consumer() -> None:
    async def main() -> None:
        async with client(Many()) as api, crawl_accounts(api, NAMES, works) as accounts:
            waiting = asyncio.ensure_future(anext(accounts))
            await asyncio.sleep(0)
            with pytest.raises(ConfigError, match="one consumer"):
                await anext(accounts)
            await waiting

    run(main())


# Failing


def test_failed_accounts_stop_no_other_and_are_raised_once_at_the_end() -> None:
    async def main() -> None:
        server = Many()
        server.trouble[NAMES[2]] = lambda num: Response(status=401 if num == 1 else 200)
        server.trouble[NAMES[20]] = lambda num: Response(status=503 if num == 2 else 200)
        async with client(server) as api, crawl_accounts(api, NAMES, works) as accounts:
            found: dict[str, list[int]] = {}
            with pytest.raises(AccountsFailed) as failed:
                async for account, work in accounts:
                    found.setdefault(account, []).append(work.digital_person_works_id)
            with pytest.raises(StopAsyncIteration):
                await anext(accounts)
        errors = failed.value.errors
        assert list(errors) == [NAMES[2], NAMES[20]]
        assert isinstance(errors[NAMES[2]], AuthError)
        assert isinstance(errors[NAMES[20]], ServerError)
        assert accounts.errors == errors
        assert found.pop(NAMES[20]) == expected(10)  # its rows before the failure
        assert found == {name: expected() for name in NAMES if name not in errors}
        assert accounts.reports[NAMES[20]].items == 10
        incomplete = {name for name in NAMES if not accounts.reports[name].complete}
        assert incomplete == set(errors)

    run(main())


def test_a_long_backoff_of_the_whole_client_is_no_accounts_failure() -> None:
    async def main() -> None:
        server = Many()
        server.trouble[NAMES[3]] = later
        async with client(server) as api, crawl_accounts(api, NAMES, works) as accounts:
            found: dict[str, list[int]] = {}
            waits: list[float | None] = []
            with pytest.raises(AccountsFailed) as failed:
                while True:
                    try:
                        account, work = await anext(accounts)
                    except RateLimited as error:
                        waits.append(error.retry_after)
                        await asyncio.sleep(error.retry_after or 0)
                    else:
                        found.setdefault(account, []).append(work.digital_person_works_id)
        assert waits
        assert list(failed.value.errors) == [NAMES[3]]
        assert found == {name: expected() for name in NAMES if name != NAMES[3]}

    run(main())


def test_requests_of_a_failed_account_end_at_once() -> None:
    async def main() -> None:
        server = Many(95)
        server.pages[3] = 1_000.0
        server.trouble[NAMES[0]] = lambda num: Response(status=503 if num == 2 else 200)
        async with client(server) as api:
            accounts = crawl_accounts(api, NAMES[:1], works)
            with pytest.raises(AccountsFailed):
                await drain(accounts)
            assert asyncio.get_running_loop().time() < 10
            assert not server.in_flight.total()

    run(main())


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_account_that_is_not_complete_has_failed_after_its_rows_came(
    at_once: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = Many()
        server.unsorted.add(NAMES[0])
        server.rows[NAMES[0]] = 195
        options = CrawlOptions(page_size=5, max_passes=1)
        found: Counter[str] = Counter()
        async with client(server) as api:
            async with crawl_accounts(
                api, NAMES[:2], lambda sub: sub.works(options=options), at_once=at_once
            ) as accounts:
                with pytest.raises(AccountsFailed) as failed:
                    async for account, _ in accounts:
                        found[account] += 1
        assert list(failed.value.errors) == [NAMES[0]]
        error = failed.value.errors[NAMES[0]]
        assert isinstance(error, IncompleteCrawl)
        assert error.report == accounts.reports[NAMES[0]]
        assert error.report.complete is False
        assert accounts.reports[NAMES[1]].complete is True
        assert found == {NAMES[0]: error.report.items, NAMES[1]: 25}
        assert error.report.items > 100

    run(main())
    assert not caplog.records  # raised, so not logged as well


def test_what_cannot_be_proven_has_not_failed() -> None:
    async def main() -> None:
        async with client(Many()) as api:
            async with crawl_accounts(
                api, NAMES[:3], lambda sub: works(sub).with_options(limit=12)
            ) as accounts:
                found = await drain(accounts)
        assert found == {name: expected(12) for name in NAMES[:3]}
        assert [report.complete for report in accounts.reports.values()] == [None] * 3

    run(main())


# Progress


def test_callbacks_are_callable() -> None:
    not_callable: Any = 5
    api = client(Many())
    with pytest.raises(ConfigError, match=r"^listing must be a callable, .* not int$"):
        crawl_accounts(api, NAMES, not_callable)
    with pytest.raises(ConfigError, match=r"^progress must be a callable, not int$"):
        crawl_accounts(api, NAMES, works, progress=not_callable)


def test_a_listing_that_is_a_request_for_one_page_is_refused() -> None:
    def page(view: Client) -> Any:
        return view.work_list()

    with pytest.raises(ConfigError, match=r"^listing\(\) must return a list that is not awaited"):
        crawl_accounts(client(Many()), NAMES, page)


def test_progress_is_called_after_each_page_of_each_account() -> None:
    async def main() -> None:
        seen: dict[str, list[int]] = {}

        def progress(account: str, report: CrawlReport) -> None:
            seen.setdefault(account, []).append(report.items)

        async with client(Many()) as api:
            async with crawl_accounts(api, NAMES, works, progress=progress) as accounts:
                await anext(accounts)
                assert len(seen) == 1
                await drain(accounts)
        assert seen == {name: [10, 20, 25] for name in NAMES}

    run(main())


def test_reports_are_there_while_it_runs() -> None:
    async def main() -> None:
        async with client(Many()) as api:
            async with crawl_accounts(api, NAMES[:2], works, at_once=2) as accounts:
                assert accounts.reports == {}
                seen = [
                    (account, accounts.reports[account].items, accounts.reports[account].complete)
                    async for account, _ in accounts
                ]
                assert {name for name, *_ in seen} == {*NAMES[:2]}
                assert {items for _, items, _ in seen} == {10, 20, 25}
                assert {complete for *_, complete in seen} == {None}
                assert all(report.complete for report in accounts.reports.values())

    run(main())


# Only what changed


def test_each_run_yields_what_changed_since_the_watermarks_of_the_last() -> None:
    async def main() -> None:
        server = Many()
        async with client(server) as api:
            async with crawl_accounts(api, NAMES[:3], works, since={}) as accounts:
                assert await drain(accounts) == {name: expected() for name in NAMES[:3]}
                marks = accounts.watermarks
            kept = {name: Watermark.from_json(mark.to_json()) for name, mark in marks.items()}
            server.new.update({NAMES[0]: 2, NAMES[3]: 1})
            server.accounts.clear()
            async with crawl_accounts(api, NAMES[:4], works, since=kept) as accounts:
                found = await drain(accounts)
            assert found == {NAMES[0]: [100_002, 100_001], NAMES[3]: [100_001, *expected()]}
            assert server.accounts.count(NAMES[1]) == 1  # nothing new: one request
            async with crawl_accounts(api, NAMES, works, since=accounts.watermarks) as accounts:
                assert {*await drain(accounts)} == {*NAMES[4:]}
            async with crawl_accounts(api, NAMES[:4], works) as accounts:
                await drain(accounts)
            async with crawl_accounts(api, NAMES[:4], works, since=accounts.watermarks) as accounts:
                assert await drain(accounts) == {}

    run(main())


def test_the_watermark_of_an_account_moves_only_with_its_last_row() -> None:
    async def main() -> None:
        server = Many()
        async with client(server, retry=RetryPolicy(attempts=1)) as api:
            async with crawl_accounts(api, NAMES[:2], works, since={}) as accounts:
                await drain(accounts)
                kept = dict(accounts.watermarks)
            server.new.update(dict.fromkeys(NAMES[:2], 3))
            server.trouble[NAMES[1]] = down
            async with crawl_accounts(api, NAMES[:2], works, since=kept, at_once=1) as accounts:
                for _ in range(3):
                    assert accounts.watermarks == kept
                    await anext(accounts)
                with pytest.raises(AccountsFailed):
                    await anext(accounts)
                assert accounts.watermarks[NAMES[0]] != kept[NAMES[0]]
                assert accounts.watermarks[NAMES[1]] == kept[NAMES[1]]
            del server.trouble[NAMES[1]]
            again = accounts.watermarks
            async with crawl_accounts(api, NAMES[:2], works, since=again) as accounts:
                assert await drain(accounts) == {NAMES[1]: [100_003, 100_002, 100_001]}

    run(main())


def test_watermarks_that_do_not_fit_are_refused_before_any_request() -> None:
    async def main() -> None:
        server = Many()
        async with client(server) as api:
            async with crawl_accounts(api, NAMES[:1], works, since={}) as accounts:
                await drain(accounts)
            (mark,) = accounts.watermarks.values()
            server.accounts.clear()
            for wrong in ({NAMES[1]: mark}, {NAMES[1]: "text"}, [mark], mark):
                with pytest.raises(ConfigError, match=r"another list|must be a"):
                    crawl_accounts(api, NAMES[:2], works, since=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            with pytest.raises(ConfigError, match="verify=False"):
                crawl_accounts(api, NAMES, unverified, since={})
            assert not server.accounts

    def unverified(sub: Client) -> Listing[Work]:
        return works(sub).with_options(verify=False)

    run(main())


def test_a_progress_callback_that_raises_loses_no_page() -> None:
    async def main() -> None:
        calls = 0

        def moody(account: str, report: CrawlReport) -> None:
            nonlocal calls
            calls += 1
            if calls in (1, 5):
                raise ZeroDivisionError

        found: dict[str, list[int]] = {}
        raised = 0
        async with client(Many()) as api:
            async with crawl_accounts(api, NAMES[:4], works, progress=moody) as accounts:
                while True:
                    try:
                        account, work = await anext(accounts)
                    except ZeroDivisionError:
                        raised += 1
                    except StopAsyncIteration:
                        break
                    else:
                        found.setdefault(account, []).append(work.digital_person_works_id)
        assert found == {name: expected() for name in NAMES[:4]}
        assert raised == 2

    run(main())


# The error


def test_the_error_shows_the_count_and_the_first_reason_but_no_account() -> None:
    error = AccountsFailed({"13912345678": ServerError("it is down"), "1": ServerError("x")})
    text = "2 accounts could not be crawled (see .errors), first …5678: it is down"
    assert str(error) == text
    assert repr(error) == f"AccountsFailed({text!r})"
    assert str(AccountsFailed({"13912345678": ServerError("no")})).startswith("1 account could")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == text
    assert list(copy.errors) == ["13912345678", "1"]


def test_a_bug_in_send_is_raised_as_it_is() -> None:
    async def main() -> None:
        server = Many()
        server.trouble[NAMES[1]] = lambda num: ZeroDivisionError()
        async with client(server) as api, crawl_accounts(api, NAMES, works) as accounts:
            with pytest.raises(ZeroDivisionError):
                await drain(accounts)

    run(main())


def test_another_loop_is_no_accounts_failure() -> None:
    api = client(Many())

    async def first() -> None:
        await api.for_account("139").works().probe()

    async def second() -> None:
        with pytest.raises(ConfigError, match="another Client for another loop"):
            await drain(crawl_accounts(api, NAMES, works))

    run(first())
    run(second())


# Bad input


@pytest.mark.parametrize(
    ("accounts", "text"),
    [
        (["139", ""], r"accounts\[1\] must be printable ASCII without spaces, and not empty"),
        (["139", "  "], r"accounts\[1\] must be printable"),
        (["13 9"], r"accounts\[0\] must be printable"),
        ([139], r"accounts\[0\] must be a string, not int"),
        (["139", None], r"accounts\[1\] must be a string, not NoneType"),
        ("13912345678", "accounts must be a list of accounts, not str: put a single one into"),
        (b"139", "accounts must be a list of accounts, not bytes"),
        (None, "accounts must be a list of accounts, not NoneType"),
        (139, "accounts must be a list of accounts, not int"),
    ],
)
def test_a_bad_account_is_refused_before_any_request(accounts: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as refused:
        crawl_accounts(Client(SETTINGS), accounts, works)
    assert "13912345678" not in str(refused.value)


@pytest.mark.parametrize("at_once", [0, -1, 10_001, True, 1.5, "8", None])
def test_a_bad_at_once_is_refused(at_once: Any) -> None:
    with pytest.raises(ConfigError, match="at_once must be a whole number from 1 to 10000"):
        crawl_accounts(Client(SETTINGS), NAMES, works, at_once=at_once)


def test_another_type_of_client_or_listing_is_refused() -> None:
    with pytest.raises(ConfigError, match="client must be a Client, not Settings"):
        crawl_accounts(SETTINGS, NAMES, works)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"what listing\(\) returns must be a Listing, not Crawl"):
        crawl_accounts(Client(SETTINGS), NAMES, lambda sub: sub.works().crawl())  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
