"""A database that is nothing but a history, written as a test wants it."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import FaceChange, FaceChanges, FaceFilter, Match, NewFace, StoredFace

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

    def faces(self, model_id: str = MODEL, upto: int | None = None) -> list[FaceChange]:
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
        faces = self.faces(model_id, upto)
        if only is not None and only.face_ids is not None:
            faces = [face for face in faces if face.face_id in only.face_ids]
        if only is not None and only.persons is not None:
            faces = [face for face in faces if face.person in only.persons]
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

    def transaction(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def alone(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def faces_of_photos(self, sha256s: Sequence[bytes]) -> dict[bytes, int]:
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
