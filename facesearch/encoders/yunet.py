"""YuNet (Wu, Peng, Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 20,
2023), as OpenCV Zoo stores it since March 2023, run by ONNX Runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.landmark_detector import Candidates, LandmarkDetector
from facesearch.errors import InvalidConfig

THRESHOLD = 0.7

_STRIDES_PX = (8, 16, 32)
_LARGEST = 10.0  # no box has a side of more than its exponential, in cells
_NUMBERS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class YuNet(LandmarkDetector):
    """Faces of three ranges of size: one cell for each 8, 16 and 32 pixels, each with a box and landmarks."""

    largest_face_px = 384

    def check(self, session: Any) -> None:
        probe = np.zeros((self.stride_px, self.stride_px, 3), np.uint8)
        try:
            shapes = {name: output.shape for name, output in _run(session, probe).items()}
        except Exception:  # what ONNX Runtime raises has no other base
            shapes = {}
        expected = {
            f"{kind}_{stride}": (1, (self.stride_px // stride) ** 2, numbers)
            for kind, numbers in _NUMBERS.items()
            for stride in _STRIDES_PX
        }
        if shapes != expected:
            raise InvalidConfig("The weights given for YuNet are those of another network.")

    def see(self, session: Any, picture: NDArray[np.uint8]) -> Candidates:
        outputs = {name: output[0].astype(np.float64) for name, output in _run(session, picture).items()}
        parts = [_decoded(outputs, stride, picture.shape[1] // stride) for stride in _STRIDES_PX]
        return Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _decoded(
    outputs: dict[str, NDArray[np.float64]], stride: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Boxes, scores and landmarks of one range; a score is the geometric mean of `cls` and `obj`."""
    sure, there = (np.clip(outputs[f"{kind}_{stride}"][:, 0], 0, 1) for kind in ("cls", "obj"))
    scores = np.sqrt(sure * there)
    cells = np.flatnonzero(scores > THRESHOLD)
    at = np.stack([cells % columns, cells // columns], 1)
    box = outputs[f"bbox_{stride}"][cells]
    middle, size = (at + box[:, :2]) * stride, np.exp(np.minimum(box[:, 2:], _LARGEST)) * stride
    points = outputs[f"kps_{stride}"][cells].reshape(-1, 5, 2)
    boxes = np.concatenate([middle - size / 2, middle + size / 2], 1)
    return boxes, scores[cells], (at[:, None] + points) * stride


def _run(session: Any, picture: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The network takes BGR from 0 to 255."""
    planes = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)[None], np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: planes}), strict=True))
