import csv
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from facesearch.config import EncoderSettings, LimitSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.agt import _enlarged
from facesearch.errors import Unavailable
from facesearch.images import AGTImage
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import Box, EncodedPhoto, PhotoInfo
from tests.contracts.image_encoder import ImageEncoderContract
from tests.fakes import FakeImage
from tests.labelled_photos import labelled
from tests.odd_expectations import FACE, NO_FACE, ODD
from tests.unit.encoders.oracle import boxes_and_embeddings

ROOT = Path(__file__).resolve().parents[3]
PICTURES = ROOT / "test_images"
FACES = sorted(path.name for path in PICTURES.glob("[A-Z]*_0*.jpg"))


@pytest.fixture(scope="module")
def hog() -> ImageEncoder:
    return AGTEncoder(EncoderSettings())


@cache
def cnn() -> ImageEncoder:
    return AGTEncoder(EncoderSettings(detector="cnn", upsample=0))


def opened(path: Path) -> AGTImage:
    return AGTImage.open(path.read_bytes(), path.name, LimitSettings())


@cache
def side_by_side(first: str, second: str) -> Image:
    """A photo of two people, the second one larger."""
    photo = Pillow.new("RGB", (700, 420))
    for name, at, size in ((first, (0, 0), (260, 300)), (second, (280, 0), (420, 420))):
        with Pillow.open(PICTURES / name) as picture:
            photo.paste(ImageOps.contain(picture.convert("RGB"), size), at)
    return FakeImage(np.array(photo))


@cache
def close_together() -> Image:
    """Two faces and little else, each above the 80 pixels that the CNN detector needs."""
    photo = Pillow.new("RGB", (350, 200))
    for name, at, size in (("Joe_Biden_0001.jpg", (0, 0), 150), ("Barack_Obama_0001.jpg", (150, 0), 200)):
        with Pillow.open(PICTURES / name) as picture:
            pixels = picture.convert("RGB")
        box = AGTEncoder(EncoderSettings(upsample=0)).detect(FakeImage(np.array(pixels)))[0].box
        margin = box.width // 3
        face = pixels.crop((box.left - margin, box.top - margin, box.right + margin, box.bottom + margin))
        photo.paste(face.resize((size, size)), at)
    return FakeImage(np.array(photo))


class TestAGTEncoder(ImageEncoderContract):
    @pytest.fixture
    def encoder(self, hog: ImageEncoder) -> ImageEncoder:
        return hog

    @pytest.fixture
    def two_faces(self) -> Image:
        return side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg")

    @pytest.fixture
    def no_face(self) -> Image:
        return opened(PICTURES / "no_face_coffee.jpg")

    def test_declares_what_face_recognition_is_known_for(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension, encoder.tolerance) == ("dlib-resnet-v1-plain", 128, 0.6)


class TestAGTEncoderWithCnn(ImageEncoderContract):
    @pytest.fixture
    def encoder(self) -> ImageEncoder:
        return cnn()

    @pytest.fixture
    def two_faces(self) -> Image:
        return close_together()

    @pytest.fixture
    def no_face(self) -> Image:
        return FakeImage(np.full((90, 120, 3), 128, dtype=np.uint8))


def assert_same_as_face_recognition(encoder: ImageEncoder, path: Path) -> None:
    photo = encoder.encode(opened(path))
    expected = boxes_and_embeddings(path)
    assert [face.box for face in photo.faces] == [box for box, _ in expected]
    for face, (_, vector) in zip(photo.faces, expected, strict=True):
        assert np.abs(face.embedding - vector).max() <= 1e-6


@pytest.mark.parametrize("name", [*FACES, "no_face_coffee.jpg"])
def test_faces_and_vectors_are_those_of_face_recognition(hog: ImageEncoder, name: str) -> None:
    assert_same_as_face_recognition(hog, PICTURES / name)


@pytest.mark.faces
@pytest.mark.parametrize("row", range(0, 60, 10))
def test_lfw_faces_and_vectors_are_those_of_face_recognition(hog: ImageEncoder, row: int) -> None:
    with labelled("gallery.csv").open(encoding="utf-8") as gallery:
        path = list(csv.DictReader(gallery))[row]["path"]
    assert_same_as_face_recognition(hog, labelled(path))


@pytest.mark.faces
@pytest.mark.parametrize("folder", ["group", "hires"])
def test_larger_photos_below_detect_pixels_give_what_face_recognition_gives(
    hog: ImageEncoder, folder: str
) -> None:
    photos = [
        path for path in sorted(labelled(folder).rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")
    ]
    chosen = [path for path in photos if 90_000 < np.prod(size(path)) < 600_000][::5][:2]
    assert len(chosen) == 2
    for path in chosen:
        assert_same_as_face_recognition(hog, path)


def size(path: Path) -> tuple[int, int]:
    with Pillow.open(path) as image:
        # one that EXIF turns is not what face_recognition sees
        return image.size if image.getexif().get(0x0112, 1) == 1 else (0, 0)


@pytest.mark.faces
@pytest.mark.parametrize("name", [name for name, expected in ODD.items() if expected in (FACE, NO_FACE)])
def test_odd_photos_have_a_face_or_none(hog: ImageEncoder, name: str) -> None:
    found = hog.detect(opened(labelled(f"odd/{name}")))
    assert bool(found) == (ODD[name] == FACE)


class TestLargePhotos:
    def test_a_photo_above_detect_pixels_gives_nearly_the_same_box_and_vector(self) -> None:
        photo = opened(PICTURES / "Barack_Obama_0001.jpg")
        whole = AGTEncoder(EncoderSettings()).encode(photo).faces[0]
        reduced = AGTEncoder(EncoderSettings(detect_pixels=150_000)).encode(photo).faces[0]
        edges = np.array([[f.box.top, f.box.right, f.box.bottom, f.box.left] for f in (whole, reduced)])
        assert np.abs(edges[0] - edges[1]).max() < whole.box.width * 0.1
        assert np.linalg.norm(whole.embedding - reduced.embedding) < 0.3

    def test_detection_never_sees_more_than_detect_pixels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pixels, doublings = pixels_seen(EncoderSettings(detect_pixels=50_000), (900, 1600), monkeypatch)
        assert 49_000 < pixels <= 50_000
        assert doublings == 1

    @pytest.mark.parametrize(
        ("settings", "seen"),
        [
            (EncoderSettings(upsample=3), (2_000_000, 2)),
            (EncoderSettings(upsample=3, detect_pixels=100_000_000), (4_000_000, 1)),
            (EncoderSettings(upsample=1, detector="cnn"), (1_000_000, 0)),
        ],
    )
    def test_doubling_stops_before_memory_runs_out(
        self, settings: EncoderSettings, seen: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels, doublings = pixels_seen(settings, (2000, 2000), monkeypatch)
        assert 0.99 * seen[0] <= pixels <= seen[0]
        assert doublings == seen[1]


def pixels_seen(
    settings: EncoderSettings, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """How many pixels reach the detector, and how often it is to double their size."""
    seen: list[tuple[int, int]] = []
    encoder = AGTEncoder(settings)

    def find(pixels: NDArray[np.uint8], doublings: int) -> list[object]:
        seen.append((pixels.shape[0] * pixels.shape[1], doublings))
        return []

    monkeypatch.setattr(encoder._models, "find", find)
    pixels = np.zeros((*shape, 3), dtype=np.uint8)
    encoder.detect(AGTImage(pixels, PhotoInfo("", shape[1], shape[0])))
    return seen[0]


@pytest.mark.parametrize("detector", ["hog", "cnn"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 8000), (8000, 1), (3, 500), (7, 7), (17, 400)])
def test_thin_and_tiny_photos_have_no_face_and_do_no_harm(detector: str, shape: tuple[int, int]) -> None:
    encoder = AGTEncoder(EncoderSettings.model_validate({"detector": detector}))
    photo = encoder.encode(FakeImage(np.full((*shape, 3), 99, dtype=np.uint8)))
    assert photo.faces == ()


def test_boxes_may_reach_past_the_edge(hog: ImageEncoder) -> None:
    """As face_recognition takes them: the landmarks then lie where the whole face would be."""
    with Pillow.open(PICTURES / "Barack_Obama_0001.jpg") as picture:
        whole = np.array(picture.convert("RGB"))
    box = hog.detect(FakeImage(whole))[0].box
    cut = FakeImage(whole[:, box.left + 25 :])
    found = hog.detect(cut)
    assert found[0].box.left < 0
    assert np.isfinite(hog.embed(cut, found)).all()


def output_of(program: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, capture_output=True, cwd=ROOT, check=True, timeout=60, text=True
    ).stdout.strip()


MAKE_ENCODER = """
import sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder
encoder = AGTEncoder(EncoderSettings())
"""


class TestLoading:
    def test_importing_and_making_an_encoder_loads_no_dlib(self) -> None:
        program = MAKE_ENCODER + "print({'dlib', 'face_recognition_models'} & set(sys.modules))"
        assert output_of(program) == "set()"

    def test_neither_the_landmarks_of_restricted_terms_nor_face_recognition_are_loaded(self) -> None:
        program = (
            MAKE_ENCODER
            + """
encoder.ping()
print([path.split("/")[-1] for path in opened if path.endswith(".dat")])
print("face_recognition" in sys.modules)
"""
        )
        models, library = output_of(program).splitlines()
        assert "shape_predictor_5_face_landmarks.dat" in models
        assert "68" not in models
        assert library == "False"

    def test_a_missing_dlib_is_unavailable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "dlib", None)
        with pytest.raises(Unavailable, match="dlib"):
            AGTEncoder(EncoderSettings()).ping()

    def test_an_encoder_works_in_a_spawned_child(self, hog: ImageEncoder) -> None:
        path = PICTURES / "Eileen_Collins_0001.jpg"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            photo = pool.submit(encoded_in_child, path).result(timeout=60)
        here = hog.encode(opened(path))
        assert [face.box for face in photo.faces] == [face.box for face in here.faces]
        assert np.array_equal(photo.faces[0].embedding, here.faces[0].embedding)


def encoded_in_child(path: Path) -> EncodedPhoto:
    return AGTEncoder(EncoderSettings()).encode(opened(path))


def test_detections_are_scored_and_sorted(hog: ImageEncoder) -> None:
    found = hog.detect(side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg"))
    assert all(detection.score > 0 for detection in found)
    assert [d.box.left for d in found] == sorted(d.box.left for d in found)


def test_a_scale_of_one_leaves_boxes_alone() -> None:
    box = Box(-3, 40, 37, 0)
    assert _enlarged(box, 1.0) == box
    assert _enlarged(Box(10, 19, 29, 5), 2.0) == Box(20, 39, 59, 10)
