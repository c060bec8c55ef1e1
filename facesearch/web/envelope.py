"""The envelope of every answer, and which HTTP status each error becomes.

The four old routes answer `{"status", "body", "result"}`. What is below /v1 answers without an envelope, and
its errors are `{"code", "message", "details"}`.
"""

import errno
import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.errors import (
    Conflict,
    FaceRefused,
    FacesearchError,
    Invalid,
    InvalidConfig,
    InvalidParameter,
    KeyMissing,
    KeyReused,
    NoFaceFound,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    QueueFull,
    RateLimited,
    ScopeNotAllowed,
    SeveralFaces,
    StorageFull,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)
from facesearch.logs import where
from facesearch.timings import current

RETRY_AFTER_S = 5
V1 = "/v1/"

_CHALLENGE = 'Bearer realm="facesearch"'

_STATUS: Mapping[type[FacesearchError], int] = {
    Invalid: 400,
    UnsupportedMedia: 415,
    TooLarge: 413,
    NoFaceFound: 422,
    SeveralFaces: 422,
    FaceRefused: 422,
    KeyReused: 422,
    InvalidConfig: 503,  # met by a request, it is the service that cannot go on
    NotAuthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    QueueFull: 429,
    RateLimited: 429,
    Unavailable: 503,
}
_MOST_REASONS = 10
_LONGEST_PLACE = 100
_NO_JSON = "The body is no JSON that is taken: it nests too deeply, has a number too long, or is not UTF-8."
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

HTTP_SENTENCES = {
    404: "There is no such route.",
    405: "This route does not take that method.",
    408: "The request did not arrive in time.",
    500: "Something went wrong in the service; its log says where.",
}
HTTP_CODES = {
    400: "invalid",
    404: "not_found",
    405: "method_not_allowed",
    408: "timed_out",
    413: "too_large",
    503: "unavailable",
}

_log = logging.getLogger(__name__)


def ok(body: Any, result: Any = None) -> JSONResponse:
    """Answer 200 with a body, and a structured result beside it where there is one."""
    content = {"status": "OK", "body": body}
    if result is not None:
        content["result"] = result
    return JSONResponse(jsonable_encoder(content))


def failed(
    status: int,
    code: str,
    message: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> JSONResponse:
    """Answer with an error, its sentence and its stable code, as is usual below that path.

    An answer that tells of a passing state, 429 or 503, says when to ask again.
    """
    if (note := current()) is not None:
        note.code = code
    own = dict(headers or {})
    if status in (429, 503):
        own.setdefault("Retry-After", str(RETRY_AFTER_S))
    if path.startswith(V1):
        content = {"code": code, "message": message, "details": dict(details or {})}
    else:
        content = {"status": "ERROR", "body": message, "result": {"code": code}}
    return JSONResponse(content, status_code=status, headers=own)


def status_of(error: FacesearchError) -> int:
    """The HTTP status of an error: that of the nearest class above it that has one."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def answer_to(error: FacesearchError, path: str) -> JSONResponse:
    """The answer that tells a client of an error, as is usual below that path."""
    return failed(status_of(error), error.code, error.message, path, _headers_of(error), _details_of(error))


def _details_of(error: FacesearchError) -> dict[str, Any]:
    parameters = error.parameters if isinstance(error, InvalidParameter) else ()
    return {"parameters": [plain(name) for name in parameters]} if parameters else {}


def _headers_of(error: FacesearchError) -> dict[str, str]:
    """What tells programs how to go on: RFC 6750, and when to ask again."""
    match error:
        case RateLimited():
            return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
        case KeyMissing():
            return {"WWW-Authenticate": _CHALLENGE}
        case NotAuthenticated():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        case ScopeNotAllowed():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'}
    return {}


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk has no room left."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_json(request: Request) -> bool:
    """Whether a request says that its body is JSON."""
    return "json" in request.headers.get("content-type", "").partition(";")[0].lower()


def install_error_handlers(app: FastAPI) -> None:
    """Let every error, the framework's own too, leave in the envelope."""

    @app.exception_handler(FacesearchError)
    async def on_known(request: Request, error: FacesearchError) -> JSONResponse:
        return answer_to(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> JSONResponse:
        reasons = _reasons(error)
        message = "; ".join(reason for _, reason in reasons) + "."
        details = {"parameters": [where for where, _ in reasons]}
        return failed(400, "invalid_parameter", message, request.url.path, details=details)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path
        if is_full(error.__cause__):  # FastAPI makes a 400 of whatever happens while a form arrives
            return answer_to(StorageFull(), path)
        if isinstance(error.__cause__, RecursionError | ValueError) and is_json(request):
            return answer_to(InvalidParameter(_NO_JSON, ["request"]), path)
        status = error.status_code
        message = HTTP_SENTENCES.get(status, error.detail)
        code = HTTP_CODES.get(status) if path.startswith(V1) or status == 503 else None
        headers = {"Allow": _methods(request)} if status == 405 and error.headers else error.headers
        return failed(status, code or f"http_{status}", message, path, headers)

    @app.exception_handler(OSError)
    async def on_system(request: Request, error: OSError) -> JSONResponse:
        if is_full(error):
            return answer_to(StorageFull(), request.url.path)
        raise error

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, _: ClientDisconnect) -> JSONResponse:
        return failed(400, "invalid", "The request ended early.", request.url.path)  # nobody reads it


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
            _log.error("Unforeseen %s", where(error))
            if not started:
                await failed(500, "internal", HTTP_SENTENCES[500], scope["path"])(scope, receive, send)


def plain(text: str) -> str:
    """A place in what was sent, whose names may be of any length and no Unicode."""
    return text[:_LONGEST_PLACE].encode("utf-8", "backslashreplace").decode()


def _methods(request: Request) -> str:
    """The methods that a path takes: the framework names those of its first route alone."""
    scope = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    methods: set[str] = set()
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST"):
        if any(route.matches({**scope, "method": method})[0] == Match.FULL for route in request.app.routes):
            methods.add(method)
    return ", ".join(sorted(methods))


def _reasons(error: RequestValidationError) -> list[tuple[str, str]]:
    """Where each problem is, and what it is, of the first few."""
    reasons = []
    for problem in error.errors()[:_MOST_REASONS]:
        where = plain(".".join(str(part) for part in problem["loc"][1:])) or "request"
        match problem:
            case {"type": "json_invalid"}:
                reasons.append(("request", "the body is not JSON"))
            case {"type": "missing"}:
                reasons.append((where, f"{where} is missing"))
            case {"type": "value_error", "input": str()} if "UploadFile" in problem["msg"]:
                reasons.append((where, f"{where} must be a file"))
            case {"type": "model_attributes_type" | "model_type", "loc": ("body",)}:
                reasons.append(("request", "the body must be a JSON object, sent as application/json"))
            case {"type": "value_error"}:
                reasons.append((where, f"{where}: {problem['msg'].removeprefix('Value error, ')}"))
            case _:
                reasons.append((where, f"{where}: {problem['msg']}"))
    return reasons
