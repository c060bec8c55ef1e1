"""Where the tests of this folder find dlib's model files and a photo with one face."""

from pathlib import Path

import face_recognition_models
import numpy as np
from numpy.typing import NDArray
from PIL import Image

RESNET = Path(face_recognition_models.face_recognition_model_location())
DETECTOR = Path(face_recognition_models.cnn_face_detector_model_location())
LANDMARKS = Path(face_recognition_models.pose_predictor_five_point_model_location())

_PHOTO = Path(__file__).resolve().parents[3] / "test_images" / "Eileen_Collins_0001.jpg"


def photo(side_px: int | None = None) -> NDArray[np.uint8]:
    """The photo's pixels, reduced to at most `side_px`."""
    with Image.open(_PHOTO) as opened:
        image = opened.convert("RGB")
        if side_px is not None:
            image.thumbnail((side_px, side_px))
        return np.array(image)
