"""CenterFace (Xu, Yan, Yang, Li: CenterFace: Joint Face Detection and Alignment Using Face as Point, 2019,
arXiv:1911.03599), run by ONNX Runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.landmark_detector import Candidates, LandmarkDetector
from facesearch.errors import InvalidConfig

THRESHOLD = 0.5

_STRIDE_PX = 4
_LARGEST = 10.0  # no box has a side of more than its exponential, in cells
_CHANNELS = (1, 2, 2, 10)  # how sure, the box's sides, the middle's place in its cell, the landmarks


class CenterFace(LandmarkDetector):
    """Faces as points of a heat map, one for each 4 x 4 pixels, with sides and landmarks at each point."""

    largest_face_px = 192

    def check(self, session: Any) -> None:
        probe = np.zeros((self.stride_px, self.stride_px, 3), np.uint8)
        try:
            shapes = [output.shape for output in _run(session, probe)]
        except Exception:  # what ONNX Runtime raises has no other base
            shapes = []
        cells = self.stride_px // _STRIDE_PX
        if shapes != [(1, channels, cells, cells) for channels in _CHANNELS]:
            raise InvalidConfig("The weights given for CenterFace are those of another network.")

    def see(self, session: Any, picture: NDArray[np.uint8]) -> Candidates:
        heat, sides, offsets, points = (output[0].astype(np.float64) for output in _run(session, picture))
        rows, columns = np.nonzero(heat[0] > THRESHOLD)
        # Heights and what lies on the y axis come first.
        size = np.exp(np.minimum(sides[::-1, rows, columns], _LARGEST)).T * _STRIDE_PX
        middle = np.stack([columns, rows], 1) + offsets[::-1, rows, columns].T + 0.5
        corner = middle * _STRIDE_PX - size / 2
        places = points[:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1]
        return Candidates(
            boxes=np.concatenate([corner, corner + size], 1),
            scores=heat[0, rows, columns],
            landmarks=corner[:, None] + places * size[:, None],
        )


def _run(session: Any, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The network takes RGB from 0 to 255."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
    outputs: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: planes})
    return outputs
