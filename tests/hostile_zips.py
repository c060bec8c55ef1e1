"""Zips as no program would write them, put together field by field (APPNOTE.TXT 6.3.10)."""

import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

STORED, DEFLATED, DEFLATE64, BZIP2, LZMA, ZSTANDARD = 0, 8, 9, 12, 14, 93
UTF8, ENCRYPTED = 0x800, 0x1
MIB = 1024**2
_LARGE = 0xFFFFFFFF


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def deflated_zeros(size: int) -> bytes:
    """What so many zeros become: about a thousandth of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush a block stands for itself, and may be said again.
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // MIB) + packer.compress(bytes(size % MIB)) + packer.flush()


def lzma_of(data: bytes, dictionary: int = 1 << 16) -> bytes:
    """Method 14: the version, the properties, then raw LZMA with an end mark."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}]
    head = struct.pack("<BBHBI", 9, 20, 5, (2 * 5 + 0) * 9 + 3, dictionary)
    return head + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)


@dataclass(frozen=True)
class Member:
    """A file as its directory record and its local header describe it.

    Args:
        packed: the bytes that follow the local header.
        local: what its local header says otherwise, by attribute.
        offset: where the record says that the local header is; by default where it is.
        header: whether there is one.
    """

    name: bytes
    packed: bytes = b""
    method: int = STORED
    size: int | None = None
    crc: int | None = None
    packed_size: int | None = None
    flags: int = 0
    mode: int = 0
    extra: bytes = b""
    local: dict[str, object] = field(default_factory=dict)
    offset: int | None = None
    header: bool = True

    @property
    def sizes(self) -> tuple[int, int, int]:
        """CRC, packed size and size, as stored bytes have them where nothing else was said."""
        crc = zlib.crc32(self.packed) if self.crc is None else self.crc
        packed = len(self.packed) if self.packed_size is None else self.packed_size
        return crc, packed, len(self.packed) if self.size is None else self.size

    def local_header(self) -> bytes:
        if not self.header:
            return b""
        told = replace(self, **self.local)  # type: ignore[arg-type]  # the attributes of a test's choice
        lengths = len(told.name), len(told.extra)
        head = struct.pack("<4s5H3I2H", b"PK\3\4", 20, told.flags, told.method, 0, 33, *told.sizes, *lengths)
        return head + told.name + told.extra

    def record(self, offset: int) -> bytes:
        at = offset if self.offset is None else self.offset
        crc, packed, size = self.sizes
        extra, numbers = self.extra, [size, packed, at]
        if max(numbers) >= _LARGE:
            extra = struct.pack("<2H3Q", 1, 24, *numbers) + extra
            size = packed = at = _LARGE
        lengths = len(self.name), len(extra), 0
        numbers = [self.flags, self.method, 0, 33, crc, packed, size, *lengths, 0, 0, self.mode << 16, at]
        return struct.pack("<4s6H3I5H2I", b"PK\1\2", 3 << 8 | 20, 20, *numbers) + self.name + extra


def file_of(name: str | bytes, data: bytes, method: int = STORED, **more: object) -> Member:
    """An honest file, but for what is told about it."""
    packers: dict[int, Callable[[bytes], bytes]] = {DEFLATED: deflated, BZIP2: bz2.compress, LZMA: lzma_of}
    packed = packers.get(method, bytes)(data)
    raw = name.encode() if isinstance(name, str) else name
    honest = Member(raw, packed, method, len(data), zlib.crc32(data), flags=0 if raw.isascii() else UTF8)
    return replace(honest, **more)  # type: ignore[arg-type]  # the attributes of a test's choice


def zip_of(
    members: Iterable[Member],
    *,
    before: bytes = b"",
    comment: bytes = b"",
    records: int | None = None,
    zip64: bool = False,
) -> bytes:
    """An archive of these files; `before` is put in front without telling the directory."""
    parts, directory, at = [], [], 0
    for member in members:
        header = member.local_header()
        parts += [header, member.packed if member.header else b""]
        directory.append(member.record(at))
        at += len(header) + len(parts[-1])
    return before + b"".join(parts) + end_of(directory, at, comment, records, zip64)


def end_of(
    directory: Sequence[bytes],
    at: int,
    comment: bytes = b"",
    records: int | None = None,
    zip64: bool = False,
) -> bytes:
    """A directory that begins at `at`, and what ends an archive; ZIP64 too where the numbers ask for it."""
    text, count = b"".join(directory), len(directory) if records is None else records
    end, large = at + len(text), b""
    if zip64 or count >= 0xFFFF or end >= _LARGE:
        large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(text), at)
        large += struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    counts = [0xFFFF if zip64 else min(count, 0xFFFF)] * 2
    place = (_LARGE, _LARGE) if zip64 else (len(text), min(at, _LARGE))
    return text + large + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *counts, *place, len(comment)) + comment


def zeros(name: str, size: int, told: int | None = None) -> Member:
    """A file of zeros, a thousandth of that in the archive; `told` is what the directory says of its size.

    Its checksum is right up to 64 MiB.
    """
    crc = zlib.crc32(bytes(size)) if size <= 64 * MIB else 0
    return Member(name.encode(), deflated_zeros(size), DEFLATED, size if told is None else told, crc)


def overlapping(count: int, size: int) -> bytes:
    """One packed file, and records of `count` files that all say it is theirs."""
    first = zeros("0.jpg", size)
    others = [
        replace(first, name=f"{n}.jpg".encode(), header=False, packed_size=len(first.packed), offset=0)
        for n in range(1, count)
    ]
    return zip_of([first, *others])


def quoting(count: int, size: int) -> bytes:
    """Files each of which holds the next one's local header in a stored block, and at last one kernel.

    After D. Fifield, "A better zip bomb", WOOT 2019: every file expands the kernel for itself. Checksums
    are left out.
    """
    body, length = deflated_zeros(size), size
    members: list[tuple[Member, bytes]] = []
    for number in reversed(range(count)):
        name = f"{number:04}.jpg".encode()
        member = Member(name, body, DEFLATED, length, crc=0)
        whole = member.local_header() + body
        members.append((member, whole))
        quoted = whole[: len(whole) - len(body)]
        body = struct.pack("<BHH", 0, len(quoted), len(quoted) ^ 0xFFFF) + whole
        length += len(quoted)
    members.reverse()
    first = members[0][1]
    directory = [member.record(len(first) - len(whole)) for member, whole in members]
    return first + end_of(directory, len(first))


def nested(depth: int, size: int) -> bytes:
    """A zip in a zip, and so on, around a file of zeros."""
    data = zip_of([zeros("photo.bmp", size)])
    for level in range(depth):
        data = zip_of([file_of(f"{level}.{n}.zip", data, DEFLATED) for n in range(4)])
    return data


def many_empty(count: int) -> bytes:
    return zip_of(file_of(f"{number}.jpg", b"") for number in range(count))


def special(name: str, kind: int, data: bytes = b"/etc/passwd") -> Member:
    """A symbolic link, a device or a pipe."""
    return file_of(name, data, mode=kind | 0o777)


LINK, PIPE, DEVICE, SOCKET = stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFSOCK
