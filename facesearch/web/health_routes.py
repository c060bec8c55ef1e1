"""Whether the service is alive, whether it can work, what it has done, and within which limits."""

from typing import Any

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from facesearch import __version__
from facesearch.config import Settings
from facesearch.interfaces import API
from facesearch.records import PartState, Readiness
from facesearch.web.examples import anywhere, shown, shown_text
from facesearch.web.key_headers import KEY_SCHEMES
from facesearch.web.metrics import CONTENT_TYPE, Metrics
from facesearch.web.parameters import check_parameters
from facesearch.web.schemas import Alive, Info, Limits, Ready

_READY = {"ok": 200, "stale": 200}

router = APIRouter(tags=["Operation"])


@router.head("/healthz", include_in_schema=False)
@router.get(
    "/healthz", summary="Tell whether the process is alive", response_model=Alive, responses=shown("alive")
)
async def healthz() -> JSONResponse:
    """Touches nothing else: whoever restarts processes asks here."""
    return JSONResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Tell whether requests can be worked on",
    response_model=Ready,
    responses=shown("ready") | shown("not_ready", 503, Ready),
)
async def readyz(request: Request) -> JSONResponse:
    """Asks the database, the index, the encoder and the pool, each for two seconds at most.

    `stale`: the database is away, and searches are answered from the copy. `failed` and `stopping` are 503.
    """
    api: API = request.app.state.api
    readiness = await anyio.to_thread.run_sync(api.health.ready, limiter=request.app.state.probe_threads)
    state = "stopping" if request.app.state.stopping else readiness.state
    return JSONResponse(_ready(state, readiness), _READY.get(state, 503), {"Cache-Control": "no-store"})


@router.get(
    "/metrics",
    dependencies=KEY_SCHEMES,
    summary="Tell what the service has done, for Prometheus",
    response_class=Response,
    responses=shown_text("text/plain", "facesearch_faces 1234.0\n") | anywhere(old=True),
)
async def metrics(request: Request) -> Response:
    """Counted by all server processes of the host since they began; gauges are of this moment."""
    api: API = request.app.state.api
    counted: Metrics = request.app.state.metrics

    def work() -> bytes:
        counted.note_pool_restarts(api.health.pool_restarts)
        return counted.text(api.health.figures())

    text = await anyio.to_thread.run_sync(work, limiter=request.app.state.probe_threads)
    return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


@router.get(
    "/v1/info",
    dependencies=[*KEY_SCHEMES, Depends(check_parameters)],
    summary="Tell the service's version and limits",
    response_model=Info,
    responses=shown("info") | anywhere(),
)
async def info(request: Request) -> JSONResponse:
    """Bytes and pixels are of one file; `requests_in_flight` and `threads` are of one server process."""
    settings: Settings = request.app.state.settings
    sections = (settings.limits, settings.intake, settings.server)
    known = {name: value for section in sections for name, value in section.model_dump().items()}
    limits = {name: known[name] for name in Limits.model_fields}
    return JSONResponse({"version": __version__, "limits": limits})


def _ready(state: str, readiness: Readiness) -> dict[str, Any]:
    return {"status": state, "parts": [_part(part) for part in readiness.parts]}


def _part(part: PartState) -> dict[str, Any]:
    return {
        "name": part.name,
        "state": "ok" if part.error_code is None else "failed",
        "ms": round(part.seconds * 1000, 2),
        "error": part.error_code and {"code": part.error_code, "message": part.error},
    }
