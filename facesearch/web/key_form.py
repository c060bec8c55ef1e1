"""The key in the form of /get_face_info/, where old clients put it."""

from collections.abc import MutableMapping
from typing import Any

import anyio
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive, Scope

from facesearch.errors import TooLarge, Unavailable
from facesearch.web.stopping import Stopping

FORM_PATH = "/get_face_info"
FIELD = "api_key"

_MOST_BYTES = 64 * 1024
_LIMIT_S = 10.0
# How long a form may still arrive once the service is asked to stop.
_STOP_S = 3.0
_LOOK_S = 0.5


async def key_in_form(scope: Scope, receive: Receive) -> tuple[str | None, Receive]:
    """Read a small form; return the key that it holds, None where there is none, and the form as it came.

    Raises:
        TooLarge: it is no small form.
        TimeoutError: it does not arrive.
        Unavailable: it has not when the service stops.
    """
    messages: list[Message] = []
    length = 0
    with anyio.fail_after(_LIMIT_S):
        while not messages or messages[-1].get("more_body", False):
            message = await _next(receive, scope["app"].state.stopping)
            messages.append(message)
            length += len(message.get("body", b""))
            if length > _MOST_BYTES:
                raise TooLarge(
                    f"Without a key in a header the form is over its limit of {_MOST_BYTES} bytes."
                )
    return await _key_in(scope, messages), _again(messages, receive)


async def _next(receive: Receive, stopping: Stopping) -> Message:
    while stopping.for_s <= _STOP_S:
        with anyio.move_on_after(_LOOK_S):
            return await receive()
    raise Unavailable("The service is stopping.")


async def _key_in(scope: Scope, messages: list[Message]) -> str | None:
    # A scope of its own: what is parsed here is not what the route gets.
    own: MutableMapping[str, Any] = dict(scope)
    try:
        async with Request(own, _again(messages, _nothing_more)).form(
            max_files=10, max_fields=100, max_part_size=_MOST_BYTES
        ) as form:
            given = [value.strip() for value in form.getlist(FIELD) if isinstance(value, str)]
    except (HTTPException, MultiPartException, ValueError):
        return None
    return ", ".join(filter(None, given)) or None


def _again(messages: list[Message], then: Receive) -> Receive:
    """Give what was read once more, then what follows."""
    left = iter(messages)

    async def receive() -> Message:
        for message in left:
            return message
        return await then()

    return receive


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
