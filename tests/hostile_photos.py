"""Small files that claim to be, or would become, enormous photos."""

import struct
import zlib

from tests.hostile_zips import deflated_zeros

_PNG = b"\x89PNG\r\n\x1a\n"


def zlib_of_zeros(size: int) -> bytes:
    """So many zeros in zlib's format (RFC 1950); their checksum can be told without them."""
    adler = (size % 65521) << 16 | 1
    return b"\x78\xda" + deflated_zeros(size) + struct.pack(">I", adler)


def png(width: int, height: int, *chunks: tuple[bytes, bytes], rows: int | None = None) -> bytes:
    """A grey picture; `rows` of it are there, all by default."""
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    pixels = zlib_of_zeros((width + 1) * (height if rows is None else rows))
    return _PNG + b"".join(map(_chunk, [(b"IHDR", head), *chunks, (b"IDAT", pixels), (b"IEND", b"")]))


def _chunk(named: tuple[bytes, bytes]) -> bytes:
    kind, data = named
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int, height: int) -> bytes:
    screen = struct.pack("<2H3B", width, height, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<4HB", 0, 0, width, height, 0) + b"\2\2\x4c\1\0"
    return b"GIF89a" + screen + frame + b";"


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<I2HI", 54, 0, 0, 54)
        + struct.pack("<3I2H6I", 40, width, height, 1, 24, *[0] * 6)
    )


def jpeg(width: int, height: int) -> bytes:
    frame = struct.pack(">HB2HB", 11, 8, height, width, 1) + b"\1\x11\0"
    return (
        b"\xff\xd8\xff\xc0" + frame + b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\1\0\0\x3f\0" + bytes(1000)
    )


def tiff(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height}
    fields = b"".join(struct.pack("<2H2I", tag, 4, 1, value & 0xFFFFFFFF) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + fields + bytes(4)
