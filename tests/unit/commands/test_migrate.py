"""The command `migrate`, on SQLite; tests/real/test_commands.py has MariaDB."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from facesearch.cli import main
from facesearch.databases.tables import SCHEMA_VERSION

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "config.json").write_text(json.dumps({"data_dir": "data"}))
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))

    def invoke(*arguments: str, ends: int = 0) -> Result:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == ends, result.output
        return result

    return invoke


def set_version(folder: Path, version: str) -> None:
    with closing(sqlite3.connect(folder / "data" / "facesearch.db")) as connection, connection:
        connection.execute("UPDATE FACESEARCH_VERSION SET version_num = ?", [version])


def test_tables_are_made_and_then_left_alone(run: Run, tmp_path: Path) -> None:
    said = run("migrate", "--check", ends=1).output
    assert said == f"There are no tables yet; `facesearch migrate` makes them, version {SCHEMA_VERSION}.\n"
    assert not (tmp_path / "data").exists()
    assert run("migrate").output == f"Made the tables, version {SCHEMA_VERSION}.\n"
    assert run("migrate").output.endswith("There is nothing to do.\n")
    assert run("migrate", "--check").output.endswith("There is nothing to do.\n")


def test_older_tables_are_brought_here(run: Run, tmp_path: Path) -> None:
    run("migrate")
    set_version(tmp_path, "0003")
    before = (tmp_path / "data" / "facesearch.db").read_bytes()
    said = run("migrate", "--check", ends=1).output
    assert said == (
        f"The tables are of version 0003; `facesearch migrate` brings them to version {SCHEMA_VERSION}.\n"
    )
    assert "`facesearch migrate` brings them there." in run("jobs", "list", ends=1).stderr
    assert (tmp_path / "data" / "facesearch.db").read_bytes() == before
    told = json.loads(run("migrate", "--json").output)
    assert told == {"from": "0003", "to": SCHEMA_VERSION, "up_to_date": False, "migrated": True}
    assert "There are no jobs." in run("jobs", "list").output


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_newer_programs_tables_are_refused(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    run("migrate")
    set_version(tmp_path, "9999")
    assert "a newer version of this program" in run("migrate", *options, ends=1).stderr


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_another_programs_table_is_refused(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "facesearch.db")) as connection:
        connection.execute("CREATE TABLE IMAGE_DATASET (a)")
    assert "of another program" in run("migrate", *options, ends=1).stderr
