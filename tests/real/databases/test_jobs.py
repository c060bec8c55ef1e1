from collections.abc import Iterator

import pytest

from facesearch.databases import MySQLImageDatabase, SQLImageDatabase, SQLJobStore
from facesearch.interfaces import ImageDatabase, JobStore
from tests.contracts.job_parts import Clock
from tests.contracts.job_store import JobStoreContract
from tests.mariadb import MariaDB


@pytest.mark.mysql
class TestSQLJobStoreOnMySQL(JobStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def jobs(self, database: ImageDatabase, clock: Clock) -> JobStore:
        assert isinstance(database, SQLImageDatabase)
        return SQLJobStore(database, clock)
