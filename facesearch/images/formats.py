"""Which picture format a file is in, told by its first bytes and never by its name."""

from enum import Enum

_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1"}
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}


class Format(Enum):
    """The formats that are opened; everything else is not an image to this service."""

    JPEG = "JPEG"
    PNG = "PNG"
    GIF = "GIF"
    WEBP = "WebP"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIF = "HEIC"


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes of a file announce, None where they announce none."""
    if data.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Format.WEBP
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return Format.TIFF
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        # two letters alone begin many a text; the size of the header that follows is one of a few
        return Format.BMP
    return _sniff_boxes(data)


def _sniff_boxes(data: bytes) -> Format | None:
    """Tell AVIF and HEIC from the brands of an ISO base media file, and both from a film."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), 1024)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return Format.AVIF
    if brands & _HEIC_BRANDS or data[8:12] in _HEIF_BRANDS:
        return Format.HEIF
    return None


def is_cut(data: bytes) -> bool:
    """Say whether an AVIF or HEIC file ends before its index or its pixels do.

    The decoders fill in what is missing instead of refusing it. Boxes of other kinds are not looked
    at: cameras append notes of their own making.
    """
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if kind in (b"meta", b"mdat", b"moov") and at + size > len(data):
            return True
        if size < 8:
            # 0 means "up to the end of the file"; the rest is not a box
            return False
        at += size
    return False
