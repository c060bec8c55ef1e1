import pytest

from facesearch.databases import open_transfer_store
from tests.contracts.transfer_store import TransferStoreContract
from tests.engines import OnSQLite
from tests.fakes import FakeImageDatabase


class TestSQLTransferStoreOnSQLite(OnSQLite, TransferStoreContract):
    pass


def test_it_lies_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_transfer_store(FakeImageDatabase())
