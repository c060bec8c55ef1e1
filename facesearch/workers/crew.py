"""A supervisor and its children as the server sees them."""

import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from multiprocessing.connection import Connection

from facesearch.workers.calls import Task
from facesearch.workers.memory import private_bytes
from facesearch.workers.wire import Died, Done, Ready, Report, Started, Work

START_LIMIT_S = 60.0
STALL_S = 20.0
END_LIMIT_S = 3.0
AHEAD = 2

# The supervisor starts by exec, not through multiprocessing: so its children do not import the server's
# main module (gunicorn, pytest), and its semaphores have a tracker that ends with it.
START = (
    "import json, sys; order = json.loads(sys.argv[1]); sys.path[:] = order.pop('path'); "
    "from facesearch.workers.supervisor import supervise; supervise(**order)"
)
# Killed on purpose, it cannot put away its semaphores; the tracker does so, and shall not warn about it.
QUIET_TRACKER = "ignore:resource_tracker:UserWarning"
SINGLE_THREADED = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")
} | {"VECLIB_MAXIMUM_THREADS": "1"}


class Crew:
    """One supervisor with its pool of children, and the tasks they have.

    Lives until one of its processes ends, hangs, or the crew is sent home. Belongs to the thread that made
    it, which has to outlive it: the kernel ends the supervisor with that thread.

    Raises:
        OSError: the host cannot start a process.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.out: dict[int, Task] = {}
        self.exits: tuple[tuple[int, int | None], ...] = ()
        self.is_ready = False
        self.is_lost = False
        self._began: dict[int, tuple[int, float]] = {}  # task number to pid and time
        self._memory: dict[int, int] = {}  # pid to bytes after its latest task
        self._made_at = self._heard_at = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            _limit_waits(ours, STALL_S)
            order = {"handle": theirs.fileno(), "parent": os.getpid(), "processes": processes}
            try:
                self._process = subprocess.Popen(  # noqa: S603  our own interpreter, our own line
                    [sys.executable, "-P", "-W", QUIET_TRACKER, "-c", START, _with_path(order)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **SINGLE_THREADED},
                    process_group=0,  # a terminal's ^C is for the server alone
                )
            except OSError:
                ours.close()
                raise
        self.connection: Connection[Work | None, Report] = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def has_room(self) -> bool:
        """Whether another task should be handed in: a few wait there, so that no child waits for us."""
        return len(self.out) < self.processes + AHEAD and not self.runs_suspect

    @property
    def runs_suspect(self) -> bool:
        """Whether a task is being tried alone."""
        return any(task.suspect for task in self.out.values())

    def hand(self, task: Task) -> None:
        """Give a task to the pool."""
        if not self.out:
            self._heard_at = time.monotonic()
        self.out[task.number] = task
        try:
            self.connection.send(Work(task.number, task.call.task, task.item))
        except OSError:  # gone, or not reading for STALL_S
            self.is_lost = True

    def listen(self) -> list[tuple[Task, bytes]]:
        """Take in what the supervisor has said; return the tasks that are done with their results."""
        done = []
        try:
            while not self.is_lost and self.connection.poll():
                report = self.connection.recv()
                self._heard_at = time.monotonic()
                match report:
                    case Started(number, pid):
                        if number in self.out:  # else it is done already: the two come by different ways
                            self._began[number] = (pid, self._heard_at)
                    case Done(number, packed, pid, memory_bytes):
                        self._began.pop(number, None)
                        self._memory[pid] = memory_bytes
                        done.append((self.out.pop(number), packed))
                    case Ready():
                        self.is_ready = True
                    case Died(exits):
                        self.exits = exits
                        self.is_lost = True
        except (EOFError, OSError):
            self.is_lost = True
        return done

    def running(self, pids: set[int] | None = None) -> set[int]:
        """Return the numbers of the tasks that have begun, or of those of them in the given children."""
        return {number for number, (pid, _) in self._began.items() if pids is None or pid in pids}

    def overdue(self, limit_s: float) -> set[int]:
        """Return the numbers of the tasks that have been running for longer than the limit."""
        now = time.monotonic()
        return {number for number in self.running() if now - self._began[number][1] >= limit_s}

    @property
    def age_s(self) -> float:
        """How long ago this crew was made."""
        return time.monotonic() - self._made_at

    def grown(self, limit_bytes: int) -> dict[int, int]:
        """Return the children that held more than the limit after their latest task: bytes by pid."""
        return {pid: size for pid, size in self._memory.items() if size > limit_bytes}

    def bloated(self, limit_bytes: int) -> dict[int, int]:
        """Return the children that hold more than the limit at this moment, at work: bytes by pid."""
        sizes = {pid: private_bytes(pid) for pid, _ in self._began.values()}
        return {pid: size for pid, size in sizes.items() if size > limit_bytes}

    def is_stuck(self) -> bool:
        """Whether nothing moves though it should: the start, or a task that waits beside a free child."""
        silence = time.monotonic() - self._heard_at
        if not self.is_ready:
            return silence >= START_LIMIT_S
        waits_beside_free_child = len(self.running()) < min(len(self.out), self.processes)
        return waits_beside_free_child and silence >= STALL_S

    def patience_s(self, limit_s: float) -> float:
        """Return after how many seconds `overdue` or `is_stuck` may have something new to say."""
        now = time.monotonic()
        ends = [self._began[number][1] + limit_s for number in self.running()]
        ends.append(self._heard_at + (STALL_S if self.is_ready else START_LIMIT_S))
        return max(0.01, min(ends) - now) if self.out or not self.is_ready else STALL_S

    def dismiss(self, *, gently: bool = False) -> None:
        """End all processes of the crew within a few seconds; gently, where they have nothing to do."""
        if gently and not self.is_lost and not self.out:
            with contextlib.suppress(OSError):
                self.connection.send(None)
            self._wait(END_LIMIT_S)
        self.connection.close()  # the supervisor ends its children, collects them and goes
        self._wait(END_LIMIT_S / 3)
        self.kill()

    def kill(self) -> None:
        """Kill the supervisor; its children die with it. Any thread may call this."""
        self._process.kill()
        self._wait(END_LIMIT_S)

    def _wait(self, limit_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)


def _limit_waits(end: socket.socket, limit_s: float) -> None:
    """Have blocking reads and writes fail after a time: a stopped supervisor must not stop the server."""
    limit = struct.pack("ll", int(limit_s), 0)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def _with_path(order: dict[str, int]) -> str:
    return json.dumps({**order, "path": [entry or os.getcwd() for entry in sys.path]})
