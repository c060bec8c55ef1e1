"""Where archives wait on disk until their jobs are over."""

import errno
import fcntl
import math
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from facesearch.errors import FacesearchError, NotFound, StorageFull, Unavailable

_PLACE_FILE = "place"
_SUFFIX, _ERASED_SUFFIX = ".zip", ".erased"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK_LIMIT_S, _LOCK_LOOK_S = 30.0, 0.02


class WaitingRoom:
    """A folder of archives, named by their jobs. Lives as long as its process; any thread may call it.

    All processes that share the folder share its `place`, an id that is drawn once.

    Args:
        folder: made, for its owner alone, when it is needed first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self) -> str:
        """The folder's id.

        Raises:
            StorageFull, Unavailable: the folder cannot be written.
        """
        file = self._folder / _PLACE_FILE
        with disk_errors():
            with suppress(FileNotFoundError):
                if known := file.read_text(encoding="ascii").strip():
                    return known
            self._make()
            with tempfile.NamedTemporaryFile("w", dir=self._folder, encoding="ascii") as fresh:
                fresh.write(uuid.uuid4().hex)
                fresh.flush()
                os.fsync(fresh.fileno())
                with suppress(FileExistsError):  # another process was first
                    os.link(fresh.name, file)
            return file.read_text(encoding="ascii").strip()

    def new_file(self) -> BinaryIO:
        """Return an empty file without a name, which is gone with its last user.

        Raises:
            StorageFull, Unavailable: it cannot be made.
        """
        with disk_errors():
            self._make()
            return _unnamed(self._folder)

    @contextmanager
    def adding(self) -> Iterator[None]:
        """To be held by whoever takes an archive and adds its job, which others may do at the same time.

        Raises:
            Unavailable: somebody looks at all archives for too long.
        """
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def nobody_adds(self) -> Iterator[None]:
        """Meanwhile an archive without a job is nobody's: its upload was refused, or its process killed.

        Raises:
            Unavailable: somebody is adding a job for too long.
        """
        with self._locked(fcntl.LOCK_EX):
            yield

    def take(self, archive: BinaryIO, job_id: str) -> None:
        """Give an archive the name of its job; on the disk when this returns.

        Raises:
            StorageFull, Unavailable: it cannot be written.
        """
        path = self._path(job_id)
        with disk_errors():
            self._make()
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not _link(archive, path, folder):
                    _copy(archive, path)
                os.fsync(folder)
            finally:
                os.close(folder)

    def open(self, job_id: str) -> BinaryIO:
        """Open a job's archive for reading.

        Raises:
            NotFound: it is gone.
        """
        try:
            return self._path(job_id).open("rb")
        except FileNotFoundError:
            raise NotFound("The archive of this import is gone.") from None

    def open_to_erase(self, job_id: str) -> BinaryIO | None:
        """Open a job's archive for reading and writing, None where it is gone.

        Raises:
            Unavailable: it cannot be opened.
        """
        with disk_errors():
            try:
                return self._path(job_id).open("r+b")
            except FileNotFoundError:
                return None

    def note_erased(self, job_id: str, positions: Iterable[int]) -> None:
        """Note files that are erased from a job's archive; on the disk when this returns.

        Raises:
            StorageFull, Unavailable: that cannot be written.
        """
        lines = "".join(f"{position}\n" for position in positions)
        with (
            disk_errors(),
            open(self._path(job_id, _ERASED_SUFFIX), "a", encoding="ascii", opener=_for_its_owner) as notes,
        ):
            notes.write(lines)
            notes.flush()
            os.fsync(notes.fileno())

    def erased(self, job_id: str) -> frozenset[int]:
        """The positions of the files that were erased from a job's archive, or soon are.

        Raises:
            Unavailable: the notes cannot be read.
        """
        with disk_errors():
            try:
                text = self._path(job_id, _ERASED_SUFFIX).read_text(encoding="ascii")
            except FileNotFoundError:
                return frozenset()
        # What a power failure cut off has no end.
        return frozenset(int(line) for line in text.split("\n")[:-1] if line.isdecimal())

    def forget(self, job_id: str) -> None:
        """Delete a job's archive, where it is there and can be deleted."""
        with suppress(FacesearchError):
            self.delete(job_id)

    def delete(self, job_id: str) -> None:
        """Delete a job's archive, where it is there.

        Raises:
            Unavailable: it cannot be deleted.
        """
        with disk_errors():
            for suffix in (_SUFFIX, _ERASED_SUFFIX):
                self._path(job_id, suffix).unlink(missing_ok=True)

    def older_than(self, seconds: float) -> list[str]:
        """The jobs whose archives have lain here for longer."""
        return self._jobs(time.time() - seconds)

    def jobs(self) -> list[str]:
        """The jobs whose archives lie here."""
        return self._jobs(math.inf)

    def _jobs(self, latest: float) -> list[str]:
        found = set()
        for suffix in (_SUFFIX, _ERASED_SUFFIX):
            for path in self._folder.glob(f"*{suffix}"):
                with suppress(OSError):
                    if path.stat().st_mtime < latest:
                        found.add(path.stem)
        return sorted(found)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold a lock of the room, which ends with the process."""
        self.place()
        with disk_errors():
            descriptor = os.open(self._folder / _PLACE_FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            deadline = time.monotonic() + _LOCK_LIMIT_S
            while not _lock(descriptor, how):
                if time.monotonic() > deadline:
                    raise Unavailable("The archives that wait are in use.")
                time.sleep(_LOCK_LOOK_S)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child of this process may have the descriptor too
            os.close(descriptor)

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, job_id: str, suffix: str = _SUFFIX) -> Path:
        return self._folder / f"{job_id}{suffix}"


def _lock(descriptor: int, how: int) -> bool:
    with disk_errors():
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _copy(archive: BinaryIO, path: Path) -> None:
    archive.seek(0)
    try:
        with open(path, "xb", opener=_for_its_owner) as copy:
            shutil.copyfileobj(archive, copy, 1024**2)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _unnamed(folder: Path) -> BinaryIO:
    # tempfile would forbid that the file is ever given a name (O_EXCL).
    if hasattr(os, "O_TMPFILE"):
        with suppress(OSError):  # a file system that does not know it; a full one fails again below
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            return os.fdopen(descriptor, "w+b")
    return tempfile.TemporaryFile(dir=folder)


def _link(archive: BinaryIO, path: Path, folder: int) -> bool:
    """Name a file that has none; return whether that can be done: it takes Linux, and one file system."""
    try:
        descriptor = archive.fileno()
        archive.flush()
        os.fsync(descriptor)
        os.utime(descriptor)  # it lies here from now on, however long it took to arrive
        # Python follows the link of the source only where a folder is given, which an absolute path ignores.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=folder, follow_symlinks=True)
    except (OSError, AttributeError) as error:
        if getattr(error, "errno", None) in _FULL:
            raise
        return False
    return True


@contextmanager
def disk_errors() -> Iterator[None]:
    """Let no path of the host out, and tell a full disk from others."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull from None
        raise Unavailable(f"The data folder cannot be used: {error.strerror}.") from None
