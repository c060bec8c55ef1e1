"""What commands do with collections, their faces and their people, with no service between."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from facesearch.bootstrap.direct import changing_api, looking_api
from facesearch.config import Settings
from facesearch.errors import PersonNotFound
from facesearch.interfaces import API, Gallery
from facesearch.records import LOCAL, Deed, FaceEdit, FaceQuery, Page, Person, PersonEdit
from facesearch.web import gallery_answers as answers
from facesearch.web.callers import collection_label, collection_of, person_labels
from facesearch.web.filters import conditions_of

T = TypeVar("T")

OpenAPI = Callable[[bool], API]
"""Makes the service's parts; they may change something where this is true."""

_PAGE = 1000


class Installation:
    """The service's parts in this process, for one command: made when they are first needed.

    They only read until something is to be changed, which the audit log then tells of.
    """

    def __init__(self, opening: OpenAPI) -> None:
        self._opening = opening
        self._api: API | None = None
        self._may_change = False

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[Self]:
        """Those that the settings name."""
        made = cls(lambda changes: (changing_api if changes else looking_api)(settings))
        try:
            yield made
        finally:
            made.close()

    def api(self, *, changes: bool = False) -> API:
        """The parts, such as may change something where that is wanted."""
        if changes and not self._may_change:
            self.close()
        if self._api is None:
            self._api = self._opening(changes)
            self._may_change = changes
        return self._api

    def did(self, what: str, *ids: int | str) -> None:
        """Have the audit log tell of a change."""
        self.api(changes=True).access.record(Deed(LOCAL.who, LOCAL.name, what, ids))

    def close(self) -> None:
        """Release the parts."""
        if self._api is not None:
            self._api.close()
            self._api = None


class DirectCollection:
    """A collection in the shapes of the routes below /v1. Lives for one command.

    Raises:
        CollectionNotFound: none can have this name.
    """

    def __init__(self, installation: Installation, name: str) -> None:
        self._installation = installation
        self._name = collection_of(LOCAL, name)

    @classmethod
    @contextmanager
    def of(cls, settings: Settings, name: str) -> Iterator[Self]:
        """One of the database that the settings name."""
        with Installation.of(settings) as installation:
            yield cls(installation, name)

    def faces(
        self, person: int | str | None, external_id: str | None, conditions: str | None, most: int | None
    ) -> Iterator[dict[str, Any]]:
        """Yield faces by rising id: of an id or a name, 0 for nobody, and whose metadata a filter keeps."""
        read = () if conditions is None else conditions_of(conditions)
        if isinstance(person, str):
            person = self._called(person).id
        people = None if person is None else frozenset([person])
        query = FaceQuery(people, external_id, read)
        yield from map(answers.face, _paged(lambda limit, at: self._gallery().faces(query, limit, at), most))

    def face(self, face_id: int) -> dict[str, Any]:
        """Return a face."""
        return answers.face(self._gallery().face(face_id))

    def edit_face(self, face_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Set a face's `external_id` or `metadata`, and return it."""
        edited = self._changing().edit_face(face_id, FaceEdit(frozenset(fields), **fields))
        self._installation.did("faces edit", face_id)
        return answers.face(edited)

    def thumbnail(self, face_id: int) -> tuple[str, bytes]:
        """Return the media type and the bytes of a face's picture."""
        crop = self._gallery().thumbnail(face_id)
        return crop.media_type, crop.data

    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        """Erase faces; return the ids of those that were there."""
        gone = self._changing().delete_faces(face_ids)
        self._installation.did("faces delete", *gone)
        return gone

    def unassign(self, face_ids: Sequence[int]) -> list[int]:
        """Let faces be nobody's; return the ids of those that there are."""
        done = self._changing().people.assign(face_ids, None)
        self._installation.did("faces unassign", *done)
        return done

    def people(self, most: int | None) -> Iterator[dict[str, Any]]:
        """Yield people by rising id."""
        yield from map(answers.person, _paged(lambda limit, at: self._gallery().people.page(limit, at), most))

    def person(self, person: int | str) -> dict[str, Any]:
        """Return the person of an id or a name."""
        if isinstance(person, str):
            return answers.person(self._called(person))
        return answers.person(self._gallery().people.get(person))

    def add_person(self, name: str) -> dict[str, Any]:
        """Make a person."""
        made = self._changing().people.add(name)
        self._installation.did("people create", *person_labels(made.id))
        return answers.person(made)

    def rename_person(self, person_id: int, name: str) -> dict[str, Any]:
        """Give a person another name."""
        renamed = self._changing().people.edit(person_id, PersonEdit(frozenset(["name"]), name))
        self._installation.did("people rename", *person_labels(person_id))
        return answers.person(renamed)

    def set_cover(self, person_id: int, face_id: int | None) -> dict[str, Any]:
        """Choose the face that stands for a person."""
        edit = PersonEdit(frozenset(["cover_face"]), cover_face=face_id)
        person = self._changing().people.edit(person_id, edit)
        self._installation.did("people cover", *person_labels(person_id))
        return answers.person(person)

    def merge_people(self, person_id: int, others: Sequence[int]) -> dict[str, Any]:
        """Give a person all faces of others, who are gone then."""
        merged = self._changing().people.merge(person_id, others)
        self._installation.did("people merge", *person_labels(person_id, *others))
        return answers.person(merged)

    def assign(self, person_id: int, face_ids: Sequence[int]) -> list[int]:
        """Say whose faces these are; return the ids of those that there are."""
        done = self._changing().people.assign(face_ids, person_id)
        self._installation.did("people assign", *person_labels(person_id), *done)
        return done

    def delete_person(self, person_id: int, *, with_faces: bool) -> list[int]:
        """Erase a person; return the ids of the faces that were erased."""
        gone = self._changing().people.delete(person_id, with_faces=with_faces)
        self._installation.did("people delete", *person_labels(person_id), *gone)
        return gone

    def _called(self, name: str) -> Person:
        if (found := self._gallery().people.named(name)) is None:
            raise PersonNotFound(f"There is no person called {name!r}.")
        return found

    def _gallery(self) -> Gallery:
        return self._installation.api().collections.gallery(self._name)

    def _changing(self) -> Gallery:
        return self._installation.api(changes=True).collections.gallery(self._name)


class DirectCollections:
    """All collections, in the shapes of the routes below /v1. Lives for one command."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Iterator[Self]:
        """Those of the database that the settings name."""
        with Installation.of(settings) as installation:
            yield cls(installation)

    def collections(self, most: int | None) -> Iterator[dict[str, Any]]:
        """Yield collections, the oldest first."""
        collections = self._installation.api().collections
        yield from map(answers.collection, _paged(collections.page, most))

    def collection(self, name: str) -> dict[str, Any]:
        """Return one of them."""
        return answers.collection(self._installation.api().collections.get(collection_of(LOCAL, name)))

    def add(self, name: str, model: str | None) -> dict[str, Any]:
        """Make one."""
        made = self._installation.api(changes=True).collections.add(name, model)
        self._installation.did("collections create", collection_label(made.number))
        return answers.collection(made)

    def delete(self, name: str) -> None:
        """Erase one with all that belongs to it."""
        collections = self._installation.api(changes=True).collections
        number = collections.get(collection_of(LOCAL, name)).number
        collections.delete(name)
        self._installation.did("collections delete", collection_label(number))


def _paged(page_of: Callable[[int, int | None], Page[T]], most: int | None) -> Iterator[T]:
    """Yield the elements of a list that is asked for page by page, `most` of them or all."""
    at: int | None = None
    left = most
    while left is None or left > 0:
        page = page_of(_PAGE if left is None else min(left, _PAGE), at)
        yield from page.items
        at = page.next
        if at is None:
            return
        left = None if left is None else left - len(page.items)
