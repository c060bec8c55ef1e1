import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.config import LimitSettings
from facesearch.images import AGTImage
from facesearch.interfaces import Image
from facesearch.records import Location, PhotoInfo
from tests.contracts.image import ImageContract
from tests.unit.images.pictures import drawing, exif, opened, saved

ROOT = Path(__file__).resolve().parents[3]


class TestAGTImage(ImageContract):
    def image(self, pixels: NDArray[np.uint8]) -> Image:
        return AGTImage.open(saved(pixels), "photo.png", LimitSettings())


def test_info_tells_name_upright_size_date_and_place() -> None:
    fields = exif(6, {0x9003: "2019:07:20 14:30:05"}, place=("S", (33, 30, 0), "E", (70, 45, 0)))
    image = AGTImage.open(saved(drawing(48, 64), "JPEG", exif=fields), "../a b é.jpg", LimitSettings())
    location = Location(-33.5, 70.75)
    assert image.info == PhotoInfo("../a b é.jpg", 48, 64, "2019-07-20T14:30:05", location)


def test_reduced_pixels_are_means_of_areas() -> None:
    checkers = np.indices((200, 300)).sum(axis=0) % 2 * 255
    image = AGTImage(
        np.repeat(checkers[:, :, np.newaxis], 3, axis=2).astype(np.uint8), PhotoInfo("", 300, 200)
    )
    pixels, _ = image.reduced(4000)
    assert pixels.min() > 110
    assert pixels.max() < 145


def test_a_large_photo_costs_little_more_than_pillow_and_the_array_need() -> None:
    """Seven bytes a pixel while decoding, four in Pillow and three in the array, and some for all sizes."""
    program = """
import io, sys
import numpy as np, PIL.Image
from facesearch.config import LimitSettings
from facesearch.images import AGTImage
def peak():
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) * 1024
data = sys.stdin.buffer.read()
before = peak()
image = AGTImage.open(data, "large.jpg", LimitSettings())
image.reduced(2_000_000)
print((peak() - before) / (image.info.width * image.info.height))
"""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("peak memory is read from /proc")
    large = saved(np.full((4000, 4000, 3), 120, dtype=np.uint8), "JPEG")
    result = subprocess.run(
        [sys.executable, "-c", program], input=large, capture_output=True, cwd=ROOT, check=True, timeout=60
    )
    assert float(result.stdout) < 8.5


def test_importing_the_room_leaves_heavy_decoders_and_warning_filters_alone() -> None:
    program = (
        "import sys, warnings; import facesearch.images;"
        "assert not any('PIL' in str(entry) for entry in warnings.filters);"
        "print([m for m in ('_pi_heif', 'dlib') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=True, timeout=60, text=True
    )
    assert result.stdout.strip() == "[]"


def test_pixels_given_to_the_constructor_become_read_only() -> None:
    image = AGTImage(drawing(), PhotoInfo("", 64, 48))
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 0
    assert opened(saved(drawing())).pixels.flags.owndata
