"""The pool without processes."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from facesearch.errors import Unavailable
from facesearch.interfaces import WorkerPool
from facesearch.records import Outcome
from facesearch.workers.attempts import attempt
from facesearch.workers.outcomes import outcome_of

T = TypeVar("T")
R = TypeVar("R")


class InlinePool(WorkerPool):
    """Runs each task in the thread that asks for its outcome, one item at a time.

    Lives as long as its owner likes. A task's time is not limited, and one that ends the process ends it.
    """

    def __init__(self) -> None:
        self._closed = False

    @property
    def processes(self) -> int:
        return 1

    def map(self, task: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[R]]:
        for item in items:
            self.ping()
            yield outcome_of(attempt(task, item), task)

    def ping(self) -> None:
        if self._closed:
            raise Unavailable("The service is shutting down.")

    def close(self) -> None:
        self._closed = True
