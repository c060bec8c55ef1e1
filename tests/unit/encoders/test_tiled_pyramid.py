import numpy as np
import pytest

from facesearch.encoders.tiled_pyramid import fill, lay_out


@pytest.mark.parametrize(("height", "width"), [(512, 512), (100, 900), (900, 100), (6, 7), (33, 1), (1, 33)])
def test_levels_shrink_lie_inside_and_never_overlap(height: int, width: int) -> None:
    layout = lay_out(height, width)
    assert layout.rectangles[0][2:] == (height, width)
    covered = np.zeros((layout.height, layout.width), int)
    expected = (height, width)
    for top, left, h, w in layout.rectangles:
        assert (h, w) == expected
        expected = (h * 5 // 6, w * 5 // 6)
        assert top >= 11
        assert left >= 11
        assert top + h <= layout.height - 11
        assert left + w <= layout.width - 11
        covered[top : top + h, left : left + w] += 1
    assert covered.max() == 1


def test_the_layout_of_a_square_is_that_of_dlib() -> None:
    layout = lay_out(512, 512)
    assert (layout.height, layout.width) == (1895, 534)
    assert layout.rectangles[1] == (11 + 512 + 10, 11, 426, 426)
    assert len(layout.rectangles) == 24


def test_a_point_belongs_to_its_level_or_the_nearest() -> None:
    layout = lay_out(512, 512)
    assert layout.nearest(100, 100) == 0
    assert layout.nearest(11, 11 + 512 + 10) == 1
    assert layout.nearest(11, 11 + 512 + 2) == 0
    assert layout.nearest(11, 11 + 512 + 8) == 1


def test_each_level_shows_the_photo_and_the_rest_is_zero() -> None:
    levels = np.full((3, 60, 80), 0.5, np.float32)
    layout = lay_out(60, 80)
    plane = fill(levels, layout)
    area = sum(h * w for _, _, h, w in layout.rectangles)
    assert plane.shape == (3, layout.height, layout.width)
    assert np.count_nonzero(plane) == 3 * area
    assert np.allclose(plane[plane != 0], 0.5, rtol=1e-6)
