"""A database that is nothing but a history, written as a test wants it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import (
    DEFAULT_NUMBER,
    Crop,
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
    StoredFace,
)

MODEL = "test-model"


class FaceHistory(ImageDatabase):
    """Holds changes in memory; lives as long as its test, and is no database to share between processes.

    Ids are whatever the test says, so that they need not grow with the change numbers. Unlike a gallery it
    takes changes of several models: an index counts on nothing but its own model's changes.
    """

    def __init__(self, identity: str = "00000000-0000-4000-8000-000000000001", batch: int = 500) -> None:
        self.identity = identity
        self.batch = batch
        self.changes: list[tuple[str, FaceChange]] = []
        self.newest = 0
        self.is_away = False
        self.streams = 0

    def add(
        self,
        vectors: NDArray[np.float32],
        ids: Sequence[int] | None = None,
        model_id: str = MODEL,
        persons: Sequence[int] | None = None,
    ) -> None:
        """Commit one change per vector; ids continue the change numbers where none are given."""
        for at, vector in enumerate(vectors):
            self.newest += 1
            face_id = self.newest if ids is None else ids[at]
            person = 0 if persons is None else persons[at]
            self.changes.append((model_id, FaceChange(self.newest, face_id, vector, person)))

    def remove(self, ids: Sequence[int], model_id: str = MODEL) -> None:
        """Commit one removal per id; what was told of the faces before is told no longer."""
        gone = set(ids)
        self.changes = [(m, c) for m, c in self.changes if m != model_id or c.face_id not in gone]
        for face_id in ids:
            self.newest += 1
            self.changes.append((model_id, FaceChange(self.newest, face_id, None)))

    def stored(self, model_id: str = MODEL, upto: int | None = None) -> list[FaceChange]:
        """The faces of the gallery, as they were when change `upto` was the newest."""
        end = self.newest if upto is None else upto
        told = [change for model, change in self.changes if model == model_id and change.number <= end]
        latest = {change.face_id: change for change in told}
        return [change for change in latest.values() if change.embedding is not None]

    def forget_after(self, number: int) -> None:
        """Go back to an older state, as a restored backup does."""
        self.changes = [(model, change) for model, change in self.changes if change.number <= number]
        self.newest = number

    def nearest(
        self,
        probes: NDArray[np.float32],
        k: int,
        tolerance: float,
        *,
        upto: int | None = None,
        model_id: str = MODEL,
        only: FaceFilter | None = None,
    ) -> list[list[Match]]:
        """The oracle: a plain scan in float64, unrounded against the tolerance, ties by lower id."""
        faces = self.stored(model_id, upto)
        if only is not None and only.face_ids is not None:
            named = set(only.face_ids.tolist())
            faces = [face for face in faces if face.face_id in named]
        if only is not None and only.persons is not None:
            faces = [face for face in faces if face.person in only.persons]
        if only is not None:
            faces = [face for face in faces if face.face_id not in only.without]
        ids = np.array([face.face_id for face in faces], np.int64)
        rows = np.array([face.embedding for face in faces], np.float64).reshape(len(faces), probes.shape[1])
        answers: list[list[Match]] = []
        for probe in probes.astype(np.float64):
            if not faces:
                answers.append([])
                continue
            with np.errstate(all="ignore"):
                distances = np.sqrt(((rows - probe) ** 2).sum(axis=1))
            order = [at for at in np.lexsort((ids, distances)) if distances[at] <= tolerance][:k]
            answers.append([Match(int(ids[at]), float(distances[at])) for at in order])
        return answers

    def nearest_people(
        self,
        probes: NDArray[np.float32],
        k: int,
        tolerance: float,
        *,
        only: FaceFilter | None = None,
        pooled: bool = False,
    ) -> list[list[PersonMatch]]:
        """The oracle of people: all faces that are found, joined by person."""
        persons = {face.face_id: face.person for face in self.stored()}
        found = self.nearest(probes, len(persons), tolerance, only=only)
        answers = []
        for group in [list(chain.from_iterable(found))] if pooled else found:
            nearest: dict[int, Match] = {}
            for match in sorted(group, key=lambda match: (match.distance, match.face_id)):
                if persons[match.face_id]:
                    nearest.setdefault(persons[match.face_id], match)
            within = Counter(persons[face_id] for face_id in {match.face_id for match in group})
            answers.append(
                [
                    PersonMatch(person, match.face_id, match.distance, within[person])
                    for person, match in nearest.items()
                ][:k]
            )
        return answers

    def prepare(self) -> None:
        pass

    def database_id(self) -> str:
        self.ping()
        return self.identity

    def gallery_model(self) -> str | None:
        self.ping()
        return self.changes[0][0] if self.changes else None

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        raise NotImplementedError

    def delete_faces(self, ids: Sequence[int]) -> list[int]:
        raise NotImplementedError

    @property
    def collection(self) -> int:
        return DEFAULT_NUMBER

    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        raise NotImplementedError

    def face_ids(self, query: FaceQuery, changed_after: int = 0) -> NDArray[np.int64]:
        raise NotImplementedError

    def changed_faces(self, after: int) -> NDArray[np.int64]:
        raise NotImplementedError

    def embeddings(self, ids: Sequence[int]) -> dict[int, Embedding]:
        raise NotImplementedError

    def crop(self, face_id: int) -> Crop | None:
        raise NotImplementedError

    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        raise NotImplementedError

    def wipe(self) -> None:
        raise NotImplementedError

    def transaction(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def alone(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def photos_of_faces(self, ids: Sequence[int]) -> dict[bytes, int | None]:
        raise NotImplementedError

    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
        raise NotImplementedError

    def faces_of_photo(self, sha256: bytes) -> list[int]:
        raise NotImplementedError

    def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
        raise NotImplementedError

    def newest_change(self) -> int:
        self.ping()
        return self.newest

    def changes_after(self, number: int, model_id: str) -> Iterator[FaceChanges]:
        self.streams += 1
        wanted = [c for model, c in self.changes if model == model_id and c.number > number]
        for start in range(0, len(wanted), self.batch):
            self.ping()
            yield FaceChanges.of(wanted[start : start + self.batch])

    def ping(self) -> None:
        if self.is_away:
            raise DatabaseUnavailable

    def close(self) -> None:
        pass
