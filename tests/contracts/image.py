"""What every Image does."""

import io
from abc import ABC, abstractmethod

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.interfaces import Image
from facesearch.records import Box, Crop, CropStyle

SHAPES = [(48, 64), (64, 48), (1, 300), (300, 1), (1, 1), (7, 101)]


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture without a repeated row or column, uint8 of shape (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=2).astype(np.uint8)


GREY, WHITE = 90, 250


def seen(crop: Crop) -> NDArray[np.uint8]:
    """A crop's pixels, as anybody decodes them."""
    return np.asarray(Pillow.open(io.BytesIO(crop.data)).convert("RGB"))


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

    @pytest.mark.parametrize(
        ("style", "media_type", "begins"),
        [
            (CropStyle(), "image/jpeg", b"\xff\xd8\xff"),
            (CropStyle(64, "webp", 50), "image/webp", b"RIFF"),
        ],
    )
    def test_a_crop_is_a_square_picture_file_of_the_wanted_kind(
        self, style: CropStyle, media_type: str, begins: bytes
    ) -> None:
        crop = self.image(gradient(48, 64)).crop(Box(10, 30, 29, 11), 0.0, style)
        assert crop.media_type == media_type
        assert crop.data.startswith(begins)
        assert seen(crop).shape == (style.side_px, style.side_px, 3)

    @pytest.mark.parametrize(("face", "roll_deg"), [(20, 0.0), (20, 30.0), (240, 0.0), (240, -75.0)])
    def test_a_face_is_in_the_middle_of_its_crop_with_its_surroundings_upright(
        self, face: int, roll_deg: float
    ) -> None:
        """The face is a white disc whose right half, by the way it is turned, is dark."""
        rows, columns = np.indices((5 * face, 4 * face)) + 0.5
        down, right = rows - 2 * face, columns - 2 * face
        turn = np.radians(roll_deg)
        photo = np.full((5 * face, 4 * face, 3), GREY, np.uint8)
        photo[np.hypot(down, right) < face / 2] = WHITE
        photo[(np.hypot(down, right) < face / 2) & (right * np.cos(turn) + down * np.sin(turn) > 0)] = 0
        first, last = round(1.5 * face), round(2.5 * face) - 1
        crop = seen(self.image(photo).crop(Box(first, last, last, first), roll_deg, CropStyle(100)))
        light, dark = crop[50, 25:49, 0], crop[50, 52:74, 0]
        assert light[3:].min() > 200
        assert dark[:-3].max() < 50
        for row in (5, 50, 95):
            assert np.allclose(crop[row, [5, 20, 80, 95]], GREY, atol=20)
        assert np.allclose(crop[[5, 20, 80, 95], 50], GREY, atol=20)

    def test_what_a_crop_shows_beyond_the_photo_is_black(self) -> None:
        white = self.image(np.full((60, 60, 3), WHITE, np.uint8))
        at_corner = Box(-10, 9, 9, -10)
        straight, turned = (seen(white.crop(at_corner, roll, CropStyle(80))) for roll in (0.0, 45.0))
        assert straight[45:, 45:].min() > 200
        assert max(straight[:35].max(), straight[:, :35].max()) < 50
        assert turned[35:45, 55:].min() > 200
        assert max(turned[:, :35].max(), turned[:20, :50].max()) < 50
        assert seen(white.crop(Box(200, 240, 240, 200), 45.0, CropStyle(80))).max() < 10

    @pytest.mark.parametrize(("height", "width"), SHAPES)
    def test_the_smallest_face_and_the_smallest_photo_have_a_crop(self, height: int, width: int) -> None:
        image = self.image(gradient(height, width))
        for box in (Box(0, 0, 0, 0), Box(0, width - 1, height - 1, 0), Box(-400, 900, 700, -300)):
            assert seen(image.crop(box, 10.0, CropStyle(64))).shape == (64, 64, 3)
