import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder
from facesearch.encoders.finder import _enlarged
from facesearch.errors import Unavailable
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import Box, Detection, EncodedPhoto, Wanted
from tests.contracts.image_encoder import ImageEncoderContract
from tests.unit.encoders.photos import PICTURES, close_together, drawn, one_face, opened, side_by_side

ROOT = Path(__file__).resolve().parents[3]
LARGEST = Wanted(only_largest=True)


@cache
def made(graphs: Path, **settings: object) -> AGTEncoder:
    """An encoder with these settings; equal ones are the same encoder, for models take time to load."""
    return AGTEncoder(EncoderSettings.model_validate(settings), graphs)


@pytest.fixture(scope="module")
def hog(graphs: Path) -> AGTEncoder:
    return made(graphs)


class HogContract(ImageEncoderContract):
    @pytest.fixture
    def two_faces(self) -> Image:
        return side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg")

    @pytest.fixture
    def no_face(self) -> Image:
        return opened(PICTURES / "no_face_coffee.jpg")


class TestOnnxMirror(HogContract):
    @pytest.fixture
    def encoder(self, hog: ImageEncoder) -> ImageEncoder:
        return hog

    def test_is_the_default(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension, encoder.tolerance) == ("dlib-resnet-v1-mirror", 128, 0.6)


class TestOnnxPlain(HogContract):
    @pytest.fixture
    def encoder(self, graphs: Path) -> ImageEncoder:
        return made(graphs, kind="plain")

    def test_declares_what_face_recognition_is_known_for(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension, encoder.tolerance) == ("dlib-resnet-v1-plain", 128, 0.6)


class TestDlibPlain(HogContract):
    @pytest.fixture
    def encoder(self, graphs: Path) -> ImageEncoder:
        return made(graphs, engine="dlib", kind="plain")


class CnnContract(ImageEncoderContract):
    @pytest.fixture
    def two_faces(self) -> Image:
        return close_together()

    @pytest.fixture
    def no_face(self) -> Image:
        return drawn(np.full((90, 120, 3), 128, dtype=np.uint8))


class TestOnnxCnn(CnnContract):
    @pytest.fixture
    def encoder(self, graphs: Path) -> ImageEncoder:
        return made(graphs, detector="cnn", upsample=0)


class TestDlibCnn(CnnContract):
    @pytest.fixture
    def encoder(self, graphs: Path) -> ImageEncoder:
        return made(graphs, engine="dlib", kind="plain", detector="cnn", upsample=0)


class Looks:
    """Notes what an encoder's detector is given, and finds what it is told at each look."""

    def __init__(
        self, encoder: AGTEncoder, monkeypatch: pytest.MonkeyPatch, *answers: list[Detection]
    ) -> None:
        self.seen: list[tuple[str, int, int, int]] = []
        self._answers: Iterator[list[Detection]] = iter(answers)
        monkeypatch.setattr(encoder._engine, "find", self._find)

    def _find(
        self, detector: str, pixels: NDArray[np.uint8], doublings: int, min_face_px: int
    ) -> list[Detection]:
        self.seen.append((detector, pixels.shape[0] * pixels.shape[1], doublings, min_face_px))
        return next(self._answers, [])


def blank(height: int, width: int) -> Image:
    return drawn(np.zeros((height, width, 3), np.uint8))


def face(left: int, side: int) -> Detection:
    return Detection(Box(0, left + side - 1, side - 1, left), 1.0)


def edges(box: Box) -> tuple[int, int, int, int]:
    return box.top, box.right, box.bottom, box.left


class TestLookingTwice:
    def test_a_face_of_80_pixels_is_found_without_doubling(self, hog: AGTEncoder) -> None:
        found = hog.detect(one_face(400), LARGEST)
        assert found[0].box.width >= 80
        assert found == hog.detect(one_face(400), Wanted(upsample=0))
        assert found != hog.detect(one_face(400))

    def test_a_small_face_is_found_by_doubling(self, hog: AGTEncoder) -> None:
        assert hog.detect(one_face(200), Wanted(upsample=0)) == []
        assert hog.detect(one_face(200), LARGEST) == hog.detect(one_face(200)) != []

    def test_doubling_follows_only_where_nothing_was_found(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = made(graphs)
        looks = Looks(encoder, monkeypatch, [face(0, 90)], [], [face(0, 40)])
        assert encoder.detect(blank(100, 100), LARGEST) == [face(0, 90)]
        assert [look[2] for look in looks.seen] == [0]
        assert encoder.detect(blank(100, 100), LARGEST) == [face(0, 40)]
        assert [look[2] for look in looks.seen] == [0, 0, 1]

    def test_faces_below_the_smallest_size_do_not_end_the_search(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = made(graphs, min_face_px=60)
        looks = Looks(encoder, monkeypatch, [face(0, 50)], [face(0, 70)])
        assert encoder.detect(blank(100, 100), LARGEST) == [face(0, 70)]
        assert [look[2] for look in looks.seen] == [0, 1]

    @pytest.mark.parametrize(
        ("settings", "wanted", "doublings"),
        [
            ({}, Wanted(), [1]),
            ({"look_twice": False}, LARGEST, [1]),
            ({"upsample": 0}, LARGEST, [0]),
            ({"upsample": 2}, LARGEST, [0, 2]),
            ({}, Wanted(only_largest=True, upsample=2), [2]),
            ({}, Wanted(only_largest=True, upsample=0), [0]),
            ({}, Wanted(only_largest=True, min_face_px=88), [0]),
        ],
    )
    def test_one_look_is_enough_otherwise(
        self,
        graphs: Path,
        monkeypatch: pytest.MonkeyPatch,
        settings: dict[str, object],
        wanted: Wanted,
        doublings: list[int],
    ) -> None:
        encoder = made(graphs, **settings)
        looks = Looks(encoder, monkeypatch)
        encoder.detect(blank(100, 100), wanted)
        assert [look[2] for look in looks.seen] == doublings


class TestWanted:
    def test_a_request_chooses_its_detector_and_doubling(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = made(graphs)
        looks = Looks(encoder, monkeypatch)
        encoder.detect(blank(100, 100), Wanted(detector="cnn", upsample=0))
        encoder.detect(blank(100, 100), Wanted(upsample=2))
        assert looks.seen == [("cnn", 10_000, 0, 0), ("hog", 10_000, 2, 0)]

    def test_a_request_for_the_other_detector_gets_its_boxes(self, graphs: Path, hog: AGTEncoder) -> None:
        expected = made(graphs, detector="cnn", upsample=0).detect(close_together())
        assert hog.detect(close_together(), Wanted(detector="cnn", upsample=0)) == expected
        assert hog.detect(close_together(), Wanted(upsample=0)) != expected

    @pytest.mark.parametrize(("detector", "smallest_px"), [("hog", 73), ("cnn", 80)])
    def test_no_pixels_and_no_doubling_are_spent_on_faces_too_small(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch, detector: str, smallest_px: int
    ) -> None:
        encoder = made(graphs, detector=detector)
        looks = Looks(encoder, monkeypatch)
        for levels in (-9, -3, -2, 1, 2, 3, 6):
            encoder.detect(blank(1000, 1000), Wanted(min_face_px=math.ceil(smallest_px * 1.2**levels)))
        pixels, doublings, spared_px = ([look[n] for look in looks.seen] for n in (1, 2, 3))
        # the level below the smallest face is looked at as well
        assert np.sqrt(pixels) == pytest.approx([1000 / 1.2**n for n in (0, 0, 0, 0, 1, 2, 5)], abs=1)
        assert doublings == [1, 1, 1, 0, 0, 0, 0]
        assert spared_px[1] == pytest.approx(smallest_px / 1.2**4, abs=1)
        assert spared_px[3:] == pytest.approx([smallest_px] * 4, abs=1)

    @pytest.mark.parametrize(("detector", "upsample"), [("hog", 0), ("hog", 1), ("cnn", 0), ("cnn", 1)])
    @pytest.mark.parametrize("side_px", [200, 400, 900])
    def test_faces_above_the_smallest_size_stay_where_they_were(
        self, hog: AGTEncoder, detector: str, upsample: int, side_px: int
    ) -> None:
        photo = one_face(side_px)
        every = hog.detect(photo, Wanted(False, detector, upsample))
        assert len(every) == (side_px > 200 or upsample)
        for box in (detection.box for detection in every):
            (same,) = hog.detect(photo, Wanted(False, detector, upsample, min_face_px=box.width * 2 // 3))
            assert edges(same.box) == pytest.approx(edges(box), abs=box.width / 4)
            assert hog.detect(photo, Wanted(False, detector, upsample, min_face_px=box.width * 2)) == []

    def test_the_largest_of_more_faces_are_kept_from_left_to_right(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = made(graphs, max_faces=3)
        faces = [face(0, 90), face(100, 80), face(200, 120), face(330, 85)]
        Looks(encoder, monkeypatch, faces[::-1], faces[::-1])
        assert encoder.detect(blank(200, 500)) == [faces[0], faces[2], faces[3]]
        assert encoder.detect(blank(200, 500), Wanted(max_faces=2)) == [faces[0], faces[2]]


class TestLargePhotos:
    def test_a_photo_above_detect_pixels_gives_nearly_the_same_box_and_vector(self, graphs: Path) -> None:
        photo = opened(PICTURES / "Barack_Obama_0001.jpg")
        whole = made(graphs).encode(photo).faces[0]
        reduced = made(graphs, detect_pixels=150_000).encode(photo).faces[0]
        assert edges(reduced.box) == pytest.approx(edges(whole.box), abs=whole.box.width * 0.1)
        assert np.linalg.norm(whole.embedding - reduced.embedding) < 0.3

    def test_detection_never_sees_more_than_detect_pixels(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder = made(graphs, detect_pixels=50_000)
        looks = Looks(encoder, monkeypatch)
        encoder.detect(blank(900, 1600))
        ((_, pixels, doublings, _),) = looks.seen
        assert 49_000 < pixels <= 50_000
        assert doublings == 1

    @pytest.mark.parametrize(
        ("settings", "seen"),
        [
            ({"upsample": 3}, (2_000_000, 2)),
            ({"upsample": 3, "detect_pixels": 100_000_000}, (4_000_000, 1)),
            ({"upsample": 3, "detector": "cnn"}, (2_000_000, 1)),
            ({"detect_pixels": 100_000_000, "detector": "cnn"}, (4_000_000, 0)),
            ({"detector": "cnn", "engine": "dlib"}, (1_000_000, 0)),
        ],
    )
    def test_doubling_stops_before_memory_runs_out(
        self,
        graphs: Path,
        monkeypatch: pytest.MonkeyPatch,
        settings: dict[str, object],
        seen: tuple[int, int],
    ) -> None:
        encoder = made(graphs, **settings)
        looks = Looks(encoder, monkeypatch)
        encoder.detect(blank(2000, 2000))
        ((_, pixels, doublings, _),) = looks.seen
        assert 0.99 * seen[0] <= pixels <= seen[0]
        assert doublings == seen[1]


@pytest.mark.parametrize("engine", ["onnx", "dlib"])
@pytest.mark.parametrize("detector", ["hog", "cnn"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 8000), (8000, 1), (3, 500), (7, 7), (17, 400)])
def test_thin_and_tiny_photos_have_no_face_and_do_no_harm(
    graphs: Path, engine: str, detector: str, shape: tuple[int, int]
) -> None:
    encoder = made(graphs, engine=engine, detector=detector)
    photo = drawn(np.full((*shape, 3), 99, dtype=np.uint8))
    for wanted in (Wanted(), LARGEST, Wanted(min_face_px=10_000)):
        assert encoder.detect(photo, wanted) == []


def test_boxes_may_reach_past_the_edge(hog: ImageEncoder) -> None:
    """As face_recognition takes them: the landmarks then lie where the whole face would be."""
    whole = opened(PICTURES / "Barack_Obama_0001.jpg")
    cut = drawn(np.ascontiguousarray(whole.pixels[:, hog.detect(whole)[0].box.left + 25 :]))
    face = hog.encode(cut).faces[0]
    assert face.box.left < 0
    assert np.isfinite(face.embedding).all()


def test_encoders_of_other_kinds_share_one_engine(hog: AGTEncoder) -> None:
    plain = hog.for_model("dlib-resnet-v1-plain")
    assert plain.model_id == "dlib-resnet-v1-plain"
    assert hog.model_id == "dlib-resnet-v1-mirror"
    assert plain._engine is hog._engine
    photo = one_face()
    ours, theirs = (encoder.encode(photo).faces[0] for encoder in (hog, plain))
    assert ours.box == theirs.box
    assert np.linalg.norm(ours.embedding - theirs.embedding) > 0.05


def output_of(program: str, *arguments: Path) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, cwd=ROOT, check=True, timeout=300, text=True
    ).stdout.strip()


MAKE_ENCODER = """
import sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder
encoder = AGTEncoder(EncoderSettings(), Path(sys.argv[1]))
"""


class TestLoading:
    def test_importing_and_making_an_encoder_loads_and_writes_nothing(self, tmp_path: Path) -> None:
        libraries = "{'dlib', 'face_recognition_models', 'onnx', 'onnxruntime'}"
        folder = tmp_path / "models"
        assert output_of(MAKE_ENCODER + f"print({libraries} & set(sys.modules))", folder) == "set()"
        assert not folder.exists()

    def test_neither_the_landmarks_of_restricted_terms_nor_face_recognition_are_loaded(
        self, hog: AGTEncoder, graphs: Path
    ) -> None:
        hog.ping()
        program = (
            MAKE_ENCODER
            + """
encoder.ping()
print([path.split("/")[-1] for path in opened if path.endswith(".dat")])
print({"face_recognition", "onnx"} & set(sys.modules))
"""
        )
        models, library = output_of(program, graphs).splitlines()
        assert "shape_predictor_5_face_landmarks.dat" in models
        assert "68" not in models
        assert library == "set()"

    @pytest.mark.parametrize("engine", ["onnx", "dlib"])
    def test_a_missing_dlib_is_unavailable(
        self, graphs: Path, monkeypatch: pytest.MonkeyPatch, engine: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "dlib", None)
        encoder = AGTEncoder(EncoderSettings.model_validate({"engine": engine}), graphs)
        with pytest.raises(Unavailable, match="dlib"):
            encoder.ping()

    def test_an_encoder_works_in_a_spawned_child(self, hog: ImageEncoder, graphs: Path) -> None:
        path = PICTURES / "Eileen_Collins_0001.jpg"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            photo = pool.submit(encoded_in_child, path, graphs).result(timeout=300)
        here = hog.encode(opened(path))
        assert [face.box for face in photo.faces] == [face.box for face in here.faces]
        assert np.array_equal(photo.faces[0].embedding, here.faces[0].embedding)


def encoded_in_child(path: Path, graphs: Path) -> EncodedPhoto:
    return AGTEncoder(EncoderSettings(), graphs).encode(opened(path))


def test_detections_are_scored_and_sorted(hog: ImageEncoder) -> None:
    found = hog.detect(side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg"))
    assert all(detection.score > 0 for detection in found)
    assert [d.box.left for d in found] == sorted(d.box.left for d in found)


def test_a_scale_of_one_leaves_boxes_alone() -> None:
    box = Box(-3, 40, 37, 0)
    assert _enlarged(box, 1.0) == box
    assert _enlarged(Box(10, 19, 29, 5), 2.0) == Box(20, 39, 59, 10)
