import hashlib

import numpy as np
import pytest

from facesearch.config import QualitySettings
from facesearch.errors import FaceRefused, NoFaceFound, SeveralFaces
from facesearch.records import Box, EncodedPhoto, Face, PhotoInfo, Quality
from facesearch.service.enrol import Fingerprint, new_faces
from facesearch.service.intake.naming import Naming

NAMING = Naming("Ada", "0001", "a-1", {"team": "engines"})
FILE = Fingerprint.of(b"a photo")
NO_LIMITS = QualitySettings()


def face(size_px: int) -> Face:
    quality = Quality(size_px, 1.0, 100.0, 100.0, 0.0, 0.0, 0.0)
    return Face(Box(0, size_px - 1, size_px - 1, 0), np.full(3, size_px, np.float32), quality)


def encoded(*sizes: int, found: int | None = None) -> EncodedPhoto:
    info = PhotoInfo("a.png", 100, 100)
    return EncodedPhoto(info, tuple(map(face, sizes)), len(sizes) if found is None else found)


def test_a_face_carries_all_that_is_said_of_its_photo() -> None:
    (new,) = new_faces(NAMING, encoded(20, found=3), FILE, NO_LIMITS)
    assert (new.person_name, new.version, new.external_id) == ("Ada", "0001", "a-1")
    assert new.metadata == {"team": "engines"}
    assert (new.photo_sha256, new.photo_bytes) == (hashlib.sha256(b"a photo").digest(), 7)
    assert new.face.box.width == 20


def test_a_face_may_be_given_to_a_person_that_there_is() -> None:
    (new,) = new_faces(Naming("", "", person_id=7), encoded(20), FILE, NO_LIMITS)
    assert new.person_id == 7


def test_of_all_faces_those_below_a_limit_are_left_out() -> None:
    limits = QualitySettings(min_size_px=20)
    assert [f.face.box.width for f in new_faces(NAMING, encoded(30, 10, 20), FILE, limits, "all")] == [
        30,
        20,
    ]
    with pytest.raises(FaceRefused, match="size is 10, below 20"):
        new_faces(NAMING, encoded(10, 11), FILE, limits, "all")


def test_a_single_face_is_no_matter_of_choice() -> None:
    assert len(new_faces(NAMING, encoded(30), FILE, NO_LIMITS, "single")) == 1
    with pytest.raises(SeveralFaces, match="has 2 faces"):
        new_faces(NAMING, encoded(30, 10), FILE, NO_LIMITS, "single")


@pytest.mark.parametrize("faces", ["largest", "all", "single"])
def test_a_photo_without_a_face_gives_none(faces: str) -> None:
    with pytest.raises(NoFaceFound):
        new_faces(NAMING, encoded(), FILE, NO_LIMITS, faces)
