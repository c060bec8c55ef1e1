"""HOG and CNN are tested with AGTEncoder; here, detectors that find landmarks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders.centerface import CenterFace
from facesearch.encoders.engines import make_engine
from facesearch.encoders.finder import FaceFinder
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_session import open_file
from facesearch.errors import InvalidParameter, Unavailable
from facesearch.interfaces import Image
from facesearch.records import Box, Detection, Wanted
from tests.unit.encoders.photos import PICTURES, close_together, drawn, one_face, opened

LARGEST = Wanted(only_largest=True)
LANDMARKS = ((10.0, 10.0), (30.0, 10.0), (20.0, 20.0), (12.0, 30.0), (28.0, 30.0))


def made(models: Path, **settings: object) -> FaceFinder:
    chosen = EncoderSettings.model_validate({"detector": "centerface"} | settings)
    return FaceFinder(chosen, make_engine("dlib", models), ModelStore(models))


def blank(height: int, width: int) -> Image:
    return drawn(np.zeros((height, width, 3), np.uint8))


class Looks:
    """Notes what CenterFace is given, and finds what it is told at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[Detection]) -> None:
        self.seen: list[tuple[tuple[int, int], int, int]] = []
        self._answers: Iterator[list[Detection]] = iter(answers)
        monkeypatch.setattr(CenterFace, "find", lambda _, *given: self._find(*given))

    def _find(self, pixels: NDArray[np.uint8], doublings: int, min_face_px: int) -> list[Detection]:
        self.seen.append(((pixels.shape[0], pixels.shape[1]), doublings, min_face_px))
        return next(self._answers, [])


class TestDoubling:
    @pytest.mark.parametrize("upsample", [0, 1, 2])
    @pytest.mark.parametrize("wanted", [Wanted(), LARGEST])
    def test_the_configurations_does_not_count_and_one_look_is_enough(
        self, models: Path, monkeypatch: pytest.MonkeyPatch, upsample: int, wanted: Wanted
    ) -> None:
        looks = Looks(monkeypatch)
        made(models, upsample=upsample).detect(blank(200, 300), wanted)
        assert looks.seen == [((200, 300), 0, 0)]

    def test_a_request_for_it_counts(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = Looks(monkeypatch)
        made(models).detect(blank(200, 300), Wanted(upsample=2))
        assert looks.seen == [((200, 300), 2, 0)]

    def test_stops_before_a_picture_gets_too_large(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = Looks(monkeypatch)
        made(models).detect(blank(2000, 1000), Wanted(upsample=3))
        ((_, doublings, _),) = looks.seen
        assert 2_000_000 << 2 * doublings <= CenterFace.most_pixels < 2_000_000 << 2 * (doublings + 1)


class TestSizes:
    def test_landmarks_and_box_are_in_pixels_of_the_full_photo(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both are of the pixels that they cover: the photo's corner stays its corner."""
        Looks(monkeypatch, [Detection(Box(0, 39, 39, 0), 0.9, LANDMARKS)])
        (found,) = made(models, detect_pixels=10_000).detect(blank(400, 400), Wanted())
        assert found.box == Box(0, 159, 159, 0)
        assert found.landmarks is not None
        assert np.allclose(found.landmarks, (np.array(LANDMARKS) + 0.5) * 4 - 0.5)

    def test_landmarks_of_a_photo_that_was_not_reduced_stay_as_they_are(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        face = Detection(Box(0, 39, 39, 0), 0.9, LANDMARKS)
        Looks(monkeypatch, [face])
        assert made(models).detect(blank(400, 400), Wanted()) == [face]

    def test_a_reduced_photos_landmarks_lie_in_its_faces(self, models: Path) -> None:
        photo = opened(PICTURES / "Barack_Obama_0001.jpg")
        (whole,) = made(models).detect(photo, Wanted())
        (reduced,) = made(models, detect_pixels=150_000).detect(photo, Wanted())
        assert whole.landmarks is not None
        assert reduced.landmarks is not None
        apart = np.abs(np.array(whole.landmarks) - reduced.landmarks).max()
        assert apart < 0.05 * whole.box.width

    def test_small_faces_that_are_not_wanted_are_not_looked_for(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is reduced leaves each wanted face the size that the detector needs."""
        looks = Looks(monkeypatch)
        made(models).detect(blank(1000, 1000), Wanted(min_face_px=200))
        (((height, _), _, min_face_px),) = looks.seen
        least_px = 200 * height / 1000
        assert height < 1000
        assert CenterFace.smallest_face_px <= least_px < 1.2**2 * CenterFace.smallest_face_px
        assert min_face_px <= least_px


class TestChoice:
    def test_a_request_chooses_among_all_detectors(self, models: Path) -> None:
        photo = close_together()
        by_default = made(models).detect(photo, Wanted())
        by_hog = made(models, detector="hog").detect(photo, Wanted())
        assert made(models).detect(photo, Wanted(detector="hog")) == by_hog
        assert made(models, detector="hog").detect(photo, Wanted(detector="centerface")) == by_default
        assert [face.landmarks is None for face in by_hog] == [True, True]
        assert [face.landmarks is None for face in by_default] == [False, False]

    def test_the_configured_one_has_to_be_installed(self, tmp_path: Path) -> None:
        finder = made(tmp_path)
        with pytest.raises(Unavailable, match=r"centerface is not installed.*facesearch models"):
            finder.load()
        with pytest.raises(Unavailable, match="facesearch models"):
            finder.detect(one_face(), Wanted(detector="centerface"))

    def test_a_request_for_one_that_is_not_installed_is_the_clients_mistake(self, tmp_path: Path) -> None:
        finder = made(tmp_path, detector="hog")
        finder.load()
        with pytest.raises(InvalidParameter, match="yunet is not installed"):
            finder.detect(one_face(), Wanted(detector="yunet"))

    def test_one_that_is_added_later_needs_no_restart(self, models: Path, tmp_path: Path) -> None:
        finder = made(tmp_path, detector="hog")
        with pytest.raises(InvalidParameter):
            finder.detect(one_face(), Wanted(detector="centerface"))
        card, file = ModelStore(models).weights("centerface")
        ModelStore(tmp_path).add(file, card)
        assert len(finder.detect(one_face(), Wanted(detector="centerface"))) == 1


def test_threads_share_one_detector(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_files = []

    def noted(file: Path | bytes, threads: int, execution: str) -> object:
        opened_files.append((threads, execution))
        return open_file(file, threads, execution)

    monkeypatch.setattr("facesearch.encoders.finder.open_file", noted)
    finder = made(models, threads=2)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: finder.detect(one_face(), Wanted()), range(4)))
    assert opened_files == [(2, "cpu")]
    assert found == [found[0]] * 4
