"""The command `import`: what it takes, what it prints, how it ends."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from facesearch import bootstrap
from facesearch.cli import main
from facesearch.commands import remote_service
from facesearch.commands.remote_answers import RemoteLimits
from facesearch.config import Settings
from facesearch.errors import DatabaseUnavailable
from facesearch.records import CANCELLED, DONE, FILE_STATUSES, RUNNING, FileReport, ImportOptions, Job
from facesearch.service.imports.jobs import ImportJobs
from tests.server import free_port

NOW = datetime(2024, 1, 1, tzinfo=UTC)
JOB = Job("j1", 1, "photos", ImportOptions(), RUNNING, 3, dict.fromkeys(FILE_STATUSES, 0), 1.0, NOW)
ENDED = replace(JOB, state=DONE, counts=dict.fromkeys(FILE_STATUSES, 0) | {"inserted": 2, "no_face": 1})
REPORTS = (
    FileReport("a.jpg", "inserted", 1, "Ada"),
    FileReport("b.jpg", "inserted", 2, "Bo"),
    FileReport("c.jpg", "no_face", reason="No face was found in the photo."),
)

Run = Callable[..., Result]


class Importing:
    """Stands for the import itself: what it was asked for, and how it ends."""

    def __init__(self) -> None:
        self.asked: list[tuple[Path, ImportOptions]] = []
        self.job = ENDED
        self.error: BaseException | None = None

    def __call__(
        self, settings: Settings, source: Path, options: ImportOptions, on_progress: Callable[[Job], None]
    ) -> tuple[Job, tuple[FileReport, ...]]:
        self.asked.append((source, options))
        on_progress(JOB)
        if self.error is not None:
            raise self.error
        return self.job, REPORTS


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Importing:
    made = Importing()
    monkeypatch.setattr(bootstrap, "import_photos", made)
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"data_dir": "data"}))
    monkeypatch.setenv("FACESEARCH_CONFIG", str(config))

    def invoke(*arguments: Any, ends: int = 0) -> Result:
        result = CliRunner().invoke(main, ["import", *map(str, arguments)])
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    return made


def test_a_folder_is_imported_and_summed_up(run: Run, importing: Importing, folder: Path) -> None:
    result = run(folder)
    first, second = result.stdout.splitlines()
    assert first.startswith("3 files of photos in ")
    assert first.endswith(": 2 inserted, 1 without a face.")
    assert second == "  c.jpg: No face was found in the photo."
    assert result.stderr == ""  # no terminal, no bar
    assert importing.asked == [(folder, ImportOptions("largest", skip_duplicates=True))]


def test_the_current_folder_has_a_name(
    run: Run, importing: Importing, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "3 files of photos in " in run(".").stdout


def test_options_say_which_faces_and_what_of_duplicates(run: Run, importing: Importing, folder: Path) -> None:
    run(folder, "--faces", "all", "--duplicates", "store")
    run(folder, "--faces", "single", "--duplicates", "skip")
    assert [options for _, options in importing.asked] == [
        ImportOptions("all", skip_duplicates=False),
        ImportOptions("single", skip_duplicates=True),
    ]
    assert "largest" in run(folder, "--faces", "some", ends=2).stderr


@pytest.mark.parametrize("name", ["photos.zip", "PHOTOS.ZIP", "photos.cbz", "photos"])
def test_a_zip_is_one_by_its_name_or_its_bytes(
    run: Run, importing: Importing, tmp_path: Path, name: str
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("a.jpg", b"")
    run(tmp_path / name)
    assert len(importing.asked) == 1


def test_what_is_neither_photos_nor_encodings_is_refused(
    run: Run, importing: Importing, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    assert "a.jpg is no folder, no zip of photos" in run(tmp_path / "a.jpg", ends=1).stderr
    assert "does not exist" in run(tmp_path / "missing", ends=2).stderr
    assert importing.asked == []


def test_the_report_and_the_object_of_an_import(
    run: Run, importing: Importing, folder: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.csv"
    told = json.loads(run(folder, "--json", "--report", report).stdout)
    assert (told["state"], told["total"], told["jobs"], told["service"]) == ("done", 3, ["j1"], None)
    assert told["counts"] == {"inserted": 2, "no_face": 1, "duplicate": 0, "failed": 0, "skipped": 0}
    assert told["report"] == str(report)
    assert [line.split(",")[:2] for line in report.read_text().splitlines()] == [
        ["path", "status"],
        ["a.jpg", "inserted"],
        ["b.jpg", "inserted"],
        ["c.jpg", "no_face"],
    ]


def test_a_report_that_cannot_be_written_stops_the_import_before_it_begins(
    run: Run, importing: Importing, folder: Path, tmp_path: Path
) -> None:
    assert "cannot be written" in run(folder, "--report", tmp_path / "no" / "r.csv", ends=1).stderr
    assert importing.asked == []


def test_an_import_that_did_not_go_through_ends_with_one(
    run: Run, importing: Importing, folder: Path
) -> None:
    importing.job = replace(ENDED, state=CANCELLED, error="The import was cancelled.")
    result = run(folder, ends=1)
    assert "2 inserted, 1 without a face" in result.stdout
    assert result.stderr == "Error: The import was cancelled.\n"
    importing.error = DatabaseUnavailable()
    assert run(folder, ends=1).stderr == "Error: The database cannot be reached right now.\n"
    importing.error = PermissionError(13, "Permission denied")
    assert run(folder, ends=1).stderr == "Error: photos cannot be imported: Permission denied.\n"


def test_the_audit_log_tells_of_an_import_that_was_broken_off(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(*arguments: Any) -> Job:
        arguments[-1](JOB)
        raise KeyboardInterrupt

    monkeypatch.setattr(ImportJobs, "run_here", broken_off)
    run(folder, ends=130)
    line = json.loads((tmp_path / "data" / "access" / "audit.jsonl").read_text())
    assert (line["what"], line["ids"]) == ("import", [JOB.id])


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_an_import_in_which_a_file_failed_ends_with_one(
    run: Run, importing: Importing, folder: Path, option: tuple[str, ...]
) -> None:
    importing.job = replace(ENDED, counts={"inserted": 2, "failed": 1})
    result = run(folder, *option, ends=1)
    assert "failed" in result.stdout
    assert result.stderr == ""


def test_the_audit_log_tells_of_imports(run: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("no photo")
    np.savez(tmp_path / "known.npz", encodings=np.ones((1, 128)), names=np.array(["Ana"]))
    job = json.loads(run(folder, "--json").stdout)["jobs"][0]
    run(tmp_path / "known.npz")
    log = (tmp_path / "data" / "access" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["who"], line["what"], line["ids"]) for line in lines] == [
        ("local", "import", [job]),
        ("local", "import", ["collection:1"]),
    ]


def test_an_interrupt_says_how_to_go_on(run: Run, importing: Importing, folder: Path) -> None:
    importing.error = KeyboardInterrupt()
    result = run(folder, ends=130)
    assert result.stdout == ""
    assert "The same command goes on" in result.stderr
    assert "leave out --duplicates store" in run(folder, "--duplicates", "store", ends=130).stderr


def test_encodings_are_imported_as_ever(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "known.npz", encodings=np.ones((2, 128)), names=np.array(["Ana", "Bo"]))
    assert run(tmp_path / "known.npz").output == "Imported 2 faces from known.npz.\n"
    more = np.concatenate([np.ones((2, 128)), np.zeros((1, 128))])
    np.savez(tmp_path / "known.npz", encodings=more, names=np.array(["Ana", "Bo", "Cy"]))
    again = "Imported 1 faces from known.npz; 2 were stored already.\n"
    assert run(tmp_path / "known.npz").output == again
    told = json.loads(run(tmp_path / "known.npz", "--json").stdout)
    assert told == {"collection": "default", "file": "known.npz", "faces": 3, "inserted": 0}
    np.save(tmp_path / "known.npy", np.ones((1, 128)))
    (tmp_path / "names.txt").write_text("Cy\n")
    names = ("--names", tmp_path / "names.txt")
    assert run(tmp_path / "known.npy", *names).output == "Imported 1 faces from known.npy.\n"
    (tmp_path / "known.pkl").write_bytes(b"")
    assert "--pickle allows reading it" in run(tmp_path / "known.pkl", ends=1).stderr


@pytest.mark.parametrize(
    "option",
    [["--url", "http://x"], ["--faces", "all"], ["--duplicates", "skip"], ["--report", "r.csv"]],
)
def test_options_for_photos_do_not_go_with_encodings(run: Run, tmp_path: Path, option: list[str]) -> None:
    np.save(tmp_path / "known.npy", np.ones((1, 128)))
    error = run(tmp_path / "known.npy", *option, ends=2).stderr
    assert f"{option[0]} does not go with that: known.npy holds encodings." in error


def test_options_for_encodings_do_not_go_with_photos(run: Run, importing: Importing, folder: Path) -> None:
    assert "--pickle does not go with that: photos holds photos." in run(folder, "--pickle", ends=2).stderr
    assert importing.asked == []


def test_a_service_that_is_not_there_is_an_error(run: Run, importing: Importing, folder: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"The service at {url} cannot be reached" in run(folder, "--url", url, ends=1).stderr
    assert "--url takes" in run(folder, "--url", "localhost", ends=1).stderr
    assert importing.asked == []


def test_a_zip_that_the_service_would_refuse_is_not_sent(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = RemoteLimits(20, 9, 9, 9)
    monkeypatch.setattr(remote_service.RemoteService, "limits", lambda _: limits)
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    error = run(tmp_path / "a.zip", "--url", "http://x", ends=1).stderr
    assert "a.zip has 22 bytes, and the service takes archives of 20. Unpacked, as a folder" in error


def test_the_key_of_a_service_reaches_its_client(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str | None] = []

    class Service(remote_service.RemoteService):
        def __init__(self, url: str, on_wait: Callable[[str], None], key: str | None = None) -> None:
            keys.append(key)
            super().__init__(url, on_wait, key=key)

    monkeypatch.setattr(remote_service, "RemoteService", Service)
    url = f"http://127.0.0.1:{free_port()}"
    run(folder, "--url", url, "--key", "fs_x", ends=1)
    run(folder, "--url", url, ends=1)
    assert keys == ["fs_x", None]


def test_a_key_without_a_service_is_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    assert "--key goes with --url" in run(folder, "--key", "fs_x", ends=2).stderr
    encodings = tmp_path / "faces.npy"
    np.save(encodings, np.zeros((1, 128)))
    assert "--key" in run(encodings, "--key", "fs_x", ends=2).stderr
