"""The command `export`, and `import` of what it writes."""

import json
from pathlib import Path

import pytest

from facesearch.databases import open_collection_store
from tests.unit.commands.exported import Run, database_in, running
from tests.unit.service.exported_files import MODEL, fill, in_manifest, rewritten


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    with database_in(tmp_path) as database:
        fill(database, "team 王")
    return running(tmp_path, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "team.zip"


def test_a_collection_goes_out_and_in(run: Run, file: Path, tmp_path: Path) -> None:
    out = run("export", "team 王", file).output
    assert out == f"team.zip holds 23 faces, 5 people, 15 crops of team 王: {file.stat().st_size:,} bytes.\n"
    told = run("import", file, "--collection", "copy").output
    assert told == "Imported 23 faces and 5 people from team.zip into copy.\n"
    with database_in(tmp_path) as database:
        assert open_collection_store(database).counted("copy").faces == 23
    assert run("import", file).output == "Imported 23 faces and 5 people from team.zip into default.\n"


def test_the_audit_log_names_the_collection_that_was_filled(run: Run, file: Path, tmp_path: Path) -> None:
    run("export", "team 王", file)
    run("import", file, "--collection", "copy")
    with database_in(tmp_path) as database:
        number = open_collection_store(database).get("copy").number
    line = json.loads((tmp_path / "data" / "access" / "audit.jsonl").read_text())
    assert (line["what"], line["ids"]) == ("import of a collection", [f"collection:{number}"])


def test_both_speak_json(run: Run, file: Path) -> None:
    out = json.loads(run("export", "team 王", file, "--json").stdout)
    assert out.pop("exported_at")
    assert out == {
        "collection": "team 王",
        "file": "team.zip",
        "bytes": file.stat().st_size,
        "model": MODEL,
        "faces": 23,
        "people": 5,
        "crops": 15,
    }
    told = json.loads(run("import", file, "--collection", "copy", "--json").stdout)
    assert told == {
        "collection": "copy",
        "file": "team.zip",
        "model": MODEL,
        "faces": 23,
        "people": 5,
        "crops": 15,
    }


def test_a_file_that_is_there_is_replaced_if_wanted(run: Run, file: Path) -> None:
    run("export", "team 王", file)
    before = file.read_bytes()
    assert run("export", "team 王", file, ends=1).output == "Error: team.zip is there already.\n"
    assert file.read_bytes() == before
    run("export", "default", file, "--replace")
    assert file.read_bytes() != before


def test_what_cannot_be_written_is_said(run: Run, tmp_path: Path) -> None:
    out = run("export", "team 王", tmp_path / "no" / "x.zip", ends=1).output
    assert out == "Error: x.zip cannot be written: No such file or directory.\n"
    assert "There is no such collection." in run("export", "nothing", tmp_path / "x.zip", ends=1).output
    assert not (tmp_path / "x.zip").exists()


def test_what_cannot_be_imported_is_said(run: Run, file: Path) -> None:
    run("export", "team 王", file)
    good = file.read_bytes()
    assert "not empty" in run("import", file, "--collection", "team 王", ends=1).output
    file.write_bytes(rewritten(good, in_manifest(model_id="other")))
    out = run("import", file, "--collection", "copy", ends=1).output
    assert "vectors of other, which no installed model makes" in out
    file.write_bytes(rewritten(good, in_manifest(version=2)))
    assert "a newer one may" in run("import", file, "--collection", "copy", ends=1).output


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (["--url", "http://service"], "--url"),
        (["--faces", "all"], "--faces"),
        (["--duplicates", "store"], "--duplicates"),
        (["--pickle"], "--pickle"),
    ],
)
def test_options_that_mean_nothing_are_refused(run: Run, file: Path, option: list[str], named: str) -> None:
    run("export", "team 王", file)
    out = run("import", file, *option, ends=2).output
    assert f"{named} does not go with that: team.zip is an exported collection." in out
