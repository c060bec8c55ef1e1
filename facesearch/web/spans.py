"""Requests and their stages as spans of OpenTelemetry, where the configuration asks for them."""

import time
from collections.abc import Iterable
from typing import Any

from facesearch import __version__
from facesearch.errors import InvalidConfig
from facesearch.timings import Note

PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


class Spans:
    """Sends one span for each request, and one inside it for each of its stages.

    Lives as long as the application. Where to is said by OpenTelemetry's own variables, such as
    OTEL_EXPORTER_OTLP_ENDPOINT. A stage that comes several times is one span, as long as all of them.

    Args:
        processor: what takes the spans; by default one that sends them in batches.

    Raises:
        InvalidConfig: the packages are missing.
    """

    def __init__(self, processor: Any = None) -> None:
        try:
            from opentelemetry import propagate, trace  # noqa: PLC0415  only where asked for
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

            self._processor = processor or _batches()
        except ImportError:
            raise InvalidConfig(
                f"log.opentelemetry needs {' and '.join(PACKAGES)}, installed with pip."
            ) from None
        self._propagate, self._trace = propagate, trace
        resource = Resource.create({"service.name": "facesearch", "service.version": __version__})
        self._provider: Any = TracerProvider(resource=resource)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("facesearch", __version__)

    def tell(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        name: str,
        note: Note,
        status: int,
        begun: float,
        ended: float,
    ) -> None:
        """Send a request that has ended, as part of its client's trace where its headers name one.

        Args:
            begun, ended: seconds of `time.perf_counter`.
        """
        zero_ns = time.time_ns() - time.perf_counter_ns()
        carrier = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers}
        theirs = self._propagate.extract(
            {k: v for k, v in carrier.items() if k in ("traceparent", "tracestate")}
        )
        seen = {"http.response.status_code": status, "facesearch.request_id": note.request_id}
        request = self._tracer.start_span(
            name,
            theirs,
            self._trace.SpanKind.SERVER,
            {**seen, **({"error.type": note.code} if note.code else {})},
            start_time=zero_ns + round(begun * 1e9),
        )
        inside = self._trace.set_span_in_context(request)
        for stage, seconds in note.seconds.items():
            start_ns = zero_ns + round(note.begun[stage] * 1e9)
            self._tracer.start_span(stage, inside, start_time=start_ns).end(start_ns + round(seconds * 1e9))
        request.end(zero_ns + round(ended * 1e9))

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def _batches() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return BatchSpanProcessor(OTLPSpanExporter())
