"""The pool of child processes."""

import contextlib
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from facesearch.errors import Unavailable
from facesearch.interfaces import WorkerPool
from facesearch.records import Outcome
from facesearch.workers.attempts import Attempt, describe, unpack
from facesearch.workers.calls import Call, CallDesk
from facesearch.workers.keeper import Keeper
from facesearch.workers.outcomes import outcome_of
from facesearch.workers.slots import HostSlots

T = TypeVar("T")
R = TypeVar("R")

# With 2, children waited while the oldest item took long: 5 to 18 % of the time for photos of which every
# seventh took four times as long. More than 4 gained nothing.
WINDOW_PER_PROCESS = 4
WINDOW_BYTES = 64 * 1024**2
MEMORY_BYTES = 1024**3
CLOSE_LIMIT_S = 5.0


class ProcessPool(WorkerPool):
    """Runs tasks in children of one supervisor process, which is replaced whole when a child is lost.

    Lives as long as its process; the children live from the first work to `close`, or until the process
    that made them is gone, however it went. Any thread may call it; not to be carried over a fork once it
    has worked. A task may run more than once, so it must not mind being repeated: what other children had
    when one was lost is tried again. A task in whose hands a child died is tried once more, alone.

    A task object is unpickled once per child, which keeps the most recent ones: what it builds at its first
    item is there for the next. Numeric libraries run single-threaded in the children.
    """

    def __init__(
        self,
        processes: int,
        per_host: int,
        task_timeout_s: float,
        slots_dir: Path,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Remember the sizes; nothing starts yet.

        Args:
            processes: how many children; 0 takes one per core that this process may use.
            per_host: how many children all pools that share `slots_dir` have together. A pool that finds no
                free slot still runs one child.
            task_timeout_s: how long one task may run.
            slots_dir: a folder on the host's own disk; it is made at the first work.
            memory_bytes: once a child holds more after a task, the children are renewed between two tasks,
                twice a minute at most; one that takes more than three times as much at a task is killed.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._wanted = min(processes or cores, per_host)
        self._task_timeout_s = task_timeout_s
        self._memory_bytes = memory_bytes
        self._slots = HostSlots(slots_dir, per_host)
        self._desk = CallDesk(self._ring)
        self._lock = threading.Lock()
        self._keeper: Keeper | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._closed = False
        self._restarts_before = 0

    @property
    def processes(self) -> int:
        """How many children there are, or shall be where none has been started."""
        keeper = self._keeper
        crew = keeper.crew if keeper else None
        return crew.processes if crew else self._wanted

    @property
    def restarts(self) -> int:
        keeper = self._keeper
        return self._restarts_before + (keeper.restarts if keeper else 0)

    def map(self, task: Callable[[T], R], items: Iterable[T]) -> Iterator[Outcome[R]]:
        """Yield the outcomes in order, as the port says; takes at most four items per child ahead.

        Raises:
            TypeError: the task is defined in a script: children cannot import it.
            Unavailable: the pool is closed, also while the call waits.
        """
        module = getattr(task, "__module__", None) or type(task).__module__
        if module == "__main__":
            raise TypeError("a task must be defined in a module that can be imported")
        return self._outcomes(task, pickle.dumps(task, protocol=5), iter(items))

    def ping(self) -> None:
        if self._closed:
            raise Unavailable("The service is shutting down.")
        if self._keeper is not None and self._keeper.is_broken():
            raise Unavailable("The worker processes do not stay alive.")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            keeper, self._keeper = self._keeper, None
            if keeper is not None:
                keeper.stop()
                self._ring()
                keeper.join(CLOSE_LIMIT_S)
            for end in self._bell or ():
                end.close()

    def _outcomes(
        self, task: Callable[[T], R], pickled_task: bytes, items: Iterator[T]
    ) -> Iterator[Outcome[R]]:
        call = self._desk.open_call(pickled_task)
        more = True
        taken = given = 0
        try:
            while True:
                while more and self._has_room(call, taken, given):
                    try:
                        item = next(items)
                    except StopIteration:
                        more = False
                    else:
                        self._submit(call, taken, item)
                        taken += 1
                if given == taken:
                    return
                yield outcome_of(self._wait_for(call, given), task)
                given += 1
        finally:
            self._desk.close_call(call)

    def _has_room(self, call: Call, taken: int, given: int) -> bool:
        """Whether to take another item before the next outcome is given."""
        if taken == given:
            return True
        if taken - given >= WINDOW_PER_PROCESS * self.processes or call.unanswered_bytes >= WINDOW_BYTES:
            return False
        return not self._desk.is_answered(call, given)

    def _submit(self, call: Call, position: int, item: Any) -> None:
        self._start()
        try:
            pickled = pickle.dumps(item, protocol=5)
        except Exception as error:
            failure = Attempt(failure=f"its item cannot be sent: {describe(error)}")
            self._desk.answer_unsent(call, position, failure)
        else:
            self._desk.submit(call, position, pickled)

    def _wait_for(self, call: Call, position: int) -> Attempt:
        result = self._desk.wait_for(call, position, self._is_alive)
        if isinstance(result, bytes):
            return unpack(result)
        return result

    def _is_alive(self) -> bool:
        keeper = self._keeper
        return keeper is not None and keeper.is_alive()

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                raise Unavailable("The service is shutting down.")
            if self._keeper is not None and self._keeper.is_alive():
                return
            if self._keeper is not None:
                self._restarts_before += self._keeper.restarts
            if self._bell is None:
                self._bell = socket.socketpair()
                for end in self._bell:
                    end.setblocking(False)
            self._keeper = Keeper(
                self._desk,
                self._slots,
                self._wanted,
                self._task_timeout_s,
                self._memory_bytes,
                self._bell[0],
            )

    def _ring(self) -> None:
        if self._bell is not None:
            with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
                self._bell[1].send(b"!")
