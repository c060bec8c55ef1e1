"""The directory at the end of a zip, read within limits before any of its files is touched.

Fields and signatures are those of PKWARE's APPNOTE.TXT, version 6.3.10.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from facesearch.config import LimitSettings
from facesearch.errors import BrokenArchive, NotAnArchive, TooLarge

_END = struct.Struct("<4s4H2IH")
_END_SIGNATURE = b"PK\x05\x06"
_LONGEST_COMMENT = 65_535
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
RECORD = struct.Struct("<4s6H3I5H2I")
_RECORD_SIGNATURE = b"PK\x01\x02"
LOCAL_HEADER_BYTES = 30

_ZIP64_FIELD, UNICODE_PATH_FIELD = 0x0001, 0x7075
_IN_ZIP64 = 0xFFFFFFFF
_UTF8_NAME = 0x800

# A record is 46 bytes and its name; far more than this on average is not a folder of photos.
_BYTES_PER_ENTRY = 512
# Folders have records of their own, and a tree has fewer folders than it has files.
_RECORDS_PER_ENTRY = 2
# Below it a ratio means nothing: a white bitmap packs a thousandfold.
_HARMLESS_BYTES = 16 * 1024**2


@dataclass(slots=True)
class Member:
    """What the directory says of one file. `end` is where the next thing begins in the archive.

    Attributes:
        name: as it is written there; `path` is its text.
        offset: of its local header. Nothing here is known to be true.
        mode: the file's mode on Unix, 0 where it is not told.
        record: where in the archive the directory's record begins.
    """

    name: bytes
    path: str
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int
    offset: int
    mode: int
    record: int
    end: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which has a record and nothing in it."""
        return self.size == 0 and self.path.endswith(("/", "\\"))


class _Directory(NamedTuple):
    begin: int
    bytes: int
    records: int
    shift: int  # what was put before the archive, as a program that unpacks it


def read_directory(file: BinaryIO, limits: LimitSettings) -> list[Member]:
    """Read what the archive says it holds: its files in their order, without the folders.

    Takes time and memory for at most twice `limits.zip_entries` records.

    Raises:
        NotAnArchive: by its bytes it is no zip, or it is empty.
        BrokenArchive: it is a zip, damaged or cut short, or of files that lie upon each other.
        TooLarge: more bytes or entries than the limits allow, or a zip bomb.
    """
    size = file.seek(0, 2)
    if size > limits.zip_bytes:
        raise TooLarge(f"The archive is over the limit of {limits.zip_bytes} bytes.")
    directory = _find(file, size)
    most = _RECORDS_PER_ENTRY * limits.zip_entries
    if directory.records > most or directory.bytes > limits.zip_entries * _BYTES_PER_ENTRY:
        raise TooLarge(f"The archive has more than {limits.zip_entries} entries.")
    members = []
    for member in _members(file, directory, most):
        if not member.is_folder:
            members.append(member)
        if len(members) > limits.zip_entries:
            raise TooLarge(f"The archive has more than {limits.zip_entries} entries.")
    _check_expansion(sum(member.size for member in members), size, limits)
    _set_ends(members, directory.begin)
    return members


def _check_expansion(expanded: int, size: int, limits: LimitSettings) -> None:
    if expanded > limits.zip_expanded_bytes:
        raise TooLarge(f"The archive expands to more than {limits.zip_expanded_bytes} bytes.")
    if expanded > max(_HARMLESS_BYTES, limits.zip_ratio * size):
        raise TooLarge(
            f"The archive expands to {expanded // size} times its size, over the limit of "
            f"{limits.zip_ratio:g} times."
        )


def _set_ends(members: Sequence[Member], begin: int) -> None:
    """Give each member its room.

    Raises:
        BrokenArchive: two lie upon each other. A small archive may be expanded to any size that way
            (D. Fifield, A better zip bomb, WOOT 2019).
    """
    by_offset = sorted(members, key=lambda member: member.offset)
    for member, following in pairwise(by_offset):
        member.end = following.offset
        if member.offset + LOCAL_HEADER_BYTES + len(member.name) + member.packed_size > member.end:
            raise BrokenArchive("Files of the zip archive lie upon each other.")
    if by_offset:
        by_offset[-1].end = begin


def _find(file: BinaryIO, size: int) -> _Directory:
    file.seek(0)
    looks_like_zip = file.read(2) == b"PK"
    tail_begin = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_begin)
    tail = file.read()
    at = _end_in(tail)
    if at is None and not looks_like_zip:
        raise NotAnArchive
    if at is None:
        raise BrokenArchive("The zip archive is cut short: its directory is missing.")
    _, disk, first_disk, here, records, length, offset, _ = _END.unpack_from(tail, at)
    if (disk, first_disk) not in ((0, 0), (0xFFFF, 0xFFFF)) or here != records:
        raise BrokenArchive("The zip archive is one part of several.")
    end = tail_begin + at
    if large := _end_64(file, end):
        end, records, length, offset = large
    begin = end - length
    if begin < offset:
        raise BrokenArchive("The zip archive is cut short: bytes are missing before its directory.")
    return _Directory(begin, length, records, begin - offset)


def _end_in(tail: bytes) -> int | None:
    """Where the end record is: the one whose comment ends with the file, else the last one."""
    reach = max(0, len(tail) - _END.size + len(_END_SIGNATURE))  # below 0 it would count from the end
    last = at = tail.rfind(_END_SIGNATURE, 0, reach)
    while at >= 0:
        if at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
            return at
        at = tail.rfind(_END_SIGNATURE, 0, at)
    return last if last >= 0 else None


def _end_64(file: BinaryIO, end: int) -> tuple[int, int, int, int] | None:
    """The end record of a ZIP64 archive: its place, and its records, length and offset."""
    at = end - _LOCATOR.size
    if at < 0:
        return None
    file.seek(at)
    signature, _, told, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if signature != b"PK\x06\x07":
        return None
    for place in (told, at - _END_64.size):  # the second where something was put before the archive
        if 0 <= place <= at - _END_64.size:
            file.seek(place)
            fields = _END_64.unpack(file.read(_END_64.size))
            if fields[0] == b"PK\x06\x06":
                return (place, fields[7], fields[8], fields[9])
    raise BrokenArchive("The zip archive is cut short: its directory is damaged.")


def _members(file: BinaryIO, directory: _Directory, most: int) -> Iterator[Member]:
    file.seek(directory.begin)
    left, number = directory.bytes, 0
    while left > 0:
        fields = file.read(min(RECORD.size, left))
        if number == most:
            raise TooLarge(f"The archive has more than {most} entries.")
        if len(fields) < RECORD.size or not fields.startswith(_RECORD_SIGNATURE):
            raise BrokenArchive("The zip archive's directory is damaged.")
        record = RECORD.unpack(fields)
        text = file.read(min(sum(record[10:13]), left - RECORD.size))
        if len(text) < sum(record[10:13]):
            raise BrokenArchive("The zip archive's directory is damaged.")
        yield _member(record, text, directory.shift, directory.begin + directory.bytes - left)
        left -= RECORD.size + len(text)
        number += 1
    if number & 0xFFFF != directory.records & 0xFFFF:  # programs without ZIP64 count no further
        raise BrokenArchive("The zip archive's directory is damaged: records are missing.")


def _member(record: tuple[int, ...], text: bytes, shift: int, begin: int) -> Member:
    _, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, _, _, _, mode, offset = record
    name = text[:name_length]
    extra = _fields(text[name_length : name_length + extra_length])
    large = extra.get(_ZIP64_FIELD, b"")
    values = [size, packed, offset]
    for number, value in enumerate(values):
        if value == _IN_ZIP64 and len(large) >= 8:
            values[number] = int.from_bytes(large[:8], "little")
            large = large[8:]
    size, packed, offset = values
    path = _path(name, flags, extra.get(UNICODE_PATH_FIELD))
    return Member(name, path, flags, method, crc, packed, size, offset + shift, mode >> 16, begin)


def _fields(extra: bytes) -> dict[int, bytes]:
    """The fields of an extra block by their ids; what is cut off is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        found.setdefault(kind, extra[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def _path(name: bytes, flags: int, unicode_path: bytes | None) -> str:
    utf8 = flags & _UTF8_NAME
    if not utf8 and unicode_path and unicode_path[1:5] == zlib.crc32(name).to_bytes(4, "little"):
        return unicode_path[5:].decode("utf-8", "replace")
    return text_of(name, flags)


def text_of(name: bytes, flags: int) -> str:
    """A name's text. Without the UTF-8 flag it is UTF-8 where it can be: many programs forget to set it."""
    if flags & _UTF8_NAME:
        return name.decode("utf-8", "replace")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")
