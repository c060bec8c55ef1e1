"""What the suites of collections, faces and people ask of a subclass."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import pytest

from facesearch.interfaces import Collections, Gallery
from facesearch.records import EnrolmentTerms, Metadata, PhotoFile, StoredFace
from tests.contracts.api import Models, Photos


class GalleryParts(ABC):
    @pytest.fixture
    @abstractmethod
    def photos(self) -> Photos:
        """Return photos; their faces need not be told apart."""

    @pytest.fixture
    @abstractmethod
    def models(self) -> Models:
        """Return two vector spaces that the service makes; the first is the configured one."""

    @pytest.fixture
    @abstractmethod
    def collections(self) -> Collections | Iterator[Collections]:
        """Return or yield the collections of a fresh service: none but the default one, and that is empty."""

    @pytest.fixture
    def gallery(self, collections: Collections) -> Gallery:
        """A collection that was made."""
        collections.add("people")
        return collections.gallery("people")


def enrolled(
    gallery: Gallery,
    photo: bytes,
    name: str = "",
    external_id: str | None = None,
    metadata: Metadata | None = None,
) -> StoredFace:
    """Store the largest face of a photo."""
    terms = EnrolmentTerms(person_name=name, external_id=external_id, metadata=metadata or {})
    (face,) = gallery.add_faces(PhotoFile("photo.png", photo), terms).faces
    return face
