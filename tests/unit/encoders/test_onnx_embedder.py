import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders.cards import ModelCard
from facesearch.encoders.onnx_embedder import OnnxEmbedder, fed
from facesearch.encoders.onnx_session import open_file
from facesearch.errors import InvalidConfig, Unavailable
from tests.unit.encoders.networks import DIMENSION, SIDE, Network, card

Make = Callable[..., OnnxEmbedder]


def pictures(count: int, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), np.uint8)


class Runs:
    """A session that notes what it is given."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.given: list[NDArray[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, outputs: list[str], feeds: dict[str, NDArray[Any]]) -> Any:
        self.given.extend(feeds.values())
        return self._session.run(outputs, feeds)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(network: Network, its_card: ModelCard | None = None, batch_size: int = 4) -> OnnxEmbedder:
        file = network.write(tmp_path / "network.onnx")
        return OnnxEmbedder(its_card or card(), partial(open_file, file, 1), batch_size)

    return made


def alone(embedder: OnnxEmbedder, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([embedder.embed(crop[None]) for crop in crops])


def noted(embedder: OnnxEmbedder) -> Runs:
    """Make the embedder's runs visible."""
    session, feed = embedder._session()
    runs = Runs(session)
    embedder._loaded = runs, feed
    return runs


class TestFeeding:
    def test_pixels_become_what_the_card_says(self) -> None:
        crops = pictures(2)
        taken = card(input={"mean": (1, 2, 3), "divisor": (4, 5, 6), "channels": "bgr"}).input
        assert taken is not None
        given = fed(crops, taken, np.float32)
        assert given.shape == (2, 3, SIDE, SIDE)
        assert given.dtype == np.float32
        assert given.flags.c_contiguous
        blue, red = crops[1, 5, 7, 2], crops[1, 5, 7, 0]
        assert given[1, 0, 5, 7] == pytest.approx((blue - 1.0) / 4)
        assert given[1, 2, 5, 7] == pytest.approx((red - 3.0) / 6)

    def test_channels_come_last_where_the_card_says_so(self) -> None:
        crops = pictures(1)
        taken = card(input={"layout": "nhwc", "mean": (0, 0, 0), "divisor": (1, 1, 1)}).input
        assert taken is not None
        assert np.array_equal(fed(crops, taken, np.float32), crops.astype(np.float32))

    def test_channels_of_the_other_order_give_other_vectors(self, make: Make) -> None:
        crops = pictures(2)
        as_bgr = make(Network(), card(input={"channels": "bgr"}))
        expected = make(Network()).embed(crops)
        assert np.array_equal(as_bgr.embed(np.ascontiguousarray(crops[..., ::-1])), expected)
        assert np.abs(as_bgr.embed(crops) - expected).max() > 0.1

    @pytest.mark.parametrize(
        ("network", "changes"),
        [
            (Network(type="FLOAT16"), {}),
            (Network(shape=("n", SIDE, SIDE, 3)), {"input": {"layout": "nhwc"}}),
            (Network(shape=("n", 3, "h", "w")), {}),
            (Network(declared=("n", "numbers")), {}),
            (Network(length=True), {}),
            (Network(shape=(1, 3, SIDE, SIDE), declared=(1, DIMENSION)), {}),
            (Network(shape=(2, 3, SIDE, SIDE), declared=(2, DIMENSION)), {}),
            (Network(shape=(7, 3, SIDE, SIDE), declared=(7, DIMENSION)), {}),
            (Network(for_one=True), {}),
        ],
    )
    def test_every_form_of_a_network_gives_the_same_vectors(
        self, make: Make, network: Network, changes: dict[str, Any]
    ) -> None:
        crops = pictures(5)
        expected = make(Network()).embed(crops)
        vectors = make(network, card(**changes)).embed(crops)
        assert vectors.dtype == np.float32
        assert vectors.shape == (5, DIMENSION)
        assert np.allclose(vectors, expected, rtol=0, atol=0.05 if network.type == "FLOAT16" else 1e-5)

    def test_a_network_may_take_pixels_as_they_are(self, make: Make) -> None:
        raw = {"mean": (0, 0, 0), "divisor": (1, 1, 1)}
        crops = pictures(3)
        expected = make(Network(), card(input=raw)).embed(crops)
        assert np.array_equal(make(Network(type="UINT8"), card(input=raw)).embed(crops), expected)

    def test_a_picture_need_not_be_square(self, make: Make) -> None:
        crops = pictures(2, height=48, width=40)
        its_card = card(input={"height": 48, "width": 40})
        assert make(Network(shape=("n", 3, 48, 40)), its_card).embed(crops).shape == (2, DIMENSION)


class TestBatches:
    def test_faces_go_through_in_batches(self, make: Make) -> None:
        embedder = make(Network(), batch_size=4)
        runs = noted(embedder)
        embedder.embed(pictures(10))
        assert [len(given) for given in runs.given] == [4, 4, 2]

    def test_a_fixed_batch_is_filled_up_with_the_last_face(self, make: Make) -> None:
        embedder = make(Network(shape=(3, 3, SIDE, SIDE), declared=(3, DIMENSION)))
        runs = noted(embedder)
        crops = pictures(4)
        vectors = embedder.embed(crops)
        assert [len(given) for given in runs.given] == [3, 3]
        assert all(np.array_equal(filled, runs.given[1][0]) for filled in runs.given[1][1:])
        assert np.allclose(vectors, alone(embedder, crops), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("rows", ["n", 2])
    def test_faces_that_would_change_each_others_vectors_go_alone(self, make: Make, rows: int | str) -> None:
        embedder = make(Network(shape=(rows, 3, SIDE, SIDE), declared=(rows, DIMENSION), neighbours=True))
        crops = pictures(3)
        runs = noted(embedder)
        vectors = embedder.embed(crops)
        assert len(runs.given) == 3
        assert np.array_equal(vectors, alone(embedder, crops))
        assert np.array_equal(vectors[::-1], embedder.embed(crops[::-1]))

    def test_no_faces_need_no_run(self, make: Make) -> None:
        embedder = make(Network())
        runs = noted(embedder)
        assert embedder.embed(pictures(0)).shape == (0, DIMENSION)
        assert runs.given == []


class TestWrongCards:
    @pytest.mark.parametrize(
        ("network", "changes", "reason"),
        [
            (Network(), {"input": {"width": 40}}, r"takes \(n, 3, 32, 32\) instead of \(n, 3, 32, 40\)"),
            (Network(), {"input": {"height": 40}}, r"instead of \(n, 3, 40, 32\)"),
            (Network(), {"input": {"layout": "nhwc"}}, r"instead of \(n, 32, 32, 3\)"),
            (Network(shape=("n", SIDE, SIDE, 3)), {}, r"takes \(n, 32, 32, 3\) instead of \(n, 3, 32, 32\)"),
            (Network(), {"output": {"dimension": 13}}, r"gives \(n, 12\) instead of 13 numbers"),
            (Network(shape=("n", 3, "h", "w")), {"input": {"width": 40}}, "cannot be run"),
            (Network(type="UINT8"), {}, "mean must be 0 and divisor 1"),
            (Network(type="INT32"), {}, r"tensor\(int32\)"),
            (Network(inputs=2), {}, "2 inputs instead of one picture"),
            (Network(zeros=True), {}, "zeros"),
            (Network(), {"input": {"divisor": (1e9, 1e9, 1e9), "mean": (1e15,) * 3}}, "same vector"),
        ],
    )
    def test_is_refused_with_the_reason(
        self, make: Make, network: Network, changes: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(InvalidConfig, match=reason) as caught:
            make(network, card(**changes)).load()
        assert "drawn" in caught.value.message

    def test_is_refused_for_what_a_silent_network_does(self, tmp_path: Path) -> None:
        file = Network().write(tmp_path / "network.onnx")
        embedder = OnnxEmbedder(card(output={"dimension": 13}), lambda: _Silent(open_file(file, 1)))
        with pytest.raises(InvalidConfig, match="gives 12 numbers instead of 13"):
            embedder.load()

    def test_a_file_that_is_no_graph_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "network.onnx"
        file.write_bytes(b"nothing")
        with pytest.raises(InvalidConfig, match="refuses"):
            OnnxEmbedder(card(), partial(open_file, file, 1)).load()

    def test_a_card_without_input_is_no_recognition_networks(self) -> None:
        detector = card(id="finds", task="detection", family="yunet").model_copy(update={"input": None})
        with pytest.raises(InvalidConfig, match="no recognition network"):
            OnnxEmbedder(detector, lambda: None)


class _Silent(Runs):
    """Declares no output shape."""

    def get_outputs(self) -> list[Any]:
        (output,) = self._session.get_outputs()
        return [SimpleNamespace(name=output.name, type=output.type, shape=["n", None])]


class _Broken(Runs):
    def run(self, outputs: list[str], feeds: dict[str, NDArray[Any]]) -> Any:
        (given,) = super().run(outputs, feeds)
        return [np.full_like(given, np.nan)]


class _Failing(Runs):
    def run(self, outputs: list[str], feeds: dict[str, NDArray[Any]]) -> Any:
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(("kind", "reason"), [(_Broken, "no numbers"), (_Failing, "cannot be run")])
def test_what_goes_wrong_later_is_unavailable(make: Make, kind: type[Runs], reason: str) -> None:
    embedder = make(Network())
    session, feed = embedder._session()
    embedder._loaded = kind(session), feed
    with pytest.raises(Unavailable, match=reason):
        embedder.embed(pictures(1))


def test_threads_share_one_session(tmp_path: Path) -> None:
    file = Network().write(tmp_path / "network.onnx")
    opened = []
    together = threading.Barrier(4)

    def opener() -> Any:
        opened.append(file)
        return open_file(file, 1)

    embedder = OnnxEmbedder(card(), opener)
    crops = pictures(6)

    def embed(_: int) -> NDArray[np.float32]:
        together.wait(20)
        return embedder.embed(crops)

    with ThreadPoolExecutor(4) as threads:
        vectors = list(threads.map(embed, range(4)))
    assert opened == [file]
    assert all(np.array_equal(own, vectors[0]) for own in vectors)


def test_nothing_is_opened_before_the_first_face() -> None:
    opened: list[int] = []
    OnnxEmbedder(card(), lambda: opened.append(1))
    assert opened == []
