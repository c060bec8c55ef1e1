"""Which erasures have begun on this host and not come to their end."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from facesearch.service.host_lock import private_file
from facesearch.service.intake.waiting_room import disk_errors

ERASURES = "erasures"  # their folder, in that of the archives


class ErasureNotes:
    """A folder with a file for each. Lives as long as its process; any thread of any process may call it.

    Whoever erases holds a lock on the file, which ends with the process: a file without one tells of an
    erasure that was broken off.

    Args:
        folder: made, for its owner alone, when it is needed first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Note an erasure, on the disk before it begins. The note stays where it fails.

        Raises:
            StorageFull, Unavailable: it cannot be written.
        """
        with disk_errors():
            path, descriptor = self._new_note()
        try:
            yield
            with suppress(OSError):  # it is looked at once more then
                path.unlink()
        finally:
            os.close(descriptor)

    @contextmanager
    def broken_off(self) -> Iterator[bool]:
        """Whether there are erasures that were broken off; their notes go where this ends without an error.

        Raises:
            Unavailable: the folder cannot be read.
        """
        with ExitStack() as held:
            notes = []
            with disk_errors(), suppress(FileNotFoundError):
                for path in self._folder.iterdir():
                    with suppress(FileNotFoundError, BlockingIOError):
                        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                        held.callback(os.close, descriptor)
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        notes.append(path)
            yield bool(notes)
            for path in notes:
                path.unlink(missing_ok=True)

    def _new_note(self) -> tuple[Path, int]:
        while True:
            path = self._folder / uuid.uuid4().hex
            descriptor = private_file(path, os.O_RDWR)
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    break
            os.close(descriptor)  # somebody took it for one that was left
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return path, descriptor
