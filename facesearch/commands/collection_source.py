"""A collection and the collections, as commands need them: in the database itself, or with a service."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol


class CollectionSource(Protocol):
    """A collection, in the shapes of the routes below /v1; errors are those of its Gallery."""

    def faces(
        self, person: int | str | None, external_id: str | None, conditions: str | None, most: int | None
    ) -> Iterator[dict[str, Any]]:
        """Faces by rising id: of an id or a name, 0 for nobody, and whose metadata a filter's JSON keeps."""

    def face(self, face_id: int) -> dict[str, Any]:
        """One face."""

    def edit_face(self, face_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Set a face's `external_id` or `metadata`, and return it."""

    def thumbnail(self, face_id: int) -> tuple[str, bytes]:
        """The media type and the bytes of a face's picture."""

    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        """Erase faces; the ids of those that were there."""

    def unassign(self, face_ids: Sequence[int]) -> list[int]:
        """Let faces be nobody's; the ids of those that there are."""

    def people(self, most: int | None) -> Iterator[dict[str, Any]]:
        """People by rising id."""

    def person(self, person: int | str) -> dict[str, Any]:
        """The person of an id or a name."""

    def add_person(self, name: str) -> dict[str, Any]:
        """Make a person."""

    def rename_person(self, person_id: int, name: str) -> dict[str, Any]:
        """Give a person another name."""

    def set_cover(self, person_id: int, face_id: int | None) -> dict[str, Any]:
        """Choose the face that stands for a person."""

    def merge_people(self, person_id: int, others: Sequence[int]) -> dict[str, Any]:
        """Give a person all faces of others, who are gone then."""

    def assign(self, person_id: int, face_ids: Sequence[int]) -> list[int]:
        """Say whose faces these are; the ids of those that there are."""

    def delete_person(self, person_id: int, *, with_faces: bool) -> list[int]:
        """Erase a person; the ids of the faces that were erased."""


class CollectionsSource(Protocol):
    """All collections, in the shapes of the routes below /v1."""

    def collections(self, most: int | None) -> Iterator[dict[str, Any]]:
        """Collections, the oldest first."""

    def collection(self, name: str) -> dict[str, Any]:
        """One of them."""

    def add(self, name: str, model: str | None) -> dict[str, Any]:
        """Make one."""

    def delete(self, name: str) -> None:
        """Erase one with all that belongs to it."""
