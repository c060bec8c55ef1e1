"""Reading photos out of a zip that nobody vouches for, entry by entry, within limits."""

import stat
from typing import BinaryIO

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, TooLarge, Unavailable
from facesearch.service.photo_source import IMAGE_SUFFIXES, PEOPLE_PER_ENTRY, Entry, PhotoSource, is_archive
from facesearch.service.zip_directory import Member, read_directory
from facesearch.service.zip_file import unpack

__all__ = ["IMAGE_SUFFIXES", "Entry", "PhotoArchive", "PhotoSource", "is_archive"]

_UNREADABLE = "The archive cannot be read right now."
_NOT_FILES = {stat.S_IFLNK: "A link, not a file.", stat.S_IFDIR: "A folder."}


class PhotoArchive(PhotoSource):
    """A zip of photos; lives as long as one request or import, and belongs to its thread."""

    def __init__(self, file: BinaryIO, limits: LimitSettings) -> None:
        """Open an archive, and refuse it whole where it is over a limit.

        Args:
            file: stays the caller's, who closes it last.

        Raises:
            NotAnArchive: by its bytes it is no zip, or it is empty.
            BrokenArchive: it is a zip, damaged or cut short, or of files that lie upon each other.
            TooLarge: more bytes or entries than the limits allow, or a zip bomb.
            Invalid: its people.csv cannot be used.
            Unavailable: the file cannot be read.
        """
        try:
            members = read_directory(file, limits)
        except OSError:
            raise Unavailable(_UNREADABLE) from None
        entries = [_ZipEntry(file, member, limits.photo_bytes) for member in members]
        super().__init__(entries, PEOPLE_PER_ENTRY * limits.zip_entries)


class _ZipEntry(Entry):
    __slots__ = ("_file", "_member", "_most_bytes")

    def __init__(self, file: BinaryIO, member: Member, most_bytes: int) -> None:
        super().__init__(member.path)
        self._file = file
        self._member = member
        self._most_bytes = most_bytes

    def _reason_to_skip(self) -> str | None:
        kind = stat.S_IFMT(self._member.mode)
        if kind not in (0, stat.S_IFREG):
            return _NOT_FILES.get(kind, "A device or a pipe, not a file.")
        if not self._member.size and not self.claims_to_be_an_image:
            return "The file is empty."
        return None

    def _read(self) -> bytes:
        return self.read_list(self._most_bytes)

    def read_list(self, most_bytes: int) -> bytes:
        if self._member.size > most_bytes:
            raise TooLarge(f"The file is over the limit of {most_bytes} bytes.")
        if not self._member.size:
            raise BrokenImage("The file is empty.")
        try:
            return unpack(self._file, self._member)
        except OSError:
            raise Unavailable(_UNREADABLE) from None
