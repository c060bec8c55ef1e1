"""Collections, people and galleries of the service on each database, with the index of the service."""

from collections.abc import Iterator

import pytest

from facesearch.config import (
    AccessSettings,
    DatabaseSettings,
    IntakeSettings,
    LimitSettings,
    QualitySettings,
    Settings,
)
from facesearch.databases import (
    open_collection_store,
    open_image_database,
    open_job_store,
    open_key_store,
)
from facesearch.interfaces import API, Collections
from facesearch.records import DEFAULT_COLLECTION, EVERY_FACE
from facesearch.search import ExactIndex
from facesearch.service import AGTAPI, EncodePhotos, KeyAccess
from facesearch.workers import InlinePool
from tests.conftest import ENGINES
from tests.contracts.api import Models, Photos
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.gallery_parts import GalleryParts
from tests.contracts.gallery_search import GallerySearchContract
from tests.contracts.people import PeopleContract
from tests.mariadb import MariaDB
from tests.unit.service.parts import COLOURS, NEGATIVES, FakeKinds, open_image
from tests.unit.service.test_api import PHOTOS


@pytest.fixture(scope="module", params=ENGINES)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[API]:
    """A service that all tests share: a fresh database takes a server seconds."""
    folder = tmp_path_factory.mktemp("collections")
    engine = DatabaseSettings()
    if request.param == "mysql":
        server: MariaDB = request.getfixturevalue("mariadb")
        engine = server.new_database()
    database = open_image_database(Settings(data_dir=folder / "data", database=engine))
    keys = open_key_store(database)
    encoder, pool = FakeKinds(), InlinePool()
    api = AGTAPI(
        database,
        encoder,
        ExactIndex(folder / "index", encoder.model_id, encoder.dimension, pool, 0),
        pool,
        collections=open_collection_store(database),
        jobs=open_job_store(database),
        keys=keys,
        access=KeyAccess(keys, folder / "access", AccessSettings()),
        imports_folder=folder / "imports",
        open_image=open_image,
        encode_photos=EncodePhotos(open_image, FakeKinds),
        limits=LimitSettings(),
        quality=QualitySettings(),
        intake=IntakeSettings(),
    )
    api.open()
    yield api
    api.close()


class OnEachDatabase(GalleryParts):
    @pytest.fixture
    def photos(self) -> Photos:
        return PHOTOS

    @pytest.fixture
    def models(self) -> Models:
        return Models(COLOURS, NEGATIVES, 3)

    @pytest.fixture
    def collections(self, api: API) -> Iterator[Collections]:
        """Those of the shared service, from which each test's are erased after it."""
        collections = api.collections
        yield collections
        for made in collections.page(100).items[1:]:
            collections.delete(made.name)
        default = collections.gallery(DEFAULT_COLLECTION)
        default.delete_faces([face.id for face in default.faces(EVERY_FACE, 100).items])
        for person in default.people.page(100).items:
            default.people.delete(person.id, with_faces=True)


class TestStoredCollections(OnEachDatabase, CollectionsContract):
    pass


class TestStoredPeople(OnEachDatabase, PeopleContract):
    pass


class TestCollectionGallery(OnEachDatabase, GalleryContract, GallerySearchContract):
    pass
