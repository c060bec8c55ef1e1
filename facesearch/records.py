"""The frozen values that travel between the rooms.

Boxes and sizes are in pixels of the upright photo; x grows to the right, y downwards. Embeddings are
float32 arrays. Records hold no connection and no file, and may be shared between threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import FacesearchError

Embedding = NDArray[np.float32]
Metadata = Mapping[str, str | int | float | bool]
"""What is known of a face besides: texts, finite numbers and booleans by their names."""

R = TypeVar("R")

DEFAULT_COLLECTION = "default"
DEFAULT_NUMBER = 1
"""The default collection's number."""
ALL_COLLECTIONS = "*"
"""What a key names that is good for every collection."""


@dataclass(frozen=True, slots=True)
class Box:
    """A face's rectangle in pixels of the upright photo; it may reach past the photo's edge.

    Args:
        top, left: the first row and column inside.
        bottom, right: the last row and column inside, as dlib counts.
    """

    top: int
    right: int
    bottom: int
    left: int

    @property
    def width(self) -> int:
        return self.right - self.left + 1

    @property
    def height(self) -> int:
        return self.bottom - self.top + 1

    @property
    def area(self) -> int:
        return self.width * self.height


NO_BOX = Box(top=0, right=-1, bottom=-1, left=0)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a photo was taken, in degrees (WGS 84); south and west are negative."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """What is known of a photo besides its pixels.

    `width` and `height` are those of the upright photo. `taken_at` is ISO 8601 without a zone unless
    the camera wrote one.
    """

    file_name: str
    width: int
    height: int
    taken_at: str | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """An encoded image file as a client sent it; the name is a label, never opened."""

    file_name: str
    data: bytes


Landmarks = tuple[tuple[float, float], ...]
"""Five points, x and y in pixels of the upright photo: the eye on the photo's left, the other eye, the tip of
the nose, and the corners of the mouth on the photo's left and right."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One face that a detector found; a higher `score` means a surer one.

    `landmarks` is None where the detector finds boxes only.
    """

    box: Box
    score: float
    landmarks: Landmarks | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one face's picture is.

    `size_px` is the shorter side of its box, `score` the detector's, `sharpness` the variance of the
    aligned crop's Laplacian, `brightness` the crop's mean luma from 0 to 255. The angles are estimates in
    degrees: `roll_deg` clockwise in the photo, `yaw_deg` to the photo's right, `pitch_deg` downwards.
    """

    size_px: int
    score: float
    sharpness: float
    brightness: float
    roll_deg: float
    yaw_deg: float
    pitch_deg: float


@dataclass(frozen=True, slots=True)
class Crop:
    """A face's upright picture with some of its surroundings, as an encoded image file."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class CropStyle:
    """How crops are made: `side_px` wide and high, `jpeg` or `webp`, of a quality from 1 to 100."""

    side_px: int = 256
    format: str = "jpeg"
    quality: int = 85


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face turned and scaled to a model's input, uint8 of shape (size, size, 3), RGB."""

    box: Box
    crop: NDArray[np.uint8]
    quality: Quality


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face with its embedding, float32 of shape (dimension,).

    A face that was imported as a vector has NO_BOX and no quality. `crop` is None where none is to be kept.
    """

    box: Box
    embedding: Embedding
    quality: Quality | None = None
    crop: "Crop | None" = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request looks for in a photo; None leaves it to the configuration.

    Args:
        only_largest: one face is enough, the largest; it may be looked for in a cheaper way first.
        detector: `hog`, `cnn`, `centerface` or `yunet`.
        upsample: how often the photo is doubled before detection.
        min_face_px: faces with a shorter side than this are left out.
        max_faces: of more faces, the largest are kept.
    """

    only_largest: bool = False
    detector: str | None = None
    upsample: int | None = None
    min_face_px: int | None = None
    max_faces: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPhoto:
    """The faces of one photo from left to right.

    `faces_found` counts what was detected, and exceeds `len(faces)` where only the largest face was
    asked for.
    """

    info: PhotoInfo
    faces: tuple[Face, ...]
    faces_found: int


@dataclass(frozen=True, slots=True, eq=False)
class NewFace:
    """A face on its way into the database.

    `photo_sha256` is the digest of the photo's bytes, by which the same photo is known again, and
    `photo_bytes` their number. `external_id` and `metadata` are what a client or an importer's list says of
    it. A name that is empty leaves the face without a person; `person_id` names one that there is, whose
    name counts then. `added_at` is that of the face that this is a copy of, in UTC; None is now.
    """

    person_name: str
    version: str
    photo: PhotoInfo
    face: Face
    photo_sha256: bytes | None = None
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    photo_bytes: int | None = None
    person_id: int | None = None
    added_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredFace:
    """A face as the database knows it, without its embedding.

    `added_at` is in UTC. A face without a person has None as `person_id` and an empty name.
    """

    id: int
    person_name: str
    version: str
    photo: PhotoInfo
    box: Box
    model_id: str
    dimension: int
    added_at: datetime
    quality: Quality | None = None
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    person_id: int | None = None


@dataclass(frozen=True, slots=True)
class FaceEdit:
    """What is to become of a face: what is named in `fields` is set, to None too; the rest stays as it is.

    `fields` holds some of `external_id`, `metadata`, which replaces all that there was, and, for a Gallery,
    `person_id`.
    """

    fields: frozenset[str]
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    person_id: int | None = None


IN, ABOVE, AT_LEAST, BELOW, AT_MOST, EXISTS, MISSING = OPERATORS = (
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "exists",
    "missing",
)
MAX_CONDITIONS = 20
"""Of a query."""
MAX_VALUES = 1_000
"""Of a condition."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What metadata of one name must be.

    `in`: equal to one of the values. `gt`, `gte`, `lt`, `lte`: a range, of numbers where the value is one
    (texts that read as numbers count as such), else of texts in the order of their code points. `exists` and
    `missing` take no value. A face that lacks the name satisfies `missing` alone.
    """

    name: str
    operator: str
    values: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class FaceQuery:
    """Which faces of a collection are meant: those that satisfy all that is given.

    Args:
        people: ids of persons of which the face has one; 0 is a face without a person.
        external_id: the face's.
        conditions: on its metadata.
    """

    people: frozenset[int] | None = None
    external_id: str | None = None
    conditions: tuple[Condition, ...] = ()


EVERY_FACE = FaceQuery()


@dataclass(frozen=True, slots=True)
class Collection:
    """A gallery of its own. `number` is never given again; `created_at` is in UTC.

    `model_id` is None until it is named or the first face decides it. `next_model_id` is that of vectors that
    are being made to take the place of these.
    """

    number: int
    name: str
    model_id: str | None
    created_at: datetime
    next_model_id: str | None = None
    faces: int = 0
    people: int = 0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of a collection, with so many faces.

    `cover_face` is the face that stands for the person: the one that was chosen, or the first; None where
    there is none. `created_at` is in UTC, None where it is not known.
    """

    id: int
    name: str
    faces: int
    cover_face: int | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class PersonEdit:
    """What is to become of a person: what is named in `fields` is set, the rest stays as it is.

    `fields` holds some of `name` and `cover_face`, the face that stands for the person; None: the first.
    """

    fields: frozenset[str]
    name: str = ""
    cover_face: int | None = None


@dataclass(frozen=True, slots=True)
class CopiedPerson:
    """A person as a copy of its collection tells of it. Times are in UTC.

    Args:
        id: in the collection that was copied.
        kept: whether the person stays without faces.
        cover_face: the face that was chosen, None where none was.
        created_at: None where it is not known.
    """

    id: int
    name: str
    kept: bool
    cover_face: int | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class CopiedFace:
    """A face as a copy of its collection tells of it, with what its photo is known again by."""

    stored: StoredFace
    photo_sha256: bytes | None
    photo_bytes: int | None


@dataclass(frozen=True, slots=True)
class UnreencodedFace:
    """A face that has no vector of its collection's next model yet."""

    id: int
    file_name: str
    box: Box
    photo_sha256: bytes | None


@dataclass(frozen=True, slots=True)
class ReencodingProgress:
    """How far the vectors of a collection's next model are; None as `next_model_id` where none are made.

    Args:
        faces: of the collection.
        reencoded: how many of them have such a vector.
    """

    model_id: str | None
    next_model_id: str | None
    faces: int
    reencoded: int


@dataclass(frozen=True, slots=True, eq=False)
class VectorPairs:
    """Faces with the vectors of both models, by rising id: a reencoding brings a million through here.

    Args:
        face_ids, persons: int64 (n,); 0 is nobody.
        now: float32 (n, dimension of the model).
        next: float32 (n, dimension of the next model).
    """

    face_ids: NDArray[np.int64]
    persons: NDArray[np.int64]
    now: NDArray[np.float32]
    next: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FaceChange:
    """One entry of the database's history of faces: what became of a face under `number`.

    An embedding means that the face was added, or took the place of an earlier one of this id; None
    means that it was removed. `person` is the number of its person, 0 where it has none.
    """

    number: int
    face_id: int
    embedding: Embedding | None
    person: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class FaceChanges:
    """Consecutive entries of the database's history as columns: a rebuild takes over millions.

    Iterating gives each as a FaceChange.

    Args:
        numbers, face_ids, persons: int64 (n,).
        removed: bool (n,), which entries are removals.
        embeddings: float32 (n, dimension), zeros for a removal.
    """

    numbers: NDArray[np.int64]
    face_ids: NDArray[np.int64]
    persons: NDArray[np.int64]
    removed: NDArray[np.bool_]
    embeddings: NDArray[np.float32]

    @classmethod
    def of(cls, changes: Sequence[FaceChange]) -> "FaceChanges":
        """Join single changes whose embeddings have one length."""
        known = [change.embedding for change in changes if change.embedding is not None]
        blank = np.zeros(known[0].shape if known else (0,), np.float32)
        return cls(
            np.array([change.number for change in changes], np.int64),
            np.array([change.face_id for change in changes], np.int64),
            np.array([change.person for change in changes], np.int64),
            np.array([change.embedding is None for change in changes], bool),
            np.array([blank if c.embedding is None else c.embedding for c in changes], np.float32),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, part: slice | NDArray[np.bool_]) -> "FaceChanges":
        return FaceChanges(
            self.numbers[part],
            self.face_ids[part],
            self.persons[part],
            self.removed[part],
            self.embeddings[part],
        )

    def __iter__(self) -> Iterator[FaceChange]:
        for at, removed in enumerate(self.removed):
            number, face_id, person = (c[at] for c in (self.numbers, self.face_ids, self.persons))
            yield FaceChange(int(number), int(face_id), None if removed else self.embeddings[at], int(person))


@dataclass(frozen=True, slots=True, eq=False)
class FaceFilter:
    """Which gallery faces may be found: a face satisfies all that is given; None gives nothing.

    Filters are told apart by identity: an index may keep what it has worked out for one that is used again.

    Args:
        face_ids: ids of which the face has one: int64, ascending, read-only.
        persons: person numbers of which the face has one.
        without: ids of which the face has none.
    """

    face_ids: NDArray[np.int64] | None = None
    persons: frozenset[int] | None = None
    without: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RatePoint:
    """What a tolerance does on pairs of photos.

    Args:
        false_match_rate: of the pairs of different people, at most this share is within the tolerance.
        tolerance: the Euclidean distance.
        impostor_pairs: how many such pairs there were; the smaller, the less the point is worth.
        true_accept_rate: the share of pairs of one person within the tolerance.
    """

    false_match_rate: float
    tolerance: float
    impostor_pairs: int
    true_accept_rate: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What distances of one vector space mean, measured on labelled photos.

    Args:
        rates: by falling false match rate.
        similarity: (distance, similarity from 0 to 100), by rising distance; between them it is linear.
        genuine_pairs, impostor_pairs: pairs of one person, and of two.
        people, photos: how many there were.
        measured_on: which photos, and how their faces were found, in a sentence.
    """

    rates: tuple[RatePoint, ...]
    similarity: tuple[tuple[float, float], ...]
    genuine_pairs: int
    impostor_pairs: int
    people: int
    photos: int
    measured_on: str


@dataclass(frozen=True, slots=True)
class AutoTolerance:
    """Asks for the tolerance that fits the gallery's size.

    Args:
        false_alarm_rate: how often a face of nobody in the gallery may get a match, 0.0001 to 0.5.
    """

    false_alarm_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class ChosenTolerance:
    """What a wanted false-alarm rate came to in a gallery of one size.

    Args:
        tolerance: the Euclidean distance.
        false_match_rate: how often two different people's faces are within it.
        extrapolated: whether that rate is below all that the calibration measured.
    """

    tolerance: float
    false_match_rate: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class LeastSimilarity:
    """Asks for the largest distance that is not less similar than this.

    Args:
        similarity: more than 0, at most 100.
    """

    similarity: float


WantedTolerance = float | AutoTolerance | LeastSimilarity | None
"""What may be within: a Euclidean distance from 0 to 2, or what it is to come to; None is the model's own."""


@dataclass(frozen=True, slots=True)
class Match:
    """A gallery face and its unrounded Euclidean distance to the probe, computed in float64."""

    face_id: int
    distance: float


@dataclass(frozen=True, slots=True)
class PersonMatch:
    """A person of the gallery with the nearest of its faces, and how many of its faces are within."""

    person: int
    face_id: int
    distance: float
    faces_within: int


@dataclass(frozen=True, slots=True)
class NamedMatch:
    """A match with the name of its person, None where the database that knows it is away.

    `similarity` is from 0 to 100, None where nobody has measured what the model's distances mean.
    `faces_within` is how many faces of the person are within, None where faces were searched for.
    """

    face_id: int
    person_name: str | None
    distance: float
    similarity: float | None = None
    person_id: int | None = None
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    faces_within: int | None = None


MEAN, BEST = POOLINGS = ("mean", "best")


@dataclass(frozen=True, slots=True)
class PhotoProbe:
    """Photos to search with.

    Without `pooling` there is one photo, and each of its faces is a probe of its own. With it, the largest
    face of each photo is the same person's: `mean` searches once, with the mean of their vectors, `best`
    takes the least distance to any of them.
    """

    photos: tuple[PhotoFile, ...]
    wanted: Wanted = Wanted()
    pooling: str | None = None


@dataclass(frozen=True, slots=True)
class FaceProbe:
    """A stored face to search with; it is not among its own matches."""

    face_id: int


@dataclass(frozen=True, slots=True, eq=False)
class VectorProbe:
    """An embedding to search with, float32 of shape (dimension,), of the model that is named."""

    embedding: Embedding
    model_id: str


Probe = PhotoProbe | FaceProbe | VectorProbe


@dataclass(frozen=True, slots=True)
class SearchTerms:
    """What is searched for: `k` matches per probe, 1 to 1000, within a tolerance, among the faces of `query`.

    With `by_person` a match is a person, once; faces without a person are left out.
    """

    k: int = 1
    tolerance: WantedTolerance = None
    query: FaceQuery = EVERY_FACE
    by_person: bool = False


@dataclass(frozen=True, slots=True)
class ProbeFace:
    """One face of a probe photo with its matches, nearest first.

    A probe that is no photo, or several, has NO_BOX.
    """

    box: Box
    matches: tuple[NamedMatch, ...]
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The faces of a probe photo from left to right.

    `stale_s` is None where the answer holds all that the database had committed when it was asked for.
    Otherwise the database was away: changes of the last `stale_s` seconds may be missing. `chosen` is the
    tolerance that was used, where it was to fit the gallery and a face was searched for. `tolerance` is the
    one that was used, however it came about; None where it was to fit the gallery and no face was there.
    """

    faces: tuple[ProbeFace, ...]
    stale_s: float | None = None
    chosen: ChosenTolerance | None = None
    model_id: str = ""
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face of a photo that is not kept. `landmarks` is None where the detector finds boxes only."""

    box: Box
    quality: Quality
    landmarks: Landmarks | None = None


@dataclass(frozen=True, slots=True)
class FoundFaces:
    """The size of a photo, upright, and its faces from left to right."""

    width: int
    height: int
    faces: tuple[FoundFace, ...]


@dataclass(frozen=True, slots=True)
class FacePair:
    """A face of each of two photos, by their positions there, and what lies between them."""

    source: int
    target: int
    distance: float
    similarity: float | None
    is_within: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The faces of two photos, and every pair of one of each, nearest first.

    `tolerance` is the distance up to which a pair is within.
    """

    model_id: str
    tolerance: float
    source: FoundFaces
    target: FoundFaces
    pairs: tuple[FacePair, ...]


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """Where a model comes from and under which licence, as its card says.

    `kind` is `plain` or `mirror`. `commercial_use` is None where no document says.
    """

    name: str
    kind: str
    licence: str
    commercial_use: bool | None
    licence_url: str | None
    licence_note: str | None
    document: str
    url: str | None


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """A rate of a calibration, and where 95 % of such measurements lie, as if pairs had no face in common."""

    point: RatePoint
    false_match_interval: tuple[float, float]
    true_accept_interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ExpectedAlarms:
    """How often a face of nobody in a gallery of so many faces gets a match within a tolerance.

    `false_match_rate` is that of one comparison. `extrapolated` says whether the tolerance is outside of what
    the calibration measured.
    """

    faces: int
    tolerance: float
    false_match_rate: float
    false_alarm_rate: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model, of its distances, and of the gallery's size.

    Args:
        tolerance: the default.
        origin: None where no card tells.
        in_use: whether the gallery holds its vectors; None where the database that knows it is away.
        configured: whether an empty gallery would get it.
        expected: within the default tolerance, in the gallery as it is; None without a calibration, where the
            gallery has another model, or where its size is not known.
        by_size: the same in galleries of other sizes.
    """

    id: str
    dimension: int
    tolerance: float
    origin: ModelOrigin | None
    calibration: Calibration | None
    rates: tuple[MeasuredRate, ...]
    in_use: bool | None
    configured: bool
    expected: ExpectedAlarms | None
    by_size: tuple[ExpectedAlarms, ...]


@dataclass(frozen=True, slots=True)
class AddedFace:
    """The outcome of one enrolment.

    `duplicate_of` is the first face that was stored of the same photo's bytes, None where there was none;
    `id` is that face where it was not stored again.
    """

    id: int
    person_name: str
    box: Box
    faces_found: int
    quality: Quality | None = None
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentTerms:
    """How the faces of a photo are to be stored.

    Args:
        person_name: of the person, which is made where there is none of this name; empty: nobody; None: as
            the photo's name says.
        person_id: of a person that there is, instead of a name.
        faces: `largest` of the photo, `all` of them, or `single`: a photo with several is refused.
        skip_duplicates: whether a photo whose bytes are stored already is left out.
    """

    person_name: str | None = None
    person_id: int | None = None
    external_id: str | None = None
    metadata: Metadata = field(default_factory=dict)
    faces: str = "largest"
    skip_duplicates: bool = False
    wanted: Wanted = Wanted()


@dataclass(frozen=True, slots=True)
class EnrolledPhoto:
    """What became of a photo: the faces that were stored, at least one, and how many were detected.

    `duplicate_of` is the first face that was stored of the same photo's bytes; where these were not stored
    again, `faces` holds all that were stored of them, that one first.
    """

    faces: tuple[StoredFace, ...]
    faces_found: int
    duplicate_of: int | None = None


FILE_STATUSES = ("inserted", "no_face", "duplicate", "failed", "skipped")


@dataclass(frozen=True, slots=True)
class ReportedFace:
    """A face that an import stored, or, without an id, one for which it refused the photo."""

    box: Box
    id: int | None = None


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file of an import.

    `status` is one of FILE_STATUSES; `reason` is a sentence for all but the first. `id` is the first of
    `faces`, or the face that was stored before of a duplicate. `duplicate_of` is the first face that was
    stored of the same photo's bytes.
    """

    path: str
    status: str
    id: int | None = None
    person_name: str | None = None
    reason: str | None = None
    faces: tuple[ReportedFace, ...] = ()
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class BulkReport:
    """The outcome of a bulk enrolment: one report per entry, in the archive's order."""

    files: tuple[FileReport, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many files ended in each status."""
        totals = dict.fromkeys(FILE_STATUSES, 0)
        for report in self.files:
            totals[report.status] += 1
        return totals


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """A part of a list; `next` is what to ask the following part with, None at the end."""

    items: tuple[R, ...]
    next: int | None = None


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How the photos of an import are enrolled.

    Args:
        faces: `largest` of each photo, `all` of them, or `single`: photos with several are refused.
        skip_duplicates: whether photos whose bytes are stored already are left out.
        waited_for: whether somebody waits for the end; such jobs go first.
        collection: where the faces go.
    """

    faces: str = "largest"
    skip_duplicates: bool = True
    waited_for: bool = False
    collection: str = DEFAULT_COLLECTION


QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
JOB_STATES = (QUEUED, RUNNING, DONE, FAILED, CANCELLED)


COMMANDS_PLACE = "command-"
IMPORT, REENCODING = JOB_KINDS = ("import", "reencoding")


@dataclass(frozen=True, slots=True)
class NewJob:
    """An import that is about to be queued.

    `place` is the data folder whose processes may work on it, or one that begins with COMMANDS_PLACE, of a
    process that works on it alone: where its lease ends, nobody takes it over. `collection` is the number of
    the one that the options name.
    """

    id: str
    place: str
    file_name: str
    options: ImportOptions
    total: int
    collection: int = DEFAULT_NUMBER
    kind: str = IMPORT


@dataclass(frozen=True, slots=True)
class Job:
    """An import as the database knows it. Times are in UTC.

    `number` grows in the order of arrival; `collection` is the number of the collection that `options`
    names, and `kind` one of JOB_KINDS. `counts` holds how many files ended in each of FILE_STATUSES;
    `worked_s` is for how long a process was at work on it. `attempts` is how often it was claimed since its
    last report. `error_code` and `error` say why it failed.
    """

    id: str
    number: int
    file_name: str
    options: ImportOptions
    state: str
    total: int
    counts: Mapping[str, int]
    worked_s: float
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: int = 0
    error_code: str | None = None
    error: str | None = None
    collection: int = DEFAULT_NUMBER
    kind: str = IMPORT

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state not in (QUEUED, RUNNING)

    @property
    def done(self) -> int:
        """How many files have their report."""
        return sum(self.counts.values())

    @property
    def rate(self) -> float | None:
        """Files per second of work, None before the first."""
        return self.done / self.worked_s if self.worked_s > 0 and self.done else None

    @property
    def left_s(self) -> float | None:
        """How much longer it may take at that rate, None where that is not known or it is over."""
        return None if self.is_over or not self.rate else (self.total - self.done) / self.rate


OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of an installation came to.

    Args:
        check: what was looked at, in a word or two.
        state: OK, WARNING or PROBLEM.
        message: what was seen, in a sentence.
        advice: what to do about it.
    """

    check: str
    state: str
    message: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Once:
    """A request that may be repeated and shall be carried out once.

    Args:
        key: what the client calls it.
        fingerprint: a digest of what was asked; another one under the same key is an error.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What the first request under a key came to, as JSON text."""

    fingerprint: str
    content: str


@dataclass(frozen=True, slots=True)
class PartState:
    """How a part of the service answered when it was asked; without an error it works."""

    name: str
    seconds: float
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be worked on.

    `ok`; `stale` where the database is away and searches are answered from the copy; `failed`.
    """

    state: str
    parts: tuple[PartState, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the gallery holds and what waits; None is what nobody can tell while the database is away.

    `faces` are those of all collections. `changes_behind` is by how many numbers of changes this host's copy
    of a collection is behind, of that which is farthest behind.
    """

    faces: int | None = None
    changes_behind: int | None = None
    jobs_queued: int | None = None
    jobs_running: int | None = None


SCOPES = ("read", "write", "admin")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A client's key that is about to be stored; `digest` is the SHA-256 of its text, all that is kept of it.

    `prefix` is the part of the text by which people tell keys apart. `scope` is one of SCOPES.
    """

    prefix: str
    digest: bytes = field(repr=False)
    scope: str
    collection: str = DEFAULT_COLLECTION
    name: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key as the database knows it. Times are in UTC; `number` is never given again."""

    number: int
    prefix: str
    digest: bytes = field(repr=False)
    scope: str
    collection: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return `active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: a key's prefix, name, scope and collection, or ALL_COLLECTIONS."""

    who: str
    name: str = ""
    scope: str = "admin"
    collection: str = ALL_COLLECTIONS

    @property
    def is_local(self) -> bool:
        """Whether no key was asked for."""
        return self is LOCAL


LOCAL = Caller("local")
"""A program on the service's own computer, while there are no keys."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A change as the audit log tells it.

    Args:
        who: a key's prefix, or `local`.
        name: the key's.
        what: such as `POST /add_face/` or `keys revoke`.
        ids: of the faces, jobs or keys that it was about.
        status: of the answer, None where there was none.
    """

    who: str
    name: str
    what: str
    ids: tuple[int | str, ...] = ()
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What a task of a pool came to: its value, or the error that took the value's place."""

    value: R | None = None
    error: FacesearchError | None = None

    def unwrap(self) -> R:
        """Return the value.

        Raises:
            FacesearchError: the task's error, where there is one.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # an R that is None is a value too
