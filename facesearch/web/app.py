"""The FastAPI application around one `API`."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch import __version__
from facesearch.config import Settings
from facesearch.errors import FacesearchError
from facesearch.interfaces import API
from facesearch.web.bodies import BodyLimit
from facesearch.web.collections_routes import router as collections_router
from facesearch.web.envelope import LastResort, install_error_handlers
from facesearch.web.examples import with_nulls
from facesearch.web.faces_routes import router as faces_router
from facesearch.web.gate import Gate
from facesearch.web.health_routes import router as health_router
from facesearch.web.imports_routes import router as imports_router
from facesearch.web.in_flight import InFlight, Places
from facesearch.web.jobs_routes import router as jobs_router
from facesearch.web.key_headers import KEY_SCHEMES
from facesearch.web.models_routes import router as models_router
from facesearch.web.observed import Observed
from facesearch.web.observing import counting_restarts, observing
from facesearch.web.parameters import check_parameters
from facesearch.web.people_routes import router as people_router
from facesearch.web.photos_routes import router as photos_router
from facesearch.web.routes import router
from facesearch.web.search_routes import router as search_router
from facesearch.web.stopping import Stopping
from facesearch.web.thumbnail_route import router as thumbnail_router

Application = FastAPI

_TAGS = {
    "Plain": "All of one gallery, the collection `default`, in four routes that keep their form.",
    "Photos": "Faces of photos that are not kept.",
    "Search": "With photos, a stored face or a vector.",
    "Faces": "What is stored of each.",
    "People": "Who the faces are.",
    "Collections": "Galleries apart from each other, each of one model.",
    "Models": "What distances mean.",
    "Imports and jobs": "Many photos at once, and how it goes on.",
    "Operation": "For whoever runs it.",
}
_DISK_THREADS = 4
_ACCESS_THREADS = 8
# Forms are read before it is known who sends them.
_FORMS = 16
# So that neither those who wait for a bulk nor those who follow jobs keep everybody else out.
_BULK_SHARE = 2
_STREAM_SHARE = 4

_log = logging.getLogger(__name__)


def create_app(read_settings: Callable[[], Settings], build_api: Callable[[Settings], API]) -> Application:
    """Make the application; nothing is read, built or opened before its lifespan starts.

    Args:
        read_settings: called once at start.
        build_api: called once at start; the API is opened then and closed at the end.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings = read_settings()
        _set_limits(app, settings)
        async with observing(app, settings):
            with app.state.stopping.noted_on_signals():
                api = await anyio.to_thread.run_sync(build_api, settings)
                try:
                    await anyio.to_thread.run_sync(api.open)
                    app.state.api = api
                    async with counting_restarts(app.state.metrics, lambda: api.health.pool_restarts):
                        yield
                finally:
                    await anyio.to_thread.run_sync(api.close)

    # Its page of documentation loads nothing from other hosts.
    app = FastAPIOffline(
        title="facesearch",
        summary="Finds known faces in photos.",
        version=__version__,
        openapi_tags=[{"name": name, "description": said} for name, said in _TAGS.items()],
        lifespan=lifespan,
        redoc_url=None,
    )
    app.include_router(router, dependencies=KEY_SCHEMES)
    for routes in (
        photos_router,
        search_router,
        faces_router,
        thumbnail_router,
        people_router,
        collections_router,
        models_router,
        imports_router,
        jobs_router,
    ):
        app.include_router(routes, dependencies=[*KEY_SCHEMES, Depends(check_parameters)])
    app.include_router(health_router)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    _complete_document(app)
    install_error_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(InFlight)
    app.add_middleware(Gate)
    app.add_middleware(LastResort)
    app.add_middleware(Observed)
    app.add_middleware(PlainStart)
    return app


def _complete_document(app: FastAPI) -> None:
    made = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_nulls(made())
        return app.openapi_schema

    app.openapi = completed  # type: ignore[method-assign]


def _set_limits(app: FastAPI, settings: Settings) -> None:
    """Say how much the application does at the same time; what it counts in belongs to this process."""
    most = settings.server.requests_in_flight
    state = app.state
    state.settings = settings
    state.limits = settings.limits
    state.stopping = Stopping()
    state.in_flight = Places(most, "requests")
    state.bulks = Places(max(1, most // _BULK_SHARE), "bulks")
    state.streams = Places(max(1, most // _STREAM_SHARE), "event streams")
    state.threads = anyio.CapacityLimiter(settings.server.threads)
    state.disk_threads = anyio.CapacityLimiter(_DISK_THREADS)
    state.access_threads = anyio.CapacityLimiter(_ACCESS_THREADS)
    state.forms = Places(_FORMS, "forms without a key in a header")
    # These only ask how a job goes on, and mostly sleep.
    state.bulk_threads = anyio.CapacityLimiter(state.bulks.number)
    state.stream_threads = anyio.CapacityLimiter(state.streams.number)


class PlainStart:
    """ASGI middleware: a start that fails for a known reason is logged as its sentence alone.

    Starlette would hand the server a traceback, which names paths and buries the reason.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        told = False

        async def plain(message: Message) -> None:
            nonlocal told
            told = message["type"] == "lifespan.startup.failed"
            if not told:
                await send(message)

        try:
            await self._app(scope, receive, plain)
        except FacesearchError as error:
            await send({"type": "lifespan.startup.failed", "message": error.message})
            raise
        except BaseException as error:
            if told:
                reason = f"The service could not start: {type(error).__name__}: {error}"
                await send({"type": "lifespan.startup.failed", "message": reason})
            raise
