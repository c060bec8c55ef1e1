"""What every Image does."""

from abc import ABC, abstractmethod

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.interfaces import Image

SHAPES = [(48, 64), (64, 48), (1, 300), (300, 1), (1, 1), (7, 101)]


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture without a repeated row or column, uint8 of shape (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=2).astype(np.uint8)


class ImageContract(ABC):
    @abstractmethod
    def image(self, pixels: NDArray[np.uint8]) -> Image:
        """Return an image with exactly these pixels."""

    @pytest.mark.parametrize(("height", "width"), SHAPES)
    def test_has_the_pixels_of_the_photo_and_their_size(self, height: int, width: int) -> None:
        image = self.image(gradient(height, width))
        assert np.array_equal(image.pixels, gradient(height, width))
        assert (image.info.height, image.info.width) == (height, width)

    @pytest.mark.parametrize(("height", "width"), SHAPES)
    @pytest.mark.parametrize("max_pixels", [1, 2, 50, 1000, 3072])
    def test_reduced_has_at_most_the_wanted_pixels(self, height: int, width: int, max_pixels: int) -> None:
        image = self.image(gradient(height, width))
        pixels, scale = image.reduced(max_pixels)
        assert 1 <= pixels.shape[0] * pixels.shape[1] <= max_pixels
        assert (scale == 1.0) == (height * width <= max_pixels)
        # an axis of a single pixel cannot shrink with the other one
        for full, small in zip((height, width), pixels.shape, strict=False):
            assert abs(full / scale - small) <= 1

    def test_all_pixels_are_uint8_contiguous_and_read_only(self) -> None:
        image = self.image(gradient(48, 64))
        for pixels in (image.pixels, image.reduced(100)[0], image.reduced(10_000)[0]):
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.flags.c_contiguous
            assert not pixels.flags.writeable

    def test_a_photo_within_the_limit_is_not_touched(self) -> None:
        image = self.image(gradient(48, 64))
        pixels, scale = image.reduced(48 * 64)
        assert scale == 1.0
        assert np.array_equal(pixels, image.pixels)

    @pytest.mark.parametrize("max_pixels", [20_000, 7_000, 3_000])
    def test_scale_leads_from_the_reduced_photo_back_to_the_full_one(self, max_pixels: int) -> None:
        full = np.zeros((240, 320, 3), dtype=np.uint8)
        full[120:180, 200:260] = 255
        pixels, scale = self.image(full).reduced(max_pixels)
        rows, columns = np.nonzero(pixels[:, :, 0] > 127)
        edges = [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]
        assert np.allclose(np.array(edges) * scale, [120, 180, 200, 260], atol=scale)
