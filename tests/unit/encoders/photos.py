"""Photos for the tests of this folder, made of the pictures that may be published."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from facesearch.config import LimitSettings
from facesearch.encoders.dlib_models import DlibModels
from facesearch.images import AGTImage
from facesearch.interfaces import Image
from facesearch.records import PhotoInfo

PICTURES = Path(__file__).resolve().parents[3] / "test_images"
FACES = sorted(path.name for path in PICTURES.glob("[A-Z]*_0*.jpg"))


def opened(path: Path) -> AGTImage:
    return AGTImage.open(path.read_bytes(), path.name, LimitSettings())


def drawn(pixels: NDArray[np.uint8]) -> Image:
    return AGTImage(pixels, PhotoInfo("photo.png", pixels.shape[1], pixels.shape[0]))


@cache
def one_face(side_px: int = 400) -> Image:
    """A portrait whose longer side has `side_px`."""
    with Pillow.open(PICTURES / "Eileen_Collins_0001.jpg") as picture:
        return drawn(np.array(ImageOps.contain(picture.convert("RGB"), (side_px, side_px))))


@cache
def side_by_side(first: str, second: str) -> Image:
    """A photo of two people, the second one larger."""
    photo = Pillow.new("RGB", (700, 420))
    for name, at, size in ((first, (0, 0), (260, 300)), (second, (280, 0), (420, 420))):
        with Pillow.open(PICTURES / name) as picture:
            photo.paste(ImageOps.contain(picture.convert("RGB"), size), at)
    return drawn(np.array(photo))


@cache
def close_together() -> Image:
    """Two faces and little else, each above the 80 pixels that the CNN detector needs."""
    photo = Pillow.new("RGB", (350, 200))
    for name, at, size in (("Joe_Biden_0001.jpg", (0, 0), 150), ("Barack_Obama_0001.jpg", (150, 0), 200)):
        with Pillow.open(PICTURES / name) as picture:
            pixels = picture.convert("RGB")
        box = DlibModels().find_by_hog(np.array(pixels), 0)[0].box
        margin = box.width // 3
        face = pixels.crop((box.left - margin, box.top - margin, box.right + margin, box.bottom + margin))
        photo.paste(face.resize((size, size)), at)
    return drawn(np.array(photo))
