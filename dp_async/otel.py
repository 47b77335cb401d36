"""Spans and metrics of a client's requests, for OpenTelemetry. Needs the extra ``otel``.

Built on the package's public names. Spans and metrics are made of an ``Attempt`` alone, so they
cannot contain a URL, a query, a header or a text of the server.

A span is made when its request has ended, with its start and end time, and is never the current
span. So no span is left open, and no trace header is sent to the server.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from time import time_ns

from . import Attempt, Client, ConfigError, __version__

try:
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise ImportError(
        "dp_async.otel needs opentelemetry-api, which is an extra: pip install 'dp_async[otel]'"
    ) from error

__all__ = ["instrument"]

#: Seconds: the boundaries of OpenTelemetry's HTTP conventions, and a client's default timeout.
_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30]


def instrument(
    client: Client,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Report each attempt of *client* and its views to these providers, from now on.

    None: the global providers, also if they are set later. Each attempt is a CLIENT span, a child
    of the span that is current where the call is made or the crawl is iterated.

    - The span has the name of the endpoint, and the attributes ``dp_async.endpoint``,
      ``dp_async.page_num``, ``dp_async.code`` (the envelope's), ``dp_async.request_id``,
      ``http.response.status_code``; if the attempt is a repeat, ``http.request.resend_count``. An
      attempt that failed or was cancelled has the status ERROR and ``error.type``.
    - ``dp_async.client.requests`` and ``dp_async.client.request.duration``, in seconds: by endpoint
      and ``error.type``. ``dp_async.client.retries`` and ``dp_async.client.throttles``, answers of
      429: by endpoint.
    - ``dp_async.client.in_flight``: requests in flight now, of all clients of the provider.
      ``dp_async.client.limit`` and ``dp_async.client.pace``: how many requests at once and a second
      their servers allow; only where refusals have shown it.

    Spans are passed on in the event loop, so export them with a ``BatchSpanProcessor``. Raises
    ConfigError for a client that is instrumented already: a client and its views count as one.
    """
    if client in _instrumented:
        raise ConfigError("this client is instrumented already, and its views with it: do it once")
    tracer = trace.get_tracer("dp_async", __version__, tracer_provider)
    meters = _meters_of(meter_provider)
    client.observe(_Reporter(client, tracer, meters))
    meters.watch(client)
    _instrumented.add(client)


class _Meters:
    """The instruments of one provider, shared by its clients: the SDK ignores a second gauge of
    the same name."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter("dp_async", __version__, provider)
        self.requests = meter.create_counter(
            "dp_async.client.requests", "{request}", "Requests sent, failed ones included."
        )
        self.retries = meter.create_counter(
            "dp_async.client.retries", "{request}", "Requests that repeat a failed one."
        )
        self.throttles = meter.create_counter(
            "dp_async.client.throttles", "{request}", "Requests answered with 429."
        )
        self.duration = meter.create_histogram(
            "dp_async.client.request.duration",
            "s",
            "From sending a request to the end of its answer, or its failure.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._watched: list[weakref.ref[Client]] = []
        meter.create_observable_gauge(
            "dp_async.client.in_flight", [self._in_flight], "{request}", "Requests in flight now."
        )
        meter.create_observable_gauge(
            "dp_async.client.limit",
            [self._limit],
            "{request}",
            "Requests at once that the server allows, where it has shown it.",
        )
        meter.create_observable_gauge(
            "dp_async.client.pace",
            [self._pace],
            "{request}/s",
            "Requests a second that the server allows, where it has shown it.",
        )

    def watch(self, client: Client) -> None:
        """Count what *client* has in flight, for as long as it lives."""
        self._watched.append(weakref.ref(client, self._watched.remove))

    def count(self, attempt: Attempt) -> None:
        endpoint = {"dp_async.endpoint": attempt.endpoint}
        outcome = endpoint | ({"error.type": attempt.error} if attempt.error else {})
        self.requests.add(1, outcome)
        self.duration.record(attempt.seconds, outcome)
        if attempt.number > 1:
            self.retries.add(1, endpoint)
        if attempt.error == "RateLimited":  # by HTTP status or by the envelope
            self.throttles.add(1, endpoint)

    def _alive(self) -> list[Client]:
        # Called in the metric reader's thread, so iterates over a copy.
        return [client for ref in tuple(self._watched) if (client := ref()) is not None]

    def _in_flight(self, options: CallbackOptions) -> list[Observation]:
        alive = self._alive()
        return [Observation(sum(client.stats.in_flight for client in alive))] if alive else []

    def _limit(self, options: CallbackOptions) -> list[Observation]:
        return _summed(client.stats.limit for client in self._alive())

    def _pace(self, options: CallbackOptions) -> list[Observation]:
        return _summed(client.stats.pace for client in self._alive())


def _summed(learned: Iterable[float | None]) -> list[Observation]:
    known = [each for each in learned if each is not None]
    return [Observation(sum(known))] if known else []


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Makes a span of each attempt and counts it."""

    #: Keeps a view, or a client with a running crawl, alive for the gauge. Only the client's
    #: observers refer to this object, so both are collected together.
    client: Client
    tracer: Tracer
    meters: _Meters

    def __call__(self, attempt: Attempt) -> None:
        end = time_ns()
        self.meters.count(attempt)
        span = self.tracer.start_span(
            attempt.endpoint,
            kind=SpanKind.CLIENT,
            attributes=_described(attempt),
            start_time=end - round(attempt.seconds * 1e9),
        )
        if attempt.error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _described(attempt: Attempt) -> dict[str, str | int]:
    """The attributes of a span: all that is reported of a request."""
    numbers = {
        "http.response.status_code": attempt.status,
        "dp_async.code": attempt.code,
        "dp_async.page_num": attempt.page_num,
    }
    attributes: dict[str, str | int] = {"dp_async.endpoint": attempt.endpoint}
    attributes |= {name: number for name, number in numbers.items() if number is not None}
    if attempt.number > 1:
        attributes["http.request.resend_count"] = attempt.number - 1
    if attempt.error:
        attributes["error.type"] = attempt.error
    if attempt.request_id:
        attributes["dp_async.request_id"] = attempt.request_id
    return attributes


_instrumented: weakref.WeakSet[Client] = weakref.WeakSet()
#: By provider. The global one may not be set yet, so its key is the module ``metrics``.
_meters: weakref.WeakKeyDictionary[object, _Meters] = weakref.WeakKeyDictionary()


def _meters_of(provider: MeterProvider | None) -> _Meters:
    given = provider is not None and provider is not metrics.get_meter_provider()
    key: object = provider if given else metrics
    if key not in _meters:
        _meters[key] = _Meters(provider)
    return _meters[key]
