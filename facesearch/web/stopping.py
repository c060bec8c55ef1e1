"""Knowing that the process has been asked to end, while its requests can still be answered."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import anyio

from facesearch.errors import Unavailable

R = TypeVar("R")

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_LOOK_S = 0.25


class Stopping:
    """Whether this process has been asked to end; true once it has. Lives as long as the application.

    Any thread may ask. It takes no lock: a signal handler sets it, and may interrupt itself.
    """

    def __init__(self) -> None:
        self._since: float | None = None

    def __bool__(self) -> bool:
        return self._since is not None

    @property
    def for_s(self) -> float:
        """For how many seconds, 0 where it has not been asked to."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def note(self) -> None:
        """Remember that the process has been asked to end."""
        if self._since is None:
            self._since = time.monotonic()

    @contextmanager
    def noted_on_signals(self) -> Iterator[None]:
        """Note the signals that end a server, then leave them to the server's own handlers.

        Outside the main thread, where there are no handlers, nothing happens.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        theirs: dict[int, Callable[[int, FrameType | None], Any]] = {}

        def ours(number: int, frame: FrameType | None) -> None:
            self.note()
            theirs[number](number, frame)
            # gunicorn's way to stop soon: its uvicorn worker hears it, and does no more until it is killed.
            if number == signal.SIGQUIT:
                signal.raise_signal(signal.SIGTERM)

        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                theirs[number] = handler
                signal.signal(number, ours)
        try:
            yield
        finally:
            for taken, handler in theirs.items():
                if signal.getsignal(taken) is ours:
                    signal.signal(taken, handler)


async def unless_stopping(stopping: Stopping, work: Callable[[], R], limiter: anyio.CapacityLimiter) -> R:
    """Call `work` in a thread; do not wait for it any longer once the process is asked to end.

    Raises:
        Unavailable: that has happened; the thread goes on by itself.
    """
    outcome: list[R] = []
    error: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_once, stopping, group.cancel_scope)
        try:
            outcome.append(await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter))
        except Exception as raised:
            error = raised
        group.cancel_scope.cancel()
    if error is not None:
        raise error
    if not outcome:
        raise Unavailable("The service is stopping.")
    return outcome[0]


async def _cancel_once(stopping: Stopping, scope: anyio.CancelScope) -> None:
    while not stopping:
        await anyio.sleep(_LOOK_S)
    scope.cancel()
