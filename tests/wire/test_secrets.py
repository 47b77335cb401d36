"""No failure shows, logs or keeps a secret, a signature, an account or a filter.

Hidden are the app secret, the literals of a custom template, the string to sign, each signature
sent, the account but for its last 4 digits, and the values of filters: as they are, encoded or
escaped, in any case. They are searched for in errors and all their causes, in the variables of
every frame but the caller's (traceback loggers write those), in log records, warnings, outputs,
and in the ``repr`` of public objects.
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
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
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
    Listing,
    Md5Signer,
    PaginationError,
    RateLimited,
    ReadStatus,
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

#: Functions whose variables may hold a value, because their caller passed it.
GIVEN: dict[str, set[str]] = {
    **{
        name: {"filter"}
        for name in ("work_list", "msg_list", "works", "messages", "_list", "query")
    },
    **{name: {"account"} for name in ("for_account", "with_account", "header")},
    "text": {"account", "filter"},
}
#: The folders whose functions hold rows, in which a filter's value may occur.
ROWS = ("/dp_async/_crawl/", "/dp_async/_plan/")


def string_to_sign(request: Request) -> str:
    """The string that the signature of *request* is the md5 of."""
    timestamp = request.headers["timestamp"]
    return TEMPLATE.format(app_id=APP, app_secret=SECRET, timestamp=timestamp)


class Spy:
    """A ``Send`` that keeps requests and responses."""

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
    """The encodings of *text*, all in lower case."""
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
    """What may not be shown, each form with its name; each *sent* request adds its signature."""
    names = {SECRET: "secret", SALT: "recipe", FILTER: "filter"}
    names |= {ACCOUNT[:-4]: "account", ACCOUNT[-7:]: "account"}
    for request in sent:
        names[request.headers["authorization"]] = "signature"
        names[string_to_sign(request)] = "string to sign"
    names |= dict.fromkeys(Simulator.internals, "internals")
    return {form: name for text, name in names.items() for form in forms(text)}


def causes(error: BaseException) -> Iterator[BaseException]:
    """*error* with its causes and contexts."""
    links: list[BaseException | None] = [error]
    seen: set[int] = set()
    while links:
        link = links.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            links += [link.__cause__, link.__context__]


def shown(error: BaseException) -> Iterator[tuple[str, str]]:
    """The texts of *error* and its causes, each with where it is from."""
    for link in causes(error):
        name = type(link).__name__
        yield f"str of {name}", str(link)
        yield f"repr of {name}", repr(link)
        yield f"args of {name}", repr(link.args)
        yield f"vars of {name}", repr(vars(link))
        yield f"pickle of {name}", repr(pickle.dumps(link))
    yield "traceback", "".join(traceback.format_exception(error))


def frames(error: BaseException) -> Iterator[tuple[str, set[str], Mapping[str, object]]]:
    """The functions in the tracebacks of *error*, except this file's: what their variables may
    hold, and the variables.
    """
    for link in causes(error):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            file, function = frame.f_code.co_filename, frame.f_code.co_name
            if file != __file__:
                rows = {"filter"} if any(folder in file for folder in ROWS) else set[str]()
                yield function, GIVEN.get(function, set[str]()) | rows, frame.f_locals


def written(value: object) -> str:
    """*value* as a traceback logger may write it."""
    try:
        return f"{value!r} {pretty_repr(value)}"
    except Exception as error:  # an object whose constructor failed
        return repr(error)


def captured(error: BaseException) -> str:
    """The traceback from our first frame on, with variables, as the standard library writes it."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename == __file__:
        begin = begin.tb_next
    lines = traceback.TracebackException(type(error), error, begin, capture_locals=True)
    return "".join(lines.format())


class Recorder:
    """Keeps all output while a test runs; ``search`` searches it."""

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
        """Fail if a hidden value is in *error*, in *values*, or in the output so far."""
        hidden = secrets(self.spy.sent)
        found: set[str] = set()

        def check(where: str, text: str, given: Collection[str] = ()) -> None:
            text = text.casefold()
            for form, name in hidden.items():
                if name not in given and form in text:
                    found.add(f"{name} in {where}")

        def check_error(error: BaseException, where: str = "") -> None:
            for part, text in shown(error):
                check(where + part, text)
            given: set[str] = set()
            for function, theirs, variables in frames(error):
                given |= theirs
                for name, value in variables.items():
                    check(f"{where}{function}: {name}", written(value), theirs)
            check(f"{where}captured", captured(error), given)

        if error is not None:
            check_error(error)
        for value in (*values, *self.attempts, *self.spy.sent, *self.spy.got, self.transport):
            check(f"a {type(value).__name__}", f"{value} {written(value)}")
        for record in self._caplog.records:
            where = f"a record of {record.name}"
            check(where, f"{record.getMessage()} {record.args!r} {vars(record)!r}")
            check(where, logging.Formatter().format(record))
            if record.exc_info and record.exc_info[1]:
                check_error(record.exc_info[1], f"{where}: ")
        for warning in self._warned:
            check("a warning", f"{warning.message!r} {warning.source!r}")
        for text in self._outputs.readouterr():
            check("the output", text)
        assert not found, "\n".join(sorted(found))


@pytest.fixture
def recorder(
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Recorder]:
    caplog.set_level(logging.DEBUG)
    yield Recorder(caplog, recwarn, capfd)
    assert all(warning.category is UserWarning for warning in recwarn)  # of the tests' own


# Settings, server, and the four ways to request a list


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

#: One way to request a list: it returns objects to search, with nothing sent, and a function that
#: sends.
Way: TypeAlias = Callable[[Client], tuple[list[object], Callable[[], Awaitable[object]]]]


def call_works(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    return [], lambda: client.work_list(name=FILTER, page_size=5)


def call_messages(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    return [], lambda: client.msg_list(read_status=ReadStatus(FILTER), page_size=5)


def crawl_works(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    listing = client.works(name=FILTER, options=OPTIONS)
    crawl = listing.crawl()
    return [listing, crawl], lambda: read_to_the_end(crawl)


def crawl_messages(client: Client) -> tuple[list[object], Callable[[], Awaitable[object]]]:
    listing = client.messages(read_status=ReadStatus(FILTER), options=OPTIONS)
    crawl = listing.crawl()
    return [listing, crawl], lambda: read_to_the_end(crawl)


async def read_to_the_end(crawl: Crawl[Any]) -> None:
    async with crawl:
        async for _ in crawl.pages():
            pass


WAYS: list[Way] = [call_works, call_messages, crawl_works, crawl_messages]

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def each_in_one_way(*names: str, cases: Sequence[tuple[Any, ...]]) -> pytest.MarkDecorator:
    """Each of *cases*, in the four ways in turn; in the other three ways in the slow run."""
    params = [
        pytest.param(
            *case,
            way,
            marks=() if offset == number % len(WAYS) else pytest.mark.slow,
            id=f"{'-'.join(map(label, case))[:70]}-{way.__name__}",
        )
        for number, case in enumerate(cases)
        for offset, way in enumerate(WAYS)
    ]
    return pytest.mark.parametrize((*names, "way"), params)


def label(value: object) -> str:
    return value.__name__ if isinstance(value, type) else ascii(value)


async def searched(way: Way, client: Client, recorder: Recorder) -> DpError | None:
    """The error of this *way*, after the search; None if it succeeded."""
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
        if isinstance(value, Listing):
            kept.append(cast("Listing[object]", value).watch(5.0))
    recorder.search(failure, client, client.stats, client.for_account(ACCOUNT), *kept)
    return failure


# The search itself


async def test_the_search_finds_every_form_of_every_value(recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        assert await searched(call_works, client, recorder) is None
    (sent,) = recorder.spy.sent
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
                recorder.search(DpError(f"a {form} b"))
    recorder.search(DpError(f"a …{ACCOUNT[-4:]} b"))


def fail_elsewhere(text: str) -> None:
    """Raise from another file, with *text* in a variable."""
    code = compile("def inner(text):\n    raise KeyError\ninner(text)", "elsewhere.py", "exec")
    exec(code, {"text": text})


def test_the_search_covers_errors_frames_logs_warnings_and_output(recorder: Recorder) -> None:
    def found(where: str, error: BaseException | None = None, *values: object) -> None:
        with pytest.raises(AssertionError, match=f"secret in {where}"):
            recorder.search(error, *values)

    recorder.search(DpError("clean"), "clean")
    caused = DpError("clean")
    caused.__context__ = KeyError(SECRET)
    found("str of KeyError", caused)
    noted = DpError("clean")
    noted.add_note(SECRET)
    found("traceback", noted)
    found("vars of ApiError", ApiError("clean", message=SECRET))
    with pytest.raises(KeyError) as caught:
        fail_elsewhere(SECRET)
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

#: The error of a call, and of a crawl; None where the answer is accepted.
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


def test_every_fault_is_covered() -> None:
    every = [getattr(faults, name) for name in faults.__all__]
    kinds = {kind for kind in every if isinstance(kind, type) and issubclass(kind, Fault)}
    roots = {faults.Fault, faults.WireFault, faults.AnswerFault, faults.PageFault}
    assert {type(fault) for fault, _, _ in FAULTS} == kinds - roots


@each_in_one_way("fault", "called", "crawled", cases=FAULTS)
async def test_a_fault_shows_nothing(
    way: Way,
    fault: Fault,
    called: type[DpError] | None,
    crawled: type[DpError] | None,
    recorder: Recorder,
) -> None:
    timeout = 0.05 if isinstance(fault, faults.Drip | faults.Hang) else 30
    async with simulator() as server:
        server.fail(fault, times=None)
        async with recorder.client(settings(server.url, timeout=timeout)) as client:
            error = await searched(way, client, recorder)
    expected = called if way in (call_works, call_messages) else crawled
    assert type(error) is (expected or type(None))
    assert recorder.spy.sent


# Refusals and wrong addresses

OTHER = "another-secret"

REFUSALS: dict[str, tuple[dict[str, Any], dict[str, Any], type[DpError] | None]] = {
    "a wrong secret": ({"app_secret": OTHER}, {}, AuthError),
    "by HTTP status": ({"app_secret": OTHER, "http_errors": True}, {}, AuthError),
    "an unknown account": ({"accounts": ["1999"]}, {}, AuthError),
    "a wrong clock": ({"skew": 3600}, {}, None),
    "a wrong clock and a wrong secret": ({"skew": 3600, "app_secret": OTHER}, {}, AuthError),
    "a rate": ({"limit_rate": 0}, {"retry": RetryPolicy(attempts=2, base=0, cap=0)}, RateLimited),
}


@each_in_one_way("name", cases=[(name,) for name in REFUSALS])
async def test_a_refusal_shows_nothing(way: Way, name: str, recorder: Recorder) -> None:
    server_changes, changes, kind = REFUSALS[name]
    async with simulator(**server_changes) as server:
        async with recorder.client(settings(server.url, **changes)) as client:
            error = await searched(way, client, recorder)
    assert type(error) is (kind or type(None))


@each_in_one_way("where", cases=[("down",), ("no such host",), ("no TLS",), ("no such path",)])
async def test_a_wrong_address_shows_nothing(way: Way, where: str, recorder: Recorder) -> None:
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        async with simulator() as server:
            url = {
                "down": f"http://127.0.0.1:{bound.getsockname()[1]}",
                "no such host": "http://nonexistent.invalid",
                "no TLS": server.url.replace("http:", "https:"),
                "no such path": f"{server.url}/openApiDigitalPerson/customer",
            }[where]
            async with recorder.client(settings(url)) as client:
                error = await searched(way, client, recorder)
    assert type(error) is (BadRequest if where == "no such path" else TransportError)


# Closing, cancelling, observing


@each_in_one_way("used", cases=[(True,), (False,)])
async def test_a_closed_client_shows_nothing(way: Way, used: bool, recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        if used:
            await client.work_list(name=FILTER)
        await client.aclose()
        assert type(await searched(way, client, recorder)) is ClientClosed


@every_way
async def test_a_closed_transport_shows_nothing(way: Way, recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        await client.work_list(name=FILTER)
        await recorder.aclose()
        assert type(await searched(way, client, recorder)) is ClientClosed


@every_way
async def test_a_client_closed_during_a_request_shows_nothing(way: Way, recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        server.fail(faults.Hang(), times=None)
        calling = asyncio.create_task(searched(way, client, recorder))
        while not server.in_flight:
            await asyncio.sleep(0)
        await client.aclose()
        await recorder.aclose()
        assert type(await calling) in (ClientClosed, TransportError)


@every_way
async def test_a_caller_s_timeout_shows_nothing(way: Way, recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        server.fail(faults.Hang(), times=None)
        kept, send = way(client)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(None) as limit:
                end_when_sent(server, limit)
                await send()
        recorder.search(caught.value, client, *kept)


def end_when_sent(server: Simulator, limit: asyncio.Timeout) -> None:
    """Let *limit* expire as soon as *server* has a request in flight."""
    loop = asyncio.get_running_loop()
    if server.in_flight:
        limit.reschedule(loop.time())
    else:
        loop.call_soon(end_when_sent, server, limit)


@every_way
async def test_an_observer_that_raises_shows_nothing(way: Way, recorder: Recorder) -> None:
    def fail(attempt: Attempt) -> None:
        raise ZeroDivisionError

    async with simulator() as server, recorder.client(settings(server.url)) as client:
        client.observe(fail)
        server.fail(faults.Reset(), times=2)
        server.fail(faults.Hang(), times=None)
        assert type(await searched(way, client, recorder)) is TransportError
        _, send = way(client)
        calling = asyncio.ensure_future(send())
        while not server.in_flight:
            await asyncio.sleep(0)
        calling.cancel()  # which the observer gets too
        await asyncio.wait([calling])
        await client.aclose()
        recorder.search(None, client)
    assert len(recorder.attempts) > 2


async def test_the_debug_log_of_the_event_loop_shows_nothing(recorder: Recorder) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0  # logs every callback with its arguments
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        for way in WAYS:
            assert await searched(way, client, recorder) is None
        server.fail(faults.HalfBody(), times=None)
        for way in WAYS:
            assert type(await searched(way, client, recorder)) is TransportError
    assert recorder.logged("asyncio", "Executing")


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


@each_in_one_way("part", "form", cases=[(part, form) for form in FORMS for part in PARTS])
async def test_a_value_repeated_by_the_server_is_not_shown(
    way: Way, part: str, form: str, recorder: Recorder
) -> None:
    async def echo(request: Request, /) -> Response:
        return envelope(412, f"\r\n{FORMS[form](PARTS[part](request))}\r\n, sorry")

    async with recorder.client(settings("https://host"), send=echo) as client:
        error = await searched(way, client, recorder)
    assert isinstance(error, BadRequest)
    assert error.message.startswith("got  ")
    assert error.message.endswith(", sorry")
    assert error.request_id.startswith("i  ")
    assert f"{error}{error.message}{error.request_id}".isprintable()
    assert all(attempt.request_id.isprintable() for attempt in recorder.attempts)
    assert not recorder.logged("dp_async", "\n")
    assert not recorder.logged("dp_async", "\r")


def everything(request: Request) -> str:
    return "\r\n".join(form(part(request)) for form in FORMS.values() for part in PARTS.values())


def page(text: str) -> dict[str, Any]:
    """A page of one invalid row, with *text* in many places."""
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
    "HTML with status 200": (lambda text: Response(200, {}, b"<" + text.encode()), TransportError),
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


@each_in_one_way("place", cases=[(place,) for place in PLACES])
async def test_a_value_anywhere_in_an_answer_is_not_shown(
    way: Way, place: str, recorder: Recorder
) -> None:
    answering, kind = PLACES[place]

    async def echo(request: Request, /) -> Response:
        return answering(everything(request))

    async with recorder.client(settings("https://host"), send=echo) as client:
        assert type(await searched(way, client, recorder)) is kind


@pytest.mark.parametrize("form", FORMS)
async def test_the_request_id_of_a_good_answer_is_redacted(form: str, recorder: Recorder) -> None:
    parts = iter(PARTS.values())

    async def echo(request: Request, /) -> Response:
        said = FORMS[form](next(parts)(request))
        return envelope(200, said, json.loads(answer([row(0)], 1, 5).body)["data"])

    async with recorder.client(settings("https://host"), send=echo) as client:
        for _ in PARTS:
            assert await searched(call_works, client, recorder) is None
    assert {attempt.request_id[:2] for attempt in recorder.attempts} == {"i "}


# Refused before anything is sent

#: Characters that no header can hold.
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


def test_a_refused_setting_is_named_and_not_shown(recorder: Recorder) -> None:
    for field, changes in BAD_SETTINGS:
        error = config_error(partial(settings, "https://host", **changes))
        assert str(error).startswith(f"{field} ")
        recorder.search(error)


def test_a_misspelt_setting_shows_nothing_of_the_others(recorder: Recorder) -> None:
    with pytest.raises(TypeError, match="app_sceret") as caught:
        settings("https://host", app_sceret=SECRET)
    recorder.search(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"DP_APP_ID": ""}, {"DP_BASE_URL": "ftp://host"}, {"DP_ACCOUNT": f"{ACCOUNT}\r\n"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_refused_environment_is_not_shown(
    changes: dict[str, str], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
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
    recorder.search(config_error(Settings.from_env))
    recorder.search(config_error(Client.from_env))
    given = {**variables, **changes}
    recorder.search(config_error(lambda: Settings.from_env(given)))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("app_secret", {"app_secret": f"{SECRET}\ud800"}),
        ("auth_template", {"template": f"{SALT}{{app_secret}}"}),
        ("unit", {"unit": "us"}),
    ],
)
def test_a_refused_signer_shows_nothing(
    field: str, changes: dict[str, Any], recorder: Recorder
) -> None:
    given: dict[str, Any] = {"app_id": APP, "app_secret": SECRET, "template": TEMPLATE}
    recorder.search(None, Md5Signer(**given))
    error = config_error(lambda: Md5Signer(**{**given, **changes}))
    assert str(error).startswith(f"{field} ")
    recorder.search(error)


async def test_a_refused_account_is_not_shown(recorder: Recorder) -> None:
    async with recorder.client(settings("https://host")) as client:
        for odd in UNSENDABLE:
            error = config_error(partial(client.for_account, f"{ACCOUNT}{odd}"))
            assert str(error).startswith("account ")
            recorder.search(error, client)
    assert not recorder.spy.sent


BAD_LISTINGS: dict[str, tuple[str, Callable[[Client], object]]] = {
    "a name that cannot be encoded": ("name", lambda client: client.works(name=f"{FILTER}\ud800")),
    "a name that is no text": ("name", lambda client: client.works(name=cast("Any", [FILTER]))),
    "a status that cannot be encoded": (
        "read_status",
        lambda client: client.messages(read_status=ReadStatus(f"{FILTER}\ud800")),
    ),
    "a status that is not known": (
        "read_status must be one of 'UNREAD', 'READ'; ",
        lambda client: client.messages(read_status=cast("Any", FILTER)),
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
            resume=client.messages(read_status=ReadStatus(FILTER)).crawl().checkpoint()
        ),
    ),
}


@pytest.mark.parametrize("name", BAD_LISTINGS)
async def test_a_refused_filter_option_or_checkpoint_is_not_shown(
    name: str, recorder: Recorder
) -> None:
    field, make = BAD_LISTINGS[name]
    async with recorder.client(settings("https://host")) as client:
        error = config_error(lambda: make(client))
        assert str(error).startswith(field)
        recorder.search(error, client)
    assert not recorder.spy.sent


@each_in_one_way(
    "where", "odd", cases=[(where, odd) for odd in UNSENDABLE for where in ("name", "value")]
)
async def test_a_refused_signature_is_not_shown(
    way: Way, where: str, odd: str, recorder: Recorder
) -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        name, value = ("x-sign", f"{SECRET}{odd}") if where == "value" else (f"x{odd}", SECRET)
        return {"timestamp": "1", "authorization": SECRET, name: value}

    async with recorder.client(settings("https://host"), sign=sign) as client:
        error = await searched(way, client, recorder)
    assert type(error) is ConfigError
    assert str(error).startswith("sign(): 'x")
    assert str(error).isprintable()
    assert not recorder.spy.sent


@pytest.mark.parametrize("fetched", [True, False])
@every_way
async def test_a_signature_that_is_no_mapping_is_not_shown(
    way: Way, fetched: bool, recorder: Recorder
) -> None:
    async def later() -> Any:
        return SECRET

    def sign(request: Request, now: float, /) -> Any:
        return later() if fetched else SECRET

    async with recorder.client(settings("https://host"), sign=sign) as client:
        error = await searched(way, client, recorder)
    assert str(error) == "sign() must return a mapping of headers, not str"
    assert not recorder.spy.sent


@every_way
async def test_the_exception_of_a_custom_signer_shows_no_header(
    way: Way, recorder: Recorder
) -> None:
    def sign(request: Request, now: float, /) -> Mapping[str, str]:
        raise ZeroDivisionError

    async with recorder.client(settings("https://host"), sign=sign) as client:
        kept, send = way(client)
        with pytest.raises(ZeroDivisionError) as caught:
            await send()
        assert [entry.name for entry in caught.traceback][-1] == "sign"  # where the bug is
        recorder.search(caught.value, client, *kept)
    assert not recorder.spy.sent


@every_way
async def test_a_missing_account_shows_nothing(way: Way, recorder: Recorder) -> None:
    template = f"{SALT}{{account}}{{app_secret}}{{timestamp}}"
    changed = settings("https://host", account=None, auth_template=template)
    async with recorder.client(changed) as client:
        error = await searched(way, client, recorder)
    assert str(error).startswith("auth_template signs {account}")
    assert not recorder.spy.sent
    signer = Md5Signer(app_id=APP, app_secret=SECRET, template=template)
    recorder.search(config_error(lambda: signer(Request("work_list", "GET", "/"), 0.0)))


# Filters are data

ODD = '张 a\r\nx-evil: 1\r\n\r\n&status=DRAFT&pageSize=1#?=%00%26;+\0\\"\'},"pageSize":1'


async def test_a_filter_with_any_characters_is_sent_as_data(recorder: Recorder) -> None:
    async with simulator() as server, recorder.client(settings(server.url)) as client:
        server.works.insert(name=ODD)
        server.messages.insert(readStatus=ODD)
        (work,) = await client.work_list(name=ODD, page_size=7)
        (message,) = await client.msg_list(read_status=ReadStatus(ODD), page_size=7)
        await client.work_list()
        works, messages, plain = server.requests
    assert (work.name, message.read_status) == (ODD, ODD)
    assert (works.filters, messages.filters) == ({"name": ODD}, {"readStatus": ODD})
    assert works.page_size == messages.page_size == 7
    assert works.headers.keys() == plain.headers.keys()
    assert messages.headers.keys() - works.headers.keys() == {"content-length", "content-type"}


# Pickles and checkpoints


def test_pickled_settings_hold_the_secret() -> None:
    kept = pickle.dumps(settings("https://host"))
    assert SECRET.encode() in kept
    assert pickle.loads(kept) == settings("https://host")


@pytest.mark.parametrize("way", [crawl_works, crawl_messages])
async def test_a_checkpoint_holds_counts_and_digests(way: Way, recorder: Recorder) -> None:
    base_url = "https://host-of-the-test"
    async with simulator() as server:
        async with recorder.client(settings(base_url), send=server.send) as client:
            (_, crawl), send = way(client)
            assert isinstance(crawl, Crawl)
            early = cast("Crawl[object]", crawl).checkpoint()
            await send()
            final = cast("Crawl[object]", crawl).checkpoint()
    for text in (early, final):
        code = text.partition(".")[2]
        plain = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
        recorder.search(None, text, plain, pickle.dumps(text))
        for private in (APP, base_url, "host-of-the-test"):
            assert private.encode() not in plain
        assert 30 < len(plain) < 100
    assert early != final
