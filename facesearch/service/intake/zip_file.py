"""One file out of a zip, unpacked within what its directory declares and checked against it."""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from facesearch.errors import BrokenImage, Invalid
from facesearch.service.intake.zip_directory import LOCAL_HEADER_BYTES, Member

STORED, DEFLATED, BZIP2, LZMA, AES = 0, 8, 12, 14, 99
_UNKNOWN = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 97: "WavPack", 98: "PPMd"}

_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_PATCHED_FLAG = 0x20
_CHUNK_BYTES = 256 * 1024


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpack(file: BinaryIO, member: Member) -> bytes:
    """Read a file; its declared size must have been checked, and no more than that is ever unpacked.

    Where local header and directory disagree on sizes, the directory counts, as the checksum proves.

    Raises:
        BrokenImage: it is damaged, or not what the directory says.
        Invalid: it is encrypted, or packed in a way that is not supported.
        OSError: the archive's own file cannot be read.
    """
    if member.flags & _ENCRYPTED_FLAGS or member.method == AES:
        raise Invalid("The file is encrypted.")
    if member.flags & _PATCHED_FLAG or member.method not in (STORED, DEFLATED, BZIP2, LZMA):
        name = _UNKNOWN.get(member.method, f"method {member.method}")
        raise Invalid(f"The file is packed in a way that is not supported ({name}).")
    _go_to_data(file, member)
    try:
        data = _unpacked(file, member)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError, struct.error):
        raise BrokenImage("The file is damaged inside the archive.") from None
    except OSError as error:
        if error.errno is not None:  # bz2 says so of bad data, without a number
            raise
        raise BrokenImage("The file is damaged inside the archive.") from None
    if len(data) != member.size:
        raise BrokenImage("The file is damaged inside the archive: it has another size than declared.")
    if zlib.crc32(data) != member.crc:
        raise BrokenImage("The file is damaged inside the archive: its checksum is wrong.")
    return data


def _go_to_data(file: BinaryIO, member: Member) -> None:
    header = b""
    if 0 <= member.offset <= member.end - LOCAL_HEADER_BYTES:
        file.seek(member.offset)
        header = file.read(LOCAL_HEADER_BYTES)
    if len(header) < LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
        raise BrokenImage("The file is damaged inside the archive: it is not where it should be.")
    flags, method = struct.unpack_from("<2H", header, 6)
    name_length, extra_length = struct.unpack_from("<2H", header, 26)
    name = file.read(name_length)
    if flags & _ENCRYPTED_FLAGS:
        raise Invalid("The file is encrypted.")
    if (name, method) != (member.name, member.method):
        raise BrokenImage("The file is damaged inside the archive: its header is not that of the directory.")
    begin = member.offset + LOCAL_HEADER_BYTES + name_length + extra_length
    if begin + member.packed_size > member.end:
        raise BrokenImage("The file is damaged inside the archive: it is cut short.")
    file.seek(begin)


def _unpacked(file: BinaryIO, member: Member) -> bytes:
    if member.method == STORED:
        return file.read(min(member.size, member.packed_size))
    packed = member.packed_size
    unpacker: _Unpacker
    if member.method == DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    elif member.method == BZIP2:
        unpacker = bz2.BZ2Decompressor()
    else:
        head = file.read(min(4, packed))
        properties = file.read(min(struct.unpack("<2xH", head)[0], packed - len(head)))
        packed -= len(head) + len(properties)
        unpacker = _lzma(properties, member.size)
    parts, left = [], member.size + 1  # one more would show that the declared size is a lie
    for chunk in _chunks(file, packed):
        part = unpacker.decompress(chunk, left)
        parts.append(part)
        left -= len(part)
        if not left or unpacker.eof:
            break
    return b"".join(parts)


def _lzma(properties: bytes, size: int) -> lzma.LZMADecompressor:
    """A decompressor whose memory is that of the file: no match reaches back beyond its first byte."""
    packed, dictionary = struct.unpack("<BI", properties)
    rest, lc = divmod(packed, 9)
    pb, lp = divmod(rest, 5)
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": max(4096, min(dictionary, size)),
            "lc": lc,
            "lp": lp,
            "pb": pb,
        }
    ]
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)


def _chunks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (chunk := file.read(min(_CHUNK_BYTES, length))):
        yield chunk
        length -= len(chunk)
