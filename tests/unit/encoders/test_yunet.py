from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders.yunet import YuNet
from facesearch.errors import InvalidConfig

NUMBERS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class Cells:
    """Answers as the network does: one face in the cell of row 1, column 2 of the given range."""

    def __init__(self, stride: int = 16, sure: float = 0.9, there: float = 0.8) -> None:
        self._stride, self._sure, self._there = stride, sure, there
        self._names = [f"{kind}_{stride}" for kind in NUMBERS for stride in (8, 16, 32)]
        self.fed: NDArray[np.float32] | None = None

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input")]

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self._names]

    def run(self, names: list[str], feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.fed = feed["input"]
        height, width = self.fed.shape[2:]
        outputs = {}
        for name in names:
            kind, stride = name.split("_")
            cells = (height // int(stride)) * (width // int(stride))
            outputs[name] = np.zeros((1, cells, NUMBERS[kind]), np.float32)
        cell = width // self._stride + 2
        if height > 32:
            outputs[f"cls_{self._stride}"][0, cell] = self._sure
            outputs[f"obj_{self._stride}"][0, cell] = self._there
            outputs[f"bbox_{self._stride}"][0, cell] = 0.5, 0.25, 1.0, 2.0
            outputs[f"kps_{self._stride}"][0, cell] = np.arange(10) / 10
        return [outputs[name] for name in names]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_box_lies_around_its_cell(stride: int) -> None:
    seen = YuNet(Path("none"), lambda _: None).see(Cells(stride), np.zeros((96, 160, 3), np.uint8))
    width, height = stride * np.exp(1.0), stride * np.exp(2.0)
    x, y = 2.5 * stride, 1.25 * stride
    assert seen.boxes == pytest.approx(
        np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    )
    assert seen.scores == pytest.approx(np.array([np.sqrt(0.9 * 0.8)]))
    expected = [((2 + k) * stride, (1.1 + k) * stride) for k in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert seen.landmarks == pytest.approx(np.array([expected]))


def test_the_network_is_fed_bgr_as_it_is() -> None:
    network = Cells()
    picture = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3).astype(np.uint8)
    YuNet(Path("none"), lambda _: None).see(network, picture)
    assert network.fed is not None
    np.testing.assert_array_equal(network.fed, picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32))


@pytest.mark.parametrize(("sure", "there"), [(0.9, 0.5), (0.5, 0.9), (1.0, -3.0)])
def test_what_is_not_sure_is_no_face(sure: float, there: float) -> None:
    network = Cells(sure=sure, there=there)
    seen = YuNet(Path("none"), lambda _: None).see(network, np.zeros((96, 160, 3), np.uint8))
    assert len(seen.boxes) == 0


def test_another_network_is_refused() -> None:
    network = SimpleNamespace(
        get_inputs=Cells().get_inputs,
        get_outputs=lambda: [SimpleNamespace(name="fc1")],
        run=lambda names, feed: [np.zeros((1, 128))],
    )
    with pytest.raises(InvalidConfig, match="another network"):
        YuNet(Path("none"), lambda _: None).check(network)


def test_its_own_network_is_taken() -> None:
    YuNet(Path("none"), lambda _: None).check(Cells())
