"""Collections, people and galleries of the service on each database, with the index of the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.config import AccessSettings, IntakeSettings, LimitSettings, QualitySettings, Settings
from facesearch.databases import (
    open_collection_store,
    open_image_database,
    open_job_store,
    open_key_store,
)
from facesearch.interfaces import Collections
from facesearch.search import ExactIndex
from facesearch.service import AGTAPI, EncodePhotos, KeyAccess
from facesearch.workers import InlinePool
from tests.contracts.api import Models, Photos
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.gallery_parts import GalleryParts
from tests.contracts.gallery_search import GallerySearchContract
from tests.contracts.people import PeopleContract
from tests.unit.service.parts import COLOURS, NEGATIVES, FakeKinds, open_image
from tests.unit.service.test_api import PHOTOS


class OnEachDatabase(GalleryParts):
    @pytest.fixture
    def photos(self) -> Photos:
        return PHOTOS

    @pytest.fixture
    def models(self) -> Models:
        return Models(COLOURS, NEGATIVES, 3)

    @pytest.fixture
    def collections(self, database_settings: Settings, tmp_path: Path) -> Iterator[Collections]:
        database = open_image_database(database_settings)
        encoder, pool = FakeKinds(), InlinePool()
        api = AGTAPI(
            database,
            encoder,
            ExactIndex(tmp_path / "index", encoder.model_id, encoder.dimension, pool, 0),
            pool,
            collections=open_collection_store(database),
            jobs=open_job_store(database),
            keys=(keys := open_key_store(database)),
            access=KeyAccess(keys, tmp_path / "access", AccessSettings()),
            imports_folder=tmp_path / "imports",
            open_image=open_image,
            encode_photos=EncodePhotos(open_image, FakeKinds),
            limits=LimitSettings(),
            quality=QualitySettings(),
            intake=IntakeSettings(),
        )
        api.open()
        yield api.collections
        api.close()


class TestStoredCollections(OnEachDatabase, CollectionsContract):
    pass


class TestStoredPeople(OnEachDatabase, PeopleContract):
    pass


class TestCollectionGallery(OnEachDatabase, GalleryContract, GallerySearchContract):
    pass
