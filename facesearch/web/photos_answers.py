"""What found and compared faces, and models, look like as JSON below /v1.

Distances are rounded to 6 digits, similarities to 2; what is within was decided before.
"""

from typing import Any

from facesearch.records import (
    Calibration,
    Comparison,
    ExpectedAlarms,
    FoundFace,
    FoundFaces,
    Landmarks,
    MeasuredRate,
    ModelInfo,
)
from facesearch.web.answers import box, quality

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
WARNING = (
    "Every face that a probe is compared with is another chance of a false match: who is not in a gallery of "
    "N faces gets a match there with the probability 1 - (1 - false_match_rate)^N, which grows with the "
    "gallery. The rates are those of the photos that `measured_on` names; on others they differ."
)


def detected(found: FoundFaces) -> dict[str, Any]:
    """The faces of a photo."""
    faces = [
        {
            "box": box(face.box),
            "score": round(face.quality.score, 6),
            "quality": quality(face.quality),
            "landmarks": _landmarks(face.landmarks),
        }
        for face in found.faces
    ]
    return {"size": _size(found), "faces": faces}


def compared(value: Comparison) -> dict[str, Any]:
    """The faces of two photos, and their pairs."""
    return {
        "match": any(pair.is_within for pair in value.pairs),
        "model": value.model_id,
        "tolerance": round(value.tolerance, 6),
        "source": _compared(value.source),
        "target": _compared(value.target),
        "pairs": [
            {
                "source": pair.source,
                "target": pair.target,
                "distance": round(pair.distance, 6),
                "similarity": similarity(pair.similarity),
                "within": pair.is_within,
            }
            for pair in value.pairs
        ],
    }


def similarity(value: float | None) -> float | None:
    """A similarity as it is told."""
    return None if value is None else round(value, 2)


def model(value: ModelInfo) -> dict[str, Any]:
    """What is known of a model."""
    origin = value.origin
    return {
        "id": value.id,
        "name": origin and origin.name,
        "kind": origin and origin.kind,
        "dimension": value.dimension,
        "tolerance": value.tolerance,
        "in_use": value.in_use,
        "configured": value.configured,
        "licence": origin
        and {
            "name": origin.licence,
            "commercial_use": origin.commercial_use,
            "url": origin.licence_url,
            "note": origin.licence_note,
        },
        "source": origin and {"document": origin.document, "url": origin.url},
        "calibration": value.calibration and _calibration(value.calibration, value.rates),
        "false_alarms": {
            "warning": WARNING,
            "now": value.expected and _alarms(value.expected),
            "by_size": [_alarms(alarms) for alarms in value.by_size],
        },
    }


def _size(found: FoundFaces) -> dict[str, int]:
    return {"width": found.width, "height": found.height}


def _compared(found: FoundFaces) -> dict[str, Any]:
    return {"size": _size(found), "faces": [_face(face) for face in found.faces]}


def _face(face: FoundFace) -> dict[str, Any]:
    return {"box": box(face.box), "quality": quality(face.quality)}


def _landmarks(points: Landmarks | None) -> dict[str, dict[str, float]] | None:
    if points is None:
        return None
    return {
        name: {"x": round(x, 1), "y": round(y, 1)} for name, (x, y) in zip(LANDMARKS, points, strict=True)
    }


def _calibration(value: Calibration, rates: tuple[MeasuredRate, ...]) -> dict[str, Any]:
    return {
        "measured_on": value.measured_on,
        "people": value.people,
        "photos": value.photos,
        "genuine_pairs": value.genuine_pairs,
        "impostor_pairs": value.impostor_pairs,
        "rates": [
            {
                "false_match_rate": rate.point.false_match_rate,
                "false_match_rate_95": _rounded(rate.false_match_interval),
                "impostor_pairs": rate.point.impostor_pairs,
                "tolerance": rate.point.tolerance,
                "true_accept_rate": rate.point.true_accept_rate,
                "true_accept_rate_95": _rounded(rate.true_accept_interval),
            }
            for rate in rates
        ],
        "similarity": [
            {"distance": distance, "similarity": similarity} for distance, similarity in value.similarity
        ],
    }


def _alarms(value: ExpectedAlarms) -> dict[str, Any]:
    return {
        "faces": value.faces,
        "tolerance": round(value.tolerance, 6),
        "false_match_rate": _significant(value.false_match_rate),
        "false_alarm_rate": _significant(value.false_alarm_rate),
        "extrapolated": value.extrapolated,
    }


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [_significant(bound) for bound in interval]


def _significant(value: float) -> float:
    return float(f"{value:.3g}")
