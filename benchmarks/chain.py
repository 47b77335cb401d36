"""A call with one of its wrappers left out, and a bare ``session.get``: what each wrapper costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import aiohttp
from yarl import URL

from benchmarks.ways import SIZE, Task, Way, workers
from dp_async import Request
from dp_async._call.auth import Clock, Md5Signer, Signing, hidden, identity, signed
from dp_async._call.envelope import checked
from dp_async._call.limiter import Limiter
from dp_async._call.limits import is_excused, limited, timed
from dp_async._call.observe import Observers
from dp_async._call.retry import RetryBudget, retrying
from dp_async._call.stats import Tally
from dp_async._call.transport import HttpTransport
from dp_async._http import Answer, Call
from dp_async._page.endpoints import WORKS

BARE, TRANSPORT, WHOLE = "bare session.get", "transport", "the whole call"
#: The wrappers, from the inside out.
WRAPPERS = ("timed", "checked", "signed", "limited", "retrying")


def assembled(task: Task, transport: HttpTransport, without: str = "") -> Call:
    """The layers of a call, as the client assembles them, but for one."""
    settings = task.settings
    limiter = Limiter(settings.max_in_flight, base=settings.retry.base, cap=settings.retry.cap)
    tally = Tally(Tally())
    send = transport if without == "timed" else timed(transport, settings.timeout)
    if without == "checked":

        async def call(request: Request, /) -> Answer:
            return await send(request)  # type: ignore[return-value]
    else:
        call = checked(send, Observers(), hidden(settings), time.time)
    if without != "signed":
        signer = Md5Signer(app_id=settings.app_id, app_secret=settings.app_secret)
        call = signed(call, Signing(signer, identity(settings)), Clock())
    if without != "limited":
        call = limited(call, limiter, tally, cap=settings.retry.cap)
    if without != "retrying":
        call = retrying(
            call,
            settings.retry,
            tally,
            RetryBudget(),
            clock=limiter.clock,
            sleep=asyncio.sleep,
            excused=partial(is_excused, limiter=limiter, cap=settings.retry.cap),
        )
    return call


async def chain(task: Task, without: str = "") -> int:
    """All pages by a call of the package, undecoded; the wrapper *without* is left out."""
    request = WORKS.requests(WORKS.query_type())
    async with HttpTransport(task.settings) as transport:
        call = assembled(task, transport, without)

        async def fetch(num: int) -> Sequence[object]:
            await call(request(num, SIZE))
            return ()

        await workers(task, fetch)
    return task.pages * SIZE


async def transport_alone(task: Task) -> int:
    """All pages by the package's transport, undecoded and not signed."""
    request = WORKS.requests(WORKS.query_type())
    async with HttpTransport(task.settings) as transport:

        async def fetch(num: int) -> Sequence[object]:
            await transport(request(num, SIZE))
            return ()

        await workers(task, fetch)
    return task.pages * SIZE


async def bare(task: Task) -> int:
    """All pages by ``session.get``, undecoded, with the headers of one signature."""
    async with aiohttp.ClientSession() as session:

        async def fetch(num: int) -> Sequence[object]:
            url = URL(task.url(num), encoded=True)
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                await answer.read()
            return ()

        headers = task.signed()
        await workers(task, fetch)
    return task.pages * SIZE


def wrappers() -> dict[str, Way]:
    """By label: a bare exchange, the whole call, and the call without each wrapper."""
    return {
        BARE: bare,
        TRANSPORT: transport_alone,
        WHOLE: chain,
        **{f"without {name}": partial(chain, without=name) for name in WRAPPERS},
    }
