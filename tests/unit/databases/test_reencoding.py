import pytest

from facesearch.databases import open_reencoding_store
from tests.contracts.reencoding_store import ReencodingStoreContract
from tests.engines import OnSQLite
from tests.fakes import FakeImageDatabase


class TestSQLReencodingStoreOnSQLite(OnSQLite, ReencodingStoreContract):
    pass


def test_it_lies_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_reencoding_store(FakeImageDatabase())
