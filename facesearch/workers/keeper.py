"""The thread that feeds a pool's children and replaces them when one is lost."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Collection
from multiprocessing.connection import wait

from facesearch.errors import TaskTimedOut, Unavailable, WorkerDied
from facesearch.workers.attempts import Attempt
from facesearch.workers.calls import CallDesk
from facesearch.workers.crew import Crew
from facesearch.workers.slots import HostSlots

logger = logging.getLogger(__name__)

LOSSES_LIMIT = 8
LOOK_S = 1.0  # how often the sharing of slots is looked at
IDLE_S = 2.0  # after how long without work slots are given to a pool that waits for some
WATCH_S = 0.25  # how often the memory of children at work is looked at
# A photo within the limits took up to 1.1 GB while it was decoded (64 million pixels of WebP with alpha).
BLOAT = 3  # how many times the memory that a child may keep one task may take
RENEW_S = 30.0  # how old a crew gets at least: where every child needs too much, it must still work
BROKEN_S = 30.0  # how long the pool counts as broken after it gave up


class Keeper:
    """Holds the crew, repeats the tasks of a lost one, and sees to the limits.

    Lives from the pool's first work to its close, in a thread of its own that makes every crew: the kernel
    ends a supervisor together with the thread that made it, and a request's thread may be short-lived.
    """

    def __init__(
        self,
        desk: CallDesk,
        slots: HostSlots,
        wanted: int,
        task_timeout_s: float,
        memory_bytes: int,
        bell: socket.socket,
    ) -> None:
        """Take over a desk.

        Args:
            wanted: how many children there shall be where the host has slots for them.
            memory_bytes: how much a child may hold after a task.
            bell: a non-blocking socket that becomes readable when there is something to look at.
        """
        self.crew: Crew | None = None
        self._desk = desk
        self._slots = slots
        self._wanted = wanted
        self._task_timeout_s = task_timeout_s
        self._memory_bytes = memory_bytes
        self._bell = bell
        self._closing = False
        self._draining = False
        self._losses = 0
        self.restarts = 0
        self._gave_up_at = -BROKEN_S
        self._busy_at = self._looked_at = self._watched_at = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="worker-pool", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether somebody will still answer tasks."""
        return self._thread.is_alive() and not self._closing

    def is_broken(self) -> bool:
        """Whether crews could not be kept lately."""
        return time.monotonic() - self._gave_up_at < BROKEN_S

    def stop(self) -> None:
        """Begin to end; seen when the bell rings next."""
        self._closing = True
        self._desk.stir()

    def join(self, limit_s: float) -> None:
        """Wait for the end after `stop`, and enforce it where it takes too long."""
        self._thread.join(limit_s)
        if self._thread.is_alive() and (crew := self.crew) is not None:
            crew.kill()
            self._thread.join(limit_s)

    def _keep(self) -> None:
        try:
            while not self._closing:
                self._staff()
                self._hand_out()
                self._listen()
                self._enforce_limits()
                self._limit_memory()
                self._share_slots()
        except Exception:
            logger.exception("the worker pool's thread failed")
        finally:
            self._closing = True
            if self.crew is not None:
                self.crew.dismiss(gently=True)
                self.crew = None
            self._slots.release()
            self._desk.stir()

    def _staff(self) -> None:
        """Have a crew where there is work for one."""
        if self.crew is not None or not self._desk.has_work():
            return
        self._slots.take(self._wanted)
        try:
            self.crew = Crew(max(1, self._slots.held))
        except OSError as error:
            logger.error("the worker pool cannot be started: %s", error)
            self._count_loss()
            return
        logger.info("worker pool started: %d processes, supervisor %d", self.crew.processes, self.crew.pid)

    def _hand_out(self) -> None:
        """Keep every child busy, but a task that was running when a child died runs alone."""
        crew = self.crew
        if crew is None or self._draining:
            return
        while crew.has_room and not crew.is_lost:
            # Suspects come up when a crew has been replaced, so the new one has nothing else yet.
            task = self._desk.take_suspect() or self._desk.take()
            if task is None:
                return
            crew.hand(task)

    def _listen(self) -> None:
        """Wait until something happens, and pass on what is done."""
        crew = self.crew
        if crew is None:
            wait([self._bell], 0.0 if self._desk.has_work() else None)
        elif not crew.is_lost:
            look_s = WATCH_S if crew.out else LOOK_S
            wait([self._bell, crew.connection], min(look_s, crew.patience_s(self._task_timeout_s)))
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass
        for task, packed in crew.listen() if crew is not None else ():
            self._desk.answer(task, packed)
            self._losses = 0
            self._gave_up_at = -BROKEN_S

    def _enforce_limits(self) -> None:
        crew = self.crew
        if crew is None:
            return
        if crew.is_lost:
            for pid, code in crew.exits:
                logger.warning("worker process %d died (%s); the pool is replaced", pid, _say(code))
            if not crew.exits:
                logger.warning("the worker pool's supervisor %d died; the pool is replaced", crew.pid)
            self._replace(suspected=crew.running({pid for pid, _ in crew.exits} if crew.exits else None))
        elif overdue := crew.overdue(self._task_timeout_s):
            logger.warning(
                "%d tasks ran for longer than %g s; the pool is replaced", len(overdue), self._task_timeout_s
            )
            self._replace(timed_out=overdue)
        elif crew.is_stuck():
            logger.warning("the worker pool of supervisor %d does not move; it is replaced", crew.pid)
            self._replace()

    def _replace(self, suspected: Collection[int] = (), timed_out: Collection[int] = ()) -> None:
        """Send the crew home and queue again what it had, but for what it has cost."""
        crew = self.crew
        if crew is None:
            return
        self.restarts += 1
        crew.dismiss()
        self.crew = None
        self._draining = False
        again = []
        for task in crew.out.values():
            if task.number in timed_out:
                self._desk.answer(task, Attempt(error=TaskTimedOut()))
            elif task.number in suspected and task.suspect:
                self._desk.answer(task, Attempt(error=WorkerDied()))
            else:
                task.suspect = task.suspect or task.number in suspected
                again.append(task)
        if len(again) < len(crew.out):
            self._losses = 0
        self._desk.put_back(again)
        self._count_loss()

    def _count_loss(self) -> None:
        """Give up for now where crew after crew is lost and nothing is achieved."""
        self._losses += 1
        if self._losses >= LOSSES_LIMIT:
            self._gave_up_at = time.monotonic()
            self._losses = 0
            logger.error("the worker pool was lost %d times in a row; its tasks are given up", LOSSES_LIMIT)
            error = Unavailable("The worker processes do not stay alive.")
            self._desk.answer_all_waiting(Attempt(error=error))

    def _limit_memory(self) -> None:
        """Renew the crew between two tasks where a child has grown; kill a child whose task takes far more.

        The server watches, rather than a limit of the kernel (RLIMIT_AS, RLIMIT_DATA): that counts what is
        reserved and not what is used, of which arenas and thread stacks of numeric libraries have plenty,
        and an allocation that fails inside them may leave them in any state. Where the system does not tell
        the memory of another process, only the first half works.
        """
        crew = self.crew
        if crew is None or crew.is_lost:
            return
        now = time.monotonic()
        if now - self._watched_at >= WATCH_S:
            self._watched_at = now
            for pid, size in crew.bloated(BLOAT * self._memory_bytes).items():
                logger.warning("worker process %d holds %d MB at one task and is killed", pid, size // 10**6)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # what follows is that of every child that dies
        if not self._draining and crew.age_s >= RENEW_S and (grown := crew.grown(self._memory_bytes)):
            pid, size = max(grown.items(), key=lambda entry: entry[1])
            logger.info("worker process %d has grown to %d MB; the pool is renewed", pid, size // 10**6)
            self._draining = True

    def _share_slots(self) -> None:
        """Give an idle crew's slots to a pool that waits; replace a small crew when slots are free."""
        crew = self.crew
        now = time.monotonic()
        if crew is None:
            return
        if self._draining and not crew.out:
            self._send_home(crew)
            return
        if crew.out:
            self._busy_at = now
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        if now - self._busy_at < IDLE_S:
            if self._slots.held < self._wanted and self._desk.has_work():
                self._slots.take(self._wanted)
                self._draining = self._slots.held > crew.processes
            self._slots.wish(self._slots.held < self._wanted)
            return
        self._slots.wish(False)
        if self._slots.held and self._slots.is_wished_for():
            logger.info("the idle worker pool ends: another one of this host waits for its processes")
            self._send_home(crew)
            self._slots.release()

    def _send_home(self, crew: Crew) -> None:
        """End an idle crew; the next work finds a new one."""
        crew.dismiss(gently=True)
        self.crew = None
        self._draining = False


def _say(code: int | None) -> str:
    if code is None:
        return "reason unknown"
    if code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"
