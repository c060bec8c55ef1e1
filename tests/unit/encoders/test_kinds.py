from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders.engines import OnnxEngine
from facesearch.encoders.kinds import KINDS, MIRROR_LENGTH, kind_of
from facesearch.errors import ModelMismatch
from tests.unit.encoders.photos import one_face, side_by_side


@pytest.fixture(scope="module")
def engine(graphs: Path) -> OnnxEngine:
    return OnnxEngine(graphs)


@pytest.fixture(scope="module")
def crops(engine: OnnxEngine) -> NDArray[np.uint8]:
    """Three faces."""
    faces = []
    for photo in (one_face(), side_by_side("Joe_Biden_0001.jpg", "Barack_Obama_0001.jpg")):
        for found in engine.find("hog", photo.pixels, 0):
            faces.append(engine.dlib.align(photo.pixels, found.box)[1])
    return np.stack(faces)


def mirrored(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return crops[:, :, ::-1]


def test_plain_vectors_are_the_networks(engine: OnnxEngine, crops: NDArray[np.uint8]) -> None:
    assert np.array_equal(KINDS["plain"].embed(engine.embed, crops), engine.embed(crops))


def test_mirror_vectors_are_those_of_the_mirrored_crop(engine: OnnxEngine, crops: NDArray[np.uint8]) -> None:
    mirror, plain = KINDS["mirror"].embed, KINDS["plain"].embed
    assert np.abs(mirror(engine.embed, crops) - mirror(engine.embed, mirrored(crops))).max() <= 1e-6
    assert np.abs(plain(engine.embed, crops) - plain(engine.embed, mirrored(crops))).max() > 0.01


def test_mirror_vectors_have_one_length_and_the_direction_of_the_sum(
    engine: OnnxEngine, crops: NDArray[np.uint8]
) -> None:
    vectors = KINDS["mirror"].embed(engine.embed, crops)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 128)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(MIRROR_LENGTH, abs=1e-6)
    sums = np.stack([engine.embed(c[None])[0] + engine.embed(mirrored(c[None]))[0] for c in crops])
    directions = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    assert np.abs(vectors / MIRROR_LENGTH - directions).max() <= 1e-6


def test_both_crops_of_every_face_go_through_the_network_at_once(crops: NDArray[np.uint8]) -> None:
    batches = []

    def network(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(len(batch))
        return np.ones((len(batch), 128), np.float32)

    KINDS["mirror"].embed(network, crops)
    assert batches == [6]


def test_each_kind_has_a_model_id_of_its_own() -> None:
    assert len({kind.model_id for kind in KINDS.values()}) == len(KINDS) == 2
    for kind in KINDS.values():
        assert kind_of(kind.model_id) is kind
        assert len(kind.model_id) <= 64


@pytest.mark.parametrize("model_id", ["", "mirror", "dlib-resnet-v2-plain"])
def test_an_unknown_model_id_is_a_mismatch(model_id: str) -> None:
    with pytest.raises(ModelMismatch, match="makes no vectors"):
        kind_of(model_id)
