"""Faces, people and collections that are to be gone without a trace."""

from collections.abc import Sequence

from facesearch.service.galleries import Galleries


class Erasure:
    """Lives as long as its process. Any thread may call it."""

    def __init__(self, galleries: Galleries) -> None:
        self._galleries = galleries

    def delete_faces(self, collection: str, face_ids: Sequence[int]) -> list[int]:
        """See Gallery.delete_faces."""
        raise NotImplementedError

    def delete_person(self, collection: str, person_id: int, *, with_faces: bool) -> list[int]:
        """See People.delete."""
        raise NotImplementedError

    def delete_collection(self, collection: str) -> None:
        """See Collections.delete."""
        raise NotImplementedError
