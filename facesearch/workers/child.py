"""What runs in the pool's child processes.

Imports no numeric library: a child pays for what its tasks import, at its first task.
"""

import contextlib
import functools
import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from facesearch.workers.attempts import Attempt, attempt, describe, pack
from facesearch.workers.lifetime import die_with, leave_signals_to_parent
from facesearch.workers.memory import private_bytes
from facesearch.workers.wire import Done, Started, Work

TASKS_KEPT = 16

_starts: "Connection[Started, Any] | None" = None  # one per child process, set by `enter`


def enter(supervisor: int, starts: "Connection[Started, Any]") -> None:
    """Prepare a fresh child: the pool's initializer."""
    global _starts
    leave_signals_to_parent()
    die_with(supervisor)
    # Where memory runs out, the kernel shall take a child, which can be replaced, and not the server.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("500")
    _starts = starts
    _report_start(0)


def run(work: Work) -> Done:
    """Run one piece of work; never raises."""
    _report_start(work.number)
    packed = _result_of(work)
    # Measured here, where the photo and what was made of it are gone.
    return Done(work.number, packed, os.getpid(), private_bytes())


def _result_of(work: Work) -> bytes:
    try:
        task = _load_task(work.task)
        item = pickle.loads(work.item)  # noqa: S301  written by our own server process
    except (Exception, SystemExit) as error:
        return pack(Attempt(failure=f"it cannot be loaded: {describe(error)}"))
    return pack(attempt(task, item))


@functools.lru_cache(maxsize=TASKS_KEPT)
def _load_task(pickled: bytes) -> Callable[[Any], Any]:
    """Unpickle a task once per child, so that what it builds at its first item is there for the next."""
    task: Callable[[Any], Any] = pickle.loads(pickled)  # noqa: S301  written by our own server process
    return task


def _report_start(number: int) -> None:
    # All children share this pipe without a lock: a write of less than PIPE_BUF bytes is atomic, and a
    # child that is killed cannot leave a lock behind.
    if _starts is not None:
        _starts.send(Started(number, os.getpid()))
