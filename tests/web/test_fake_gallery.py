"""The gallery in memory does what the service's does, so that tests of routes rest on it."""

import pytest

from facesearch.interfaces import Collections
from tests.contracts.api import Models, Photos
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.people import PeopleContract
from tests.web.fake_gallery import DIMENSION, MODEL, FakeCollections


class _Parts:
    @pytest.fixture
    def photos(self) -> Photos:
        return Photos(b"1", b"2", b"3", b"4ff", b"")

    @pytest.fixture
    def models(self) -> Models:
        return Models(MODEL, "other", DIMENSION)

    @pytest.fixture
    def collections(self, models: Models) -> Collections:
        return FakeCollections(models=(models.first, models.second))


class TestFakeCollections(_Parts, CollectionsContract):
    pass


class TestFakeGallery(_Parts, GalleryContract):
    pass


class TestFakePeople(_Parts, PeopleContract):
    pass
