"""Reading photos out of a folder of this machine, as if what is in it had been zipped."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, Invalid, TooLarge
from facesearch.service.intake.photo_source import PEOPLE_PER_ENTRY, Entry, PhotoSource


class PhotoFolder(PhotoSource):
    """A folder of photos and all below it, in the order of their names; for whoever owns both.

    Links are not followed. Lives as long as one import, and belongs to its thread.
    """

    def __init__(self, folder: Path, limits: LimitSettings) -> None:
        """Find the files; each is read when it is its turn, within `limits.photo_bytes`.

        Raises:
            Invalid: there is no such folder, it cannot be read, or its people.csv cannot be used.
        """
        try:
            entries = list(_files(os.fspath(folder), limits.photo_bytes))
        except OSError as error:
            raise Invalid(f"The folder cannot be read: {error.strerror}.") from None
        super().__init__(entries, PEOPLE_PER_ENTRY * max(limits.zip_entries, len(entries)))


class _FolderEntry(Entry):
    __slots__ = ("_file", "_mode", "_most_bytes", "_size")

    def __init__(self, file: str, below: str, mode: int, size: int, most_bytes: int) -> None:
        super().__init__(os.fsencode(below).decode("utf-8", "replace"))
        self._file = file
        self._mode = mode
        self._size = size
        self._most_bytes = most_bytes

    def _reason_to_skip(self) -> str | None:
        if stat.S_ISLNK(self._mode):
            return "A link, not a file."
        if not stat.S_ISREG(self._mode) and not stat.S_ISDIR(self._mode):
            return "A device or a pipe, not a file."
        if not self._size and not self.claims_to_be_an_image:
            return "The file is empty."
        return None

    def _read(self) -> bytes:
        return self.read_list(self._most_bytes)

    def read_list(self, most_bytes: int) -> bytes:
        if stat.S_ISDIR(self._mode):
            raise Invalid("The folder cannot be read.")
        try:
            data = _read(self._file, most_bytes)
        except OSError as error:
            raise Invalid(f"The file cannot be read: {error.strerror}.") from None
        if not data:
            raise BrokenImage("The file is empty.")
        return data


def _files(folder: str, most_bytes: int) -> Iterator[_FolderEntry]:
    """All files below a folder; a folder below it that cannot be read stands for what is in it."""
    waiting = [os.path.join(folder, name) for name in _names(folder)]
    while waiting:
        path = waiting.pop()
        try:
            status = os.lstat(path)
        except OSError:
            continue  # gone since
        if stat.S_ISDIR(status.st_mode):
            try:
                waiting += [os.path.join(path, name) for name in _names(path)]
                continue
            except OSError:
                pass
        below = os.path.relpath(path, folder)
        yield _FolderEntry(path, below, status.st_mode, status.st_size, most_bytes)


def _names(folder: str) -> list[str]:
    """The names in a folder, the last one first."""
    return sorted(os.listdir(folder), key=os.fsencode, reverse=True)


def _read(path: str, most_bytes: int) -> bytes:
    """Read a file that may have been replaced since it was listed, by something that never ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Invalid("It is no file any more.")
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise TooLarge(f"The file is over the limit of {most_bytes} bytes.")
    return data
