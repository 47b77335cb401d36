"""Scale: many accounts, load, failures, and how to observe them.

Text alone, no code.

## Many accounts

```python
import asyncio

from dp_async import AccountsFailed, Client, crawl_accounts


async def main() -> None:
    accounts = ["19900000001", "19900000002", "19900000003"]
    async with Client.from_env() as client:
        async with crawl_accounts(client, accounts, lambda sub: sub.works()) as crawl:
            try:
                async for account, work in crawl:
                    print(account[-4:], work.name)
            except AccountsFailed as failed:  # after all others
                for account, error in failed.errors.items():
                    print(account[-4:], error)
        print(all(report.complete for report in crawl.reports.values()))


asyncio.run(main())
```

An account that is known not to be complete counts as failed, its error an IncompleteCrawl, after
its rows came. ``progress=callback(account, report)`` is called after each page, and
``crawl.reports`` has the report of each account that was begun, at any moment.

Only what changed: keep ``crawl.watermarks``, and pass them the next time. An account's advances
once its last row was yielded:

```python
import asyncio

from dp_async import Client, Watermark, crawl_accounts

ACCOUNTS = ["19900000001", "19900000002"]


async def changes(client: Client, kept: dict[str, Watermark]) -> dict[str, Watermark]:
    works = crawl_accounts(client, ACCOUNTS, lambda sub: sub.works(), since=kept)
    async with works as crawl:
        async for account, work in crawl:
            print(account[-4:], work.name)
    return crawl.watermarks


async def main() -> None:
    async with Client.from_env() as client:
        kept = await changes(client, {})  # all rows; each watermark has to_json()
        await changes(client, kept)


asyncio.run(main())
```

``at_once`` accounts (8) are under way, each with its share of the client's ``max_in_flight``, so
that a slow one does not hold up the others; the next begins when one is done. A list much longer
than the others is better crawled by itself, with all places. What is kept in memory ahead of you
is the window of those under way.

## One rate for many processes

Web workers, or a web app and a nightly sync, keep one app's limit together with the extra
``redis``. Each process makes a `dp_async.redis.RedisRateLimiter` of the same ``rate`` and
``key``, on a ``redis.asyncio`` client of yours:

```python
import asyncio

from redis.asyncio import Redis

from dp_async import Client, Settings
from dp_async.redis import RedisRateLimiter


async def main() -> None:
    async with Redis(host="localhost", port=6379) as redis:
        shared = RedisRateLimiter(redis, rate=50, key="my-app", peers=8)
        async with Client(Settings.from_env(), rate_limiter=shared) as client:
            print(len(await client.works().collect()), "works")


asyncio.run(main())
```

- All clients together send ``rate`` requests a second, evenly apart, by the clock of Redis: those
  of the machines need not agree. ``Settings.rate``, if set, bounds each client besides.
- A slot (send time) is used at most once; one that is not used in time is lost, not caught up.
- A 429 or a ``Retry-After`` pauses all of them, the longest pause holds. If the server refuses
  requests at that rate, all go on at a few per cent less, which recovers within a minute.
- While Redis is away, each process goes on at ``rate / peers``, after at most ``timeout`` seconds
  (1), with one warning in the log ``dp_async``. It tries Redis each second, and after Redis'
  return keeps to its share for 2.5 s, until all know of it. No call fails. Only where Redis was
  never reached, calls raise ConfigError.
- Redis keeps two small keys, ``{my-app}:next`` and ``{my-app}:pause``, which expire. It needs no
  persistence.

Several clients in one event loop share a rate without Redis: `dp_async.InProcessRateLimiter`. Any
object with the two async methods of `dp_async.RateLimiter` will do.

## Many apps, many cores

Each app has its own secret, limit and accounts. The workers of Ray (extra ``ray``) sync them all
into the same Delta tables, on the cores of this machine with nothing set up before, or on a
cluster with ``address="auto"``:

```python
import os

from dp_async import Settings
from dp_async.ray import App, sync


def settings(app_id: str) -> Settings:  # called in the worker: no secret passes through Ray
    return Settings.from_env({**os.environ, "DP_APP_ID": app_id})


if __name__ == "__main__":
    for outcome in sync([App("simulated-app", ["19900000001"])], settings, "lake", workers=1):
        print(outcome.app_id, outcome.resource, outcome.new, outcome.error)
```

- All accounts of an app go to one worker, whose client keeps the app's ``rate``; workers share
  nothing but the tables. One that dies is restarted, and what it was at is repeated. If the
  program is killed, its workers end with it: run it again.
- An app that fails (a missing secret, a refusal) stops no other: its outcomes have the error.
- ``workers=0`` is the same in this process, without Ray: for tests, and for few apps.
- The tables have each row exactly once, also after kills and repeats; requests are repeated for
  what was not committed; there is one outcome for each list of each account in a run that ends.

The same as a command, ``dp-async sync --apps apps.toml --to delta:///lake --ray``: in one process
without ``--ray``, on a cluster with ``--ray ADDRESS``, where the file and the secrets have to be
on each worker::

    [[app]]
    app_id = "one"
    accounts_file = "accounts/one"   # or accounts = ["19900000001"]; relative to this file
    secret_file = "secrets/one"      # or secret_env = "SECRET_ONE"
    rate = 10                        # if wanted, as base_url, auth_template, timestamp_unit

## Under load, and when things fail

- **Repeated by itself**: no answer, 429, 5xx, a gateway's HTML, a cut-off body; after a random
  wait that doubles, with a fresh signature. A connection that the server closed while it was idle
  is replaced at once, for GET and POST alike, and costs no attempt. A certificate that is not
  accepted and a proxy's 407 cannot pass by themselves and are not repeated. Cancelling is never
  repeated.
- **A retry budget**, a token bucket of 100 a client, or of ``max_in_flight * (attempts - 1)`` if
  that is more. A retry costs 1, a success refunds 0.5: a third of all requests may fail for good,
  while a server that is down sees no more than 1.1 requests a call at the defaults.
- **Refusals** are 429, any ``Retry-After``, and a 503 of a server that let a call through within
  the last two seconds, or within ``RetryPolicy.cap`` while it refuses all. The client learns two
  things apart: how many requests the server takes at once, and how many a second. A refusal
  counts against the one that explains it, and what is contradicted is undone. A ``Retry-After``
  pauses every call of the client until it ends; one above ``RetryPolicy.cap`` is an error with
  its ``.retry_after`` instead, and one of more than a day is ignored. A refusal costs neither an
  attempt nor the retry budget while the server let any call through in the last
  ``RetryPolicy.cap`` seconds; for one call that is refused again and again, as one account may
  be, it does once that has lasted as long. ``client.with_options(timeout=..., retry=...)`` is a
  view whose ``cap`` bounds its own waits.
- **Single calls go first**: ``work_list``, ``msg_list``, ``page``, ``probe`` and ``first`` do not
  wait behind the pages of crawls. While both wait, every fourth place is a crawl's, so that
  crawls go on.
- **``CrawlOptions(concurrency="auto")``** finds out how much at once makes the server answer
  faster, not later, and stays there, up to ``max_in_flight``. What it learns belongs to the
  client, so that several crawls share it. Lists of up to 16 pages get 8 at once.
- **A wrong clock** on this machine: the first 401 whose ``Date`` shows it is signed again by the
  server's time, and so is all that follows once that was accepted; one warning is logged.
- **``Settings.rate``** is exact: never more than ``rate`` + 1 requests in any second, and no two
  closer than 1 / ``rate``, less 2 ms that a coarse timer may take, for servers that allow no
  burst.

## Observing it

``client.stats`` counts requests, retries, throttles and what is in flight; ``limit`` and ``pace``
are how many requests at once and a second the server was seen to allow, ``pause`` the seconds
until calls go on. The logger ``dp_async`` has a DEBUG record for each request: endpoint, status,
milliseconds, attempt, request id, and nothing else; they are attributes of the record too.
``client.observe(callback)`` calls *callback* with the same as an `dp_async.Attempt`, until you
call what it returned.

With the extra ``otel``, one call reports a client and all its views to OpenTelemetry:

```python
import asyncio

from dp_async import Client
from dp_async.otel import instrument


async def main() -> None:
    async with Client.from_env() as client:
        instrument(client)  # to the global providers, or tracer_provider=..., meter_provider=...
        works = await client.works(status="SUCCESS").collect()
        print(len(works), client.stats)


asyncio.run(main())
```

Each attempt is a CLIENT span under the caller's own, for every page of a crawl too: ``work_list``
or ``msg_list``, with HTTP's status, the envelope's code, the request id, and what failed.
Metrics, under ``dp_async.client.``: ``requests``, ``retries``, ``throttles``,
``request.duration`` (seconds), ``in_flight``. Never an address, a query, a header, an account or
a text of the server's. The server is sent no trace header. Let a ``BatchSpanProcessor`` export:
spans are handed on inside the event loop.
"""
