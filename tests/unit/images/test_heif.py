import numpy as np
import pytest

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, TooLarge
from facesearch.images.heif import read_exif
from tests.unit.images.heic import TURNED_HEIC
from tests.unit.images.pictures import opened


def test_heic_is_turned_once_and_told_by_its_exif() -> None:
    image = opened(TURNED_HEIC)
    assert (image.info.width, image.info.height) == (48, 64)
    assert image.info.taken_at == "2019-07-20T14:30:05"
    assert np.allclose(image.pixels[8, 24], (200, 30, 30), atol=12)
    assert np.allclose(image.pixels[56, 24], (30, 30, 200), atol=12)


def test_metadata_with_a_type_that_is_not_text_is_only_ignored() -> None:
    """It ends the process where pi-heif is asked for it."""
    bad = TURNED_HEIC.replace(b"application/rdf+xml", b"application/rdf\xff\xfe\xfd\xfc")
    assert bad != TURNED_HEIC
    assert opened(bad).info.taken_at == "2019-07-20T14:30:05"


def test_exif_that_is_missing_or_points_nowhere_is_none() -> None:
    assert read_exif(b"") is None
    assert read_exif(TURNED_HEIC.replace(b"Exif", b"Fixe")) is None
    iloc = TURNED_HEIC.index(b"iloc")
    assert read_exif(TURNED_HEIC[: iloc + 12] + b"\xff" * 40 + TURNED_HEIC[iloc + 52 :]) is None


def test_heic_over_the_limits_is_refused() -> None:
    with pytest.raises(TooLarge):
        opened(TURNED_HEIC, LimitSettings(photo_side=63))


def test_heic_without_a_picture_is_broken() -> None:
    with pytest.raises(BrokenImage):
        opened(TURNED_HEIC[: TURNED_HEIC.index(b"meta") - 4])
    with pytest.raises(BrokenImage):
        opened(TURNED_HEIC.replace(b"hvc1", b"none"))
