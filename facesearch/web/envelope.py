"""The envelope of every answer, and which HTTP status each error becomes."""

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.errors import (
    Conflict,
    FaceRefused,
    FacesearchError,
    Invalid,
    InvalidConfig,
    NoFaceFound,
    NotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)

RETRY_AFTER_S = 5

_STATUS: Mapping[type[FacesearchError], int] = {
    Invalid: 400,
    UnsupportedMedia: 415,
    TooLarge: 413,
    NoFaceFound: 422,
    FaceRefused: 422,
    InvalidConfig: 503,  # met by a request, it is the service that cannot go on
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}

_SENTENCES = {
    404: "There is no such route.",
    405: "This route does not take that method.",
    408: "The request did not arrive in time.",
    500: "Something went wrong in the service; its log says where.",
}

_log = logging.getLogger(__name__)


def ok(body: Any, result: Any = None) -> JSONResponse:
    """Answer 200 with a body, and a structured result beside it where there is one."""
    content = {"status": "OK", "body": body}
    if result is not None:
        content["result"] = result
    return JSONResponse(jsonable_encoder(content))


def failed(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with an error: its sentence as the body, its stable code in the result."""
    content = {"status": "ERROR", "body": message, "result": {"code": code}}
    return JSONResponse(content, status_code=status, headers=headers)


def status_of(error: FacesearchError) -> int:
    """The HTTP status of an error: that of the nearest class above it that has one."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def answer_to(error: FacesearchError) -> JSONResponse:
    """The answer that tells a client of an error."""
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    return failed(status, error.code, error.message, headers)


def install_error_handlers(app: FastAPI) -> None:
    """Let every error, the framework's own too, leave in the envelope."""

    @app.exception_handler(FacesearchError)
    async def on_known(_: Request, error: FacesearchError) -> JSONResponse:
        return answer_to(error)

    @app.exception_handler(RequestValidationError)
    async def on_validation(_: Request, error: RequestValidationError) -> JSONResponse:
        return failed(400, "invalid_parameter", _explain(error))

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> JSONResponse:
        message = _SENTENCES.get(error.status_code, error.detail)
        return failed(error.status_code, f"http_{error.status_code}", message, error.headers)


class LastResort:
    """ASGI middleware: an error that nobody foresaw becomes a 500 in the envelope, and one log line.

    The line names the type and the place, not the message: a message may quote what a client sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("Unforeseen %s in %s, line %s", type(error).__name__, place.name, place.lineno)
            if not started:
                await failed(500, "internal", _SENTENCES[500])(scope, receive, send)


def _explain(error: RequestValidationError) -> str:
    reasons = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"][1:]) or "request"
        missing = problem["type"] == "missing"
        reasons.append(f"{where} is missing" if missing else f"{where}: {problem['msg']}")
    return "; ".join(reasons) + "."
