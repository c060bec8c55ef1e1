"""Collections, faces and people in memory, for tests of the web: no photo is looked at."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar

from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    CropNotFound,
    FaceNotFound,
    InvalidParameter,
    KeyReused,
    ModelMismatch,
    ModelNotFound,
    NameTaken,
    NotFound,
    PersonNotFound,
)
from facesearch.interfaces import Collections, Gallery, People
from facesearch.records import (
    ALL_COLLECTIONS,
    DEFAULT_COLLECTION,
    DEFAULT_NUMBER,
    Box,
    Collection,
    Crop,
    EnrolledPhoto,
    EnrolmentTerms,
    FaceEdit,
    FaceProbe,
    FaceQuery,
    Metadata,
    Once,
    Page,
    Person,
    PersonEdit,
    PhotoFile,
    PhotoInfo,
    PhotoProbe,
    Probe,
    ProbeFace,
    SearchResult,
    SearchTerms,
    StoredFace,
    VectorProbe,
)
from facesearch.service.intake.names import given_name, shown_name

R = TypeVar("R")

BOX = Box(top=10, right=109, bottom=109, left=10)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL, DIMENSION = "model", 128
FOUND = SearchResult((ProbeFace(BOX, ()),), None, None, MODEL, 0.6)
_LONGEST_NAME = 255


class FakeCollections(Collections):
    """Keeps everything in memory, under one lock. Any thread may call it.

    Args:
        calls: what was asked is added to it.
        fail: raises what a test wants raised.
        found: what every search comes to.
        models: what vectors the service makes.
    """

    def __init__(
        self,
        calls: list[tuple[object, ...]] | None = None,
        fail: Callable[[], None] = lambda: None,
        found: Callable[[], SearchResult] = lambda: FOUND,
        models: Sequence[str] = (MODEL,),
    ) -> None:
        self.lock = threading.RLock()
        self.calls = [] if calls is None else calls
        self.fail = fail
        self.found = found
        self.answers: dict[str, tuple[str, object]] = {}
        self.face_ids = count(1)
        self.person_ids = count(1)
        self._models = models
        self._numbers = count(DEFAULT_NUMBER)
        self._known: dict[str, FakeGallery] = {}
        self.make(DEFAULT_COLLECTION)

    def add(self, name: str, model_id: str | None = None, once: Once | None = None) -> Collection:
        def work() -> Collection:
            plain = checked_name(name)
            if "/" in plain or plain in (ALL_COLLECTIONS, ".", ".."):
                raise InvalidParameter("A collection cannot have this name.")
            if model_id is not None and model_id not in self._models:
                raise ModelNotFound
            if plain in self._known:
                raise NameTaken
            return self.make(plain, model_id).row()

        return self.once(once, work, "add collection", name, model_id)

    def get(self, name: str) -> Collection:
        with self.lock:
            return self.existing(name).row()

    def page(self, limit: int, after: int | None = None) -> Page[Collection]:
        with self.lock:
            self.fail()
            return paged([gallery.row() for gallery in self._known.values()], limit, after, by_number)

    def delete(self, name: str) -> None:
        with self.lock:
            self.existing(name)
            if name == DEFAULT_COLLECTION:
                raise Conflict("The default collection can only be emptied.")
            del self._known[name]
            self.calls.append(("delete collection", name))

    def gallery(self, name: str) -> "FakeGallery":
        with self.lock:
            return self._known.get(name) or FakeGallery(self, Collection(0, name, None, NOW))

    def existing(self, name: str) -> "FakeGallery":
        """The gallery of a collection that is there."""
        self.fail()
        if name not in self._known:
            raise CollectionNotFound
        return self._known[name]

    def once(self, once: Once | None, work: Callable[[], R], *call: object) -> R:
        """Work, or return what was worked under this key."""
        with self.lock:
            self.fail()
            self.calls.append((*call, *([] if once is None else [once])))
            if once is None:
                return work()
            if once.key not in self.answers:
                self.answers[once.key] = (once.fingerprint, work())
            fingerprint, answer = self.answers[once.key]
            if fingerprint != once.fingerprint:
                raise KeyReused
            return answer  # type: ignore[return-value]

    def forget_people(self, ids: Sequence[int]) -> None:
        """Let repeated requests about these be worked anew."""
        about = {key for key, (_, one) in self.answers.items() if isinstance(one, Person) and one.id in ids}
        self.answers = {key: answer for key, answer in self.answers.items() if key not in about}

    def make(self, name: str, model_id: str | None = None) -> "FakeGallery":
        """Have a collection."""
        row = Collection(next(self._numbers), name, model_id, NOW)
        self._known[name] = FakeGallery(self, row)
        return self._known[name]


class FakeGallery(Gallery):
    """One collection. Every photo has as many faces as its bytes have the letter `f`, or one."""

    def __init__(self, house: FakeCollections, row: Collection) -> None:
        self.house = house
        self.kept: dict[int, StoredFace] = {}
        self.crops: dict[int, Crop] = {}
        self.digests: dict[bytes, list[int]] = {}
        self._row = row
        self._people = FakePeople(self)

    @property
    def people(self) -> "FakePeople":
        return self._people

    def row(self) -> Collection:
        """The collection with its counts."""
        model = self._row.model_id or (MODEL if self.kept else None)
        return replace(self._row, model_id=model, faces=len(self.kept), people=len(self._people.known))

    def check(self) -> None:
        """Raise what a test wants raised, or that there is no such collection."""
        if self.house.existing(self._row.name) is not self:
            raise CollectionNotFound

    def search(self, probe: Probe, terms: SearchTerms) -> SearchResult:
        with self.house.lock:
            self.check()
            self.house.calls.append(("search", self._row.name, probe, terms))
            match probe:
                case FaceProbe(face_id) if face_id not in self.kept:
                    raise FaceNotFound
                case VectorProbe(embedding, model_id):
                    if model_id != MODEL:
                        raise ModelMismatch
                    if embedding.shape != (DIMENSION,):
                        raise InvalidParameter(f"The vector must have {DIMENSION} numbers.", ["vector"])
                case PhotoProbe(photos, _, None) if len(photos) != 1:
                    raise InvalidParameter("One photo is searched with, or several are combined.")
            return self.house.found()

    def add_faces(self, photo: PhotoFile, terms: EnrolmentTerms, once: Once | None = None) -> EnrolledPhoto:
        def work() -> EnrolledPhoto:
            self.check()
            found = max(1, photo.data.count(b"f"))
            known = [face for face in self.digests.get(photo.data, []) if face in self.kept]
            if known and terms.skip_duplicates:
                return EnrolledPhoto(tuple(self.kept[face] for face in known), found, known[0])
            person = self._person(terms)
            number = found if terms.faces == "all" else 1
            stored = [self._store(photo.file_name, terms, person) for _ in range(number)]
            self.digests[photo.data] = [*known, *(face.id for face in stored)]
            return EnrolledPhoto(tuple(stored), found, known[0] if known else None)

        return self.house.once(once, work, "add faces", self._row.name, photo, terms)

    def faces(self, query: FaceQuery, limit: int, after: int | None = None) -> Page[StoredFace]:
        with self.house.lock:
            self.check()
            self.house.calls.append(("faces", self._row.name, query, limit, after))
            people, external_id = query.people, query.external_id
            kept = [
                face
                for face in self.kept.values()
                if (people is None or (face.person_id or 0) in people)
                and external_id in (None, face.external_id)
            ]
            return paged(kept, limit, after, by_id)

    def face(self, face_id: int) -> StoredFace:
        with self.house.lock:
            self.check()
            return known_in(self.kept, face_id, FaceNotFound.of(face_id))

    def edit_face(self, face_id: int, edit: FaceEdit) -> StoredFace:
        with self.house.lock:
            face = self.face(face_id)
            if "person_id" in edit.fields:
                self._people.give([face_id], edit.person_id)
                face = self.kept[face_id]
            if "external_id" in edit.fields:
                face = replace(face, external_id=edit.external_id)
            if "metadata" in edit.fields:
                face = replace(face, metadata=edit.metadata)
            self.kept[face_id] = face
            return face

    def thumbnail(self, face_id: int) -> Crop:
        with self.house.lock:
            self.face(face_id)
            return known_in(self.crops, face_id, CropNotFound())

    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        with self.house.lock:
            self.check()
            gone = [self.kept.pop(face_id).id for face_id in dict.fromkeys(face_ids) if face_id in self.kept]
            self._people.forget_empty()
            return gone

    def add(self, person_name: str = "", metadata: Metadata | None = None) -> StoredFace:
        """Have a face."""
        terms = EnrolmentTerms(person_name=person_name, metadata=metadata or {})
        with self.house.lock:
            return self._store("a.jpg", terms, self._person(terms))

    def _person(self, terms: EnrolmentTerms) -> Person | None:
        if terms.person_id is not None:
            return self._people.get(terms.person_id)
        name = "Ana" if terms.person_name is None else terms.person_name
        return (self._people.named(name) or self._people.make(name, kept=False)) if name else None

    def _store(self, file_name: str, terms: EnrolmentTerms, person: Person | None) -> StoredFace:
        face = StoredFace(
            next(self.house.face_ids),
            person.name if person else "",
            "",
            PhotoInfo(file_name, 250, 240),
            BOX,
            MODEL,
            DIMENSION,
            NOW,
            None,
            terms.external_id,
            terms.metadata,
            person.id if person else None,
        )
        self.kept[face.id] = face
        return face


class FakePeople(People):
    """The people of one collection."""

    def __init__(self, gallery: FakeGallery) -> None:
        self.known: dict[int, Person] = {}
        self._gallery = gallery
        self._house = gallery.house
        self._kept: set[int] = set()
        self._covers: dict[int, int] = {}

    def add(self, name: str, once: Once | None = None) -> Person:
        def work() -> Person:
            self._gallery.check()
            return self.make(name, kept=True)

        return self._house.once(once, work, "add person", name)

    def make(self, name: str, *, kept: bool) -> Person:
        """Have a person."""
        plain = checked_name(name)
        if self.named(plain):
            raise NameTaken
        person = Person(next(self._house.person_ids), plain, 0, None, NOW)
        self.known[person.id] = person
        if kept:
            self._kept.add(person.id)
        return person

    def page(self, limit: int, after: int | None = None) -> Page[Person]:
        with self._house.lock:
            self._gallery.check()
            return paged([self.get(person) for person in self.known], limit, after, by_id)

    def named(self, name: str) -> Person | None:
        with self._house.lock:
            self._gallery.check()
            plain = shown_name(name)
            return next((self.get(one.id) for one in self.known.values() if one.name == plain), None)

    def get(self, person_id: int) -> Person:
        with self._house.lock:
            self._gallery.check()
            nobody = PersonNotFound.of(person_id)
            person = known_in(self.known, person_id, nobody)
            own = self._faces(person_id)
            cover = self._covers.get(person_id)
            return replace(
                person, faces=len(own), cover_face=cover if cover in own else min(own, default=None)
            )

    def edit(self, person_id: int, edit: PersonEdit) -> Person:
        with self._house.lock:
            person = self.get(person_id)
            if "cover_face" in edit.fields and edit.cover_face not in (None, *self._faces(person_id)):
                raise FaceNotFound(f"Face {edit.cover_face} is none of person {person_id}'s.")
            if "name" in edit.fields:
                self._rename(person, checked_name(edit.name))
            if "cover_face" in edit.fields:
                self._covers.pop(person_id, None)
                if edit.cover_face is not None:
                    self._covers[person_id] = edit.cover_face
            return self.get(person_id)

    def merge(self, person_id: int, others: Sequence[int], once: Once | None = None) -> Person:
        def work() -> Person:
            person = self.get(person_id)
            for other in others:
                self.get(other)
            if person_id in others:
                raise InvalidParameter("A person cannot be merged with itself.")
            for other in others:
                self._give(self._faces(other), person)
                self.known.pop(other, None)
            self._house.forget_people(others)
            return self.get(person_id)

        return self._house.once(once, work, "merge", person_id, tuple(others))

    def assign(self, face_ids: Sequence[int], person_id: int | None, once: Once | None = None) -> list[int]:
        def work() -> list[int]:
            self._gallery.check()
            there = [face_id for face_id in dict.fromkeys(face_ids) if face_id in self._gallery.kept]
            self.give(there, person_id)
            return there

        return self._house.once(once, work, "assign", tuple(face_ids), person_id)

    def delete(self, person_id: int, *, with_faces: bool) -> list[int]:
        with self._house.lock:
            self.get(person_id)
            own = self._faces(person_id)
            self._give(own, None)
            self.known.pop(person_id)
            return self._gallery.delete_faces(own) if with_faces else []

    def give(self, face_ids: Iterable[int], person_id: int | None) -> None:
        """Let faces be somebody's, or nobody's."""
        self._give(face_ids, None if person_id is None else self.get(person_id))
        self.forget_empty()

    def forget_empty(self) -> None:
        """Let those be gone who came with faces and have none any more."""
        for person in list(self.known):
            if person not in self._kept and not self._faces(person):
                del self.known[person]

    def _rename(self, person: Person, name: str) -> None:
        other = self.named(name)
        if other is not None and other.id != person.id:
            raise NameTaken
        self.known[person.id] = replace(person, name=name)
        self._kept.add(person.id)
        self._give(self._faces(person.id), self.known[person.id])

    def _faces(self, person_id: int) -> list[int]:
        return [face.id for face in self._gallery.kept.values() if face.person_id == person_id]

    def _give(self, face_ids: Iterable[int], person: Person | None) -> None:
        for face_id in face_ids:
            face = self._gallery.kept[face_id]
            whose = (person.name, person.id) if person else ("", None)
            self._gallery.kept[face_id] = replace(face, person_name=whose[0], person_id=whose[1])


def checked_name(name: str) -> str:
    """A name as it is stored."""
    plain = given_name(name)
    if not 0 < len(plain) <= _LONGEST_NAME:
        raise InvalidParameter(f"A name has 1 to {_LONGEST_NAME} characters.")
    return plain


def known_in(known: dict[int, R], number: int, missing: NotFound) -> R:
    """What is there under a number."""
    if number not in known:
        raise missing
    return known[number]


def by_id(item: Person | StoredFace) -> int:
    """By what these are listed."""
    return item.id


def by_number(item: Collection) -> int:
    """By what collections are listed."""
    return item.number


def paged(items: Iterable[R], limit: int, after: int | None, key: Callable[[R], int]) -> Page[R]:
    """A part of a list."""
    left = sorted((item for item in items if key(item) > (after or 0)), key=key)
    return Page(tuple(left[:limit]), key(left[limit - 1]) if len(left) > limit else None)
