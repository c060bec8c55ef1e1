"""The collections of a running service over HTTP, their faces and their people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from facesearch.commands.collection_source import CollectionSource, CollectionsSource
from facesearch.commands.remote_service import Query, RemoteService
from facesearch.errors import PersonNotFound, Unavailable

_MOST_IDS = 1000


class RemoteCollection(CollectionSource):
    """A collection of a service. Lives for one command.

    Args:
        collection: None for that of the key.
    """

    def __init__(self, service: RemoteService, collection: str | None) -> None:
        self._service = service
        self._query: Query = {"collection": collection}

    def faces(
        self, person: int | str | None, external_id: str | None, conditions: str | None, most: int | None
    ) -> Iterator[dict[str, Any]]:
        """See CollectionSource."""
        whose = self.person(person)["id"] if isinstance(person, str) else person
        query = {**self._query, "person": whose, "external_id": external_id, "filter": conditions}
        return self._service.listed("v1/faces", "faces", query, most)

    def face(self, face_id: int) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("GET", f"v1/faces/{face_id}")

    def edit_face(self, face_id: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("PATCH", f"v1/faces/{face_id}", fields)

    def thumbnail(self, face_id: int) -> tuple[str, bytes]:
        """See CollectionSource."""
        return self._service.fetched(f"v1/faces/{face_id}/thumbnail", self._query)

    def delete_faces(self, face_ids: Sequence[int]) -> list[int]:
        """See CollectionSource."""
        return self._in_parts("v1/faces/delete", face_ids, "deleted")

    def unassign(self, face_ids: Sequence[int]) -> list[int]:
        """See CollectionSource."""
        return self._in_parts("v1/faces/unassign", face_ids, "unassigned")

    def people(self, most: int | None) -> Iterator[dict[str, Any]]:
        """See CollectionSource."""
        return self._service.listed("v1/people", "people", self._query, most)

    def person(self, person: int | str) -> dict[str, Any]:
        """See CollectionSource."""
        if isinstance(person, int):
            return self._ask("GET", f"v1/people/{person}")
        found = list(self._service.listed("v1/people", "people", {**self._query, "name": person}, 1))
        if not found:
            raise PersonNotFound(f"There is no person called {person!r}.")
        return found[0]

    def add_person(self, name: str) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("POST", "v1/people", {"name": name})

    def rename_person(self, person_id: int, name: str) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("PATCH", f"v1/people/{person_id}", {"name": name})

    def set_cover(self, person_id: int, face_id: int | None) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("PATCH", f"v1/people/{person_id}", {"cover_face": face_id})

    def merge_people(self, person_id: int, others: Sequence[int]) -> dict[str, Any]:
        """See CollectionSource."""
        return self._ask("POST", f"v1/people/{person_id}/merge", {"people": list(others)})

    def assign(self, person_id: int, face_ids: Sequence[int]) -> list[int]:
        """See CollectionSource."""
        return self._in_parts(f"v1/people/{person_id}/faces", face_ids, "assigned")

    def delete_person(self, person_id: int, *, with_faces: bool) -> list[int]:
        """See CollectionSource."""
        query = {**self._query, "faces": "delete" if with_faces else "keep"}
        answer = self._service.ask("DELETE", f"v1/people/{person_id}", query)
        return self._ids(answer, "deleted")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._service.ask(method, path, self._query, body=body)

    def _in_parts(self, path: str, face_ids: Sequence[int], field: str) -> list[int]:
        """Post ids, as many at a time as a request may hold."""
        done: list[int] = []
        for at in range(0, len(face_ids), _MOST_IDS):
            answer = self._ask("POST", path, {"faces": list(face_ids[at : at + _MOST_IDS])})
            done += self._ids(answer, field)
        return done

    def _ids(self, answer: Mapping[str, Any], field: str) -> list[int]:
        ids = answer.get(field)
        if not isinstance(ids, list):
            raise Unavailable(f"What {self._service.name} answers is not understood: is it a facesearch?")
        return ids


class RemoteCollections(CollectionsSource):
    """The collections of a service. Lives for one command."""

    def __init__(self, service: RemoteService) -> None:
        self._service = service

    def collections(self, most: int | None) -> Iterator[dict[str, Any]]:
        """See CollectionsSource."""
        return self._service.listed("v1/collections", "collections", {}, most)

    def collection(self, name: str) -> dict[str, Any]:
        """See CollectionsSource."""
        return self._service.ask("GET", _path(name))

    def add(self, name: str, model: str | None) -> dict[str, Any]:
        """See CollectionsSource."""
        body = {"name": name} | ({} if model is None else {"model": model})
        return self._service.ask("POST", "v1/collections", body=body)

    def delete(self, name: str) -> None:
        """See CollectionsSource."""
        self._service.ask("DELETE", _path(name))


def _path(name: str) -> str:
    return f"v1/collections/{quote(name, safe='')}"
