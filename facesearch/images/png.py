"""PNG files reduced to what their pixels need."""

import zlib

_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_SIGNATURE_BYTES = 8


def without_extras(data: bytes) -> bytes | None:
    """Return a PNG file without text, profiles, animation and broken EXIF; None where it has none of those.

    Texts may inflate a thousandfold, and a broken one makes Pillow refuse the whole file; the picture
    beside them is as good as ever.
    """
    kept = [data[:_SIGNATURE_BYTES]]
    left_out = False
    at = _SIGNATURE_BYTES
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        chunk = data[at : at + 12 + length]
        if kind in _NEEDED or (kind == b"eXIf" and _is_whole(chunk)):
            kept.append(chunk)
        else:
            left_out = True
        at += 12 + length
    return b"".join(kept) if left_out else None


def _is_whole(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
