import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.encoders.tiles import Tile, tiles_of

SIDES = st.integers(1, 5000)


@given(height=SIDES, width=SIDES, overlap=st.integers(0, 500), room=st.integers(32, 1000))
def test_every_point_is_reported_by_a_tile_that_holds_what_is_around_it(
    height: int, width: int, overlap: int, room: int
) -> None:
    tiles = tiles_of(height, width, overlap + room, overlap, 32)
    around = overlap / 2 - 8
    for y, x in ((0, 0), (height - 1, width - 1), (height / 2, width / 3), (height / 7, width * 0.9)):
        holding = [t for t in tiles if _reports(t, y, x)]
        assert holding
        for tile in holding:
            assert tile.top <= max(0, y - around)
            assert tile.left <= max(0, x - around)
            assert tile.bottom >= min(height, y + around)
            assert tile.right >= min(width, x + around)


@given(height=SIDES, width=SIDES, overlap=st.integers(0, 500), room=st.integers(32, 1000))
def test_tiles_stay_small_and_on_the_grid(height: int, width: int, overlap: int, room: int) -> None:
    for tile in tiles_of(height, width, overlap + room, overlap, 32):
        assert 0 < tile.bottom - tile.top <= overlap + room
        assert 0 < tile.right - tile.left <= overlap + room
        assert tile.top % 32 == 0
        assert tile.left % 32 == 0
        assert tile.bottom <= height
        assert tile.right <= width


def test_a_small_picture_is_one_tile() -> None:
    (tile,) = tiles_of(1024, 20, 1024, 256, 32)
    assert (tile.top, tile.bottom, tile.left, tile.right) == (0, 1024, 0, 20)


@pytest.mark.parametrize("side", [1025, 1500, 4000])
def test_tiles_are_of_nearly_the_same_size(side: int) -> None:
    heights = [tile.bottom - tile.top for tile in tiles_of(side, 100, 1024, 256, 32)]
    assert np.ptp(heights) < 32 * len(heights)


def _reports(tile: Tile, y: float, x: float) -> bool:
    down, along = y - tile.top, x - tile.left
    return tile.first_y <= down <= tile.last_y and tile.first_x <= along <= tile.last_x
