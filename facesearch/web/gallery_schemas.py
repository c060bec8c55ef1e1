"""The shapes of `gallery_answers`, as the OpenAPI document shows them, and of what these routes take."""

import math
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from facesearch.web.ids import LARGEST, MOST, Id
from facesearch.web.photos_schemas import PhotoSize, QualityAnswer
from facesearch.web.schemas import BoxAnswer, Place


def _whole(text: str) -> str:
    # JSON can spell half a character, which no database takes.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("half a character cannot be stored") from None
    return text


Text = Annotated[str, Field(strict=True), AfterValidator(_whole)]
_PERSON_NAME = (
    "1 to 255 characters of any script: no control character, none that turns text, no blank at either end."
)
MetadataAnswer = dict[str, str | int | float | bool]


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) <= LARGEST):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("Value should be a text, a finite number of at most 64 bits, or a boolean")


MetadataBody = dict[Text, Annotated[str | int | float | bool, BeforeValidator(_plain)]]


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


_LONGEST_VECTOR = 4096


class V1Face(BaseModel):
    """A stored face; one of nobody has no person, one that came as a vector no photo, box or quality."""

    id: int
    person_id: int | None
    person_name: str | None
    external_id: str | None
    metadata: MetadataAnswer
    file_name: str
    size: PhotoSize | None
    taken_at: str | None
    location: Place | None
    box: BoxAnswer | None
    quality: QualityAnswer | None
    model: str
    dimension: int
    added_at: datetime


class FacesPage(BaseModel):
    """Faces by rising id."""

    faces: list[V1Face]
    next: str | None


class EnrolledAnswer(BaseModel):
    """The faces that were stored, and how many the photo has.

    `duplicate_of` is the first face that was stored of the same photo; where it was not stored again, `faces`
    holds all that were stored of it.
    """

    faces: list[V1Face]
    faces_found: int
    duplicate_of: int | None


class FaceChange(BaseModel):
    """What is to become of a face; what is not named stays as it is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"person_id": 3, "external_id": "badge-17", "metadata": {"site": "Paris", "age": 34}}
            ]
        },
    )

    person_id: Id | None = Field(None, description="null: nobody's.")
    external_id: Text | None = Field(None, description="null: none.")
    metadata: Annotated[
        MetadataBody, BeforeValidator(_none_is_empty, json_schema_input_type=MetadataBody | None)
    ] = Field({}, description="Takes the place of all that there was; null: none.")


class DeletedFaces(BaseModel):
    """The faces that were there, and are gone."""

    deleted: list[int]


class AssignedFaces(BaseModel):
    """The faces that there are of those that were named, and are the person's now."""

    assigned: list[int]


class UnassignedFaces(BaseModel):
    """The faces that there are of those that were named, and are nobody's now."""

    unassigned: list[int]


class PersonAnswer(BaseModel):
    """Somebody, with so many faces; `cover_face` is the one that was chosen, or the first."""

    id: int
    name: str
    faces: int
    cover_face: int | None
    created_at: datetime | None


class PeoplePage(BaseModel):
    """People by rising id."""

    people: list[PersonAnswer]
    next: str | None


class NewPerson(BaseModel):
    """A person without faces."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Ada Lovelace"}]})

    name: Text = Field(description=_PERSON_NAME)


class PersonChange(BaseModel):
    """What is to become of a person; what is not named stays as it is."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Ada King", "cover_face": 7}]}
    )

    name: Text = Field("", description=_PERSON_NAME)
    cover_face: Id | None = Field(None, description="One of the person's faces; null: the first.")


class OtherPeople(BaseModel):
    """The people whose faces another gets; they are gone then."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"people": [4, 5]}]})

    people: list[Id] = Field(min_length=1, max_length=MOST)


class CollectionAnswer(BaseModel):
    """A collection; `model` is null until one is named or the first face decides it.

    `next_model` is that of vectors that are being made to take the place of these.
    """

    name: str
    model: str | None
    next_model: str | None
    faces: int
    people: int
    created_at: datetime


class CollectionsPage(BaseModel):
    """Collections, the oldest first."""

    collections: list[CollectionAnswer]
    next: str | None


class NewCollection(BaseModel):
    """A collection, for vectors of a model, or of that of its first face."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "visitors", "model": None}]}
    )

    name: Text = Field(
        description="1 to 255 characters of any script: no control character, none that turns text, no /, no "
        "blank at either end, and not *, . or .. alone."
    )
    model: Text | None = Field(None, description="An installed model's id; null: that of the first face.")


class DeletedCollection(BaseModel):
    """The name of a collection that is gone."""

    deleted: str


class V1Match(BaseModel):
    """A known face, and whose it is: null while the database is away. So is `similarity` without calibration.

    `faces_within` is how many of the person's faces are within the tolerance; null where faces are searched.
    """

    id: int
    person_id: int | None
    person_name: str | None
    external_id: str | None
    metadata: MetadataAnswer
    distance: float
    similarity: float | None
    faces_within: int | None


class V1Probe(BaseModel):
    """A face of the photo with its matches, nearest first; without a box it is no face of one photo."""

    box: BoxAnswer | None
    quality: QualityAnswer | None
    matches: list[V1Match]


class V1Search(BaseModel):
    """Known faces; `stale` says that the database was away, and `seconds` for how long changes may miss."""

    collection: str
    model: str
    tolerance: float | None
    tolerance_extrapolated: bool
    faces: list[V1Probe]
    stale: bool
    seconds: float


class VectorBody(BaseModel):
    """A vector, and the model that it is of."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"vector": [0.12, -0.07, 0.31], "model": "dlib-resnet-v1-mirror"}]},
    )

    vector: list[Annotated[float, Field(strict=True, allow_inf_nan=False)]] = Field(
        min_length=1, max_length=_LONGEST_VECTOR
    )
    model: Text
