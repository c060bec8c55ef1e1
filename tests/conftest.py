"""Fixtures for every test: a throwaway database server, and settings for a fresh database on each engine."""

from collections.abc import Iterator
from pathlib import Path

# Loaded before any test loads dlib or ONNX Runtime; later it may find no room for its thread-local data.
import _mysql_connector  # noqa: F401
import hypothesis
import pytest

from facesearch.config import DatabaseSettings, Settings
from tests.mariadb import MariaDB, NoServerProgram

# The same examples in each run, and none fails for the time that it took: a busy machine takes any.
hypothesis.settings.load_profile("ci")

ENGINES = ["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)]


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """One server for the session; tests that stop or kill a server start one of their own."""
    try:
        server = MariaDB()
    except NoServerProgram as reason:
        pytest.skip(f"No database server: {reason}.")
    with server:
        yield server


@pytest.fixture(params=ENGINES)
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings that lead to a fresh, empty database: one test on SQLite, one on MariaDB."""
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path / "data", database=DatabaseSettings(engine="sqlite"))
    server: MariaDB = request.getfixturevalue("mariadb")
    return Settings(data_dir=tmp_path / "data", database=server.new_database())
