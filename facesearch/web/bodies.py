"""Bounding what a request's body may cost while it arrives."""

import anyio
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.config import LimitSettings

BULK_PATH = "/add_faces_in_bulk"

# Boundaries, part headers and small form fields around the file.
_FRAMING_BYTES = 64 * 1024
_SILENCE_S = 60.0
# A client that is answered while it still sends may see a reset connection instead of the answer;
# a body that is only somewhat too long is therefore read to its end, unused.
_DRAIN_BYTES = 64 * 1024**2
_DRAIN_S = 10.0


class BodyLimit:
    """ASGI middleware: 413 as soon as a body is over its limit, 408 when it stops arriving.

    The limits are those of `app.state.limits`, which the lifespan sets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limits: LimitSettings = scope["app"].state.limits
        bulk = scope["path"].rstrip("/") == BULK_PATH
        file_bytes = limits.zip_bytes if bulk else limits.photo_bytes
        body = _BoundedBody(receive, file_bytes, _declared_length(scope))
        await self._app(scope, body.receive, send)


class _BoundedBody:
    """One request's body. Belongs to the request's task."""

    def __init__(self, receive: Receive, file_bytes: int, declared: int) -> None:
        self._receive = receive
        self._file_bytes = file_bytes
        self._most = file_bytes + _FRAMING_BYTES
        self._declared = declared
        self._received = 0

    async def receive(self) -> Message:
        if self._declared > self._most and not self._received:
            await self._refuse()
        with anyio.move_on_after(_SILENCE_S):
            message = await self._receive()
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
                if self._received > self._most:
                    await self._refuse()
            return message
        raise HTTPException(408)

    async def _refuse(self) -> None:
        await self._drain()
        raise HTTPException(413, f"The file is over the limit of {self._file_bytes} bytes.")

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


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
