import time
from typing import Any

import pytest

from facesearch.errors import InvalidConfig
from facesearch.timings import noted, stage
from facesearch.web.spans import PACKAGES, Spans

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(InvalidConfig) as raised:
        Spans()
    assert all(package in raised.value.message for package in PACKAGES)


@pytest.fixture
def told() -> Any:
    """What takes finished spans, in the form of the SDK's processors."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="opentelemetry-sdk is missing")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    return export.SimpleSpanProcessor(exporter), exporter


def test_a_request_is_a_span_with_one_for_each_of_its_stages(told: Any) -> None:
    processor, exporter = told
    spans = Spans(processor)
    headers = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"x-api-key", b"secret")]
    before_ns = time.time_ns() - 1_000_000_000  # that clock may be set, and the thread be interrupted
    with noted("mine") as note:
        begun = time.perf_counter()
        for _ in range(2):
            with stage("detect"):
                time.sleep(0.01)
        note.code = "no_face_found"
        ended = time.perf_counter()
    spans.tell(headers, "POST /add_face", note, 422, begun, ended)
    inner, outer = exporter.get_finished_spans()
    spans.close()
    assert (inner.name, outer.name) == ("detect", "POST /add_face")
    assert inner.parent.span_id == outer.context.span_id
    assert f"{outer.context.trace_id:032x}" == TRACE
    assert f"{outer.parent.span_id:016x}" == PARENT
    assert dict(outer.attributes) == {
        "http.response.status_code": 422,
        "facesearch.request_id": "mine",
        "error.type": "no_face_found",
    }
    assert (
        before_ns
        <= outer.start_time
        <= inner.start_time
        <= inner.end_time
        <= outer.end_time
        <= time.time_ns() + 1_000_000_000
    )
    assert inner.end_time - inner.start_time >= 20_000_000
