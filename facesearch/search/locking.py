"""One writer at a time: an advisory lock on a file, bounded in time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facesearch.errors import Unavailable

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02


@contextmanager
def exclusive_lock(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock while the block runs; the kernel frees it however the process ends.

    Each call opens the file anew, so threads of one process exclude each other too. A process forked
    meanwhile would inherit the lock: children are to be spawned.

    Raises:
        Unavailable: another holder kept it longer than `wait_s` seconds.
        OSError: the file cannot be made or opened.
    """
    deadline = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise Unavailable("The search index is busy being written.")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    try:
        yield
    finally:
        os.close(descriptor)


def probe_writable(path: Path) -> None:
    """Open the lock's file without taking the lock.

    Raises:
        OSError: it cannot be made or opened.
    """
    os.close(_open(path))


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(path: Path) -> int | None:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # a lock on a file that was deleted meanwhile excludes nobody who opens the new one
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
