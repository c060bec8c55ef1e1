"""What runs in the supervisor: a process that holds one multiprocessing.Pool and nothing else.

A Pool does not survive the loss of a child: `map` waits for ever for what the child had, and a child
killed while idle keeps the queue's lock, on which all others and `terminate` then wait. So at the first
loss the supervisor reports it, kills what is left and ends; the server starts another one and repeats.
It never unpickles tasks, so it stays small and cannot be hurt by them.
"""

import os
import queue
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.pool import Pool
from typing import Any

from facesearch.workers import child
from facesearch.workers.attempts import Attempt, describe, pack
from facesearch.workers.lifetime import die_with, leave_signals_to_parent
from facesearch.workers.wire import Died, Done, Ready, Report, Started, Work

FAREWELL_S = 2.0


def supervise(handle: int, parent: int, processes: int) -> None:
    """Serve one server process until it ends, says so, or a child is lost.

    Args:
        handle: the file descriptor of the socket to the server process.
        parent: the pid of the server process.
        processes: how many children the pool has.
    """
    leave_signals_to_parent()
    die_with(parent)
    connection: Connection[Report, Work | None] = Connection(handle)
    outbox: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
    # The main thread must not block in sending: it reads, so that the server never blocks for long either.
    sender = threading.Thread(target=_send_all, args=(connection, outbox), daemon=True)
    sender.start()
    context = _LimitedContext(processes)
    starts, starts_writer = context.Pipe(duplex=False)
    # Made by this thread, which stays until the end (see die_with).
    pool = Pool(processes, child.enter, (os.getpid(), starts_writer), context=context)
    children = context.children
    asked = _serve(connection, starts, pool, children, outbox)
    outbox.put(None)
    if not asked or not _end_gently(pool):
        sender.join(FAREWELL_S)
        _end_at_once(children)


class _LimitedContext(SpawnContext):
    """Makes a Pool's first children, and none in place of one that is lost: the Pool ends with it."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.children: list[SpawnProcess] = []
        self._limit = limit

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]  # a method, not a class
        if len(self.children) == self._limit:
            raise SystemExit  # ends the Pool's thread that asks, without a word
        self.children.append(SpawnProcess(*args, **kwargs))
        return self.children[-1]


def _serve(
    connection: "Connection[Report, Work | None]",
    starts: "Connection[Any, Started]",
    pool: Pool,
    children: list[SpawnProcess],
    outbox: "queue.SimpleQueue[Report | None]",
) -> bool:
    """Pass work in and reports out; return whether the server asked for the end of an idle pool."""
    coming_up = len(children)
    sentinels = [process.sentinel for process in children]
    while True:
        ready = wait([connection, starts, *sentinels])
        while starts.poll():  # before a death is told: the server must know what the dead child was at
            started = starts.recv()
            outbox.put(started)
            if started.number == 0:
                coming_up -= 1
                if coming_up == 0:
                    outbox.put(Ready(tuple(process.pid or 0 for process in children)))
        if any(sentinel in ready for sentinel in sentinels):
            outbox.put(Died(_exits(children)))
            return False
        if connection in ready:
            try:
                work = connection.recv()
            except (EOFError, OSError):
                return False
            if work is None:
                return True
            _hand_in(pool, work, outbox)


def _hand_in(pool: Pool, work: Work, outbox: "queue.SimpleQueue[Report | None]") -> None:
    def give_up(error: BaseException) -> None:
        outbox.put(Done(work.number, pack(Attempt(failure=f"the pool failed: {describe(error)}"))))

    pool.apply_async(child.run, (work,), callback=outbox.put, error_callback=give_up)


def _send_all(
    connection: "Connection[Report, Work | None]", outbox: "queue.SimpleQueue[Report | None]"
) -> None:
    while (report := outbox.get()) is not None:
        try:
            connection.send(report)
        except OSError:
            return  # the server is gone; the main thread sees it too


def _exits(children: list[SpawnProcess]) -> tuple[tuple[int, int | None], ...]:
    return tuple((each.pid or 0, _exit_code(each)) for each in children if wait([each.sentinel], timeout=0))


def _exit_code(process: SpawnProcess) -> int | None:
    # Where the Pool's own thread collects the child at this moment, the code is there a little later.
    end = time.monotonic() + FAREWELL_S
    while process.exitcode is None and time.monotonic() < end:
        time.sleep(0.001)
    return process.exitcode


def _end_gently(pool: Pool) -> bool:
    """Let idle children end by themselves; return whether they did."""
    pool.close()
    joiner = threading.Thread(target=pool.join, daemon=True)
    joiner.start()
    joiner.join(FAREWELL_S)
    return not joiner.is_alive()


def _end_at_once(children: list[SpawnProcess]) -> None:
    for process in children:
        process.kill()
    for process in children:
        process.join(FAREWELL_S)
    os._exit(1)  # exit handlers would wait for the Pool, which may never answer
