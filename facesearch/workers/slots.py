"""How the pools of one host share a number of children, through locked files."""

import contextlib
import fcntl
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)


class HostSlots:
    """A pool's share of the children that a host may run.

    Lives as long as its pool; used by one thread. A slot is a file locked with flock. The kernel lets go of
    the locks when the process ends, however it ends, and child processes do not inherit them.

    A pool without a slot still runs one child: it could otherwise neither work nor know when it will. So
    a host runs at most `per_host` children and one more for each pool that came too late; such a pool
    wishes for slots, and an idle one that holds some gives them back.
    """

    def __init__(self, folder: Path, per_host: int) -> None:
        self._folder = folder
        self._per_host = per_host
        self._held: dict[int, int] = {}  # slot number to file descriptor
        self._wish: int | None = None

    @property
    def held(self) -> int:
        """How many slots this pool holds."""
        return len(self._held)

    def take(self, wanted: int) -> int:
        """Take free slots until `wanted` are held or none is free; return how many were taken."""
        before = self.held
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for number in range(self._per_host):
                if self.held >= wanted:
                    break
                if number not in self._held:
                    self._try(number)
        except OSError as error:
            logger.warning("the pool's slots cannot be used, so it runs fewer processes: %s", error)
        return self.held - before

    def release(self) -> None:
        """Give all slots back."""
        while self._held:
            os.close(self._held.popitem()[1])
        self.wish(False)

    def wish(self, wishes: bool) -> None:
        """Let other pools see, or no longer see, that this one waits for slots."""
        if wishes and self._wish is None:
            with contextlib.suppress(OSError):
                self._wish = self._lock("wish.lock", fcntl.LOCK_SH)
        elif not wishes and self._wish is not None:
            os.close(self._wish)
            self._wish = None

    def is_wished_for(self) -> bool:
        """Whether another pool of this host waits for slots. Two who ask at once may both see a wish."""
        try:
            lock = self._lock("wish.lock", fcntl.LOCK_EX)
        except OSError:
            return False
        if lock is None:
            return True
        os.close(lock)
        return False

    def _try(self, number: int) -> None:
        lock = self._lock(f"slot-{number}.lock", fcntl.LOCK_EX)
        if lock is not None:
            self._held[number] = lock

    def _lock(self, name: str, kind: int) -> int | None:
        """Open and lock a file; return its descriptor, or None where others hold it."""
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return descriptor
