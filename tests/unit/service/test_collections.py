import pytest

from facesearch.interfaces import Collections
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.gallery_parts import GalleryParts
from tests.contracts.gallery_search import GallerySearchContract
from tests.contracts.people import PeopleContract
from tests.unit.service.conftest import Opened
from tests.unit.service.parts import OfColours


class OfOneDatabase(OfColours, GalleryParts):
    @pytest.fixture
    def collections(self, opened: Opened) -> Collections:
        return opened().collections


class TestStoredCollections(OfOneDatabase, CollectionsContract):
    pass


class TestStoredPeople(OfOneDatabase, PeopleContract):
    pass


class TestCollectionGallery(OfOneDatabase, GalleryContract, GallerySearchContract):
    pass
