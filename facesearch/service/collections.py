"""The collections of the service."""

import unicodedata

from facesearch.errors import ModelMismatch, ModelNotFound
from facesearch.interfaces import Collections
from facesearch.records import Collection, Once, Page
from facesearch.service.gallery import CollectionGallery, GalleryParts


class StoredCollections(Collections):
    """Lives as long as its process. Any thread may call it."""

    def __init__(self, parts: GalleryParts) -> None:
        self._parts = parts
        self._galleries = parts.galleries
        self._store = parts.galleries.store

    def add(self, name: str, model_id: str | None = None, once: Once | None = None) -> Collection:
        """See Collections."""
        answers = self._parts.answers
        if (first := answers.find(once)) is not None:
            return self._store.counted(first["collection"])
        dimension = None if model_id is None else self._dimension(model_id)
        name = unicodedata.normalize("NFC", name)
        return answers.write(
            once,
            lambda: self._store.add(name, model_id, dimension),
            lambda made: {"collection": made.name},
            lambda first: self._store.counted(first["collection"]),
            about=lambda made: [f"collection:{made.number}"],
        )

    def get(self, name: str) -> Collection:
        """See Collections."""
        return self._store.counted(name)

    def page(self, limit: int, after: int | None = None) -> Page[Collection]:
        """See Collections."""
        return self._store.collections(limit, after)

    def delete(self, name: str) -> None:
        """See Collections."""
        self._parts.erasure.delete_collection(name)

    def gallery(self, name: str) -> CollectionGallery:
        """See Collections."""
        return CollectionGallery(name, self._parts)

    def _dimension(self, model_id: str) -> int:
        try:
            return self._galleries.encoders.of(model_id).dimension
        except ModelMismatch:
            raise ModelNotFound from None
