"""Stand-ins for unit tests. Each subclasses its port, so the type checker keeps it honest."""

import io
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.errors import FaceNotFound, InvalidParameter, ModelMismatch, PersonNotFound
from facesearch.interfaces import ANY_FACE, FaceIndex, Image, ImageDatabase, ImageEncoder
from facesearch.records import (
    DEFAULT_NUMBER,
    AlignedFace,
    Box,
    Calibration,
    Crop,
    CropStyle,
    Detection,
    Embedding,
    FaceChange,
    FaceChanges,
    FaceEdit,
    FaceFilter,
    FaceQuery,
    Match,
    NewFace,
    Page,
    PersonMatch,
    PhotoInfo,
    Quality,
    StoredFace,
    Wanted,
)
from tests.fake_queries import check_face, check_metadata, check_query, check_texts, is_meant


class FakeImage(Image):
    """Pixels from an array; reduced by leaving rows and columns out."""

    def __init__(self, pixels: NDArray[np.uint8], file_name: str = "photo.png") -> None:
        self._pixels = np.ascontiguousarray(pixels)
        self._pixels.flags.writeable = False
        self._info = PhotoInfo(file_name, pixels.shape[1], pixels.shape[0])

    @property
    def info(self) -> PhotoInfo:
        return self._info

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self._pixels

    def reduced(self, max_pixels: int) -> tuple[NDArray[np.uint8], float]:
        step, pixels = 1, self._pixels
        while pixels.shape[0] * pixels.shape[1] > max_pixels:
            step += 1
            pixels = self._pixels[::step, ::step]
        pixels = np.ascontiguousarray(pixels)
        pixels.flags.writeable = False
        return pixels, float(step)

    def crop(self, box: Box, roll_deg: float, style: CropStyle) -> Crop:
        step = 2 * max(box.width, box.height) / style.side_px
        down, right = (np.indices((style.side_px, style.side_px)) + 0.5 - style.side_px / 2) * step
        turn = np.radians(roll_deg)
        rows = np.floor(box.top + box.height / 2 + right * np.sin(turn) + down * np.cos(turn)).astype(int)
        columns = np.floor(box.left + box.width / 2 + right * np.cos(turn) - down * np.sin(turn)).astype(int)
        height, width = self._pixels.shape[:2]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        square = self._pixels[rows.clip(0, height - 1), columns.clip(0, width - 1)] * inside[..., np.newaxis]
        file = io.BytesIO()
        Pillow.fromarray(square.astype(np.uint8)).save(file, style.format, quality=style.quality)
        return Crop(f"image/{style.format}", file.getvalue())


class FakeEncoder(ImageEncoder):
    """Takes each run of one colour in a photo's first row, black aside, for a face as high as the photo.

    The embedding is that colour, red, green and blue from 0 to 1.
    """

    model_id = "fake-colours"
    dimension = 3
    tolerance = 0.25
    calibration: Calibration | None = None

    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        found, left = [], 0
        for colour, run in groupby(map(tuple, image.pixels[0].tolist())):
            width = len(list(run))
            if any(colour):
                found.append(Detection(Box(0, left + width - 1, image.info.height - 1, left), float(width)))
            left += width
        large = [d for d in found if min(d.box.width, d.box.height) >= (wanted.min_face_px or 0)]
        largest = sorted(large, key=lambda d: -d.box.area)[: wanted.max_faces]
        return sorted(largest, key=lambda d: d.box.left)

    def for_model(self, model_id: str) -> "FakeEncoder":
        if model_id != self.model_id:
            raise ModelMismatch
        return self

    def align(self, image: Image, detections: Sequence[Detection]) -> list[AlignedFace]:
        return [
            AlignedFace(
                found.box,
                image.pixels[:1, found.box.left : found.box.left + 1],
                Quality(found.box.width, found.score, 0.0, 0.0, 0.0, 0.0, 0.0),
            )
            for found in detections
        ]

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (crops.reshape(len(crops), self.dimension) / 255).astype(np.float32)

    def ping(self) -> None:
        """Nothing can be missing."""


class FakeIndex(FaceIndex):
    """A plain scan of a list; lives as long as its test, for one thread.

    Reads the whole history again where anything is new, and shares nothing with other processes.
    """

    def __init__(self, model_id: str, dimension: int) -> None:
        self._model_id = model_id
        self._dimension = dimension
        self._seen: tuple[str, int] | None = None
        self._faces: dict[int, FaceChange] = {}

    def of(self, collection: int, model_id: str, dimension: int) -> "FakeIndex":
        return FakeIndex(model_id, dimension)

    def catch_up(self, database: ImageDatabase) -> None:
        now = (database.database_id(), database.newest_change())
        if now != self._seen:
            batches = database.changes_after(0, self._model_id)
            latest = {change.face_id: change for batch in batches for change in batch}
            self._faces = {face: change for face, change in latest.items() if change.embedding is not None}
            self._seen = now

    def search(
        self, embeddings: NDArray[np.float32], k: int, tolerance: float, only: FaceFilter | None = None
    ) -> list[list[Match]]:
        if not (1 <= k <= 1000 and tolerance >= 0):
            raise InvalidParameter
        if embeddings.shape[1:] != (self._dimension,):
            raise ModelMismatch
        faces = [face for face in self._faces.values() if only is None or _is_wanted(face, only)]
        return [_nearest(faces, probe.astype(np.float64), k, tolerance) for probe in embeddings]

    def search_people(
        self,
        embeddings: NDArray[np.float32],
        k: int,
        tolerance: float,
        only: FaceFilter | None = None,
        *,
        pooled: bool = False,
    ) -> list[list[PersonMatch]]:
        self.search(embeddings, k, tolerance, only)  # raises where a parameter is out of range
        faces = [
            face for face in self._faces.values() if face.person and (only is None or _is_wanted(face, only))
        ]
        groups = [embeddings] if pooled else [probe[np.newaxis] for probe in embeddings]
        return [_nearest_people(faces, group.astype(np.float64), k, tolerance) for group in groups]

    def keep_only(self, galleries: Mapping[int, str | None]) -> None:
        """There are no files."""

    def count(self, only: FaceFilter | None = None, *, of_people: bool = False) -> int:
        wanted = [face for face in self._faces.values() if only is None or _is_wanted(face, only)]
        return sum(1 for face in wanted if face.person or not of_people)

    def extent(self) -> tuple[int, int]:
        return self._seen[1] if self._seen else 0, len(self._faces)

    def has_copy(self) -> bool:
        return self._seen is not None

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass


def _is_wanted(face: FaceChange, only: FaceFilter) -> bool:
    return (
        (only.face_ids is None or face.face_id in only.face_ids)
        and (only.persons is None or face.person in only.persons)
        and face.face_id not in only.without
    )


def _nearest(
    faces: Sequence[FaceChange], probe: NDArray[np.float64], k: int, tolerance: float
) -> list[Match]:
    if not faces:
        return []
    rows = np.array([face.embedding for face in faces], np.float64)
    with np.errstate(all="ignore"):
        distances = np.sqrt(((rows - probe) ** 2).sum(axis=1))
    pairs = sorted(
        (float(distance), face.face_id)
        for distance, face in zip(distances, faces, strict=True)
        if distance <= tolerance
    )
    return [Match(face_id, distance) for distance, face_id in pairs[:k]]


def _nearest_people(
    faces: Sequence[FaceChange], probes: NDArray[np.float64], k: int, tolerance: float
) -> list[PersonMatch]:
    least: dict[int, float] = {}
    for probe in probes:
        for match in _nearest(faces, probe, len(faces), tolerance):
            least[match.face_id] = min(match.distance, least.get(match.face_id, tolerance))
    pairs = [(least[face.face_id], face.face_id, face.person) for face in faces if face.face_id in least]
    within = Counter(person for _, _, person in pairs)
    nearest: dict[int, PersonMatch] = {}
    for distance, face_id, person in sorted(pairs):
        nearest.setdefault(person, PersonMatch(person, face_id, distance, within[person]))
    return list(nearest.values())[:k]


class FakeImageDatabase(ImageDatabase):
    """The truth about faces in memory; lives as long as its test. Any thread may call it.

    `away`, when set, is raised by every method, and by the end of a transaction.
    """

    _NO_CONTENT = frozenset(["away", "_batch", "_id", "_lock", "_inside", "_failure"])

    def __init__(self, batch: int = 2_000) -> None:
        self.away: Exception | None = None
        self._batch = batch
        self._id = str(uuid.uuid4())
        self._lock = threading.RLock()
        self._inside = False
        self._failure: BaseException | None = None
        self._crops: dict[int, Crop] = {}
        self._photos: dict[int, tuple[bytes, int | None]] = {}
        self._model: tuple[str, int] | None = None
        self._faces: dict[int, StoredFace] = {}
        self._newest_face = 0
        self._persons: dict[str, int] = {}
        self._newest_person = 0
        self._newest_change = 0
        self._changes: dict[int, FaceChange] = {}

    def prepare(self) -> None:
        self.ping()

    def database_id(self) -> str:
        self.ping()
        return self._id

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One at a time; other threads wait. After an error in it, all of it is rolled back."""
        self.ping()
        with self._lock:
            if self._inside:
                try:
                    yield
                except BaseException as error:
                    self._failure = self._failure or error
                    raise
                return
            before = {name: copy(value) for name, value in vars(self).items() if name not in self._NO_CONTENT}
            self._inside = True
            try:
                yield
                self.ping()
                if self._failure is not None:
                    raise self._failure
            except BaseException:
                vars(self).update(before)
                raise
            finally:
                self._inside, self._failure = False, None

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._lock:
            if self._inside:
                raise InvalidParameter
            with self.transaction():
                yield

    def photos_of_faces(self, ids: Sequence[int]) -> dict[bytes, int | None]:
        self.ping()
        with self._lock:
            there = self._photos.keys() & self._faces.keys() & set(ids)
            return dict(self._photos[face_id] for face_id in there)

    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
        self.ping()
        with self._lock:
            found: dict[bytes, int] = {}
            for face_id in sorted(self._faces, reverse=True):
                if (photo := self._photos.get(face_id)) and photo[0] in sha256s:
                    found[photo[0]] = face_id
            return found

    def faces_of_photo(self, sha256: bytes) -> list[int]:
        self.ping()
        with self._lock:
            return sorted(i for i in self._faces if (photo := self._photos.get(i)) and photo[0] == sha256)

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        self.ping()
        if not faces:
            return []
        for new in faces:
            check_face(new, model_id)
        with self.transaction():
            self._check_model(faces, model_id)
            return [self._add(new, model_id) for new in faces]

    def delete_faces(self, ids: Sequence[int]) -> list[int]:
        self.ping()
        with self.transaction():
            there = sorted(set(ids) & self._faces.keys())
            for face_id in there:
                name = self._faces.pop(face_id).person_name
                self._crops.pop(face_id, None)
                if name and all(face.person_name != name for face in self._faces.values()):
                    del self._persons[name]
                self._tell(FaceChange(0, face_id, None))
            return there

    @property
    def collection(self) -> int:
        return DEFAULT_NUMBER

    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        if limit < 1:
            raise InvalidParameter
        ids = [i for i in self.face_ids(query).tolist() if after is None or i > after]
        with self._lock:
            items = tuple(self._faces[i] for i in ids[:limit])
        return Page(items, ids[limit - 1] if len(ids) > limit else None)

    def face_ids(self, query: FaceQuery, changed_after: int = 0) -> NDArray[np.int64]:
        self.ping()
        check_query(query)
        with self._lock:
            changed = {c.face_id for n, c in self._changes.items() if n > changed_after}
            faces = self._faces.values()
            return np.array(sorted(f.id for f in faces if f.id in changed and is_meant(f, query)), np.int64)

    def changed_faces(self, after: int) -> NDArray[np.int64]:
        self.ping()
        with self._lock:
            return np.array(sorted(c.face_id for n, c in self._changes.items() if n > after), np.int64)

    def embeddings(self, ids: Sequence[int]) -> dict[int, Embedding]:
        self.ping()
        with self._lock:
            changes = (c for c in self._changes.values() if c.face_id in ids)
            return {c.face_id: c.embedding for c in changes if c.embedding is not None}

    def crop(self, face_id: int) -> Crop | None:
        self.ping()
        with self._lock:
            return self._crops.get(face_id)

    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        self.ping()
        if not edit.fields <= {"external_id", "metadata"}:
            raise InvalidParameter
        check_texts([(edit.external_id or "", 255)])
        check_metadata(edit.metadata)
        with self.transaction():
            if face_id not in self._faces:
                raise FaceNotFound
            if edit.fields:
                values: dict[str, Any] = {name: getattr(edit, name) for name in edit.fields}
                self._faces[face_id] = replace(self._faces[face_id], **values)
                [told] = [c for c in self._changes.values() if c.face_id == face_id]
                self._tell(told)
            return self._faces[face_id]

    def gallery_model(self) -> str | None:
        self.ping()
        with self._lock:
            return self._model[0] if self._model else None

    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        self.ping()
        with self._lock:
            return {i: self._faces[i] for i in set(ids) & self._faces.keys()}

    def newest_change(self) -> int:
        self.ping()
        with self._lock:
            return self._newest_change

    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        self.ping()
        with self._lock:
            matches = self._model is not None and self._model[0] == model_id
            changes = [c for n, c in self._changes.items() if n > number and matches]
        for start in range(0, len(changes), self._batch):
            yield FaceChanges.of(changes[start : start + self._batch])

    def wipe(self) -> None:
        self.ping()
        with self._lock:
            if self._inside:
                raise InvalidParameter

    def ping(self) -> None:
        if self.away is not None:
            raise self.away

    def close(self) -> None:
        self._faces.clear()

    def _add(self, new: NewFace, model_id: str) -> int:
        self._newest_face += 1
        person, name = self._person_of(new)
        self._faces[self._newest_face] = StoredFace(
            id=self._newest_face,
            person_name=name,
            version=new.version,
            photo=new.photo,
            box=new.face.box,
            model_id=model_id,
            dimension=new.face.embedding.size,
            added_at=datetime.now(UTC),
            quality=new.face.quality,
            external_id=new.external_id,
            metadata=dict(new.metadata),
            person_id=person or None,
        )
        if new.photo_sha256 is not None:
            self._photos[self._newest_face] = new.photo_sha256, new.photo_bytes
        if new.face.crop is not None:
            self._crops[self._newest_face] = new.face.crop
        self._tell(FaceChange(0, self._newest_face, new.face.embedding.astype(np.float32), person))
        return self._newest_face

    def _tell(self, change: FaceChange) -> None:
        """Write a change under the next number, in the place of all earlier ones of the face."""
        self._newest_change += 1
        number = self._newest_change
        self._changes = {n: c for n, c in self._changes.items() if c.face_id != change.face_id}
        self._changes[number] = FaceChange(number, change.face_id, change.embedding, change.person)

    def _person_of(self, new: NewFace) -> tuple[int, str]:
        if new.person_id is not None:
            names = [name for name, number in self._persons.items() if number == new.person_id]
            if not names:
                raise PersonNotFound
            return new.person_id, names[0]
        if new.person_name and new.person_name not in self._persons:
            self._newest_person += 1
            self._persons[new.person_name] = self._newest_person
        return self._persons.get(new.person_name, 0), new.person_name

    def _check_model(self, faces: Sequence[NewFace], model_id: str) -> None:
        wanted = {(model_id, new.face.embedding.size) for new in faces}
        if len(wanted) > 1:
            raise InvalidParameter
        self._model = self._model or next(iter(wanted))
        if wanted != {self._model}:
            raise ModelMismatch
