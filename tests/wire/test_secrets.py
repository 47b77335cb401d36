"""Whatever fails, nothing that is shown, logged or kept tells what is secret, or of whom it is.

That is: the app secret, the words of an own recipe, the string that is signed, each signature that
was sent, the account but for its last 4 digits, the values of filters; as they are, percent-encoded
or escaped, in any case. They are looked for in errors and all that is in reach of them, in the
variables of every frame but the caller's (some loggers write those down), in log records, warnings,
outputs, and in the ``repr`` of whatever is public.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import socket
import sys
import traceback
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, cast
from urllib.parse import quote, quote_plus

import pytest
from rich.pretty import pretty_repr

from dp_async import (
    ApiError,
    Attempt,
    AttemptTimeout,
    AuthError,
    BadRequest,
    Client,
    ClientClosed,
    ConfigError,
    Crawl,
    CrawlOptions,
    DecodeError,
    DpError,
    HttpTransport,
    IncompleteCrawl,
    Md5Signer,
    PaginationError,
    RateLimited,
    Request,
    Response,
    ResponseTooLarge,
    RetryPolicy,
    Send,
    ServerError,
    Settings,
    Sign,
    TransportError,
)
from dp_async import testing as faults
from dp_async.testing import Fault, Simulator
from tests.support.fake_server import answer, row

APP = "app-of-the-test"
SECRET = "oPeN/sEsAmE+42"
SALT = "pEpPeR"
TEMPLATE = SALT + "{app_id}{app_secret}{timestamp}"
ACCOUNT = "+8619912345678"
FILTER = "张三丰-filter"

#: Functions that are handed such a value by their caller, or the rows in which it stands.
GIVEN: dict[str, set[str]] = {
    **{
        name: {"filter"}
        for name in ("work_list", "msg_list", "works", "messages", "_list", "query")
    },
    **{name: {"filter"} for name in ("next", "_learned", "learn", "_guard", "_one_by_one")},
    **{name: {"account"} for name in ("for_account", "with_account", "header")},
    "text": {"account", "filter"},
}


def string_to_sign(request: Request) -> str:
    """What the signature of *request* was made of."""
    timestamp = request.headers["timestamp"]
    return TEMPLATE.format(app_id=APP, app_secret=SECRET, timestamp=timestamp)


class Spy:
    """A ``Send`` that keeps what goes through it."""

    send: Send

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.got: list[Response] = []

    async def __call__(self, request: Request, /) -> Response:
        self.sent.append(request)
        response = await self.send(request)
        self.got.append(response)
        return response


# The search


def forms(text: str) -> set[str]:
    """*text* as it may be written, all in lower case."""
    written = {
        text,
        quote(text, safe=""),
        quote(text),
        quote_plus(text),
        json.dumps(text)[1:-1],
        repr(text)[1:-1],
        repr(text.encode())[2:-1],
        base64.b64encode(text.encode()).decode(),
    }
    return {form.casefold() for form in written}


def secrets(sent: Collection[Request] = ()) -> dict[str, str]:
    """What nobody may read, each with its name; a *sent* request adds what was made for it."""
    names = {SECRET: "secret", SALT: "recipe", FILTER: "filter"}
    names |= {ACCOUNT[:-4]: "account", ACCOUNT[-7:]: "account"}
    for request in sent:
        names[request.headers["authorization"]] = "signature"
        names[string_to_sign(request)] = "string to sign"
    names |= dict.fromkeys(Simulator.internals, "internals")
    return {form: name for text, name in names.items() for form in forms(text)}


def reach(error: BaseException) -> Iterator[BaseException]:
    """*error* and all it came from."""
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            links += [link.__cause__, link.__context__]


def shown(error: BaseException) -> Iterator[tuple[str, str]]:
    """The texts of *error*, and where each is from."""
    for link in reach(error):
        name = type(link).__name__
        yield f"str of {name}", str(link)
        yield f"repr of {name}", repr(link)
        yield f"args of {name}", repr(link.args)
        yield f"vars of {name}", repr(vars(link))
        yield f"pickle of {name}", repr(pickle.dumps(link))
    yield "traceback", "".join(traceback.format_exception(error))


def frames(error: BaseException) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Whatever can be seen of the functions on the way of *error*, but for the caller's own."""
    for link in reach(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield frame.f_code.co_name, frame.f_locals


def written(value: object) -> str:
    """*value* as a logger may write it that writes variables."""
    try:
        return f"{value!r} {pretty_repr(value)}"
    except Exception as error:  # one that was never whole
        return repr(error)


def captured(error: BaseException) -> str:
    """What the standard library writes with the variables, less the caller's own at the start."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename == __file__:
        begin = begin.tb_next
    lines = traceback.TracebackException(type(error), error, begin, capture_locals=True)
    return "".join(lines.format())


class Watch:
    """Keeps whatever is said while a test runs; ``search`` looks through it."""

    def __init__(
        self,
        caplog: pytest.LogCaptureFixture,
        warned: pytest.WarningsRecorder,
        outputs: pytest.CaptureFixture[str],
    ) -> None:
        self.spy = Spy()
        self.transport: HttpTransport | None = None
        self.attempts: list[Attempt] = []
        self._caplog = caplog
        self._warned = warned
        self._outputs = outputs

    @asynccontextmanager
    async def client(
        self, settings: Settings, *, send: Send | None = None, sign: Sign | None = None
    ) -> AsyncGenerator[Client]:
        """A client whose requests are kept; over HTTP, or by *send*."""
        async with HttpTransport(settings) as transport:
            self.transport = transport
            self.spy.send = send or transport
            async with Client(settings, send=self.spy, sign=sign) as client:
                client.observe(self.attempts.append)
                yield client

    async def aclose(self) -> None:
        """Close the transport under the client."""
        assert self.transport is not None
        await self.transport.aclose()

    def logged(self, name: str, text: str) -> bool:
        """Whether the logger of this *name* wrote the *text*."""
        return any(
            record.name == name and text in record.getMessage() for record in self._caplog.records
        )

    def search(self, error: BaseException | None, *values: object) -> None:
        """Fail if anything can be read in *error*, in *values*, or in what was said so far."""
        hidden = secrets(self.spy.sent)
        found: set[str] = set()

        def look(where: str, text: str, given: Collection[str] = ()) -> None:
            text = text.casefold()
            for form, name in hidden.items():
                if name not in given and form in text:
                    found.add(f"{name} in {where}")

        def look_into(error: BaseException, where: str = "") -> None:
            for part, text in shown(error):
                look(where + part, text)
            given: set[str] = set()
            for function, variables in frames(error):
                theirs = GIVEN.get(function, set[str]())
                given |= theirs
                for name, value in variables.items():
                    look(f"{where}{function}: {name}", written(value), theirs)
            look(f"{where}captured", captured(error), given)

        if error is not None:
            look_into(error)
        for value in (*values, *self.attempts, *self.spy.sent, *self.spy.got, self.transport):
            look(f"a {type(value).__name__}", f"{value} {written(value)}")
        for record in self._caplog.records:
            where = f"a record of {record.name}"
            look(where, f"{record.getMessage()} {record.args!r} {vars(record)!r}")
            look(where, logging.Formatter().format(record))
            if record.exc_info and record.exc_info[1]:
                look_into(record.exc_info[1], f"{where}: ")
        for warning in self._warned:
            look("a warning", f"{warning.message!r} {warning.source!r}")
        for text in self._outputs.readouterr():
            look("the output", text)
        assert not found, "\n".join(sorted(found))


@pytest.fixture
def watch(
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Watch]:
    caplog.set_level(logging.DEBUG)
    yield Watch(caplog, recwarn, capfd)
    assert all(warning.category is UserWarning for warning in recwarn)  # ours, to be found


# What is asked


def settings(base_url: str, /, **changes: Any) -> Settings:
    given: dict[str, Any] = {
        "base_url": base_url,
        "app_id": APP,
        "app_secret": SECRET,
        "account": ACCOUNT,
        "auth_template": TEMPLATE,
        "retry": RetryPolicy(attempts=2, base=0),
        "max_response_bytes": 1 << 20,
        "allow_http": True,
    }
    return Settings(**{**given, **changes})


def simulator(**changes: Any) -> Simulator:
    """A server that accepts ``settings``, with 12 rows of each list that the filter matches."""
    given: dict[str, Any] = {
        "works": 3,
        "messages": 3,
        "app_id": APP,
        "app_secret": SECRET,
        "auth_template": TEMPLATE,
    }
    server = Simulator(**{**given, **changes})
    for _ in range(12):
        server.works.insert(name=f"of {FILTER}")
        server.messages.insert(readStatus=FILTER)
    return server


OPTIONS = CrawlOptions(page_size=5, strict=True)

#: One way to ask for a list: it returns what there is to look at, before anything is sent, and a
#: function that sends.
Way: TypeAlias = Callable[[Client], tuple[list[object], Callable[[], Awaitable[object]]]]


def call_works(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    return [], lambda: client.work_list(name=FILTER, page_size=5)


def call_messages(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    return [], lambda: client.msg_list(read_status=FILTER, page_size=5)


def crawl_works(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    listing = client.works(name=FILTER, options=OPTIONS)
    crawl = listing.crawl()
    return [listing, crawl], lambda: read_to_the_end(crawl)


def crawl_messages(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    listing = client.messages(read_status=FILTER, options=OPTIONS)
    crawl = listing.crawl()
    return [listing, crawl], lambda: read_to_the_end(crawl)


async def read_to_the_end(crawl: Crawl[Any]) -> None:
    async with crawl:
        async for _ in crawl.pages():
            pass


WAYS: list[Way] = [call_works, call_messages, crawl_works, crawl_messages]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


async def searched(way: Way, client: Client, watch: Watch) -> DpError | None:
    """The error of going this *way*, after the search; None if it went well."""
    kept, send = way(client)
    failure: DpError | None = None
    try:
        await send()
    except DpError as error:
        failure = error
    for value in list(kept):
        if isinstance(value, Crawl):
            crawl = cast("Crawl[object]", value)
            kept += [crawl.report, crawl.checkpoint(), crawl.pages()]
    watch.search(failure, client, client.stats, client.for_account(ACCOUNT), *kept)
    return failure


# The search itself


async def test_the_search_finds_what_is_there(watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        assert await searched(call_works, client, watch) is None
    (sent,) = watch.spy.sent
    planted = {
        "secret": SECRET,
        "recipe": SALT,
        "account": ACCOUNT,
        "signature": sent.headers["authorization"],
        "string to sign": string_to_sign(sent),
        "filter": FILTER,
        "internals": Simulator.internals[0],
    }
    for name, text in planted.items():
        for form in (text, text.swapcase(), quote(text, safe=""), repr(text.encode())):
            with pytest.raises(AssertionError, match=f"{name} in str of DpError"):
                watch.search(DpError(f"a {form} b"))
    watch.search(DpError(f"a …{ACCOUNT[-4:]} b"))


def leave_in_a_variable(text: str) -> None:
    """Fails as another's code would, with *text* in a variable."""
    code = compile("def inner(text):\n    raise KeyError\ninner(text)", "elsewhere.py", "exec")
    exec(code, {"text": text})


def test_the_search_looks_everywhere(watch: Watch) -> None:
    def found(where: str, error: BaseException | None = None, *values: object) -> None:
        with pytest.raises(AssertionError, match=f"secret in {where}"):
            watch.search(error, *values)

    watch.search(DpError("clean"), "clean")
    behind = DpError("clean")
    behind.__context__ = KeyError(SECRET)
    found("str of KeyError", behind)
    noted = DpError("clean")
    noted.add_note(SECRET)
    found("traceback", noted)
    found("vars of ApiError", ApiError("clean", message=SECRET))
    with pytest.raises(KeyError) as caught:
        leave_in_a_variable(SECRET)
    found("inner: text", caught.value)
    found("captured", caught.value)
    found("a list", None, [SECRET])
    sys.stdout.write(SECRET)
    found("the output")
    warnings.warn(SECRET, stacklevel=1)
    found("a warning")
    logging.getLogger("any").debug("%s", SECRET)
    found("a record of any")


# Faults

#: The error of a call, and of a crawl; None where the answer is believed.
FAULTS: list[tuple[Fault, type[DpError] | None, type[DpError] | None]] = [
    (faults.Reset(), TransportError, TransportError),
    (faults.HalfBody(), TransportError, TransportError),
    (faults.Drip(), AttemptTimeout, AttemptTimeout),
    (faults.Hang(), AttemptTimeout, AttemptTimeout),
    (faults.Bomb(1 << 24), ResponseTooLarge, ResponseTooLarge),
    (faults.Endless(), ResponseTooLarge, ResponseTooLarge),
    (faults.Html(), ServerError, ServerError),
    (faults.Html(200), TransportError, TransportError),
    (faults.Empty(), TransportError, TransportError),
    (faults.WrongCode(), ServerError, ServerError),
    (faults.WrongCode(412), BadRequest, BadRequest),
    (faults.AuthFailure(), AuthError, AuthError),
    (faults.AuthFailure(403, 403), AuthError, AuthError),
    (faults.Throttle(0), RateLimited, RateLimited),
    (faults.Throttle(3600), RateLimited, RateLimited),
    (faults.Redirect(), ApiError, ApiError),
    (faults.HugeHeader(), TransportError, TransportError),
    (faults.Malformed(), DecodeError, DecodeError),
    (faults.Body(b"[]"), DecodeError, DecodeError),
    (faults.NullData(), DecodeError, DecodeError),
    (faults.Altered({"content": 7}), DecodeError, DecodeError),
    (faults.WrongEcho(), None, PaginationError),
    (faults.SamePage(2), None, PaginationError),
    (faults.LyingTotals(16), None, IncompleteCrawl),
    (faults.BadRow(), DecodeError, DecodeError),
    (faults.RowWithoutId(), DecodeError, DecodeError),
]


def test_every_fault_is_here() -> None:
    every = [getattr(faults, name) for name in faults.__all__]
    kinds = {kind for kind in every if isinstance(kind, type) and issubclass(kind, Fault)}
    roots = {faults.Fault, faults.WireFault, faults.AnswerFault, faults.PageFault}
    assert {type(fault) for fault, _, _ in FAULTS} == kinds - roots


def title(value: object) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


@every_way
@pytest.mark.parametrize(("fault", "called", "crawled"), FAULTS, ids=title)
async def test_a_fault_tells_nothing(
    way: Way,
    fault: Fault,
    called: type[DpError] | None,
    crawled: type[DpError] | None,
    watch: Watch,
) -> None:
    timeout = 0.05 if isinstance(fault, faults.Drip | faults.Hang) else 30
    async with simulator() as server:
        server.fail(fault, times=None)
        async with watch.client(settings(server.url, timeout=timeout)) as client:
            error = await searched(way, client, watch)
    expected = called if way in (call_works, call_messages) else crawled
    assert type(error) is (expected or type(None))
    assert watch.spy.sent


# Refusals, and nobody there

OTHER = "another-secret"

REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[DpError] | None]] = {
    "a wrong secret": ({"app_secret": OTHER}, {}, AuthError),
    "said by HTTP": ({"app_secret": OTHER, "http_errors": True}, {}, AuthError),
    "an unknown account": ({"accounts": ["1999"]}, {}, AuthError),
    "a clock that is off": ({"skew": 3600}, {}, None),
    "a clock that is off, and a wrong secret": ({"skew": 3600, "app_secret": OTHER}, {}, AuthError),
    "a rate": ({"limit_rate": 0}, {"retry": RetryPolicy(attempts=2, base=0, cap=0)}, RateLimited),
}


@every_way
@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_tells_nothing(way: Way, name: str, watch: Watch) -> None:
    server_changes, changes, kind = REFUSALS[name]
    async with simulator(**server_changes) as server:
        async with watch.client(settings(server.url, **changes)) as client:
            error = await searched(way, client, watch)
    assert type(error) is (kind or type(None))


@every_way
@pytest.mark.parametrize("where", ["down", "no such host", "no TLS", "no such path"])
async def test_a_wrong_address_tells_nothing(way: Way, where: str, watch: Watch) -> None:
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        async with simulator() as server:
            url = {
                "down": f"http://127.0.0.1:{bound.getsockname()[1]}",
                "no such host": "http://nonexistent.invalid",
                "no TLS": server.url.replace("http:", "https:"),
                "no such path": f"{server.url}/openApiDigitalPerson/customer",
            }[where]
            async with watch.client(settings(url)) as client:
                error = await searched(way, client, watch)
    assert type(error) is (BadRequest if where == "no such path" else TransportError)


# The end of a client


@every_way
@pytest.mark.parametrize("used", [True, False])
async def test_a_closed_client_tells_nothing(way: Way, used: bool, watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        if used:
            await client.work_list(name=FILTER)
        await client.aclose()
        assert type(await searched(way, client, watch)) is ClientClosed


@every_way
async def test_a_transport_closed_under_the_client_tells_nothing(way: Way, watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        await client.work_list(name=FILTER)
        await watch.aclose()
        assert type(await searched(way, client, watch)) is ClientClosed


@every_way
async def test_a_client_closed_meanwhile_tells_nothing(way: Way, watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        server.fail(faults.Hang(), times=None)
        asking = asyncio.create_task(searched(way, client, watch))
        while not server.in_flight:
            await asyncio.sleep(0)
        await client.aclose()
        await watch.aclose()
        assert type(await asking) in (ClientClosed, TransportError)


@every_way
async def test_a_caller_s_own_timeout_tells_nothing(way: Way, watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        server.fail(faults.Hang(), times=None)
        kept, send = way(client)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(None) as limit:
                end_when_sent(server, limit)
                await send()
        watch.search(caught.value, client, *kept)


def end_when_sent(server: Simulator, limit: asyncio.Timeout) -> None:
    """Let *limit* be over as soon as *server* has a request under way."""
    loop = asyncio.get_running_loop()
    if server.in_flight:
        limit.reschedule(loop.time())
    else:
        loop.call_soon(end_when_sent, server, limit)


@every_way
async def test_an_observer_that_fails_tells_nothing(way: Way, watch: Watch) -> None:
    def fail(attempt: Attempt) -> None:
        raise ZeroDivisionError

    async with simulator() as server, watch.client(settings(server.url)) as client:
        client.observe(fail)
        server.fail(faults.Reset(), times=2)
        server.fail(faults.Hang(), times=None)
        assert type(await searched(way, client, watch)) is TransportError
        _, send = way(client)
        asking = asyncio.ensure_future(send())
        while not server.in_flight:
            await asyncio.sleep(0)
        asking.cancel()  # for it, too, the observer is called
        await asyncio.wait([asking])
        await client.aclose()
        watch.search(None, client)
    assert len(watch.attempts) > 2


async def test_a_loop_that_tells_of_every_step_tells_nothing(watch: Watch) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0  # logs every callback and what it was given
    async with simulator() as server, watch.client(settings(server.url)) as client:
        for way in WAYS:
            assert await searched(way, client, watch) is None
        server.fail(faults.HalfBody(), times=None)
        for way in WAYS:
            assert type(await searched(way, client, watch)) is TransportError
    assert watch.logged("asyncio", "Executing")


# A server that repeats what it was sent

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: quote(text, safe="").lower(),
    "in the other case": str.swapcase,
    "escaped": lambda text: json.dumps(text)[1:-1],
}

PARTS: dict[str, Callable[[Request], str]] = {
    "secret": lambda _: SECRET,
    "recipe": lambda _: SALT,
    "string to sign": string_to_sign,
    "signature": lambda request: request.headers["authorization"],
    "account": lambda _: ACCOUNT,
    "filter": lambda _: FILTER,
}


def envelope(code: int, said: str, data: object = None) -> Response:
    body = {"code": code, "data": data, "requestId": f"i {said}", "resultMsg": f"got {said}"}
    return Response(status=200, body=json.dumps(body).encode())


@every_way
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("part", PARTS)
async def test_what_a_server_repeats_is_not_shown(
    way: Way, part: str, form: str, watch: Watch
) -> None:
    async def echo(request: Request, /) -> Response:
        return envelope(412, f"\r\n{FORMS[form](PARTS[part](request))}\r\n, sorry")

    async with watch.client(settings("https://host"), send=echo) as client:
        error = await searched(way, client, watch)
    assert isinstance(error, BadRequest)
    assert error.message.startswith("got  ")
    assert error.message.endswith(", sorry")
    assert error.request_id.startswith("i  ")
    assert f"{error}{error.message}{error.request_id}".isprintable()
    assert all(attempt.request_id.isprintable() for attempt in watch.attempts)
    assert not watch.logged("dp_async", "\n")
    assert not watch.logged("dp_async", "\r")


def everything(request: Request) -> str:
    return "\r\n".join(form(part(request)) for form in FORMS.values() for part in PARTS.values())


def page(text: str) -> dict[str, Any]:
    """A page of one row that cannot be read, with *text* all over it."""
    rows = [row(0) | {"userId": text, "createTime": text, text: text}]
    data: dict[str, Any] = json.loads(answer(rows, 1, 5).body)["data"]
    return data | {text: text}


PLACES: dict[str, tuple[Callable[[str], Response], type[DpError]]] = {
    "a code": (lambda text: Response(200, {}, json.dumps({"code": text}).encode()), DecodeError),
    "the data": (lambda text: envelope(200, text, text), DecodeError),
    "a row": (lambda text: envelope(200, text, page(text)), DecodeError),
    "a key": (lambda text: Response(200, {}, json.dumps({text: {}}).encode()), DecodeError),
    "no JSON": (lambda text: Response(200, {}, text.encode()), DecodeError),
    "half an answer": (lambda text: Response(200, {}, b'{"a":"' + text.encode()), DecodeError),
    "no UTF-8": (lambda text: Response(200, {}, b'"\xff' + text.encode()), DecodeError),
    "HTML": (lambda text: Response(502, {}, b"<html>" + text.encode()), ServerError),
    "HTML that means well": (lambda text: Response(200, {}, b"<" + text.encode()), TransportError),
    "headers": (
        lambda text: Response(302, dict.fromkeys(["location", "date", "retry-after"], text), b""),
        ApiError,
    ),
    "lists": (
        lambda text: Response(
            200, {}, json.dumps({"code": 412, "resultMsg": [text], "requestId": {text: 1}}).encode()
        ),
        BadRequest,
    ),
}


@every_way
@pytest.mark.parametrize("place", PLACES)
async def test_it_may_be_repeated_anywhere(way: Way, place: str, watch: Watch) -> None:
    answering, kind = PLACES[place]

    async def echo(request: Request, /) -> Response:
        return answering(everything(request))

    async with watch.client(settings("https://host"), send=echo) as client:
        assert type(await searched(way, client, watch)) is kind


@pytest.mark.parametrize("form", FORMS)
async def test_a_good_answer_s_request_id_repeats_nothing(form: str, watch: Watch) -> None:
    parts = iter(PARTS.values())

    async def echo(request: Request, /) -> Response:
        said = FORMS[form](next(parts)(request))
        return envelope(200, said, json.loads(answer([row(0)], 1, 5).body)["data"])

    async with watch.client(settings("https://host"), send=echo) as client:
        for _ in PARTS:
            assert await searched(call_works, client, watch) is None
    assert {attempt.request_id[:2] for attempt in watch.attempts} == {"i "}


# What is refused before anything is sent

#: What no header can hold.
UNSENDABLE = ["\r\nx-evil: 1", "\r", "\n", "\0", "\x7f", " ", "é", "张", "\ud800"]

BAD_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    *[("app_id", {"app_id": f"{APP}{odd}"}) for odd in UNSENDABLE],
    *[("account", {"account": f"{ACCOUNT}{odd}"}) for odd in UNSENDABLE],
    ("account", {"account": int(ACCOUNT)}),
    ("app_secret", {"app_secret": SECRET.encode()}),
    ("app_secret", {"app_secret": f"{SECRET}\ud800"}),
    ("base_url", {"base_url": f"https://{quote(SECRET, safe='')}@host"}),
    ("base_url", {"base_url": f"https://user:{quote(SECRET, safe='')}@host"}),
    ("base_url", {"base_url": f"https://host/?key={SECRET}"}),
    ("base_url", {"base_url": f"https://host\r\n/{SECRET}"}),
    ("base_url", {"base_url": f"https://host:{SECRET}"}),
    ("base_url", {"base_url": f"https://[{SECRET}"}),
    ("auth_template", {"auth_template": f"{SALT}{{app_secret}}"}),
    ("auth_template", {"auth_template": f"{SALT}{{"}),
    ("auth_template", {"auth_template": f"{SALT}}}{{app_secret}}{{timestamp}}"}),
    ("auth_template", {"auth_template": f"{SALT}{{app_secret!r}}{{timestamp}}"}),
    ("auth_template", {"auth_template": f"{{{SALT}}}{{app_secret}}{{timestamp}}"}),
    ("auth_template", {"auth_template": [TEMPLATE]}),
    ("timestamp_unit", {"timestamp_unit": "us"}),
    ("timeout", {"timeout": -1}),
    ("max_in_flight", {"max_in_flight": 0}),
    ("rate", {"rate": 0}),
    ("retry", {"retry": 3}),
    ("max_response_bytes", {"max_response_bytes": 0}),
    ("allow_http", {"allow_http": 1}),
]


def config_error(make: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        make()
    return caught.value


@pytest.mark.parametrize(("field", "changes"), BAD_SETTINGS, ids=ascii)
def test_a_refused_setting_is_named_and_nothing_of_it_shown(
    field: str, changes: dict[str, Any], watch: Watch
) -> None:
    error = config_error(lambda: settings("https://host", **changes))
    assert str(error).startswith(f"{field} ")
    watch.search(error)


def test_a_misspelt_setting_shows_nothing_of_the_others(watch: Watch) -> None:
    with pytest.raises(TypeError, match="app_sceret") as caught:
        settings("https://host", app_sceret=SECRET)
    watch.search(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"DP_APP_ID": ""}, {"DP_BASE_URL": "ftp://host"}, {"DP_ACCOUNT": f"{ACCOUNT}\r\n"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_refused_environment_is_not_shown(
    changes: dict[str, str], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "DP_BASE_URL": "https://host",
        "DP_APP_ID": APP,
        "DP_APP_SECRET": SECRET,
        "DP_ACCOUNT": ACCOUNT,
        "DP_AUTH_TEMPLATE": TEMPLATE,
    }
    for name, value in {**variables, **changes}.items():
        monkeypatch.setenv(name, value)
    watch.search(config_error(Settings.from_env))
    watch.search(config_error(Client.from_env))
    given = {**variables, **changes}
    watch.search(config_error(lambda: Settings.from_env(given)))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("app_secret", {"app_secret": f"{SECRET}\ud800"}),
        ("auth_template", {"template": f"{SALT}{{app_secret}}"}),
        ("unit", {"unit": "us"}),
    ],
)
def test_a_refused_signer_shows_nothing(field: str, changes: dict[str, Any], watch: Watch) -> None:
    given: dict[str, Any] = {"app_id": APP, "app_secret": SECRET, "template": TEMPLATE}
    watch.search(None, Md5Signer(**given))
    error = config_error(lambda: Md5Signer(**{**given, **changes}))
    assert str(error).startswith(f"{field} ")
    watch.search(error)


@pytest.mark.parametrize("odd", UNSENDABLE, ids=ascii)
async def test_a_refused_account_is_not_shown(odd: str, watch: Watch) -> None:
    async with watch.client(settings("https://host")) as client:
        error = config_error(lambda: client.for_account(f"{ACCOUNT}{odd}"))
        assert str(error).startswith("account ")
        watch.search(error, client)
    assert not watch.spy.sent


BAD_QUESTIONS: dict[str, tuple[str, Callable[[Client], object]]] = {
    "a name that cannot be encoded": ("name", lambda client: client.works(name=f"{FILTER}\ud800")),
    "a name that is no text": ("name", lambda client: client.works(name=cast("Any", [FILTER]))),
    "a status that cannot be encoded": (
        "read_status",
        lambda client: client.messages(read_status=f"{FILTER}\ud800"),
    ),
    "a status that is no text": (
        "read_status",
        lambda client: client.messages(read_status=cast("Any", {FILTER: 1})),
    ),
    "no options": (
        "options",
        lambda client: client.works(name=FILTER, options=cast("Any", 7)),
    ),
    "no checkpoint": ("resume", lambda client: client.works(name=FILTER).crawl(resume="dp1.AAAA")),
    "another's checkpoint": (
        "resume",
        lambda client: client.works(name=FILTER).crawl(
            resume=client.messages(read_status=FILTER).crawl().checkpoint()
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_QUESTIONS)
async def test_a_refused_question_is_not_shown(name: str, watch: Watch) -> None:
    field, ask = BAD_QUESTIONS[name]
    async with watch.client(settings("https://host")) as client:
        error = config_error(lambda: ask(client))
        assert str(error).startswith(field)
        watch.search(error, client)
    assert not watch.spy.sent


@every_way
@pytest.mark.parametrize("odd", UNSENDABLE, ids=ascii)
@pytest.mark.parametrize("where", ["name", "value"])
async def test_a_refused_signature_is_not_shown(
    way: Way, where: str, odd: str, watch: Watch
) -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        name, value = ("x-sign", f"{SECRET}{odd}") if where == "value" else (f"x{odd}", SECRET)
        return {"timestamp": "1", "authorization": SECRET, name: value}

    async with watch.client(settings("https://host"), sign=sign) as client:
        error = await searched(way, client, watch)
    assert type(error) is ConfigError
    assert str(error).startswith("sign(): 'x")
    assert str(error).isprintable()
    assert not watch.spy.sent


@every_way
async def test_a_signer_that_fails_takes_no_header_along(way: Way, watch: Watch) -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        raise ZeroDivisionError

    async with watch.client(settings("https://host"), sign=sign) as client:
        kept, send = way(client)
        with pytest.raises(ZeroDivisionError) as caught:
            await send()
        assert [entry.name for entry in caught.traceback][-1] == "sign"  # where the bug is
        watch.search(caught.value, client, *kept)
    assert not watch.spy.sent


@every_way
async def test_an_account_that_is_missing_shows_nothing(way: Way, watch: Watch) -> None:
    template = f"{SALT}{{account}}{{app_secret}}{{timestamp}}"
    changed = settings("https://host", account=None, auth_template=template)
    async with watch.client(changed) as client:
        error = await searched(way, client, watch)
    assert str(error).startswith("auth_template signs {account}")
    assert not watch.spy.sent
    signer = Md5Signer(app_id=APP, app_secret=SECRET, template=template)
    watch.search(config_error(lambda: signer(Request("work_list", "GET", "/"), 0.0)))


# What is sent is data

ODD = '张 a\r\nx-evil: 1\r\n\r\n&status=DRAFT&pageSize=1#?=%00%26;+\0\\"\'},"pageSize":1'


async def test_a_filter_is_data_however_it_is_written(watch: Watch) -> None:
    async with simulator() as server, watch.client(settings(server.url)) as client:
        server.works.insert(name=ODD)
        server.messages.insert(readStatus=ODD)
        (work,) = await client.work_list(name=ODD, page_size=7)
        (message,) = await client.msg_list(read_status=ODD, page_size=7)
        await client.work_list()
        works, messages, plain = server.requests
    assert (work.name, message.read_status) == (ODD, ODD)
    assert (works.filters, messages.filters) == ({"name": ODD}, {"readStatus": ODD})
    assert works.page_size == messages.page_size == 7
    assert works.headers.keys() == plain.headers.keys()
    assert messages.headers.keys() - works.headers.keys() == {"content-length", "content-type"}


# What is kept


def test_pickled_settings_hold_the_secret() -> None:
    kept = pickle.dumps(settings("https://host"))
    assert SECRET.encode() in kept
    assert pickle.loads(kept) == settings("https://host")


@pytest.mark.parametrize("way", [crawl_works, crawl_messages])
async def test_a_checkpoint_holds_counts_and_digests(way: Way, watch: Watch) -> None:
    base_url = "https://host-of-the-test"
    async with simulator() as server:
        async with watch.client(settings(base_url), send=server.send) as client:
            (_, crawl), send = way(client)
            assert isinstance(crawl, Crawl)
            early = cast("Crawl[object]", crawl).checkpoint()
            await send()
            late = cast("Crawl[object]", crawl).checkpoint()
    for text in (early, late):
        code = text.partition(".")[2]
        plain = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
        watch.search(None, text, plain, pickle.dumps(text))
        for private in (APP, base_url, "host-of-the-test"):
            assert private.encode() not in plain
        assert 30 < len(plain) < 100
    assert early != late
