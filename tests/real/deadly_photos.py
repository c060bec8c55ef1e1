"""Photos that end the process that opens them: module-level, so that a pool's process finds it."""

import os

from facesearch.config import LimitSettings
from facesearch.images import AGTImage

DEADLY = b"deadly"


def open_or_die(data: bytes, file_name: str) -> AGTImage:
    """Open a photo, but end this process at one that begins with `DEADLY`."""
    if data.startswith(DEADLY):
        os._exit(7)
    return AGTImage.open(data, file_name, LimitSettings())
