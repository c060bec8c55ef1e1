"""How much work a JPEG file asks for."""

import re

# two bytes that are neither padding, nor a stuffed zero, nor a restart within a scan
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = (0x01, 0xD8)


def has_more_scans_than(data: bytes, most: int) -> bool:
    """Say whether the first image of a JPEG file comes in more than `most` scans.

    What lies inside segments (thumbnails) or behind the image (films, second images) does not count.
    """
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END_OF_IMAGE:
            return False
        scans += marker == _START_OF_SCAN
        if scans > most:
            return True
        if marker not in _WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
    return False
