"""Bounding how many requests are at work at the same time, and for how long an answer may wait to be read."""

from types import TracebackType
from typing import Self

import anyio
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.errors import Busy
from facesearch.web.envelope import answer_to

# Shorter than the time that a server which is asked to stop gives its requests.
_UNREAD_S = 20.0


class Places:
    """So many may do something at the same time, each with a place. Lives as long as its process.

    Belongs to the event loop's thread. A place is taken with `with`, which asks nothing: `refuse_if_full`
    comes before it.

    Args:
        number: how many there are.
        what: for the sentence of those who get none.
    """

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        self._what = what
        self._taken = 0

    def refuse_if_full(self) -> None:
        """Raise Busy where no place is left."""
        if self._taken >= self.number:
            raise Busy(f"The service is at work on as many {self._what} as it may: {self.number}.")

    def __enter__(self) -> Self:
        self._taken += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken -= 1


# Asked every few seconds by machines, and answered however busy the service is: they take no place.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class InFlight:
    """ASGI middleware: 503 at once, before the body is read, where all of `app.state.in_flight` are taken.

    An answer that its client does not read is given up, so that no request keeps its place for ever.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        places: Places = scope["app"].state.in_flight
        try:
            places.refuse_if_full()
        except Busy as error:
            await answer_to(error, scope["path"])(scope, receive, send)
            return
        with places, anyio.CancelScope() as work:

            async def sent(message: Message) -> None:
                with anyio.move_on_after(_UNREAD_S) as patience:
                    await send(message)
                if patience.cancelled_caught:
                    work.cancel()
                    await checkpoint()  # where that is felt

            await self._app(scope, receive, sent)
