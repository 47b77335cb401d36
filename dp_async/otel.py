"""Spans and metrics of a client's requests, for OpenTelemetry. Needs the extra ``otel``.

A consumer of the package's public names: all it knows of a request is its ``Attempt``, so nothing
else can get into a span or a metric: no address, no query, no header, no text of the server's.

A span is made when its request is over, with both its times, and is never the current one. So none
is left open, and the server is sent no trace header.
"""

from __future__ import annotations

import weakref
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

#: Seconds: OpenTelemetry's own for HTTP, and the timeout that a client has unless told otherwise.
_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30]


def instrument(
    client: Client,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Report each request of *client* and of all its views, from now on, to these providers.

    None: the global ones, which may also be set later. Each attempt is a CLIENT span, under the
    span that is current where the call is made or the crawl is iterated.

    - The span is named by the endpoint. Its attributes: ``dp_async.endpoint``, ``dp_async.code``
      (the envelope's), ``dp_async.request_id``, ``http.response.status_code``,
      ``http.request.resend_count`` from the second attempt on, and, with the status ERROR,
      ``error.type`` where it failed or was cancelled.
    - ``dp_async.client.requests`` and ``dp_async.client.request.duration``, in seconds: by endpoint
      and ``error.type``. ``dp_async.client.retries`` and ``dp_async.client.throttles``, answers of
      429: by endpoint.
    - ``dp_async.client.in_flight``: requests under way now, over all clients of the provider.

    Spans are handed on inside the event loop: let a ``BatchSpanProcessor`` export them. Raises
    ConfigError for a client that is instrumented already; so instrument it, and not its views.
    """
    if client in _instrumented:
        raise ConfigError("this client is instrumented already, and its views with it: do it once")
    tracer = trace.get_tracer("dp_async", __version__, tracer_provider)
    meters = _meters_of(meter_provider)
    client.observe(_Reporter(client, tracer, meters))
    meters.watch(client)
    _instrumented.add(client)


class _Meters:
    """The instruments of one provider. All its clients share them: of a gauge that is made twice,
    the second one is never asked."""

    def __init__(self, provider: MeterProvider | None) -> None:
        meter = metrics.get_meter("dp_async", __version__, provider)
        self.requests = meter.create_counter(
            "dp_async.client.requests", "{request}", "Requests sent, those that failed included."
        )
        self.retries = meter.create_counter(
            "dp_async.client.retries", "{request}", "Requests that repeated one that failed."
        )
        self.throttles = meter.create_counter(
            "dp_async.client.throttles", "{request}", "Requests that were answered 429."
        )
        self.duration = meter.create_histogram(
            "dp_async.client.request.duration",
            "s",
            "From sending a request until its whole answer, or its failure.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._watched: list[weakref.ref[Client]] = []
        meter.create_observable_gauge(
            "dp_async.client.in_flight", [self._in_flight], "{request}", "Requests under way now."
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
        if attempt.error == "RateLimited":  # whether HTTP said so or the envelope
            self.throttles.add(1, endpoint)

    def _in_flight(self, options: CallbackOptions) -> list[Observation]:
        # Asked in the reader's thread, so of a copy.
        alive = [client for ref in tuple(self._watched) if (client := ref()) is not None]
        return [Observation(sum(client.stats.in_flight for client in alive))] if alive else []


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Makes a span and counts, of each attempt it is told of."""

    #: For the gauge: a view, or a client whose crawl goes on, may be held by nobody else. Only what
    #: it observes holds this in turn, so both go when that goes.
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
    """All that is ever said of a request."""
    told: dict[str, str | int] = {"dp_async.endpoint": attempt.endpoint}
    if attempt.status is not None:
        told["http.response.status_code"] = attempt.status
    if attempt.number > 1:
        told["http.request.resend_count"] = attempt.number - 1
    if attempt.error:
        told["error.type"] = attempt.error
    if attempt.code is not None:
        told["dp_async.code"] = attempt.code
    if attempt.request_id:
        told["dp_async.request_id"] = attempt.request_id
    return told


_instrumented: weakref.WeakSet[Client] = weakref.WeakSet()
#: By provider; the global one by the module it is global to, as it may not be there yet.
_meters: weakref.WeakKeyDictionary[object, _Meters] = weakref.WeakKeyDictionary()


def _meters_of(provider: MeterProvider | None) -> _Meters:
    given = provider is not None and provider is not metrics.get_meter_provider()
    key: object = provider if given else metrics
    if key not in _meters:
        _meters[key] = _Meters(provider)
    return _meters[key]
