"""What a user's type checker must see. Only type-checked, never run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import assert_type

import msgspec

from dp_async import (
    AccountsCrawl,
    AccountsFailed,
    ApiError,
    Attempt,
    BadItem,
    CallError,
    Client,
    Crawl,
    CrawlOptions,
    CrawlReport,
    DpError,
    HttpTransport,
    IncompleteCrawl,
    InProcessRateLimiter,
    Listing,
    Message,
    Page,
    Probe,
    RateLimiter,
    Request,
    Reservation,
    Response,
    RetryPolicy,
    Send,
    Settings,
    Sign,
    SortOrder,
    Watch,
    Watermark,
    Work,
    WorkStatus,
    crawl_accounts,
)


class Slim(msgspec.Struct):
    name: str


async def endpoints(client: Client) -> None:
    page = await client.work_list(page_num=1, page_size=20, status="SUCCESS", sort=SortOrder.ASC)
    assert_type(page, Page[Work])
    assert_type(page.content[0].digital_person_works_id, int)
    assert_type(page.content[0].status, WorkStatus | None)
    assert_type(page.content[0].created_at, datetime | None)
    assert_type(await client.msg_list(read_status="UNREAD"), Page[Message])
    client.works(status=page.content[0].status, sort="DESC")
    client.works(status=WorkStatus("NEW"))
    client.works(status="SUCESS")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.works(sort="asc")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.messages(read_status="read")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def listings(client: Client) -> None:
    works = client.works(status=WorkStatus.SUCCESS, options=CrawlOptions(page_size=50))
    assert_type(works, Listing[Work])
    async for work in works:
        assert_type(work, Work)
    async for page in works.pages():
        assert_type(page, Page[Work])
    assert_type(await works.collect(), list[Work])
    assert_type(await works.probe(), Probe)
    assert_type(await works.first(), Work | None)
    assert_type(works.options, CrawlOptions)
    assert_type(works.with_options(page_size=50, concurrency="auto"), Listing[Work])
    assert_type(works.typed(Slim).with_options(limit=None), Listing[Slim])
    works.with_options(page_size="50")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    works.with_options(pages=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(works.typed(Slim), Listing[Slim])
    assert_type(works.typed(dict), Listing[dict[str, object]])
    assert_type(works.typed(msgspec.Raw), Listing[msgspec.Raw])
    async with client.messages().crawl(progress=seen) as crawl:
        assert_type(crawl, Crawl[Message])
        async for message in crawl:
            assert_type(message, Message)
        assert_type(crawl.report.complete, bool | None)


def seen(report: CrawlReport) -> None: ...


async def watching(client: Client, mark: Watermark) -> None:
    async with client.works().watch(5.0) as watch:
        assert_type(watch, Watch[Work])
        async for work in watch:
            assert_type(work, Work)
        assert_type(watch.watermark, Watermark | None)
    assert_type(client.messages().typed(Slim).watch(5, since=mark), Watch[Slim])
    client.works().watch(5, on_bad_item=bad_seen)
    client.works().watch(5, on_bad_item="keep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def bad_seen(item: BadItem) -> None: ...


async def accounts(client: Client) -> None:
    crawl = crawl_accounts(
        client, ["19999999999"], lambda sub: sub.works(), at_once=4, progress=account_seen
    )
    assert_type(crawl, AccountsCrawl[Work])
    try:
        async for account, work in crawl:
            assert_type(account, str)
            assert_type(work, Work)
    except AccountsFailed as failed:
        assert_type(failed.errors, dict[str, DpError])
    assert_type(crawl.reports["19999999999"], CrawlReport)
    crawl_accounts(client, ["1"], lambda sub: sub)  # type: ignore[arg-type,return-value]  # pyright: ignore[reportArgumentType]
    crawl_accounts(client, [1], lambda sub: sub.works())  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def account_seen(account: str, report: CrawlReport) -> None: ...


async def errors(client: Client) -> None:
    try:
        await client.works().collect()
    except IncompleteCrawl as error:
        assert_type(error.report, CrawlReport)
    except ApiError as error:
        assert_type(error.code, int | None)
        assert_type(error.retry_after, float | None)
        assert_type(error.date, float | None)
    except CallError as error:
        assert_type(error.page_num, int | None)
        assert_type(error.page_size, int | None)
        assert_type(error.request_id, str)


def options() -> None:
    CrawlOptions(concurrency=4, overlap=2)
    CrawlOptions(concurrency="auto", overlap="auto")
    CrawlOptions(concurrency="fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def seen_attempt(attempt: Attempt) -> None:
    assert_type(attempt.endpoint, str)
    assert_type(attempt.number, int)
    assert_type(attempt.seconds, float)
    assert_type(attempt.status, int | None)
    assert_type(attempt.code, int | None)
    assert_type(attempt.request_id, str)
    assert_type(attempt.error, str)
    assert_type(attempt.page_num, int | None)


def observing(client: Client) -> None:
    attempts: list[Attempt] = []
    end = client.observe(seen_attempt)
    assert_type(end, Callable[[], None])
    client.observe(attempts.append)
    client.observe(lambda attempt: attempt.seconds)
    client.observe(seen)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.observe(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def changes(client: Client) -> None:
    crawl = client.works().since(None)
    assert_type(crawl, Crawl[Work])
    assert_type(crawl.watermark, Watermark | None)
    if crawl.watermark is not None:
        assert_type(crawl.watermark.to_json(), str)
    mark = Watermark.from_json(b"{}")
    assert_type(mark, Watermark)
    assert_type(client.messages().since(mark, allowed_lateness=5), Crawl[Message])
    assert_type(client.works().typed(Slim).since(mark), Crawl[Slim])
    client.works().since(mark.to_json())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.works().since()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


class Recorder:
    """A wrapper round another exchange."""

    def __init__(self, send: Send) -> None:
        self.send = send

    async def __call__(self, request: Request, /) -> Response:
        return await self.send(request)


def by_token(request: Request, now: float, /) -> Mapping[str, str]:
    return {"authorization": f"{request.endpoint}{now}"}


async def by_fetched_token(request: Request, now: float, /) -> Mapping[str, str]:
    return by_token(request, now)


fetched: Sign = by_fetched_token


async def gaps(settings: Settings) -> None:
    sign: Sign = by_token
    async with HttpTransport(settings) as transport:
        async with Client(settings, send=Recorder(transport), sign=sign) as client:
            assert_type(client.for_account("19999999999"), Client)
            assert_type(client.with_options(timeout=5, retry=RetryPolicy(attempts=1)), Client)
            assert_type(client.settings, Settings)


class OwnRateLimiter:
    async def reserve(self, want: int) -> Reservation:
        return Reservation(0.0, 0.1, 1)

    async def pause(self, seconds: float) -> None: ...


def rate_limiters(settings: Settings) -> None:
    for each in (InProcessRateLimiter(20), OwnRateLimiter()):
        given: RateLimiter = each
        assert_type(Client(settings, rate_limiter=given), Client)
