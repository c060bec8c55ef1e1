"""Taking an exported collection into a database: all of it or nothing."""

import logging
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from facesearch.errors import CollectionNotFound, Conflict, FacesearchError, ModelMismatch, PersonNotFound
from facesearch.interfaces import CollectionStore, ImageDatabase, TransferStore
from facesearch.records import Collection, Face, NewFace
from facesearch.service.exports.format import FACES, PEOPLE
from facesearch.service.exports.reading import CollectionFile, ExportedFace

_PEOPLE_A_TRANSACTION = 1_000
_FACES_A_TRANSACTION = 500
_BYTES_A_TRANSACTION = 16 * 1024**2
_REMOVED_A_TRANSACTION = 2_000

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class Restoring:
    """One import of an exported collection. Lives as long as that, and belongs to its thread.

    All of the file is checked before anything is written. People and faces get new ids; what else is known of
    them stays as it was. Others see the collection fill: it is written in many transactions. Where one of
    them fails, what was written is removed again.

    Args:
        dimension_of: of the vectors of a model; raises ModelMismatch where the service makes none of it.
        progress: called with a member's name, how many of its entries are done, and how many there are.
    """

    file: CollectionFile
    collections: CollectionStore
    transfers: TransferStore
    dimension_of: Callable[[str], int]
    progress: Callable[[str, int, int], None] = lambda *_: None
    _people: dict[int, int] = field(default_factory=dict)
    _cover_faces: dict[int, int] = field(default_factory=dict)
    _covers: dict[int, int] = field(default_factory=dict)
    _ids: "array[int]" = field(default_factory=lambda: array("q"))

    def into(self, name: str) -> Collection:
        """Import into a collection that is empty, or is made; return it with its counts.

        Raises:
            Invalid: the file cannot be used.
            ModelMismatch: the service makes no vectors of the file's model, or the collection has another.
            Conflict: the collection is not empty.
            DatabaseUnavailable
        """
        self._check_model()
        self.file.check()
        target, is_new = self._target(name)
        faces = self.collections.faces(target.number)
        try:
            self._add_people(target)
            self._add_faces(faces)
            self.transfers.set_covers(target.number, self._covers)
        except BaseException:
            with suppress(FacesearchError):
                self._undo(target, is_new)
            raise
        return self.collections.counted(name)

    def _check_model(self) -> None:
        manifest = self.file.manifest
        if manifest.model_id is None:
            return
        dimension = self.dimension_of(manifest.model_id)
        if manifest.dimension not in (None, dimension):
            raise ModelMismatch(
                f"Vectors of {manifest.model_id} have {dimension} numbers, and those of the file "
                f"{manifest.dimension}."
            )

    def _target(self, name: str) -> tuple[Collection, bool]:
        model_id = self.file.manifest.model_id
        try:
            found = self.collections.counted(name)
        except CollectionNotFound:
            dimension = None if model_id is None else self.dimension_of(model_id)
            return self.collections.add(name, model_id, dimension), True
        if found.faces or found.people:
            raise Conflict(f"The collection {name} is not empty; an export goes into a new or an empty one.")
        if None not in (found.model_id, model_id) and found.model_id != model_id:
            raise ModelMismatch(f"The collection {name} is one of {found.model_id}, the file of {model_id}.")
        if found.next_model_id is not None:
            raise Conflict(f"The collection {name} is being encoded again.")
        return found, False

    def _add_people(self, target: Collection) -> None:
        for people in _batches(self.file.people(), _PEOPLE_A_TRANSACTION):
            ids = self.transfers.add_people(target.number, people)
            for person, new in zip(people, ids, strict=True):
                self._people[person.id] = new
            self.progress(PEOPLE, len(self._people), self.file.manifest.people)
        self._cover_faces = {
            person.cover_face: self._people[person.id]
            for person in self.file.people()
            if person.cover_face is not None
        }

    def _add_faces(self, faces: ImageDatabase) -> None:
        for batch in _by_size(self.file.faces()):
            ids = faces.add_faces([self._new(one) for one in batch], batch[0].face.stored.model_id)
            for one, new in zip(batch, ids, strict=True):
                if (person := self._cover_faces.get(one.face.stored.id)) is not None:
                    self._covers[person] = new
            self._ids.extend(ids)
            self.progress(FACES, len(self._ids), self.file.manifest.faces)

    def _new(self, one: ExportedFace) -> NewFace:
        stored = one.face.stored
        person = None if stored.person_id is None else self._people[stored.person_id]
        return NewFace(
            person_name="",
            version=stored.version,
            photo=stored.photo,
            face=Face(stored.box, one.embedding, stored.quality, one.crop),
            photo_sha256=one.face.photo_sha256,
            external_id=stored.external_id,
            metadata=stored.metadata,
            photo_bytes=one.face.photo_bytes,
            person_id=person,
            added_at=stored.added_at,
        )

    def _undo(self, target: Collection, is_new: bool) -> None:
        """Remove what was written: with its collection where that was made for it."""
        _log.warning("An import into collection %s failed; what it wrote is removed.", target.number)
        if is_new:
            self.collections.purge(self.collections.delete(target.name))
            return
        faces = self.collections.faces(target.number)
        for start in range(0, len(self._ids), _REMOVED_A_TRANSACTION):
            faces.delete_faces(self._ids[start : start + _REMOVED_A_TRANSACTION])
        people = self.collections.people(target.number)
        for person in self._people.values():
            with suppress(PersonNotFound):  # who was not kept is gone with the last face
                if not people.get(person).faces:
                    people.remove(person)


def _by_size(faces: Iterator[ExportedFace]) -> Iterator[list[ExportedFace]]:
    batch: list[ExportedFace] = []
    size = 0
    for one in faces:
        batch.append(one)
        size += len(one.crop.data) if one.crop else 0
        if len(batch) == _FACES_A_TRANSACTION or size >= _BYTES_A_TRANSACTION:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _batches(items: Iterable[T], most: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, most)):
        yield batch
