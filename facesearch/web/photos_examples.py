"""Answers of the routes for photos and models as examples, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from facesearch.web.examples import BOX, QUALITY
from facesearch.web.photos_answers import WARNING

_SIZE = {"width": 250, "height": 250}
_PHOTO = {"size": _SIZE, "faces": [{"box": BOX, "quality": QUALITY}]}

DETECTED: Mapping[str, Any] = {
    "size": _SIZE,
    "faces": [{"box": BOX, "score": 1.320879, "quality": QUALITY, "landmarks": None}],
}
COMPARED: Mapping[str, Any] = {
    "match": True,
    "model": "dlib-resnet-v1-mirror",
    "tolerance": 0.6,
    "source": _PHOTO,
    "target": _PHOTO,
    "pairs": [{"source": 0, "target": 0, "distance": 0.412345, "similarity": 95.2, "within": True}],
}
MODEL: Mapping[str, Any] = {
    "id": "dlib-resnet-v1-mirror",
    "name": "dlib's ResNet of 2017, as face_recognition uses it",
    "kind": "mirror",
    "dimension": 128,
    "tolerance": 0.6,
    "in_use": True,
    "configured": True,
    "licence": {
        "name": "CC0 1.0",
        "commercial_use": True,
        "url": "https://github.com/davisking/dlib-models",
        "note": None,
    },
    "source": {"document": "README.md of davisking/dlib-models", "url": None},
    "calibration": {
        "measured_on": "3,787 photos of lfw, largest faces, found by hog.",
        "people": 2079,
        "photos": 3787,
        "genuine_pairs": 4366,
        "impostor_pairs": 7164425,
        "rates": [
            {
                "false_match_rate": 0.001,
                "false_match_rate_95": [0.000977, 0.00102],
                "impostor_pairs": 7164425,
                "tolerance": 0.53783,
                "true_accept_rate": 0.924645,
                "true_accept_rate_95": [0.916, 0.932],
            }
        ],
        "similarity": [
            {"distance": 0.0, "similarity": 100.0},
            {"distance": 0.53783, "similarity": 80.0},
            {"distance": 0.80278, "similarity": 0.0},
        ],
    },
    "false_alarms": {
        "warning": WARNING,
        "now": {
            "faces": 7,
            "tolerance": 0.6,
            "false_match_rate": 0.0093,
            "false_alarm_rate": 0.0633,
            "extrapolated": False,
        },
        "by_size": [
            {
                "faces": 1000,
                "tolerance": 0.6,
                "false_match_rate": 0.0093,
                "false_alarm_rate": 1.0,
                "extrapolated": False,
            }
        ],
    },
}
MODELS: Mapping[str, Any] = {"models": [MODEL]}
