"""Plain vectors, one look and full size: both engines give what face_recognition itself gives."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder
from facesearch.interfaces import ImageEncoder
from tests.labelled_photos import labelled
from tests.odd_expectations import FACE, NO_FACE, ODD
from tests.unit.encoders.oracle import boxes_and_embeddings
from tests.unit.encoders.photos import FACES, PICTURES, opened


@pytest.fixture(scope="module", params=["onnx", "dlib"])
def encoder(request: pytest.FixtureRequest, graphs: Path) -> ImageEncoder:
    settings = {"engine": request.param, "kind": "plain", "look_twice": False}
    return AGTEncoder(EncoderSettings.model_validate(settings), graphs)


def assert_same_as_face_recognition(encoder: ImageEncoder, path: Path) -> None:
    photo = encoder.encode(opened(path))
    expected = boxes_and_embeddings(path)
    assert [face.box for face in photo.faces] == [box for box, _ in expected]
    for face, (_, vector) in zip(photo.faces, expected, strict=True):
        assert np.abs(face.embedding - vector).max() <= 1e-6


@pytest.mark.parametrize("name", [*FACES, "no_face_coffee.jpg"])
def test_faces_and_vectors_are_those_of_face_recognition(encoder: ImageEncoder, name: str) -> None:
    assert_same_as_face_recognition(encoder, PICTURES / name)


@pytest.mark.faces
@pytest.mark.parametrize("row", range(0, 60, 10))
def test_lfw_faces_and_vectors_are_those_of_face_recognition(encoder: ImageEncoder, row: int) -> None:
    with labelled("gallery.csv").open(encoding="utf-8") as gallery:
        path = list(csv.DictReader(gallery))[row]["path"]
    assert_same_as_face_recognition(encoder, labelled(path))


@pytest.mark.faces
@pytest.mark.parametrize("folder", ["group", "hires"])
def test_larger_photos_below_detect_pixels_give_what_face_recognition_gives(
    encoder: ImageEncoder, folder: str
) -> None:
    photos = [
        path for path in sorted(labelled(folder).rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")
    ]
    chosen = [path for path in photos if 90_000 < np.prod(size(path)) < 600_000][::5][:2]
    assert len(chosen) == 2
    for path in chosen:
        assert_same_as_face_recognition(encoder, path)


def size(path: Path) -> tuple[int, int]:
    with Pillow.open(path) as image:
        # one that EXIF turns is not what face_recognition sees
        return image.size if image.getexif().get(0x0112, 1) == 1 else (0, 0)


@pytest.mark.faces
@pytest.mark.parametrize("name", [name for name, expected in ODD.items() if expected in (FACE, NO_FACE)])
def test_odd_photos_have_a_face_or_none(graphs: Path, name: str) -> None:
    found = AGTEncoder(EncoderSettings(), graphs).detect(opened(labelled(f"odd/{name}")))
    assert bool(found) == (ODD[name] == FACE)
