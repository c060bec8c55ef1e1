import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.config import EncoderSettings
from facesearch.encoders import AGTEncoder, ONNXEncoder, make_encoder
from facesearch.encoders.alignment import moved, similarity
from facesearch.encoders.cards import ARCFACE_TEMPLATE, UNMEASURED_TOLERANCE, Space
from facesearch.encoders.model_store import ModelStore
from facesearch.errors import InvalidConfig, ModelMismatch, Unavailable
from facesearch.interfaces import Image, ImageEncoder
from facesearch.records import Box, Calibration, EncodedPhoto, RatePoint, Wanted
from tests.contracts.image_encoder import ImageEncoderContract
from tests.unit.encoders.networks import Network, card
from tests.unit.encoders.photos import PICTURES, drawn, one_face, opened, side_by_side

TEMPLATE = np.array(ARCFACE_TEMPLATE)


@cache
def made(models: Path, **settings: object) -> ImageEncoder:
    """An encoder with these settings; equal ones are the same encoder."""
    chosen = {"model": "mobilefacenet", "detector": "centerface"} | settings
    return make_encoder(EncoderSettings.model_validate(chosen), models)


class TwoFaces(ImageEncoderContract):
    @pytest.fixture
    def two_faces(self) -> Image:
        return side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg")

    @pytest.fixture
    def no_face(self) -> Image:
        return opened(PICTURES / "no_face_coffee.jpg")


class TestMobileFaceNetWithCenterFace(TwoFaces):
    @pytest.fixture
    def encoder(self, models: Path) -> ImageEncoder:
        return made(models)

    def test_is_named_by_its_card(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension) == ("mobilefacenet-mirror", 192)


class TestMobileFaceNetWithHog(TwoFaces):
    @pytest.fixture
    def encoder(self, models: Path) -> ImageEncoder:
        return made(models, detector="hog", kind="plain")

    def test_is_named_by_its_card(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension) == ("mobilefacenet-plain", 192)


class TestSFaceWithYuNet(TwoFaces):
    @pytest.fixture
    def encoder(self, models: Path) -> ImageEncoder:
        return made(models, model="sface-int8bq", detector="yunet", kind="plain")

    def test_is_named_by_its_card(self, encoder: ImageEncoder) -> None:
        assert (encoder.model_id, encoder.dimension) == ("sface-int8bq-plain", 128)
        assert encoder.tolerance == 1.128


class TestAGTWithCenterFace(TwoFaces):
    @pytest.fixture
    def encoder(self, models: Path) -> ImageEncoder:
        return made(models, model="dlib")

    def test_is_the_same_vector_space_as_with_hog(
        self, encoder: ImageEncoder, models: Path, two_faces: Image
    ) -> None:
        by_hog = made(models, model="dlib", detector="hog")
        assert isinstance(encoder, AGTEncoder)
        assert encoder.model_id == by_hog.model_id
        ours, theirs = (one.encode(two_faces).faces for one in (encoder, by_hog))
        for own, other in zip(ours, theirs, strict=True):
            assert own.box != other.box
            assert np.linalg.norm(own.embedding - other.embedding) < 0.2

    def test_landmarks_and_not_the_box_say_where_the_face_is(
        self, encoder: ImageEncoder, two_faces: Image
    ) -> None:
        """The boxes of detectors differ; dlib's landmarks start from the one that HOG would find."""
        found = encoder.detect(two_faces)
        elsewhere = [replace(face, box=Box(0, 79, 79, 0)) for face in found]
        for ours, theirs in zip(
            encoder.align(two_faces, elsewhere), encoder.align(two_faces, found), strict=True
        ):
            assert np.array_equal(ours.crop, theirs.crop)
            assert ours.box == Box(0, 79, 79, 0)


def vector(encoder: ImageEncoder, name: str) -> NDArray[np.float32]:
    (face,) = encoder.encode(opened(PICTURES / name), Wanted(only_largest=True)).faces
    return face.embedding


class TestVectors:
    @pytest.mark.parametrize("kind", ["plain", "mirror"])
    @pytest.mark.parametrize("detector", ["hog", "centerface"])
    def test_photos_of_one_person_are_nearer_than_those_of_two(
        self, models: Path, kind: str, detector: str
    ) -> None:
        encoder = made(models, kind=kind, detector=detector)
        first, second, other, another = (
            vector(encoder, name)
            for name in (
                "Barack_Obama_0001.jpg",
                "Barack_Obama_0002.jpg",
                "Joe_Biden_0001.jpg",
                "Eileen_Collins_0001.jpg",
            )
        )
        assert np.linalg.norm(first - second) < 0.9 < UNMEASURED_TOLERANCE
        assert np.linalg.norm(first - other) > 1.2 > UNMEASURED_TOLERANCE
        assert np.linalg.norm(other - another) > 1.2

    def test_have_length_one_where_the_cosine_counts(self, models: Path) -> None:
        photo = one_face()
        for kind in ("plain", "mirror"):
            (face,) = made(models, kind=kind).encode(photo).faces
            assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)

    def test_both_ways_to_align_give_nearly_the_same_crop_and_vector(self, models: Path) -> None:
        photo = opened(PICTURES / "Barack_Obama_0001.jpg")
        by_five, by_three = (made(models, detector=d).encode(photo).faces[0] for d in ("centerface", "hog"))
        assert np.linalg.norm(by_five.embedding - by_three.embedding) < 0.5
        ours, theirs = by_five.quality, by_three.quality
        assert ours is not None
        assert theirs is not None
        assert ours.roll_deg == pytest.approx(theirs.roll_deg, abs=6)
        assert ours.yaw_deg == pytest.approx(theirs.yaw_deg, abs=10)
        assert ours.pitch_deg == pytest.approx(theirs.pitch_deg, abs=10)


class TestAlignment:
    def test_landmarks_come_to_the_cards_template(self, models: Path) -> None:
        """The crop's own landmarks are looked for in a larger picture of it."""
        encoder = made(models)
        photo = opened(PICTURES / "Eileen_Collins_0001.jpg")
        (face,) = encoder.align(photo, encoder.detect(photo))
        assert face.crop.shape == (112, 112, 3)
        canvas = np.full((336, 336, 3), 90, np.uint8)
        canvas[112:224, 112:224] = face.crop
        (again,) = encoder.detect(drawn(canvas))
        assert again.landmarks is not None
        assert np.abs(np.array(again.landmarks) - 112 - TEMPLATE).max() < 6

    @pytest.mark.parametrize("detector", ["hog", "centerface"])
    def test_the_crop_has_the_cards_size_and_template(
        self, models: Path, tmp_path: Path, detector: str
    ) -> None:
        """The places of a larger and wider crop look like those of the usual one."""
        large = TEMPLATE * 1.5 + (20, -10)
        given = card(input={"width": 200, "height": 160}, template=large.tolist())
        store = ModelStore(tmp_path)
        store.add(Network(shape=("n", 3, 160, 200)).write(tmp_path / "drawn.onnx"), given)
        store.add(ModelStore(models).weights("centerface")[1], store.card("centerface"))
        photo = opened(PICTURES / "Barack_Obama_0001.jpg")
        encoder, usual = made(tmp_path, model="drawn", detector=detector), made(models, detector=detector)
        (wide,), (small,) = (one.align(photo, one.detect(photo)) for one in (encoder, usual))
        assert wide.crop.shape == (160, 200, 3)
        assert encoder.encode(photo).faces[0].embedding.shape == (12,)
        places = np.array([(x, y) for x in (40, 56, 72) for y in (40, 56, 80)])
        for here, there in zip(places, moved(places, similarity(TEMPLATE, large)), strict=True):
            assert around(wide.crop, there) == pytest.approx(around(small.crop, here), abs=25)


def around(crop: NDArray[np.uint8], place: NDArray[np.float64]) -> float:
    """The mean of nine pixels."""
    x, y = (round(float(at)) for at in place)
    return float(crop[y - 1 : y + 2, x - 1 : x + 2].mean())


CALIBRATION = Calibration(
    rates=(RatePoint(1e-3, 1.07, 1000, 0.9),),
    similarity=((0.5, 100.0), (1.5, 0.0)),
    genuine_pairs=100,
    impostor_pairs=1000,
    people=20,
    photos=60,
    measured_on="Tests.",
)


@pytest.fixture
def drawn_model(tmp_path: Path) -> Path:
    """A models folder with a network of drawn weights and nothing else."""
    ModelStore(tmp_path).add(Network().write(tmp_path / "drawn.onnx"), card())
    return tmp_path


def drawn_encoder(models: Path, **settings: object) -> ImageEncoder:
    return make_encoder(EncoderSettings.model_validate({"model": "drawn"} | settings), models)


class TestCard:
    def test_nothing_measured_means_a_cautious_tolerance_and_no_calibration(self, drawn_model: Path) -> None:
        encoder = drawn_encoder(drawn_model)
        assert (encoder.tolerance, encoder.calibration) == (UNMEASURED_TOLERANCE, None)

    def test_tolerance_and_calibration_are_the_kinds_own(self, drawn_model: Path) -> None:
        store = ModelStore(drawn_model)
        spaces = {"plain": Space(tolerance=1.07, calibration=CALIBRATION), "mirror": Space(tolerance=0.98)}
        store.save_card(store.card("drawn").model_copy(update={"spaces": spaces}))
        mirror = drawn_encoder(drawn_model)
        plain = mirror.for_model("drawn-plain")
        assert (mirror.tolerance, mirror.calibration) == (0.98, None)
        assert (plain.tolerance, plain.calibration) == (1.07, CALIBRATION)

    @pytest.mark.parametrize("kind", ["plain", "mirror"])
    def test_dlibs_card_gives_its_encoders_tolerance_and_calibration(
        self, models: Path, kind: Literal["plain", "mirror"]
    ) -> None:
        space = ModelStore(models).card("dlib").space(kind)
        encoder = made(models, model="dlib", kind=kind)
        assert (encoder.tolerance, encoder.calibration) == (0.6, space.calibration)
        assert space.calibration is not None

    def test_both_kinds_share_one_network(self, models: Path) -> None:
        mirror = made(models)
        plain = mirror.for_model("mobilefacenet-plain")
        assert isinstance(mirror, ONNXEncoder)
        assert isinstance(plain, ONNXEncoder)
        assert (mirror.model_id, plain.model_id) == ("mobilefacenet-mirror", "mobilefacenet-plain")
        assert mirror._embedder is plain._embedder
        photo = one_face()
        ours, theirs = (encoder.encode(photo).faces[0].embedding for encoder in (mirror, plain))
        assert 0.05 < np.linalg.norm(ours - theirs) < 0.6

    @pytest.mark.parametrize(
        "model_id", ["dlib-resnet-v1-plain", "mobilefacenet", "mobilefacenet-int8-plain"]
    )
    def test_other_networks_vectors_are_a_mismatch(self, models: Path, model_id: str) -> None:
        with pytest.raises(ModelMismatch, match=model_id):
            made(models).for_model(model_id)

    def test_vectors_that_are_not_compared_by_cosine_are_divided(self, tmp_path: Path) -> None:
        """`mirror` is the middle of both."""
        divided = card(output={"metric": "euclidean", "divisor": 10.0})
        ModelStore(tmp_path).add(Network().write(tmp_path / "drawn.onnx"), divided)
        plain, mirror = (drawn_encoder(tmp_path, kind=kind) for kind in ("plain", "mirror"))
        assert isinstance(plain, ONNXEncoder)
        pictures = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
        raw = plain._embedder.embed(pictures)
        assert np.allclose(plain.embed(pictures), raw / 10, rtol=0, atol=1e-6)
        middle = (raw + plain._embedder.embed(pictures[:, :, ::-1])) / 20
        assert np.allclose(mirror.embed(pictures), middle, rtol=0, atol=1e-6)


class TestWhatIsMissing:
    def test_a_model_that_is_not_installed_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="facesearch models add"):
            made(tmp_path)

    def test_an_unknown_model_is_unavailable(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="nobodys-model"):
            made(tmp_path, model="nobodys-model")

    def test_a_detector_is_no_recognition_network(self, models: Path) -> None:
        with pytest.raises(InvalidConfig, match="centerface is no recognition network"):
            made(models, model="centerface")

    def test_a_damaged_file_is_unavailable(self, drawn_model: Path) -> None:
        encoder = drawn_encoder(drawn_model)
        _, file = ModelStore(drawn_model).weights("drawn")
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        with pytest.raises(Unavailable, match="damaged"):
            encoder.ping()

    def test_a_model_that_was_replaced_is_unavailable(self, drawn_model: Path) -> None:
        encoder = drawn_encoder(drawn_model)
        store = ModelStore(drawn_model)
        store.remove("drawn")
        store.add(Network(length=True).write(drawn_model / "other.onnx"), card())
        with pytest.raises(Unavailable, match="start the service anew"):
            encoder.ping()

    def test_a_wrong_card_is_refused_with_the_reason(self, tmp_path: Path) -> None:
        wrong = card(output={"dimension": 99})
        ModelStore(tmp_path).add(Network().write(tmp_path / "drawn.onnx"), wrong)
        with pytest.raises(InvalidConfig, match="instead of 99 numbers"):
            drawn_encoder(tmp_path).ping()

    def test_a_provider_that_is_not_there_is_named(self, drawn_model: Path) -> None:
        with pytest.raises(InvalidConfig, match="onnxruntime-gpu"):
            drawn_encoder(drawn_model, execution="cuda").ping()


class TestProcesses:
    def test_an_encoder_works_in_a_spawned_child(self, models: Path) -> None:
        settings = EncoderSettings.model_validate({"model": "mobilefacenet", "detector": "centerface"})
        assert pickle.loads(pickle.dumps(make_encoder)) is make_encoder
        path = PICTURES / "Eileen_Collins_0001.jpg"
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            photo = pool.submit(encoded_in_child, settings, path, models).result(timeout=300)
        here = made(models).encode(opened(path))
        assert [face.box for face in photo.faces] == [face.box for face in here.faces]
        assert np.array_equal(photo.faces[0].embedding, here.faces[0].embedding)

    def test_processes_map_one_prepared_copy(self, models: Path) -> None:
        made(models).ping()
        (weights,) = models.glob("mobilefacenet-*.weights")
        assert str(weights) in Path("/proc/self/maps").read_text()


def encoded_in_child(settings: EncoderSettings, path: Path, models: Path) -> EncodedPhoto:
    return make_encoder(settings, models).encode(opened(path))
