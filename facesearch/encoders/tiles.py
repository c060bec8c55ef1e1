"""Cuts a large picture into tiles that overlap. Functions without state; any thread may call them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in its pixels; `bottom` and `right` are the first row and column outside.

    What lies from (first_x, first_y) to (last_x, last_y) in the tile's own pixels is this tile's to report.
    Neighbours share some pixels there, so that nothing falls between them.
    """

    top: int
    bottom: int
    left: int
    right: int
    first_x: float
    last_x: float
    first_y: float
    last_y: float


def tiles_of(height: int, width: int, side_px: int, overlap_px: int, stride_px: int) -> list[Tile]:
    """Return tiles of nearly the same size that cover a picture, row by row.

    Args:
        height, width: the picture's, in pixels.
        side_px: no tile is longer; at least a stride more than `overlap_px`.
        overlap_px: how many pixels neighbours share.
        stride_px: tiles begin at multiples of this, so that a network sees the same grid in each of them.
    """
    rows, columns = (_cuts(side, side_px, overlap_px, stride_px) for side in (height, width))
    return [
        Tile(top, bottom, left, right, first_x, last_x, first_y, last_y)
        for top, bottom, first_y, last_y in rows
        for left, right, first_x, last_x in columns
    ]


def _cuts(side: int, most: int, overlap: int, stride: int) -> list[tuple[int, int, float, float]]:
    """Cut one side: where each part begins and ends, and from where to where it reports."""
    if side <= most:
        return [(0, side, float("-inf"), float("inf"))]
    count = -(-(side - overlap) // ((most - overlap) // stride * stride))
    step = -(-(side - overlap) // (count * stride)) * stride
    starts = [number * step for number in range(count) if number == 0 or number * step + overlap < side]
    cuts = []
    for number, start in enumerate(starts):
        end = min(start + step + overlap, side)
        first = overlap / 2 - stride / 4 if number else float("-inf")
        last = step + overlap / 2 + stride / 4 if number + 1 < len(starts) else float("inf")
        cuts.append((start, end, first, last))
    return cuts
