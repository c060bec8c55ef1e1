"""What is told of each request: to its client, to the log and to the metrics."""

import logging
import re
import uuid
from time import perf_counter

from fastapi.routing import iter_route_contexts
from starlette.datastructures import MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.config import LogSettings
from facesearch.timings import Note, noted
from facesearch.web.in_flight import PROBES
from facesearch.web.metrics import Metrics
from facesearch.web.spans import Spans

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_UNANSWERED = 499
# These wait for jobs, which take as long as they take.
_WAITING = frozenset({"/add_faces_in_bulk", "/v1/jobs/{job_id}/events"})

_access = logging.getLogger("facesearch.access")
_slow = logging.getLogger("facesearch.slow")


class Observed:
    """ASGI middleware: a request has an id, its answer says how long it took, and so do log and metrics.

    The id is the client's where that is short and plain. Told are the route's template, never the path or the
    query, and nothing of what was sent. `app.state` has the settings `log`, `metrics` and `spans`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = _UNANSWERED
        begun = perf_counter()
        metrics: Metrics = scope["app"].state.metrics
        with noted(_id_of(scope)) as note:

            async def told(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    headers = MutableHeaders(scope=message)
                    headers[REQUEST_ID] = note.request_id
                    headers["Server-Timing"] = _server_timing(note, perf_counter() - begun)
                await send(message)

            metrics.in_flight.inc()
            try:
                await self._app(scope, receive, told)
            finally:
                metrics.in_flight.dec()
                _tell(scope, note, status, begun, perf_counter())


def route_of(scope: Scope) -> str:
    """The template of a request's route, without a slash at its end; `unmatched` where there is none."""
    path = getattr(scope.get("route"), "path", None) or _first_match(scope)
    return path.rstrip("/") or "/"


def _first_match(scope: Scope) -> str:
    """For what is answered before the routes are looked through."""
    state = scope["app"].state
    if not hasattr(state, "templates"):
        paths = dict.fromkeys(context.path for context in iter_route_contexts(scope["app"].routes))
        state.templates = [(compile_path(path)[0], path) for path in paths if path]
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return next((template for pattern, template in state.templates if pattern.match(path)), "unmatched")


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return uuid.uuid4().hex


def _server_timing(note: Note, total_s: float) -> str:
    stages = [f"{name};dur={ms:g}" for name, ms in note.milliseconds().items()]
    return ", ".join([*stages, f"total;dur={total_s * 1000:.2f}"])


def _tell(scope: Scope, note: Note, status: int, begun: float, ended: float) -> None:
    state = scope["app"].state
    log: LogSettings = state.settings.log
    metrics: Metrics = state.metrics
    spans: Spans | None = state.spans
    method = scope["method"] if scope["method"] in _METHODS else "OTHER"
    route = route_of(scope)
    metrics.note_request(method, route, status, ended - begun, note.code)
    metrics.note_stages(note.seconds)
    if spans is not None:
        spans.tell(scope["headers"], f"{method} {route}", note, status, begun, ended)
    ms = round((ended - begun) * 1000, 2)
    told = {"method": method, "route": route, "status": status, "ms": ms, "stages": note.milliseconds()}
    if note.code:
        told["code"] = note.code
    stages = ", ".join(f"{name} {took:g}" for name, took in note.milliseconds().items())
    line = (method, route, status, f" {note.code}" if note.code else "", ms, f" ({stages})" if stages else "")
    level = logging.DEBUG if route in PROBES else logging.INFO
    _access.log(level, "%s %s %d%s in %g ms%s", *line, extra={"told": told})
    if ms > log.slow_ms and route not in _WAITING:
        _slow.warning("Slow request: %s %s %d%s in %g ms%s", *line, extra={"told": told})
