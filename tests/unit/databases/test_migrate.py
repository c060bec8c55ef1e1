import logging
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from facesearch.databases import SQLiteImageDatabase
from facesearch.databases.migrate import MIGRATIONS
from facesearch.databases.tables import SCHEMA_VERSION


def test_the_newest_migration_is_the_version_that_is_looked_for() -> None:
    assert ScriptDirectory(MIGRATIONS).get_current_head() == SCHEMA_VERSION


def test_revisions_are_ordered_as_text() -> None:
    revisions = [script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    assert all(len(revision) == 4 for revision in revisions)


def test_migrating_leaves_logging_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("uvicorn").disabled)
    database = SQLiteImageDatabase(tmp_path / "test.db")
    database.prepare()
    database.close()
    assert (root.level, list(root.handlers), logging.getLogger("uvicorn").disabled) == before


def test_a_migration_that_fails_leaves_nothing_in_a_sqlite_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SQLiteImageDatabase(tmp_path / "test.db")
    with monkeypatch.context() as patch:
        patch.setattr("uuid.uuid4", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            database.prepare()
    assert database.select("sqlite_master", ["name"]) == []
    database.prepare()
    assert database.newest_change() == 0
    database.close()
