"""Stand-ins for unit tests. Each subclasses its port, so the type checker keeps it honest."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidParameter, ModelMismatch
from facesearch.interfaces import FaceIndex, Image, ImageDatabase, ImageEncoder
from facesearch.records import Box, Detection, FaceChange, Match, PhotoInfo


class FakeImage(Image):
    """Pixels from an array; reduced by leaving rows and columns out."""

    def __init__(self, pixels: NDArray[np.uint8], file_name: str = "photo.png") -> None:
        self._pixels = np.ascontiguousarray(pixels)
        self._pixels.flags.writeable = False
        self._info = PhotoInfo(file_name, pixels.shape[1], pixels.shape[0])

    @property
    def info(self) -> PhotoInfo:
        return self._info

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self._pixels

    def reduced(self, max_pixels: int) -> tuple[NDArray[np.uint8], float]:
        step, pixels = 1, self._pixels
        while pixels.shape[0] * pixels.shape[1] > max_pixels:
            step += 1
            pixels = self._pixels[::step, ::step]
        pixels = np.ascontiguousarray(pixels)
        pixels.flags.writeable = False
        return pixels, float(step)


class FakeEncoder(ImageEncoder):
    """Takes each run of one colour in a photo's first row, black aside, for a face as high as the photo.

    The embedding is that colour, red, green and blue from 0 to 1.
    """

    model_id = "fake-colours"
    dimension = 3
    tolerance = 0.25

    def detect(self, image: Image) -> list[Detection]:
        found, left = [], 0
        for colour, run in groupby(map(tuple, image.pixels[0].tolist())):
            width = len(list(run))
            if any(colour):
                found.append(Detection(Box(0, left + width - 1, image.info.height - 1, left), float(width)))
            left += width
        return found

    def embed(self, image: Image, detections: Sequence[Detection]) -> NDArray[np.float32]:
        colours = [image.pixels[0, detection.box.left] / 255 for detection in detections]
        return np.array(colours, dtype=np.float32).reshape(len(detections), self.dimension)

    def ping(self) -> None:
        """Nothing can be missing."""


class FakeIndex(FaceIndex):
    """A plain scan of a list; lives as long as its test, for one thread.

    Reads the whole history again where anything is new, and shares nothing with other processes.
    """

    def __init__(self, model_id: str, dimension: int) -> None:
        self._model_id = model_id
        self._dimension = dimension
        self._seen: tuple[str, int] | None = None
        self._faces: list[FaceChange] = []

    def catch_up(self, database: ImageDatabase) -> None:
        now = (database.database_id(), database.newest_change())
        if now != self._seen:
            batches = database.changes_after(0, self._model_id)
            self._faces = [change for batch in batches for change in batch]
            self._seen = now

    def search(self, embeddings: NDArray[np.float32], k: int, tolerance: float) -> list[list[Match]]:
        if not (1 <= k <= 1000 and tolerance >= 0):
            raise InvalidParameter
        if embeddings.shape[1:] != (self._dimension,):
            raise ModelMismatch
        return [self._nearest(probe.astype(np.float64), k, tolerance) for probe in embeddings]

    def count(self) -> int:
        return len(self._faces)

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _nearest(self, probe: NDArray[np.float64], k: int, tolerance: float) -> list[Match]:
        if not self._faces:
            return []
        rows = np.array([face.embedding for face in self._faces], np.float64)
        with np.errstate(all="ignore"):
            distances = np.sqrt(((rows - probe) ** 2).sum(axis=1))
        pairs = sorted(
            (float(distance), face.face_id)
            for distance, face in zip(distances, self._faces, strict=True)
            if distance <= tolerance
        )
        return [Match(face_id, distance) for distance, face_id in pairs[:k]]
