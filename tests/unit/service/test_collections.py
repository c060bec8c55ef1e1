import pytest

from facesearch.interfaces import Collections
from tests.contracts.api import Models, Photos
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.gallery_parts import GalleryParts
from tests.contracts.gallery_search import GallerySearchContract
from tests.contracts.people import PeopleContract
from tests.unit.service.conftest import Opened
from tests.unit.service.parts import COLOURS, NEGATIVES
from tests.unit.service.test_api import PHOTOS


class OfColours(GalleryParts):
    @pytest.fixture
    def photos(self) -> Photos:
        return PHOTOS

    @pytest.fixture
    def models(self) -> Models:
        return Models(COLOURS, NEGATIVES, 3)

    @pytest.fixture
    def collections(self, opened: Opened) -> Collections:
        return opened().collections


class TestStoredCollections(OfColours, CollectionsContract):
    pass


class TestStoredPeople(OfColours, PeopleContract):
    pass


class TestCollectionGallery(OfColours, GalleryContract, GallerySearchContract):
    pass
