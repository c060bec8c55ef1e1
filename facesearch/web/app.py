"""The FastAPI application around one `API`."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch import __version__
from facesearch.config import Settings
from facesearch.errors import FacesearchError
from facesearch.interfaces import API
from facesearch.web.bodies import BodyLimit
from facesearch.web.envelope import LastResort, install_error_handlers
from facesearch.web.routes import router

Application = FastAPI

_BULKS_AT_ONCE = 2

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
        app.state.limits = settings.limits
        app.state.threads = anyio.CapacityLimiter(settings.server.threads)
        app.state.bulk_threads = anyio.CapacityLimiter(_BULKS_AT_ONCE)
        api = await anyio.to_thread.run_sync(build_api, settings)
        try:
            await anyio.to_thread.run_sync(api.open)
            app.state.api = api
            yield
        finally:
            await anyio.to_thread.run_sync(api.close)

    # Its page of documentation loads nothing from other hosts.
    app = FastAPIOffline(title="facesearch", version=__version__, lifespan=lifespan, redoc_url=None)
    app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    install_error_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(LastResort)
    app.add_middleware(PlainStart)
    return app


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
