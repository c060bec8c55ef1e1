"""Cuts faces out of a photo as face_recognition's embedding network wants them: upright, 150x150 pixels."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidConfig
from facesearch.records import Box

CROP_SIZE_PX = 150

_PADDING = 0.25  # of the face's size on each side, as compute_face_descriptor crops


class FaceAligner:
    """Finds five landmarks in each face and turns, scales and crops it by them.

    Lives as long as its process; loads its model at the first call. Any thread may call it.

    Args:
        model_file: shape_predictor_5_face_landmarks.dat.
    """

    def __init__(self, model_file: Path) -> None:
        self._model_file = model_file
        self._predictor: Any = None
        self._loading = threading.Lock()

    def load(self) -> None:
        """Load the landmark model unless that has happened.

        Raises:
            InvalidConfig: the model file cannot be read.
        """
        import dlib  # noqa: PLC0415  not at import: it would take MySQL's thread-local storage

        with self._loading:
            if self._predictor is None:
                try:
                    self._predictor = dlib.shape_predictor(str(self._model_file))
                except RuntimeError:
                    name = self._model_file.name
                    raise InvalidConfig(f"The model file {name} cannot be read.") from None

    def crop(self, pixels: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.uint8]:
        """Return uint8 of shape (len(boxes), 150, 150, 3): what compute_face_descriptor would look at.

        Args:
            pixels: uint8 of shape (height, width, 3), RGB, C-contiguous.
            boxes: faces in pixels of that photo.

        Raises:
            InvalidConfig: as for `load`.
        """
        import dlib  # noqa: PLC0415  not at import: it would take MySQL's thread-local storage

        self.load()
        crops = np.empty((len(boxes), CROP_SIZE_PX, CROP_SIZE_PX, 3), np.uint8)
        for crop, box in zip(crops, boxes, strict=True):
            landmarks = self._predictor(pixels, dlib.rectangle(box.left, box.top, box.right, box.bottom))
            crop[:] = dlib.get_face_chip(pixels, landmarks, size=CROP_SIZE_PX, padding=_PADDING)
        return crops


def mirrored(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return crops, uint8 of shape (n, 150, 150, 3), with left and right exchanged (a view)."""
    return crops[:, :, ::-1]
