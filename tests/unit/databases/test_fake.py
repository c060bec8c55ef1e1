import pytest

from facesearch.interfaces import ImageDatabase
from tests.contracts.image_database import ImageDatabaseContract
from tests.fakes import FakeImageDatabase


class TestFakeImageDatabase(ImageDatabaseContract):
    @pytest.fixture
    def database(self) -> ImageDatabase:
        return FakeImageDatabase()
