"""What requests with photos may ask for, checked and as the API takes it."""

from typing import Annotated, Literal

from fastapi import Query

from facesearch.errors import CollectionNotFound, InvalidParameter
from facesearch.records import DEFAULT_COLLECTION, AutoTolerance, LeastSimilarity, WantedTolerance

Detector = Annotated[
    Literal["hog", "cnn", "centerface", "yunet"] | None,
    Query(description="Detector, where it is installed; by default the configuration's."),
]
Upsample = Annotated[
    int | None, Query(ge=0, le=3, description="How often the photo is doubled before detection.")
]
MinFace = Annotated[
    int | None, Query(ge=0, le=10_000, description="Shorter side of the smallest face, in pixels.")
]
MaxFaces = Annotated[
    int | None, Query(ge=1, le=10_000, description="Of more faces in a photo, the largest are taken.")
]
Tolerance = Annotated[
    str | None,
    Query(
        max_length=64,
        description="Largest distance, 0 to 2, or `auto`; by default the model's.",
        examples=["0.6", "auto"],
    ),
]
FalseAlarmRate = Annotated[
    float | None,
    Query(
        allow_inf_nan=False,
        description="With `tolerance=auto`: how often a face of nobody may get a match, 0.0001 to 0.5; by "
        "default 0.01.",
    ),
]
MinSimilarity = Annotated[
    float | None,
    Query(
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="Instead of `tolerance`: the smallest similarity. 80, which one pair of strangers in a "
        "thousand reaches, is a sensible threshold.",
    ),
]
Collection = Annotated[str, Query(description="There is one collection, `default`.")]


def wanted_tolerance(
    tolerance: str | None, false_alarm_rate: float | None, min_similarity: float | None
) -> WantedTolerance:
    """Return what three parameters, of which one says how, ask for.

    Raises:
        InvalidParameter: they contradict each other, or the tolerance is no number.
    """
    if tolerance is not None and min_similarity is not None:
        raise InvalidParameter("tolerance and min_similarity are given; one of them counts.")
    if tolerance == "auto":
        return AutoTolerance() if false_alarm_rate is None else AutoTolerance(false_alarm_rate)
    if false_alarm_rate is not None:
        raise InvalidParameter("false_alarm_rate counts with tolerance=auto only.")
    if min_similarity is not None:
        return LeastSimilarity(min_similarity)
    try:
        return None if tolerance is None else float(tolerance)
    except ValueError:
        raise InvalidParameter("tolerance must be a number or auto.") from None


def check_collection(name: str) -> None:
    """Raise CollectionNotFound for every collection but the one that there is."""
    if name != DEFAULT_COLLECTION:
        raise CollectionNotFound
