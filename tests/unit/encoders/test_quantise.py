from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders.cards import ModelCard
from facesearch.encoders.model_store import ModelStore
from facesearch.encoders.onnx_embedder import OnnxEmbedder
from facesearch.encoders.onnx_session import open_file
from facesearch.encoders.quantise import quantise, quantised_card
from facesearch.errors import Invalid
from tests.unit.encoders.networks import SIDE, Network, card


def pictures(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def vectors(file: Path, its_card: ModelCard, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    given = OnnxEmbedder(its_card, partial(open_file, file, 1)).embed(crops)
    unit: NDArray[np.float32] = given / np.linalg.norm(given, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("rows", ["n", 2])
def test_the_twins_vectors_are_near_and_each_faces_own(tmp_path: Path, rows: int | str) -> None:
    network = Network(shape=(rows, 3, SIDE, SIDE), declared=(rows, 12))
    file, twin = network.write(tmp_path / "network.onnx"), tmp_path / "twin.onnx"
    crops = pictures(6)
    quantise(file, twin, card(), crops)
    floats, integers = (vectors(one, card(), crops) for one in (file, twin))
    assert 0.9 < (floats * integers).sum(axis=1).min() < 0.99999
    alone = np.concatenate([vectors(twin, card(), crop[None]) for crop in crops])
    assert np.allclose(alone, integers, rtol=0, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx", "twin.onnx"]


def test_a_real_networks_twin_is_a_quarter_of_its_size(models: Path, tmp_path: Path) -> None:
    its_card, file = ModelStore(models).weights("mobilefacenet")
    noise = np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3), np.uint8)
    quantise(file, tmp_path / "twin.onnx", its_card, noise)
    assert (tmp_path / "twin.onnx").stat().st_size < 0.35 * file.stat().st_size


@pytest.mark.parametrize(
    ("network", "reason"), [(Network(type="FLOAT16"), "float16"), (Network(inputs=2), "cannot be quantised")]
)
def test_what_the_quantiser_cannot_do_is_said(tmp_path: Path, network: Network, reason: str) -> None:
    file = network.write(tmp_path / "network.onnx")
    with pytest.raises(Invalid, match=reason):
        quantise(file, tmp_path / "twin.onnx", card(), pictures(1))
    assert not (tmp_path / "twin.onnx").exists()


def test_a_file_that_is_no_network_is_said(tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    file.write_bytes(b"nothing")
    with pytest.raises(Invalid, match="cannot be quantised"):
        quantise(file, tmp_path / "twin.onnx", card(), pictures(1))


def test_the_twins_card_keeps_how_it_is_fed_and_nothing_that_was_measured() -> None:
    spaces = {"plain": {"tolerance": 1.0}}
    whole = card(sha256="a" * 64, bytes=9, tried="Yes.", aliases=["x.onnx"], spaces=spaces)
    twin = quantised_card(whole)
    assert twin.id == "drawn-int8"
    assert (twin.input, twin.output, twin.template, twin.licence) == (
        whole.input,
        whole.output,
        whole.template,
        whole.licence,
    )
    assert (twin.sha256, twin.bytes, twin.tried, twin.aliases, dict(twin.spaces)) == (
        None,
        None,
        None,
        (),
        {},
    )
    assert twin.source.url is None


def test_only_recognition_networks_of_onnx_files_have_twins(models: Path) -> None:
    store = ModelStore(models)
    for model in ("dlib", "centerface"):
        with pytest.raises(Invalid, match="no recognition network"):
            quantised_card(store.card(model))


def test_an_id_may_be_too_long_for_a_twin() -> None:
    with pytest.raises(Invalid, match="too long"):
        quantised_card(card(id="a" * 55))
