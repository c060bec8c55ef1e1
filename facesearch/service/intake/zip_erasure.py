"""Overwriting a file inside a zip, so that the other files stay where they are and what they are."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from facesearch.service.intake.names import readable_path
from facesearch.service.intake.zip_directory import (
    LOCAL_HEADER_BYTES,
    RECORD,
    UNICODE_PATH_FIELD,
    Member,
    text_of,
)

_CHUNK_BYTES = 256 * 1024
# Names keep their length, and so does the directory.
_NAME_BYTE = b"x"


def erase_data(file: BinaryIO, member: Member) -> None:
    """Overwrite a file's packed bytes, and all else up to the next file, with zeros.

    Args:
        file: open for reading and writing; not flushed.
        member: of a file that can be unpacked.

    Raises:
        OSError: it cannot be written.
    """
    file.seek(member.offset)
    header = file.read(LOCAL_HEADER_BYTES)
    name_length, extra_length = struct.unpack_from("<2H", header, 26)
    begin = member.offset + LOCAL_HEADER_BYTES + name_length + extra_length
    file.seek(begin)
    for left in range(member.end - begin, 0, -_CHUNK_BYTES):
        file.write(bytes(min(left, _CHUNK_BYTES)))


def erase_name(file: BinaryIO, member: Member, only_top_folder: str | None) -> None:
    """Overwrite a file's name, in its header and in the directory, and what is said of it there besides.

    The folder that all files lie in is left: from it the others get their names. Where it is spelled in a way
    that is not understood, the name is left as it is.

    Raises:
        OSError: it cannot be written.
    """
    kept = _length_of(only_top_folder, member)
    if kept is None:
        return
    name = member.name[:kept] + _NAME_BYTE * (len(member.name) - kept)
    file.seek(member.offset)
    name_length, extra_length = struct.unpack_from("<2H", file.read(LOCAL_HEADER_BYTES), 26)
    file.seek(member.offset + LOCAL_HEADER_BYTES)
    file.write(name + bytes(extra_length))
    file.seek(member.record)
    _, *_, name_length, extra_length, comment_length, _, _, _, _ = RECORD.unpack(file.read(RECORD.size))
    extra = bytearray(file.read(name_length + extra_length)[name_length:])
    for begin, end in _unicode_paths(extra):
        extra[begin:end] = bytes(end - begin)
    file.seek(member.record + RECORD.size)
    file.write(name + extra + bytes(comment_length))


def _length_of(folder: str | None, member: Member) -> int | None:
    """How many bytes of a name are those of a folder and of what separates it from the rest."""
    if folder is None:
        return 0
    for at, byte in enumerate(member.name):
        if byte in b"/\\" and readable_path(text_of(member.name[:at], member.flags)) == folder:
            return at + 1
    return None


def _unicode_paths(extra: bytearray) -> Iterator[tuple[int, int]]:
    """Where an extra block holds a name once more."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == UNICODE_PATH_FIELD:
            yield at + 4, min(at + 4 + length, len(extra))
        at += 4 + length
