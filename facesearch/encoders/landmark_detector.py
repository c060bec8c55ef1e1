"""What detectors with landmarks have in common: sizes, tiles, and one box for each face.

A network of this kind finds faces from some 20 pixels to a few hundred, and places landmarks best well
inside that range. Larger faces are found in copies with a quarter of the sides, each with a sixteenth of the
work. Large photos are looked at in overlapping tiles, which bounds memory.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.encoders.free_sizes import free_sizes
from facesearch.encoders.heap import give_back_free_memory
from facesearch.encoders.tiles import Tile, tiles_of
from facesearch.errors import Unavailable
from facesearch.records import Box, Detection

OpenSession = Callable[[Path | bytes], Any]
"""Makes an `onnxruntime.InferenceSession` of a file, or of a serialized graph."""

# A box of which a surer one covers this share, of both together or of its own area, is of the same face.
_SAME_FACE = 0.3
_INSIDE = 0.7
_ALIKE = 0.5  # of both together: its landmarks count too

# A face that a tile cuts is whole in its neighbour, with this much around it on each side.
_TILE_PX = 1024
_AROUND_PX = 32

# How many times smaller the sides of each copy are in which larger faces are found.
_SHRINK = 4

# Tiles from this size on take their turn, so that a process whose threads are all asked needs the memory of
# one.
_LARGE_PIXELS = 400_000


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """What a network sees in one picture: n boxes, several for each face.

    Coordinates are in pixels from the picture's corner: the middle of its first pixel is (0.5, 0.5).

    Args:
        boxes: float64 of shape (n, 4): left, top, right, bottom.
        scores: float64 of shape (n,), from 0 to 1.
        landmarks: float64 of shape (n, 5, 2), x and y.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    landmarks: NDArray[np.float64]

    def __getitem__(self, chosen: NDArray[Any]) -> "Candidates":
        return Candidates(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen])

    @property
    def longer_sides(self) -> NDArray[np.float64]:
        longer: NDArray[np.float64] = (self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1, initial=0)
        return longer

    @property
    def shorter_sides(self) -> NDArray[np.float64]:
        shorter: NDArray[np.float64] = (self.boxes[:, 2:] - self.boxes[:, :2]).min(axis=1, initial=np.inf)
        return shorter

    def moved(self, left: float, top: float, scale: float) -> "Candidates":
        """The same in pixels of a picture in which this one lies at (left, top), `scale` times as large."""
        corner = np.array([left, top])
        boxes = (self.boxes + np.tile(corner, 2)) * scale
        return Candidates(boxes, self.scores, (self.landmarks + corner) * scale)


class LandmarkDetector(ABC):
    """Finds boxes and five landmarks by one network of any input size.

    Lives as long as its process; loads its network at the first call. Any thread may call it; all share one
    session. Not to be carried over a fork once loaded.

    Args:
        file: the network's weights.
        open_session: opens them.
    """

    smallest_face_px = 60
    """The side of a face from which on doubling gains nothing; smaller ones are found less surely."""

    most_pixels = 16_000_000
    """How large a picture may be, after doubling: bounds time, as tiles bound memory."""

    largest_face_px: int
    """The longer side of the largest face that is taken from one size of a photo; larger ones are taken from
    the next smaller one."""

    stride_px = 32
    """What the network's input is a multiple of."""

    def __init__(self, file: Path, open_session: OpenSession) -> None:
        self._file = file
        self._open_session = open_session
        self._session: Any = None
        self._loading = threading.Lock()
        self._large = threading.Lock()

    def load(self) -> None:
        """Load the network unless that has happened.

        Raises:
            InvalidConfig: ONNX Runtime is missing or refuses the file, or it is another network.
        """
        with self._loading:
            if self._session is None:
                session = self._open_session(free_sizes(self._file))
                self.check(session)
                self._session = session
                give_back_free_memory()

    def find(self, pixels: NDArray[np.uint8], doublings: int = 0, min_face_px: int = 0) -> list[Detection]:
        """Return the faces of a photo with landmarks, the surest first, in pixels of `pixels`.

        Boxes may reach past the photo's edge. Needs about 250 MB beside the doubled photo.

        Args:
            pixels: uint8 of shape (height, width, 3), RGB; of at most `most_pixels` after doubling.
            doublings: how often the sides are doubled first.
            min_face_px: boxes with a shorter side are left out.

        Raises:
            InvalidConfig: as for `load`.
            Unavailable: the network cannot be run.
        """
        self.load()
        levels = _levels(pixels, doublings, self.largest_face_px)
        seen = [self._in_tiles(level).moved(0, 0, scale) for level, scale in levels]
        found = one_each(_joined(seen))
        return _detections(found[found.shorter_sides >= min_face_px])

    @abstractmethod
    def check(self, session: Any) -> None:
        """Compare a session with what this detector expects.

        Raises:
            InvalidConfig: it is another network.
        """

    @abstractmethod
    def see(self, session: Any, picture: NDArray[np.uint8]) -> Candidates:
        """Run the network once and return what is above its threshold, coordinates in pixels.

        Args:
            session: the network's.
            picture: uint8 of shape (height, width, 3), RGB, sides of a multiple of `stride_px`.
        """

    def _in_tiles(self, pixels: NDArray[np.uint8]) -> Candidates:
        """Look at one size of a photo; each face is taken from the tile whose middle it lies in."""
        height, width = pixels.shape[:2]
        overlap_px = self.largest_face_px + 2 * _AROUND_PX
        parts = []
        tiles = tiles_of(height, width, _TILE_PX, overlap_px, self.stride_px)
        for tile in tiles:
            seen = self._seen(pixels[tile.top : tile.bottom, tile.left : tile.right])
            parts.append(seen[_in_middle(seen, tile)].moved(tile.left, tile.top, 1))
            if len(tiles) > 1:
                give_back_free_memory()  # what one tile leaves in pieces does not serve the next
        found = _joined(parts)
        if min(height, width) <= self.largest_face_px:
            return found  # there is no smaller copy
        return found[found.longer_sides <= self.largest_face_px]

    def _seen(self, pixels: NDArray[np.uint8]) -> Candidates:
        height, width = pixels.shape[:2]
        missing = (-height % self.stride_px, -width % self.stride_px)
        padded = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0))) if any(missing) else pixels
        large = padded.shape[0] * padded.shape[1] >= _LARGE_PIXELS
        try:
            with self._large if large else nullcontext():
                return self.see(self._session, padded)
        except Exception as error:  # what ONNX Runtime raises has no other base
            raise Unavailable(f"The detector cannot be run ({type(error).__name__}).") from None


def one_each(candidates: Candidates) -> Candidates:
    """Keep the surest of the boxes of each face, the surest face first.

    A face's landmarks are the mean of those that its boxes hold, each as heavy as its score. Between photos
    and their mirror images such landmarks differ by 25 % (CenterFace) and 40 % (YuNet) less than those of the
    surest box.
    """
    left, top, right, bottom = candidates.boxes.T
    areas = (right - left) * (bottom - top)
    order = np.argsort(-candidates.scores, kind="stable")
    kept, landmarks = [], []
    while len(order):
        best = order[0]
        width = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order])
        height = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        united = areas[best] + areas[order] - shared
        alike = order[shared >= _ALIKE * united]
        kept.append(best)
        landmarks.append(np.average(candidates.landmarks[alike], axis=0, weights=candidates.scores[alike]))
        order = order[(shared < _SAME_FACE * united) & (shared < _INSIDE * areas[order])]
    chosen = candidates[np.array(kept, np.intp)]
    return Candidates(chosen.boxes, chosen.scores, np.array(landmarks).reshape(-1, 5, 2))


def _levels(
    pixels: NDArray[np.uint8], doublings: int, largest_face_px: int
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Yield the photo and its smaller copies, each with what its pixels are multiplied by."""
    level, scale = pixels, 1.0
    if doublings:
        height, width = pixels.shape[:2]
        size = (width << doublings, height << doublings)
        level = np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BILINEAR))
        scale = 0.5**doublings
    yield level, scale
    while min(level.shape[:2]) > largest_face_px:
        level = np.asarray(Pillow.fromarray(level).reduce(_SHRINK))
        scale *= _SHRINK
        yield level, scale


def _in_middle(seen: Candidates, tile: Tile) -> NDArray[np.bool_]:
    """Say which faces lie where the tile reports."""
    x, y = (seen.boxes[:, :2] + seen.boxes[:, 2:]).T / 2
    inside: NDArray[np.bool_] = (
        (x >= tile.first_x) & (x <= tile.last_x) & (y >= tile.first_y) & (y <= tile.last_y)
    )
    return inside


def _joined(parts: list[Candidates]) -> Candidates:
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
    )


def _detections(found: Candidates) -> list[Detection]:
    """Boxes of whole pixels, whose last row and column count; landmarks from the first pixel's middle."""
    detections = []
    for box, score, points in zip(found.boxes, found.scores, found.landmarks, strict=True):
        left, top, right, bottom = (round(edge) for edge in box.tolist())
        landmarks = tuple((x - 0.5, y - 0.5) for x, y in points.tolist())
        detections.append(Detection(Box(top, right - 1, bottom - 1, left), float(score), landmarks))
    return detections
