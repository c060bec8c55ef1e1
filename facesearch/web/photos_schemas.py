"""The shapes of `photos_answers`, as the OpenAPI document shows them."""

from pydantic import BaseModel

from facesearch.web.schemas import BoxAnswer


class PhotoSize(BaseModel):
    """The upright photo's size in pixels."""

    width: int
    height: int


class QualityAnswer(BaseModel):
    """How good a face's picture is; angles are estimates in degrees."""

    size_px: float
    score: float
    sharpness: float
    brightness: float
    roll_deg: float
    yaw_deg: float
    pitch_deg: float


class Point(BaseModel):
    """In pixels of the upright photo."""

    x: float
    y: float


class LandmarksAnswer(BaseModel):
    """Left and right are those of the photo."""

    left_eye: Point
    right_eye: Point
    nose: Point
    mouth_left: Point
    mouth_right: Point


class DetectedFace(BaseModel):
    """A face; `score` is the detector's, `landmarks` is null where it finds boxes only."""

    box: BoxAnswer
    score: float
    quality: QualityAnswer
    landmarks: LandmarksAnswer | None


class DetectAnswer(BaseModel):
    """The faces of a photo, from left to right."""

    size: PhotoSize
    faces: list[DetectedFace]


class ComparedFace(BaseModel):
    """A face of a photo."""

    box: BoxAnswer
    quality: QualityAnswer


class ComparedPhoto(BaseModel):
    """A photo and its faces, from left to right."""

    size: PhotoSize
    faces: list[ComparedFace]


class Pair(BaseModel):
    """A face of each photo, by its position there; `similarity` is null without a calibration."""

    source: int
    target: int
    distance: float
    similarity: float | None
    within: bool


class CompareAnswer(BaseModel):
    """Two photos; `match` says whether a pair is within the tolerance. The nearest pair comes first."""

    match: bool
    model: str
    tolerance: float
    source: ComparedPhoto
    target: ComparedPhoto
    pairs: list[Pair]


class LicenceAnswer(BaseModel):
    """Of the weights; `commercial_use` is null where no document says."""

    name: str
    commercial_use: bool | None
    url: str | None
    note: str | None


class SourceAnswer(BaseModel):
    """Where the facts come from, and where the file lies."""

    document: str
    url: str | None


class RateAnswer(BaseModel):
    """A tolerance that this share of the pairs of two people passes.

    `_95`: where 95 % of such measurements lie, as if no two pairs had a face in common; they do, so that the
    truth is wider.
    """

    false_match_rate: float
    false_match_rate_95: list[float]
    impostor_pairs: int
    tolerance: float
    true_accept_rate: float
    true_accept_rate_95: list[float]


class Corner(BaseModel):
    """Between two of them, similarity is linear in distance."""

    distance: float
    similarity: float


class CalibrationAnswer(BaseModel):
    """What distances mean, and how that was measured."""

    measured_on: str
    people: int
    photos: int
    genuine_pairs: int
    impostor_pairs: int
    rates: list[RateAnswer]
    similarity: list[Corner]


class AlarmsAnswer(BaseModel):
    """How often a person who is not in a gallery of so many faces gets a match.

    `extrapolated`: the tolerance is outside of what was measured.
    """

    faces: int
    tolerance: float
    false_match_rate: float
    false_alarm_rate: float
    extrapolated: bool


class FalseAlarms(BaseModel):
    """Within the default tolerance: `now` in the default collection as it is, `by_size` in others.

    `now` is null for a model that is not the default collection's, and for keys of other collections.
    """

    warning: str
    now: AlarmsAnswer | None
    by_size: list[AlarmsAnswer]


class ModelAnswer(BaseModel):
    """A model; `in_use` by a collection, null while the database is away; `configured` for an empty one."""

    id: str
    name: str | None
    kind: str | None
    dimension: int
    tolerance: float
    in_use: bool | None
    configured: bool
    licence: LicenceAnswer | None
    source: SourceAnswer | None
    calibration: CalibrationAnswer | None
    false_alarms: FalseAlarms


class ModelsAnswer(BaseModel):
    """The gallery's model, and the configured one where that is another."""

    models: list[ModelAnswer]
