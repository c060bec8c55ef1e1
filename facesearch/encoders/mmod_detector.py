"""dlib's CNN face detector, run by ONNX Runtime."""

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.dlib_stream import DETECTOR_SHA256, read_network
from facesearch.encoders.heap import give_back_free_memory
from facesearch.encoders.onnx_cache import open_cached
from facesearch.encoders.tiled_pyramid import SHRINK, Layout, fill, lay_out, resized
from facesearch.records import Box, Detection

WINDOW_PX = 80

# The seventh and eighth number that the model file's loss layer holds: see `read_network`.
_OVERLAP = 0.3382761351109955
_MEANS = np.array([122.78199768066406, 117.0009994506836, 104.2979965209961], np.float32)

_STEP_PX = 8  # between neighbouring scores
_FIRST_PX = 14  # the middle of the first score's window
_FIELD_PX = 29  # what one row of the third convolution sees
_HALO_ROWS = 10  # what the four padded convolutions after it see on each side
_STRIP_PIXELS = 1_000_000


class MmodDetector:
    """Finds faces as dlib.cnn_face_detection_model_v1 does, with the same weights.

    Lives as long as its process; loads its network at the first call. Any thread may call it. Not to be
    carried over a fork once loaded.

    Args:
        model_file: mmod_human_face_detector.dat.
        directory: where built graphs are kept.
        threads: how many threads one call spreads over.
    """

    def __init__(self, model_file: Path, directory: Path, threads: int = 1) -> None:
        self._model_file = model_file
        self._directory = directory
        self._threads = threads
        self._session: Any = None
        self._loading = threading.Lock()

    def load(self) -> None:
        """Load the network unless that has happened.

        Raises:
            InvalidConfig: the model file is missing or not the expected one, or ONNX Runtime is missing.
        """
        with self._loading:
            if self._session is None:
                self._session = open_cached(
                    self._directory, "detector", DETECTOR_SHA256, self._build, self._threads
                )

    def detect(
        self, pixels: NDArray[np.uint8], upsample: int = 0, threshold: float = 0.0, min_size_px: int = 0
    ) -> list[Detection]:
        """Return the faces of a photo, the surest first, boxes in pixels of the photo.

        Boxes may reach past the photo's edge. Needs about 70 bytes of memory per upsampled pixel
        beside 150 MB; dlib needs about 1000.

        Args:
            pixels: uint8 of shape (height, width, 3), RGB.
            upsample: how often the sides are doubled first; faces of 80 pixels are found without.
            threshold: the score above which a window counts as a face.
            min_size_px: boxes with shorter sides are not looked for, which saves their part of the work.

        Raises:
            InvalidConfig: as for `load`.
        """
        self.load()
        skipped = _levels_below(min_size_px, upsample)
        planes = _largest_level(pixels, upsample, skipped)
        layout = lay_out(*planes.shape[1:])
        if min(layout.height, layout.width) < _FIELD_PX:
            return []
        scores = self._scores(fill(planes, layout))
        found = []
        rows, columns = np.nonzero(scores > threshold)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            box = _box(row, column, layout, skipped)
            found.append(Detection(box, float(scores[row, column])))
        found.sort(key=lambda detection: -detection.score)
        return [Detection(_upsampled_back(d.box, upsample), d.score) for d in _without_overlaps(found)]

    def _scores(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network over a plane; large ones in strips, whose results are the same."""
        _, height, width = plane.shape
        rows = (height - _FIELD_PX) // _STEP_PX + 1
        strip = max(_HALO_ROWS, _STRIP_PIXELS // (width * _STEP_PX))
        parts = []
        for start in range(0, rows, strip):
            end = min(start + strip, rows)
            first, last = max(0, start - _HALO_ROWS), min(rows, end + _HALO_ROWS)
            window = plane[None, :, first * _STEP_PX : (last - 1) * _STEP_PX + _FIELD_PX]
            scores = self._session.run(None, {"pixels": np.ascontiguousarray(window)})[0]
            parts.append(scores[0, 0, start - first : end - first])
        if len(parts) > 1:
            give_back_free_memory()
        return np.concatenate(parts)

    def _build(self) -> bytes:
        # onnx is needed by whoever builds, and would cost every other process its memory.
        from facesearch.encoders.onnx_graphs import build_detector  # noqa: PLC0415

        return build_detector(read_network(self._model_file, DETECTOR_SHA256))


def _levels_below(min_size_px: int, upsample: int) -> int:
    """Return how many of the pyramid's levels would only give boxes with shorter sides."""
    if min_size_px <= 0:
        return 0
    return max(0, math.ceil(math.log(min_size_px * 2**upsample / WINDOW_PX, SHRINK) - 1e-9))


def _largest_level(pixels: NDArray[np.uint8], upsample: int, skipped: int) -> NDArray[np.float32]:
    """Return the first level that is looked at, normalized, float32 of shape (3, height, width)."""
    import dlib  # noqa: PLC0415  not at import: it would take MySQL's thread-local storage

    pixels = np.ascontiguousarray(pixels)
    for _ in range(upsample):
        height, width = pixels.shape[:2]
        pixels = dlib.resize_image(pixels, 2 * height + 1, 2 * width + 2)
    planes = np.subtract(pixels.transpose(2, 0, 1), _MEANS[:, None, None], order="C")
    planes /= 256
    for _ in range(skipped):
        height, width = planes.shape[1] * 5 // 6, planes.shape[2] * 5 // 6
        if min(height, width) == 0:
            return np.zeros((3, 0, 0), np.float32)
        planes = resized(planes, height, width)
    return planes


def _box(row: int, column: int, layout: Layout, skipped: int) -> Box:
    """Map a score's window to the upsampled photo, rounded as dlib rounds."""
    x, y = _STEP_PX * column + _FIRST_PX, _STEP_PX * row + _FIRST_PX
    level = layout.nearest(x, y)
    top, left = layout.rectangles[level][:2]
    half = (WINDOW_PX - 1) / 2
    edges = [y - half - top, x + half - left, y + half - top, x - half - left]
    for _ in range(level + skipped):
        edges = [edge * SHRINK + 0.3 for edge in edges]
    return Box(*(math.floor(edge + 0.5) for edge in edges))


def _upsampled_back(box: Box, upsample: int) -> Box:
    """Map a box from the upsampled photo to the photo itself, as dlib's `pyramid_down<2>` does."""
    top, right, bottom, left = float(box.top), float(box.right), float(box.bottom), float(box.left)
    for _ in range(upsample):
        top, bottom = top / 2 - 0.75, bottom / 2 - 0.75
        left, right = left / 2 - 1.25, right / 2 - 1.25
    return Box(*(math.floor(edge + 0.5) for edge in (top, right, bottom, left)))


def _without_overlaps(found: list[Detection]) -> list[Detection]:
    """Keep what overlaps nothing surer; `found` is ordered by score, the highest first."""
    kept: list[Detection] = []
    for candidate in found:
        if not any(_overlap(candidate.box, other.box) for other in kept):
            kept.append(candidate)
    return kept


def _overlap(a: Box, b: Box) -> bool:
    """Say whether the shared part is a large share of the smallest rectangle around both."""
    height = min(a.bottom, b.bottom) - max(a.top, b.top) + 1
    width = min(a.right, b.right) - max(a.left, b.left) + 1
    if height <= 0 or width <= 0:
        return False
    outer_height = max(a.bottom, b.bottom) - min(a.top, b.top) + 1
    outer_width = max(a.right, b.right) - min(a.left, b.left) + 1
    return height * width > _OVERLAP * outer_height * outer_width
