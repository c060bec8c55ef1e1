"""Bounding what a request's body may cost while it arrives."""

import re
import time

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.config import LimitSettings
from facesearch.web.gate import route_path
from facesearch.web.stopping import Stopping

ZIP_PATHS = ("/add_faces_in_bulk", "/v1/imports")
MOST_PHOTOS = 10
# With several photos in one body; that each is within its limit is seen once they are apart.
PHOTOS_OF = {"/v1/compare": 2, "/v1/search": MOST_PHOTOS}
# Below them, what brings no photo is JSON.
_JSON_PATHS = re.compile(r"/v1/(?:search/vector|faces/.+|(?:people|collections|jobs)(?:/.*)?)", re.DOTALL)
_JSON_BYTES = 1024**2

# Boundaries, part headers and small form fields around the file.
_FRAMING_BYTES = 64 * 1024
_SILENCE_S = 60.0
_SLOWEST_BYTES_PER_S = 1024
# How long a body may still arrive once the service is asked to stop.
_STOP_S = 3.0
_LOOK_S = 0.5
# A client that is answered while it still sends may see a reset connection instead of the answer;
# a body that is only somewhat too long is therefore read to its end, unused.
_DRAIN_BYTES = 64 * 1024**2
_DRAIN_S = 10.0


class BodyLimit:
    """ASGI middleware: 413 as soon as a body is over its limit, 408 when it stops arriving or crawls.

    The limits are those of `app.state.limits`, which the lifespan sets. Once `app.state.stopping` says that
    the process shall end, a body that goes on arriving is 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: LimitSettings = scope["app"].state.limits
        path = route_path(scope).rstrip("/")
        stopping: Stopping = scope["app"].state.stopping
        body = _BoundedBody(receive, *_limit(path, limits), _declared_length(scope), stopping)
        await self._app(scope, body.receive, send)


class _BoundedBody:
    """One request's body. Belongs to the request's task."""

    def __init__(self, receive: Receive, most: int, sentence: str, declared: int, stopping: Stopping) -> None:
        self._receive = receive
        self._most = most
        self._sentence = sentence
        self._declared = declared
        self._stopping = stopping
        self._received = 0
        self._waited_s = 0.0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # what comes now is that the client has gone, whenever that is
            return await self._receive()
        if self._declared > self._most and not self._received:
            await self._refuse()
        message = await self._next()
        if message["type"] == "http.request":
            self._complete = not message.get("more_body", False)
            self._received += len(message.get("body", b""))
            if self._received > self._most:
                await self._refuse()
        return message

    async def _next(self) -> Message:
        begun = time.monotonic()
        silent_s = 0.0
        while silent_s < _SILENCE_S:
            if self._stopping.for_s > _STOP_S:
                raise HTTPException(503, "The service is stopping.")
            if self._waited_s + silent_s > _SILENCE_S + self._received / _SLOWEST_BYTES_PER_S:
                break
            with anyio.move_on_after(_LOOK_S):
                message = await self._receive()
                self._waited_s += time.monotonic() - begun
                return message
            silent_s = time.monotonic() - begun
        raise HTTPException(408)

    async def _refuse(self) -> None:
        if not self._complete:
            await self._drain()
        raise HTTPException(413, self._sentence)

    async def _drain(self) -> None:
        unused = 0
        if self._declared - self._received > _DRAIN_BYTES:
            return
        with anyio.move_on_after(_DRAIN_S):
            while unused <= _DRAIN_BYTES:
                message = await self._receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                unused += len(message.get("body", b""))


def _limit(path: str, limits: LimitSettings) -> tuple[int, str]:
    """How many bytes a body may have, and what is said of more."""
    if _JSON_PATHS.fullmatch(path):
        return _JSON_BYTES, f"The body is over the limit of {_JSON_BYTES} bytes."
    most = limits.zip_bytes if path in ZIP_PATHS else limits.photo_bytes
    files = PHOTOS_OF.get(path, 1)
    what = "The file is" if files == 1 else "A file is"
    return files * most + _FRAMING_BYTES, f"{what} over the limit of {most} bytes."


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
