"""HEIC pictures, through the compiled part of pi-heif.

Its Python classes fetch all metadata when a file is opened, and a content type in there that is not
UTF-8 ends the process with a segmentation fault (pi-heif 1.4.0). So only size and pixels are asked of it,
which also spares two copies of the picture, and EXIF is found here. Box layout: ISO/IEC 14496-12, 8.11.
"""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Exif

_DECODER_THREADS = 4


class HeifPicture:
    """The main picture of a HEIC file; lives as long as the call that decodes it, in one thread.

    Raises what the decoder raises: ValueError, EOFError, SyntaxError, RuntimeError, OSError.
    """

    def __init__(self, data: bytes) -> None:
        # here, for the decoder is large and seldom needed
        pi_heif: Any = import_module("_pi_heif")
        eight_bits, bgr, packed_rows, sixteen_bits, decoder, unlimited = True, False, True, True, "", False
        pictures: list[Any] = pi_heif.load_file(
            data, _DECODER_THREADS, eight_bits, bgr, packed_rows, sixteen_bits, decoder, unlimited
        )
        known = [picture for picture in pictures if picture is not None]
        self._picture = next((picture for picture in known if picture.primary), known[0])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, upright; known before decoding, and possibly corrected by it."""
        size: tuple[int, int] = self._picture.size_mode[0]
        return size

    def load(self) -> None:
        """Decode."""
        _ = self._picture.stride

    def pixels(self) -> NDArray[np.uint8]:
        """Return uint8 of shape (height, width, 3), RGB; the decoder has turned it upright."""
        width, height = self.size
        mode: str = self._picture.size_mode[1]
        if mode == "I;16":
            greys = np.frombuffer(self._picture.data, dtype="<u2").reshape(height, width, 1)
            return np.repeat((greys >> 8).astype(np.uint8), 3, axis=2)
        channels = len(mode)
        values = np.frombuffer(self._picture.data, dtype=np.uint8).reshape(height, width, channels)
        return np.repeat(values, 3, axis=2) if channels == 1 else values[:, :, :3].copy()


def read_exif(data: bytes) -> Exif | None:
    """Return the EXIF of a HEIC file, None where it has none that can be read."""
    exif = Exif()
    try:
        block = _exif_item(data)
        # four bytes say how many to skip before the TIFF header
        exif.load(block[4 + int.from_bytes(block[:4], "big") :])
    except Exception:
        return None
    return exif


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, first content byte and end of each box."""
    while at + 8 <= end:
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = end if size == 0 else at + size
        if (size and size < header) or stop > end:
            return
        yield kind, at + header, stop
        at = stop


def _exif_item(data: bytes) -> bytes:
    """Return the bytes of the item of type Exif; raises an IndexError or KeyError where there is none."""
    meta = next(box for box in _boxes(data, 0, len(data)) if box[0] == b"meta")
    inside = {kind: (at, end) for kind, at, end in _boxes(data, meta[1] + 4, meta[2])}
    at, end = inside[b"iinf"]
    count_bytes = 2 if data[at] == 0 else 4
    for kind, entry, _ in _boxes(data, at + 4 + count_bytes, end):
        id_bytes = 2 if data[entry] == 2 else 4
        identity = data[entry + 4 : entry + 4 + id_bytes]
        item_type = data[entry + 6 + id_bytes : entry + 10 + id_bytes]
        if kind == b"infe" and data[entry] in (2, 3) and item_type == b"Exif":
            start, length = _extent(data, inside[b"iloc"], int.from_bytes(identity, "big"))
            return data[start : start + length]
    raise KeyError("Exif")


def _extent(data: bytes, iloc: tuple[int, int], item: int) -> tuple[int, int]:
    """Return where an item's first extent lies in the file; EXIF is never written in more than one."""
    at, end = iloc
    version = data[at]
    offset_bytes, length_bytes = data[at + 4] >> 4, data[at + 4] & 15
    base_bytes, index_bytes = data[at + 5] >> 4, data[at + 5] & 15 if version in (1, 2) else 0
    id_bytes = 2 if version < 2 else 4
    at += 6 + id_bytes
    while at < end:
        identity = int.from_bytes(data[at : at + id_bytes], "big")
        at += id_bytes
        method = data[at + 1] & 15 if version in (1, 2) else 0
        at += (2 if version in (1, 2) else 0) + 2
        base = int.from_bytes(data[at : at + base_bytes], "big")
        at += base_bytes
        extents = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if identity == item and method == 0 and extents:
            at += index_bytes
            offset = int.from_bytes(data[at : at + offset_bytes], "big")
            length = int.from_bytes(data[at + offset_bytes : at + offset_bytes + length_bytes], "big")
            return base + offset, length
        at += extents * (index_bytes + offset_bytes + length_bytes)
    raise KeyError(item)
