"""The tasks that wait for a child, and the results that wait for their call."""

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from facesearch.errors import Unavailable
from facesearch.workers.attempts import Attempt

Result = bytes | Attempt
WAIT_S = 1.0


@dataclass(eq=False, slots=True)
class Task:
    """One item of a call on its way through a child.

    `suspect` is set where a child died while it ran the task: it is tried once more, alone.
    """

    number: int
    call: "Call"
    position: int
    item: bytes
    suspect: bool = False


@dataclass(eq=False, slots=True)
class Call:
    """One `map` of a pool: what it has waiting, and what has come back for it."""

    task: bytes
    arrived: threading.Condition
    waiting: deque[Task] = field(default_factory=deque)
    results: dict[int, Result] = field(default_factory=dict)
    unanswered_bytes: int = 0
    abandoned: bool = False


class CallDesk:
    """Stands between the threads that call `map` and the one that feeds the children.

    Lives as long as its pool. Any thread may call it. Calls take turns, so that a short one does not wait
    behind all of a long one.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._wake = wake
        self._numbers = itertools.count(1)
        self._turns: deque[Call] = deque()
        self._suspects: deque[Task] = deque()
        self._calls: set[Call] = set()

    # for the threads that call

    def open_call(self, task: bytes) -> Call:
        """Begin a call of a pickled task."""
        call = Call(task, threading.Condition(self._lock))
        with self._lock:
            self._calls.add(call)
        return call

    def submit(self, call: Call, position: int, item: bytes) -> None:
        """Queue one pickled item of a call."""
        with self._lock:
            call.waiting.append(Task(next(self._numbers), call, position, item))
            call.unanswered_bytes += len(item)
            if call not in self._turns:
                self._turns.append(call)
        self._wake()

    def answer_unsent(self, call: Call, position: int, result: Attempt) -> None:
        """Answer an item that could not even be queued."""
        with self._lock:
            call.results[position] = result

    def is_answered(self, call: Call, position: int) -> bool:
        """Whether `wait_for` would return at once."""
        with self._lock:
            return position in call.results

    def wait_for(self, call: Call, position: int, alive: Callable[[], bool]) -> Result:
        """Return the result of an item, waiting while somebody is there to bring it.

        Raises:
            Unavailable: nobody is.
        """
        with self._lock:
            while position not in call.results:
                if not alive():
                    raise Unavailable("The service is shutting down.")
                call.arrived.wait(WAIT_S)
            return call.results.pop(position)

    def close_call(self, call: Call) -> None:
        """Forget a call and what it has queued; results that still come are dropped."""
        with self._lock:
            call.abandoned = True
            call.waiting.clear()
            call.results.clear()
            self._calls.discard(call)
            if call in self._turns:
                self._turns.remove(call)
            self._suspects = deque(task for task in self._suspects if task.call is not call)

    # for the thread that feeds the children

    def has_work(self) -> bool:
        """Whether any task waits."""
        with self._lock:
            return bool(self._turns or self._suspects)

    def take_suspect(self) -> Task | None:
        """Take a task that has to run alone, before all others."""
        with self._lock:
            return self._suspects.popleft() if self._suspects else None

    def take(self) -> Task | None:
        """Take the oldest task of the call whose turn it is."""
        with self._lock:
            if not self._turns:
                return None
            call = self._turns.popleft()
            task = call.waiting.popleft()
            if call.waiting:
                self._turns.append(call)
            return task

    def put_back(self, tasks: list[Task]) -> None:
        """Queue tasks again, in front of what their calls have waiting; suspects apart."""
        with self._lock:
            for task in sorted(tasks, key=lambda task: task.number, reverse=True):
                if task.call.abandoned:
                    continue
                if task.suspect:
                    self._suspects.appendleft(task)
                    continue
                task.call.waiting.appendleft(task)
                if task.call not in self._turns:
                    self._turns.appendleft(task.call)

    def answer(self, task: Task, result: Result) -> None:
        """Bring a result to its call."""
        with self._lock:
            if not task.call.abandoned:
                task.call.results[task.position] = result
                task.call.unanswered_bytes -= len(task.item)
                task.call.arrived.notify_all()

    def answer_all_waiting(self, result: Attempt) -> None:
        """Give every queued task the same answer."""
        with self._lock:
            tasks = [*self._suspects, *(task for call in self._turns for task in call.waiting)]
            self._suspects.clear()
            for call in self._turns:
                call.waiting.clear()
            self._turns.clear()
        for task in tasks:
            self.answer(task, result)

    def stir(self) -> None:
        """Have every waiting call look again whether somebody is there."""
        with self._lock:
            for call in self._calls:
                call.arrived.notify_all()
