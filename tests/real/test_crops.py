"""Kept crops stand in for the photos that they were cut from."""

from pathlib import Path

import numpy as np
import pytest

from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import make_encoder
from facesearch.images import AGTImage
from facesearch.interfaces import ImageEncoder
from facesearch.records import CropStyle

PHOTOS = sorted((Path(__file__).resolve().parents[2] / "test_images").glob("*_000?.jpg"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ImageEncoder:
    return make_encoder(EncoderSettings(), tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("style", [CropStyle(), CropStyle(192, "webp", 80)], ids=["default", "small webp"])
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
def test_the_face_of_a_crop_is_found_again_and_is_the_same(
    encoder: ImageEncoder, photo: Path, style: CropStyle
) -> None:
    image = AGTImage.open(photo.read_bytes(), photo.name, LimitSettings())
    [face] = encoder.encode(image).faces
    assert face.quality is not None
    crop = AGTImage.open(image.crop(face.box, face.quality.roll_deg, style).data, photo.name, LimitSettings())
    [again] = encoder.encode(crop).faces
    assert np.linalg.norm(again.embedding - face.embedding) < 0.2
    half, middle = style.side_px / 4, style.side_px / 2
    assert np.allclose([again.box.left, again.box.top], middle - half, atol=style.side_px / 8)
