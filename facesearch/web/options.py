"""What requests may ask for, checked and as the API takes it."""

from typing import Annotated, Literal

from fastapi import Depends, Query, Request

from facesearch.errors import InvalidParameter
from facesearch.records import AutoTolerance, LeastSimilarity, Wanted, WantedTolerance
from facesearch.web.callers import caller_of, collection_of

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
Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(alias="cursor", description="`next` of the page before.")]
CollectionName = Annotated[
    str | None,
    Query(
        alias="collection",
        description="The collection's name; by default the key's own, or `default` for a key for all.",
    ),
]


async def _chosen(request: Request, name: CollectionName = None) -> str:
    return collection_of(caller_of(request), name)


Collection = Annotated[str, Depends(_chosen)]


async def _wanted(
    detector: Detector = None,
    upsample: Upsample = None,
    min_face_px: MinFace = None,
    max_faces: MaxFaces = None,
) -> Wanted:
    return Wanted(False, detector, upsample, min_face_px, max_faces)


WantedFaces = Annotated[Wanted, Depends(_wanted)]


async def _within(
    tolerance: Tolerance = None, false_alarm_rate: FalseAlarmRate = None, min_similarity: MinSimilarity = None
) -> WantedTolerance:
    """Return what three parameters, of which one says how, ask for.

    Raises:
        InvalidParameter: they contradict each other, or the tolerance is no number.
    """
    if tolerance is not None and min_similarity is not None:
        raise InvalidParameter(
            "tolerance and min_similarity are given; one of them counts.", ["tolerance", "min_similarity"]
        )
    if tolerance == "auto":
        return AutoTolerance() if false_alarm_rate is None else AutoTolerance(false_alarm_rate)
    if false_alarm_rate is not None:
        raise InvalidParameter("false_alarm_rate counts with tolerance=auto only.", ["false_alarm_rate"])
    if min_similarity is not None:
        return LeastSimilarity(min_similarity)
    try:
        return None if tolerance is None else float(tolerance)
    except ValueError:
        raise InvalidParameter("tolerance must be a number or auto.", ["tolerance"]) from None


Within = Annotated[WantedTolerance, Depends(_within)]
