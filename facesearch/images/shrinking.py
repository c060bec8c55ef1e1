"""Making pictures smaller, each new pixel the mean of an area."""

import math

import numpy as np
import PIL.Image
from numpy.typing import NDArray

_BAND_ROWS = 64


def shrunk(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return pixels made smaller by a scale of at least 1, uint8 of shape (height, width, 3), read-only.

    With Pillow's bilinear filter, which covers the whole area of each new pixel; what would be a fraction of
    a pixel at the right and lower edge is left out. Band by band: Pillow takes a copy, at four bytes a pixel,
    of what it resizes.
    """
    height, width = pixels.shape[:2]
    new_width, new_height = max(1, int(width / scale)), max(1, int(height / scale))
    right = min(width, new_width * scale)
    small = np.empty((new_height, new_width, 3), dtype=np.uint8)
    for top in range(0, new_height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, new_height)
        upper, lower = top * scale, min(height, bottom * scale)
        # the filter reaches one new pixel beyond the band
        first, last = max(0, math.floor(upper - scale)), min(height, math.ceil(lower + scale))
        band = PIL.Image.fromarray(pixels[first:last])
        box = (0.0, upper - first, right, lower - first)
        small[top:bottom] = np.asarray(
            band.resize((new_width, bottom - top), PIL.Image.Resampling.BILINEAR, box)
        )
    small.flags.writeable = False
    return small
