"""The test that a model passes before it is installed, on real networks and on wrong cards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders.cards import ModelCard
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.self_test import SelfTest, TestPhoto, is_plausible, self_test
from facesearch.errors import Invalid
from facesearch.images import AGTImage
from facesearch.records import Box, Detection, Landmarks, PhotoInfo
from tests.weights import centerface_file, mobilefacenet_file

TEST_IMAGES = Path(__file__).resolve().parents[3] / "test_images"

Add = Callable[..., SelfTest]


@pytest.fixture(scope="module")
def photos() -> list[TestPhoto]:
    files = sorted(TEST_IMAGES.glob("*.jpg"))
    return [
        TestPhoto(
            None if file.name.startswith("no_face") else file.stem.rpartition("_")[0],
            AGTImage.open(file.read_bytes(), file.name, LimitSettings()),
        )
        for file in files
    ]


@pytest.fixture
def add(tmp_path: Path, photos: list[TestPhoto]) -> Add:
    """Installs a file under a known card with changes, and returns what its test saw."""

    def added(file: Path, known: str, photos: list[TestPhoto] = photos, **changes: Any) -> SelfTest:
        store, seen = ModelStore(tmp_path / "models"), []

        def check(card: ModelCard, directory: Path) -> None:
            seen.append(self_test(card, directory, photos, EncoderSettings()))

        try:
            store.add(file, store.card(known).model_copy(update=changes), check)
        except Invalid:
            assert not list((tmp_path / "models").rglob("*.onnx"))
            raise
        return seen[0]

    return added


@pytest.mark.weights
def test_a_recognition_network_with_its_card_passes(add: Add) -> None:
    seen = add(mobilefacenet_file(), "mobilefacenet")
    assert seen.dimension == 192
    assert seen.ms > 0
    assert "rgb" in seen.seen[1]


@pytest.mark.weights
@pytest.mark.parametrize("known", ["mobilefacenet", "centerface"])
def test_how_the_service_looks_for_faces_is_of_no_meaning(
    add: Add, photos: list[TestPhoto], tmp_path: Path, known: str
) -> None:
    add(mobilefacenet_file() if known == "mobilefacenet" else centerface_file(), known)
    card = ModelStore(tmp_path / "models").card(known)
    settings = EncoderSettings(min_face_px=10_000, detect_pixels=10_000)
    assert self_test(card, tmp_path / "models", photos, settings).ms > 0


@pytest.mark.weights
@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("input", {"channels": "bgr"}, "channels in the wrong order: as rgb"),
        ("input", {"layout": "nhwc"}, "112, 112"),
        ("input", {"mean": (0.0, 0.0, 0.0), "divisor": (1.0, 1.0, 1.0)}, "does not tell the people"),
        ("output", {"dimension": 128}, "192"),
    ],
)
def test_a_wrong_card_is_refused_with_the_reason(
    add: Add, part: str, changes: dict[str, Any], reason: str
) -> None:
    card = ModelStore(Path("/nonexistent")).card("mobilefacenet")
    wrong = getattr(card, part).model_copy(update=changes)
    with pytest.raises(Invalid) as error:
        add(mobilefacenet_file(), "mobilefacenet", **{part: wrong})
    assert reason in error.value.message


@pytest.mark.weights
def test_a_wrong_size_is_refused(add: Add) -> None:
    card = ModelStore(Path("/nonexistent")).card("mobilefacenet")
    assert card.input is not None
    larger = card.input.model_copy(update={"width": 224, "height": 224})
    template = tuple((2 * x, 2 * y) for x, y in card.template)
    with pytest.raises(Invalid, match="112, 112"):
        add(mobilefacenet_file(), "mobilefacenet", input=larger, template=template)


@pytest.mark.weights
def test_a_template_upside_down_is_refused(add: Add) -> None:
    template = ModelStore(Path("/nonexistent")).card("mobilefacenet").template
    with pytest.raises(Invalid, match="does not tell the people"):
        add(mobilefacenet_file(), "mobilefacenet", template=template[::-1])


@pytest.mark.weights
def test_a_detector_with_its_card_passes(add: Add) -> None:
    seen = add(centerface_file(), "centerface")
    assert seen.dimension is None
    assert "5 photos" in seen.seen[0]


@pytest.mark.weights
def test_a_detector_that_misses_a_face_is_refused(add: Add, photos: list[TestPhoto]) -> None:
    coffee = next(photo for photo in photos if photo.person is None)
    with pytest.raises(Invalid, match=r"finds 0 faces in the test photo no_face_coffee\.jpg, which holds 1"):
        add(centerface_file(), "centerface", [TestPhoto("Ada", coffee.image)])


@pytest.mark.weights
def test_a_detector_that_sees_faces_where_there_are_none_is_refused(
    add: Add, photos: list[TestPhoto]
) -> None:
    portrait = next(photo for photo in photos if photo.person is not None)
    with pytest.raises(Invalid, match="holds none"):
        add(centerface_file(), "centerface", [TestPhoto(None, portrait.image)])


@pytest.mark.weights
@pytest.mark.parametrize(("file", "known"), [(mobilefacenet_file, "centerface"), (centerface_file, "sface")])
def test_a_network_for_another_task_is_refused(add: Add, file: Callable[[], Path], known: str) -> None:
    with pytest.raises(Invalid):
        add(file(), known, sha256=None, bytes=None)


RIGHT: Landmarks = ((30, 40), (70, 40), (50, 60), (35, 80), (65, 80))


@pytest.mark.parametrize(
    ("landmarks", "plausible"),
    [
        (RIGHT, True),
        (None, False),
        ((RIGHT[1], RIGHT[0], *RIGHT[2:]), False),
        ((*RIGHT[:3], RIGHT[4], RIGHT[3]), False),
        (RIGHT[3:] + RIGHT[2:3] + RIGHT[:2], False),
        (((-5, 40), *RIGHT[1:]), False),
    ],
)
def test_landmarks_have_their_places(landmarks: Landmarks | None, plausible: bool) -> None:
    box = Box(top=0, right=99, bottom=99, left=0)
    assert is_plausible(Detection(box, 0.9, landmarks)) is plausible


def test_dlibs_network_passes(tmp_path: Path, photos: list[TestPhoto]) -> None:
    seen = []
    ModelStore(tmp_path).check(
        "dlib", lambda card, directory: seen.append(self_test(card, directory, photos, EncoderSettings()))
    )
    assert seen[0].dimension == 128


def test_photos_without_a_face_for_dlib_are_no_riddle(tmp_path: Path) -> None:
    """Where HOG finds nothing, the photos are at fault, and the message says so."""
    empty = AGTImage(np.zeros((64, 64, 3), np.uint8), PhotoInfo("empty.jpg", 64, 64))
    with pytest.raises(Invalid, match="No face was found in the test photo"):
        ModelStore(tmp_path).check(
            "dlib", lambda card, d: self_test(card, d, [TestPhoto("Ada", empty)] * 4, EncoderSettings())
        )
