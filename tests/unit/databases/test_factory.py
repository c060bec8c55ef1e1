import stat
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch import databases
from facesearch.config import DatabaseSettings, Settings
from facesearch.databases import SQLiteImageDatabase, open_image_database
from facesearch.errors import InvalidConfig


def test_the_embedded_database_lies_in_a_folder_of_its_owner(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    database = open_image_database(Settings(data_dir=folder))
    assert isinstance(database, SQLiteImageDatabase)
    assert list(folder.iterdir()) == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    database.prepare()
    database.close()
    assert (folder / "facesearch.db").exists()


def test_a_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidConfig) as caught:
        open_image_database(Settings(data_dir=tmp_path / "file" / "data"))
    assert str(tmp_path) not in str(caught.value)


def loaded_after(statement: str) -> set[str]:
    """The modules that one statement loads in a fresh interpreter; a coverage run brings some of its own."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


def test_importing_the_room_loads_no_database() -> None:
    assert not loaded_after("import facesearch.databases") & {"sqlalchemy", "mysql", "alembic", "sqlite3"}


def test_the_embedded_database_loads_no_driver_of_mysql() -> None:
    modules = loaded_after("from facesearch.databases import SQLiteImageDatabase")
    assert not modules & {"mysql", "_mysql_connector", "alembic"}


def test_a_prepared_database_is_opened_without_alembic(tmp_path: Path) -> None:
    database = SQLiteImageDatabase(tmp_path / "test.db")
    database.prepare()
    database.close()
    made = f"SQLiteImageDatabase(pathlib.Path({str(tmp_path)!r}) / 'test.db').prepare()"
    modules = loaded_after(f"import pathlib; from facesearch.databases import SQLiteImageDatabase; {made}")
    assert "sqlalchemy" in modules
    assert "alembic" not in modules


def test_the_room_exports_what_it_says() -> None:
    assert all(getattr(databases, name).__name__ == name for name in databases.__all__)
    with pytest.raises(AttributeError):
        _ = databases.Nothing


def test_a_missing_driver_is_a_config_error() -> None:
    program = (
        "import sys; sys.modules['_mysql_connector'] = None\n"
        "from facesearch.config import DatabaseSettings, Settings\n"
        "from facesearch.databases import open_image_database\n"
        "from facesearch.errors import InvalidConfig\n"
        "try: open_image_database(Settings(database=DatabaseSettings(engine='mysql')))\n"
        "except InvalidConfig: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "refused"


def test_making_a_database_on_a_server_does_not_connect() -> None:
    settings = DatabaseSettings(engine="mysql", host="192.0.2.1", port=9, wait_s=1)
    open_image_database(Settings(database=settings)).close()
