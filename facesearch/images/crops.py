"""Crops: a face's upright square, small enough to keep, large enough to look at and to encode again."""

import io
import math

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from facesearch.images.shrinking import shrunk
from facesearch.records import Box, Crop, CropStyle

# The crop's side by the longer side of the face's box. In such crops of 241 faces of 200 photos, at the
# default size, HOG finds all but one again, with vectors that are 0.06 from the first ones (median; 95 %
# are within 0.12). At 1.5 times it is 0.05, with little to look at, and at 2.5 times 0.07.
SURROUNDINGS = 2.0

_MEDIA_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp"}


def crop_of(pixels: NDArray[np.uint8], box: Box, roll_deg: float, style: CropStyle) -> Crop:
    """Cut a square around a box's middle out of a photo, turned back by `roll_deg`; see Image.crop.

    Of a large face each pixel is the mean of an area. Nothing of the photo but pixels comes along.

    Args:
        pixels: uint8 of shape (height, width, 3), RGB, upright.
    """
    middle_x, middle_y = box.left + box.width / 2, box.top + box.height / 2
    side = max(1.0, SURROUNDINGS * max(box.width, box.height))
    cosine, sine = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    shrinkage = max(1.0, side / style.side_px)
    # The upright square that the turned one lies in, and what interpolation and shrinking reach beyond it.
    half = side / 2 * (abs(cosine) + abs(sine)) + 2 * shrinkage
    height, width = pixels.shape[:2]
    left, right = _within(middle_x - half, middle_x + half, width)
    top, bottom = _within(middle_y - half, middle_y + half, height)
    if right <= left or bottom <= top:
        return _encoded(PIL.Image.new("RGB", (style.side_px, style.side_px)), style)
    part = pixels[top:bottom, left:right]
    if shrinkage > 1:
        part = shrunk(part, shrinkage)
    step = side / style.side_px / shrinkage
    a, b = step * cosine, -step * sine
    begin_x = (middle_x - left) / shrinkage - (a + b) * style.side_px / 2
    begin_y = (middle_y - top) / shrinkage - (a - b) * style.side_px / 2
    square = PIL.Image.fromarray(part).transform(
        (style.side_px, style.side_px),
        PIL.Image.Transform.AFFINE,
        (a, b, begin_x, -b, a, begin_y),
        PIL.Image.Resampling.BICUBIC,
    )
    return _encoded(square, style)


def _within(first: float, last: float, size: int) -> tuple[int, int]:
    return max(0, math.floor(first)), min(size, math.ceil(last))


def _encoded(square: PIL.Image.Image, style: CropStyle) -> Crop:
    file = io.BytesIO()
    square.save(file, style.format.upper(), quality=style.quality)
    return Crop(_MEDIA_TYPES[style.format], file.getvalue())
