from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facesearch.encoders.centerface import CenterFace
from facesearch.errors import InvalidConfig


class HeatMap:
    """Answers as the network does: one face in the cell of row 3, column 5 of any picture."""

    def __init__(self, score: float = 0.9, log_height: float = 2.0) -> None:
        self._score, self._log_height = score, log_height
        self.fed: NDArray[np.float32] | None = None

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="input.1")]

    def run(self, names: None, feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        self.fed = feed["input.1"]
        rows, columns = self.fed.shape[2] // 4, self.fed.shape[3] // 4
        heat, sides, offsets, points = (np.zeros((1, n, rows, columns), np.float32) for n in (1, 2, 2, 10))
        heat[0, 0, 3, 5] = self._score
        sides[0, :, 3, 5] = self._log_height, 1.0
        offsets[0, :, 3, 5] = 0.25, -0.5
        points[0, :, 3, 5] = np.arange(10) / 10
        return [heat, sides, offsets, points]


def test_a_box_lies_around_its_cell() -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    seen = CenterFace(Path("none"), lambda _: None).see(HeatMap(), picture)
    height, width = 4 * np.exp(2.0), 4 * np.exp(1.0)
    x, y = (5 - 0.5 + 0.5) * 4, (3 + 0.25 + 0.5) * 4
    assert seen.boxes == pytest.approx(
        np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
    )
    assert seen.scores == pytest.approx(np.array([0.9]))
    # Pairs hold y before x, in shares of the box.
    expected = [(x + (k + 0.1 - 0.5) * width, y + (k - 0.5) * height) for k in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert seen.landmarks == pytest.approx(np.array([expected]))


def test_the_network_is_fed_rgb_as_it_is() -> None:
    network = HeatMap()
    picture = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3).astype(np.uint8)
    CenterFace(Path("none"), lambda _: None).see(network, picture)
    assert network.fed is not None
    np.testing.assert_array_equal(network.fed, picture.transpose(2, 0, 1)[None].astype(np.float32))


def test_what_is_not_sure_is_no_face() -> None:
    seen = CenterFace(Path("none"), lambda _: None).see(HeatMap(score=0.45), np.zeros((32, 32, 3), np.uint8))
    assert len(seen.boxes) == 0
    assert seen.landmarks.shape == (0, 5, 2)


def test_absurd_sides_stay_numbers() -> None:
    seen = CenterFace(Path("none"), lambda _: None).see(
        HeatMap(log_height=5000.0), np.zeros((32, 32, 3), np.uint8)
    )
    assert np.isfinite(seen.boxes).all()


def test_another_network_is_refused() -> None:
    network = SimpleNamespace(get_inputs=HeatMap().get_inputs, run=lambda names, feed: [np.zeros((1, 512))])
    with pytest.raises(InvalidConfig, match="another network"):
        CenterFace(Path("none"), lambda _: None).check(network)


def test_its_own_network_is_taken() -> None:
    CenterFace(Path("none"), lambda _: None).check(HeatMap())
