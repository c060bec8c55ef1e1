"""face_recognition itself, to compare with."""

import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from facesearch.records import Box


def face_recognition() -> ModuleType:
    """Import face_recognition, and undo that its import makes Pillow accept files that are cut short."""
    tolerated = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module("face_recognition")
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = tolerated


def boxes_and_embeddings(path: Path) -> list[tuple[Box, NDArray[np.float64]]]:
    """The faces of a photo from left to right, as `face_encodings(load_image_file(path))` finds them."""
    library = face_recognition()
    photo = library.load_image_file(path)
    vectors = library.face_encodings(photo)
    # face_locations trims boxes to the photo; face_encodings takes them as the detector gives them
    rectangles = library.api.face_detector(photo, 1)
    boxes = [Box(r.top(), r.right(), r.bottom(), r.left()) for r in rectangles]
    return sorted(zip(boxes, vectors, strict=True), key=lambda face: (face[0].left, face[0].top))
