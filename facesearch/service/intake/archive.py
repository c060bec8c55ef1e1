"""Reading photos out of a zip that nobody vouches for, entry by entry, within limits."""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, Invalid, TooLarge, Unavailable
from facesearch.service.intake.photo_source import (
    IMAGE_SUFFIXES,
    PEOPLE_PER_ENTRY,
    Entry,
    PhotoSource,
    is_archive,
)
from facesearch.service.intake.zip_directory import Member, read_directory
from facesearch.service.intake.zip_erasure import erase_data, erase_name
from facesearch.service.intake.zip_file import unpack

__all__ = ["IMAGE_SUFFIXES", "Entry", "PhotoArchive", "PhotoSource", "is_archive"]

_UNREADABLE = "The archive cannot be read right now."
_UNWRITABLE = "The archive cannot be written right now."
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
        self._file = file
        entries = [_ZipEntry(file, member, limits.photo_bytes) for member in members]
        super().__init__(entries, PEOPLE_PER_ENTRY * limits.zip_entries)

    def positions_of(self, photos: Mapping[bytes, int | None]) -> list[int]:
        """Return the positions of the files whose bytes are one of these photos'.

        Args:
            photos: SHA-256 digests, each with the number of bytes where it is known.
        """
        sizes = set(photos.values())
        return [
            position
            for position, entry in enumerate(self)
            if isinstance(entry, _ZipEntry)
            and (None in sizes or entry.member.size in sizes)
            and entry.sha256() in photos
        ]

    def erase(self, positions: Iterable[int]) -> None:
        """Overwrite files of an archive that is open for writing: their bytes, and their names.

        The names stay where the archive has a list of people, whose rows would be files that are missing. On
        the disk when this returns.

        Raises:
            Unavailable: it cannot be written.
        """
        wanted = set(positions)
        try:
            for position, entry in enumerate(self):
                if position in wanted and isinstance(entry, _ZipEntry):
                    erase_data(self._file, entry.member)
                    if self.people is None:
                        erase_name(self._file, entry.member, self.only_top_folder)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError:
            raise Unavailable(_UNWRITABLE) from None


class _ZipEntry(Entry):
    __slots__ = ("_file", "_most_bytes", "member")

    def __init__(self, file: BinaryIO, member: Member, most_bytes: int) -> None:
        super().__init__(member.path)
        self._file = file
        self.member = member
        self._most_bytes = most_bytes

    def sha256(self) -> bytes | None:
        """The digest of the file's bytes, None where they cannot be read."""
        try:
            return hashlib.sha256(self._read()).digest()
        except Invalid:
            return None

    def _reason_to_skip(self) -> str | None:
        kind = stat.S_IFMT(self.member.mode)
        if kind not in (0, stat.S_IFREG):
            return _NOT_FILES.get(kind, "A device or a pipe, not a file.")
        if not self.member.size and not self.claims_to_be_an_image:
            return "The file is empty."
        return None

    def _read(self) -> bytes:
        return self.read_list(self._most_bytes)

    def read_list(self, most_bytes: int) -> bytes:
        if self.member.size > most_bytes:
            raise TooLarge(f"The file is over the limit of {most_bytes} bytes.")
        if not self.member.size:
            raise BrokenImage("The file is empty.")
        try:
            return unpack(self._file, self.member)
        except OSError:
            raise Unavailable(_UNREADABLE) from None
