"""In a web app: FastAPI with a feed of server-sent events, Starlette, aiohttp.web.

Text alone, no code. Make one client for the whole app, opened and closed with it: it holds the
connections and the limits.

## FastAPI

Errors become 502, 503 with ``Retry-After``, and 504. The feed of server-sent events goes on after
a break: a browser sends the last event's id by itself. That id is the watermark, which fits into
a header. Run it by ``uvicorn --timeout-graceful-shutdown 5``, since a feed has no end to wait
for.

```python
import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import ceil
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import TypeAdapter

from dp_async import (
    Client,
    ClientClosed,
    ConfigError,
    DpError,
    Page,
    RateLimited,
    Watch,
    Watermark,
    Work,
)

LOG = logging.getLogger("app")
WORK = TypeAdapter(Work)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with Client.from_env() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(DpError)
@app.exception_handler(TimeoutError)
async def failed(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ConfigError):
        raise error  # a mistake in this app: 500, and a traceback in its log
    LOG.warning("%s: %s", request.url.path, error)
    wait = getattr(error, "retry_after", None)  # seconds, where the platform says so
    if wait is not None or isinstance(error, RateLimited | ClientClosed):
        again = {"Retry-After": str(ceil(wait or 1))}
        return JSONResponse({"detail": "busy, try again later"}, 503, again)
    if isinstance(error, TimeoutError):  # asyncio's own, or an AttemptTimeout
        return JSONResponse({"detail": "the video platform is too slow"}, 504)
    return JSONResponse({"detail": "the video platform failed"}, 502)


@app.get("/works")
async def works(page: Annotated[int, Query(ge=1)] = 1) -> Page[Work]:
    client: Client = app.state.client
    async with asyncio.timeout(10):  # for all of it: waiting, and every attempt
        return await client.work_list(page_num=page)


def watching(last_event_id: Annotated[str | None, Header()] = None) -> Watch[Work]:
    client: Client = app.state.client
    try:
        since = Watermark.from_json(last_event_id) if last_event_id else None
        return client.works().watch(5.0, since=since)
    except ConfigError as error:
        raise HTTPException(400, f"bad event id: {error}") from error


@app.get("/feed", response_class=EventSourceResponse)
async def feed(
    watch: Annotated[Watch[Work], Depends(watching)],
) -> AsyncGenerator[ServerSentEvent, None]:
    async with watch:
        async for work in watch:
            mark = watch.watermark.to_json() if watch.watermark else None
            yield ServerSentEvent(raw_data=WORK.dump_json(work).decode(), id=mark)
```

- `dp_async.Work`, `dp_async.Message` and ``Page[Work]`` are response types, and fields of
  pydantic models: JSON in camelCase as on the wire, times with ``+08:00``, each field with its
  type in OpenAPI. ``msgspec.json.encode(page)`` is faster, and has the times as the platform sent
  them, without an offset.
- A time limit for the whole is ``asyncio.timeout``, which raises ``TimeoutError``. A client that
  tries once and briefly is ``client.with_options(timeout=2, retry=RetryPolicy(attempts=1,
  cap=1))``: 2 s from when the request is sent, no second attempt, and at most 1 s for a pause
  that the platform requests. It does not bound the wait for a free place behind other requests;
  together they bound all.
- Browsers connect again by themselves after a break, with the last event's id. A feed that has
  sent no row yet has no id, and begins anew at that moment. An error status, as a proxy's 502
  while the app starts anew, ends an ``EventSource`` for good: make a new one in its ``onerror``.

## Starlette

The same handler: ``Starlette(exception_handlers={DpError: failed, TimeoutError: failed})``.

## aiohttp.web

With a download of the whole list that is never in memory as a whole:

```python
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from math import ceil

import msgspec
from aiohttp import web

from dp_async import Client, ClientClosed, ConfigError, DpError, RateLimited

CLIENT = web.AppKey("CLIENT", Client)


async def with_client(app: web.Application) -> AsyncGenerator[None, None]:
    async with Client.from_env() as app[CLIENT]:
        yield


@contextmanager
def statuses() -> Generator[None]:
    try:
        yield
    except ConfigError:
        raise  # a mistake in this app: 500, and a traceback in its log
    except (DpError, TimeoutError) as error:
        wait = getattr(error, "retry_after", None)
        if wait is not None or isinstance(error, RateLimited | ClientClosed):
            again = {"Retry-After": str(ceil(wait or 1))}
            raise web.HTTPServiceUnavailable(headers=again) from error
        slow = isinstance(error, TimeoutError)
        raise (web.HTTPGatewayTimeout() if slow else web.HTTPBadGateway()) from error


async def export(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
    async with request.app[CLIENT].works().typed(msgspec.Raw).crawl() as crawl:
        pages = crawl.pages()
        with statuses():
            page = await anext(pages, None)
        # From here on the status is sent: aiohttp cuts the answer off if there is an error.
        await response.prepare(request)
        while page is not None:
            for row in page:
                await response.write(bytes(row) + b"\\n")
            page = await anext(pages, None)
    return response


# For ``python -m aiohttp.web main:make_app``.
def make_app(argv: list[str] | None = None) -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(with_client)
    app.router.add_get("/works.ndjson", export)
    return app
```
"""
