"""AGTImage: a photo as face_recognition's `load_image_file` has it, but upright and within limits."""

import math

import numpy as np
from numpy.typing import NDArray

from facesearch.config import LimitSettings
from facesearch.images.crops import crop_of
from facesearch.images.decoding import decode
from facesearch.images.shrinking import shrunk
from facesearch.interfaces import Image
from facesearch.records import Box, Crop, CropStyle, PhotoInfo


class AGTImage(Image):
    """Lives as long as the request or task that opened it. Immutable; any thread may read it.

    Args:
        pixels: uint8 of shape (height, width, 3), RGB, upright; made read-only.
        info: its `width` and `height` are those of `pixels`.
    """

    def __init__(self, pixels: NDArray[np.uint8], info: PhotoInfo) -> None:
        self._pixels = np.ascontiguousarray(pixels)
        self._pixels.flags.writeable = False
        self._info = info

    @classmethod
    def open(cls, data: bytes, file_name: str, limits: LimitSettings) -> "AGTImage":
        """Decode an encoded photo: JPEG, PNG, GIF (first frame), WebP, BMP, TIFF, AVIF or HEIC.

        Args:
            data: the whole file.
            file_name: kept as it is; neither opened nor trusted.
            limits: bytes, pixels and sides that are accepted.

        Raises:
            NotAnImage: the first bytes are of no known format.
            BrokenImage: the format is known, the file is damaged, cut, or of a variant that is not read.
            TooLarge: the file or the picture is over a limit.
        """
        pixels, metadata = decode(data, limits)
        height, width = pixels.shape[:2]
        return cls(pixels, PhotoInfo(file_name, width, height, metadata.taken_at, metadata.location))

    @property
    def info(self) -> PhotoInfo:
        return self._info

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self._pixels

    def reduced(self, max_pixels: int) -> tuple[NDArray[np.uint8], float]:
        """Return the photo with at most `max_pixels` pixels, each the mean of an area; see the port.

        One scale serves both axes exactly: what would be a fraction of a pixel at the right and lower
        edge is left out. Computed at each call and not kept.
        """
        height, width = self._pixels.shape[:2]
        if width * height <= max_pixels:
            return self._pixels, 1.0
        scale = math.sqrt(width * height / max_pixels)
        if min(width, height) < scale:
            # the shorter side stays one pixel
            scale = max(width, height) / max_pixels
        return shrunk(self._pixels, scale), scale

    def crop(self, box: Box, roll_deg: float, style: CropStyle) -> Crop:
        return crop_of(self._pixels, box, roll_deg, style)
