"""dlib's tiled image pyramid: all sizes of a photo side by side on one plane, so that one pass sees all.

Each level has 5/6 of the sides of the one before. The layout, its paddings and the mapping of boxes back
to the photo are those of dlib 20's `create_tiled_pyramid` and `pyramid_down<6>`, because a detection
near a level's edge also sees what lies beside it. Functions without state; any thread may call them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHRINK = 6 / 5

_PADDING_PX = 10
_OUTER_PADDING_PX = 11
_LOWEST_PX = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the levels lie.

    Args:
        height, width: of the plane, in pixels.
        rectangles: top, left, height and width of each level, largest first.
    """

    height: int
    width: int
    rectangles: tuple[tuple[int, int, int, int], ...]

    def nearest(self, x: float, y: float) -> int:
        """Return the level that a point lies in, or else the nearest one."""
        best, best_distance = 0, float("inf")
        for level, (top, left, height, width) in enumerate(self.rectangles):
            dx = max(left - x, 0.0, x - (left + width - 1))
            dy = max(top - y, 0.0, y - (top + height - 1))
            distance = dx * dx + dy * dy
            if distance < best_distance:
                best, best_distance = level, distance
        return best


def lay_out(height: int, width: int) -> Layout:
    """Place the levels of a photo: down the left side, and up again beside those that leave room."""
    sizes = [(height, width)]
    while True:
        height, width = height * 5 // 6, width * 5 // 6
        if height < _LOWEST_PX or width == 0:
            break
        sizes.append((height, width))
    column = _first_column(sizes)
    first_height, first_width = sizes[0]
    bottom = _OUTER_PADDING_PX + sum(h + _PADDING_PX for h, _ in sizes[:column]) - _PADDING_PX
    rectangles: list[tuple[int, int, int, int]] = []
    top = _OUTER_PADDING_PX
    for h, w in sizes[:column]:
        rectangles.append((top, _OUTER_PADDING_PX, h, w))
        top += h + _PADDING_PX
    top = bottom
    for h, w in sizes[column:]:
        if top - h < _OUTER_PADDING_PX + first_height:
            break  # it would lie upon the largest level
        rectangles.append((top - h, _OUTER_PADDING_PX + first_width - w, h, w))
        top -= h + _PADDING_PX
    plane_width = first_width + 2 * _OUTER_PADDING_PX
    return Layout(bottom + _OUTER_PADDING_PX, plane_width, tuple(rectangles))


def fill(levels: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    """Draw a photo's levels upon a plane of zeros.

    Args:
        levels: the largest level, float32 of shape (3, height, width).
        layout: what `lay_out` says of its size.

    Returns:
        float32 of shape (3, layout.height, layout.width).
    """
    plane = np.zeros((3, layout.height, layout.width), np.float32)
    level = levels
    for number, (top, left, height, width) in enumerate(layout.rectangles):
        if number:
            level = resized(level, height, width)
        plane[:, top : top + height, left : left + width] = level
    return plane


def resized(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Interpolate three planes as dlib does; float32 of shape (3, height, width)."""
    import dlib  # noqa: PLC0415  not at import: it would take MySQL's thread-local storage

    return np.stack([dlib.resize_image(plane, height, width) for plane in planes])


def _first_column(sizes: list[tuple[int, int]]) -> int:
    """Return how many levels go down the left side before the next fits beside the one before it."""
    first_height, first_width = sizes[0]
    total = sum(h + _PADDING_PX for h, _ in sizes) - 2 * _PADDING_PX
    reached, width_before = 0, 0
    for count, (h, w) in enumerate(sizes):
        fits = w <= first_width - width_before - _PADDING_PX
        if fits and 2 * (reached - first_height) >= total - first_height:
            return count
        reached += h + _PADDING_PX
        width_before = w
    return len(sizes)
