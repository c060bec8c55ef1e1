"""The commands `keys`: what they take, what they print, how they end."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap.keys import stored_keys
from facesearch.cli import main
from facesearch.config import Settings
from facesearch.databases import open_collection_store, open_image_database
from facesearch.service.keys.key_text import digest_of, prefix_of

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"data_dir": "data"}))
    monkeypatch.setenv("FACESEARCH_CONFIG", str(config))
    monkeypatch.setenv("COLUMNS", "120")

    def invoke(*arguments: str, ends: int = 0) -> Result:
        result = CliRunner().invoke(main, ["keys", *arguments])
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def made(run: Run) -> Callable[..., dict[str, Any]]:
    def make(*arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(run("create", *arguments, "--json").stdout)
        return told

    return make


def test_a_key_is_shown_once(run: Run, tmp_path: Path) -> None:
    told = run("create", "--scope", "read", "--name", "Ada's phone").stdout
    [text] = re.findall(r"^  (fs_\S+)$", told, re.MULTILINE)
    prefix = prefix_of(text) or ""
    made = f"Made the key {prefix} of scope read for the collection default, which never expires."
    assert made in " ".join(told.split())
    [key] = stored_keys(Settings(data_dir=tmp_path / "data"))
    assert (key.prefix, key.name, key.digest) == (prefix, "Ada's phone", digest_of(text))
    listed = run("list").stdout
    assert prefix in listed
    secret = text.split("_")[2]
    assert secret not in listed + run("list", "--json").stdout
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert prefix.encode() in stored
    assert secret.encode() not in stored


@pytest.fixture
def database(tmp_path: Path) -> None:
    with closing(open_image_database(Settings(data_dir=tmp_path / "data"))) as made:
        made.prepare()


@pytest.mark.parametrize("command", [("list",), ("revoke", "unknown")])
def test_no_database_is_made_but_for_the_first_key(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert "There is no database yet" in run(*command, ends=1).stderr
    assert not (tmp_path / "data").exists()
    run("create", "--scope", "read")
    assert run("list").stdout


@pytest.mark.parametrize("command", [("list",), ("revoke", "unknown"), ("create", "--scope", "read")])
@pytest.mark.usefixtures("database")
def test_older_tables_are_left_as_they_are(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "data" / "facesearch.db"
    with closing(sqlite3.connect(file)) as older:
        older.execute("UPDATE FACESEARCH_VERSION SET version_num = '0003'")
        older.commit()
    assert "`facesearch migrate` brings them there." in run(*command, ends=1).stderr
    with closing(sqlite3.connect(file)) as left:
        assert left.execute("SELECT version_num FROM FACESEARCH_VERSION").fetchall() == [("0003",)]


@pytest.mark.usefixtures("database")
def test_keys_are_listed_with_what_is_known_of_them(run: Run, made: Callable[..., dict[str, Any]]) -> None:
    assert "There are no keys" in run("list").stdout
    assert json.loads(run("list", "--json").stdout) == []
    first, second = made("--scope", "admin"), made("--scope", "write", "--expires", "90d")
    assert run("revoke", first["prefix"]).stdout.startswith(f"The key {first['prefix']} is revoked")
    listed = json.loads(run("list", "--json").stdout)
    assert [(key["prefix"], key["scope"], key["state"]) for key in listed] == [
        (first["prefix"], "admin", "revoked"),
        (second["prefix"], "write", "active"),
    ]
    assert listed[1] == {name: value for name, value in second.items() if name != "key"}
    assert listed[0]["revoked_at"]
    lines = run("list").stdout.splitlines()
    assert lines[0].split()[:5] == ["prefix", "name", "scope", "collection", "state"]
    assert lines[1].split()[0] == first["prefix"]


def test_a_key_is_revoked_by_its_prefix_or_its_whole_text(
    run: Run, made: Callable[..., dict[str, Any]]
) -> None:
    keys = [made("--scope", "read") for _ in range(2)]
    assert json.loads(run("revoke", keys[0]["prefix"], "--json").stdout)["state"] == "revoked"
    assert json.loads(run("revoke", keys[1]["key"], "--json").stdout)["prefix"] == keys[1]["prefix"]
    run("revoke", keys[1]["prefix"])
    assert "no key with this prefix" in run("revoke", "unknown", ends=1).stderr


def test_a_key_is_for_one_collection_or_for_all(
    run: Run, made: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run("create", "--scope", "read")
    with closing(open_image_database(Settings(data_dir=tmp_path / "data"))) as database:
        open_collection_store(database).add("Gäste")
    assert made("--scope", "read", "--collection", "Gäste")["collection"] == "Gäste"
    # As other keyboards spell it.
    assert made("--scope", "read", "--collection", "Ga\N{COMBINING DIAERESIS}ste")["collection"] == "Gäste"
    assert made("--scope", "admin", "--collection", "*")["collection"] == "*"
    assert "for all collections" in run("create", "--scope", "read", "--collection", "*").stdout
    assert "for the collection Gäste" in run("create", "--scope", "read", "--collection", "Gäste").stdout


@pytest.mark.parametrize(
    ("text", "ahead"),
    [("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("4w", timedelta(weeks=4))],
)
def test_a_key_may_end_after_a_while(
    made: Callable[..., dict[str, Any]], text: str, ahead: timedelta
) -> None:
    before = datetime.now(UTC)
    expires_at = datetime.fromisoformat(made("--scope", "read", "--expires", text)["expires_at"])
    assert before + ahead <= expires_at <= datetime.now(UTC) + ahead


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2999-01-31", "2999-01-31T00:00:00+00:00"),
        ("2999-01-31T12:30", "2999-01-31T12:30:00+00:00"),
        ("2999-01-31T12:30+02:00", "2999-01-31T10:30:00+00:00"),
    ],
)
def test_a_key_may_end_at_a_moment(run: Run, text: str, moment: str) -> None:
    told = json.loads(run("create", "--scope", "read", "--expires", text, "--json").stdout)
    assert told["expires_at"] == moment
    said = run("create", "--scope", "read", "--expires", text).stdout
    assert "which expires at 2999-01-31" in " ".join(said.split())


@pytest.mark.parametrize(
    "text", ["", "soon", "90", "d", "-1d", "0d", "1.5d", "9999999d", "999999w", "2001-01-01", "2999-13-01"]
)
@pytest.mark.usefixtures("database")
def test_an_end_that_cannot_be_is_refused(run: Run, text: str) -> None:
    assert run("create", "--scope", "read", "--expires", text, ends=1).stderr
    assert json.loads(run("list", "--json").stdout) == []


def test_what_cannot_be_made_is_refused_in_a_sentence(run: Run) -> None:
    assert "no collection 'other'" in run("create", "--scope", "read", "--collection", "other", ends=1).stderr
    assert "--scope" in run("create", ends=2).stderr
    assert "owner" in run("create", "--scope", "owner", ends=2).stderr
    assert "one line" in run("create", "--scope", "read", "--name", "a\nb", ends=1).stderr


def test_changes_of_keys_are_in_the_audit_log(
    run: Run, made: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    key = made("--scope", "read")
    run("revoke", key["prefix"])
    run("list")
    log = (tmp_path / "data" / "access" / "audit.jsonl").read_text()
    told = [json.loads(line) for line in log.splitlines()]
    assert [(entry["what"], entry["ids"]) for entry in told] == [
        ("keys create", [key["prefix"]]),
        ("keys revoke", [key["prefix"]]),
    ]
    assert key["key"] not in log
