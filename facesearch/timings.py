"""How long each stage of a request takes, noted where it happens, and read where the request ends.

The note of a request travels with its context, which anyio hands to the threads that it works in. Where
there is none, as in a job or a command, a stage costs a look at a context variable and nothing is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from types import TracebackType

STAGES = ("decode", "detect", "embed", "search", "database")

_current: ContextVar["Note | None"] = ContextVar("facesearch_note", default=None)


class Note:
    """What is noted of one request; lives as long as it. Its threads write one after the other.

    Attributes:
        request_id: told to the client and to every line of the log.
        seconds: by stage, without the stages inside it.
        begun: by stage, when it first began, in seconds of `time.perf_counter`.
        code: of the error that the request was answered with, "" where it was not.
    """

    __slots__ = ("begun", "code", "inner_s", "request_id", "seconds")

    def __init__(self, request_id: str = "") -> None:
        self.request_id = request_id
        self.seconds: dict[str, float] = {}
        self.begun: dict[str, float] = {}
        self.code = ""
        self.inner_s = 0.0

    def milliseconds(self) -> dict[str, float]:
        """The stages so far, in the order in which a request goes through them."""
        return {name: round(self.seconds[name] * 1000, 2) for name in STAGES if name in self.seconds}


@contextmanager
def noted(request_id: str) -> Iterator[Note]:
    """Note what this context does meanwhile, as one request."""
    note = Note(request_id)
    before = _current.set(note)
    try:
        yield note
    finally:
        _current.reset(before)


def current() -> Note | None:
    """The note of the request that this thread or task works for."""
    return _current.get()


class stage:
    """Note the time of a `with` block as a stage's, without that of the stages inside it.

    Args:
        name: one of STAGES.
    """

    __slots__ = ("_before_s", "_begun", "_name", "_note")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._note = note = _current.get()
        if note is not None:
            self._before_s, note.inner_s = note.inner_s, 0.0
            self._begun = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        note = self._note
        if note is not None:
            took = perf_counter() - self._begun
            note.begun.setdefault(self._name, self._begun)
            note.seconds[self._name] = note.seconds.get(self._name, 0.0) + took - note.inner_s
            note.inner_s = self._before_s + took
