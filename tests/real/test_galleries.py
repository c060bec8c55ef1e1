"""Collections, people and galleries of the service on each database, with the index of the service."""

from collections.abc import Iterator

import pytest

from facesearch.config import DatabaseSettings, Settings
from facesearch.databases import open_image_database
from facesearch.interfaces import API, Collections
from facesearch.records import DEFAULT_COLLECTION, EVERY_FACE
from facesearch.search import ExactIndex
from facesearch.workers import InlinePool
from tests.conftest import ENGINES
from tests.contracts.collections import CollectionsContract
from tests.contracts.gallery import GalleryContract
from tests.contracts.gallery_parts import GalleryParts
from tests.contracts.gallery_search import GallerySearchContract
from tests.contracts.people import PeopleContract
from tests.mariadb import MariaDB
from tests.unit.service.parts import FakeKinds, OfColours, Parts


@pytest.fixture(scope="module", params=ENGINES)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[API]:
    """A service that all tests share: a fresh database takes a server seconds."""
    folder = tmp_path_factory.mktemp("collections")
    engine = DatabaseSettings()
    if request.param == "mysql":
        server: MariaDB = request.getfixturevalue("mariadb")
        engine = server.new_database()
    database = open_image_database(Settings(data_dir=folder / "data", database=engine))
    encoder, pool = FakeKinds(), InlinePool()
    index = ExactIndex(folder / "index", encoder.model_id, encoder.dimension, pool, 0)
    api = Parts(database, encoder, pool, index=index).make(folder / "imports")
    api.open()
    yield api
    api.close()


class OnEachDatabase(OfColours, GalleryParts):
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
