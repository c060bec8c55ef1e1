"""The commands of `jobs`, on an SQLite database and against a service that answers as it is told."""

import csv
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from facesearch.cli import main
from facesearch.commands.remote_service import RemoteService
from facesearch.config import Settings
from facesearch.databases import open_image_database, open_job_store
from facesearch.errors import NotAnImage
from facesearch.records import FAILED, REENCODING, FileReport, ImportOptions, NewJob

JOB = "0123456789abcdef0123456789abcdef"
FILES = {
    0: FileReport("Ada/1.jpg", "inserted", 1, "Ada"),
    1: FileReport("=cmd.jpg", "failed", reason="The image is damaged or cut short. " * 4),
}

Run = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "config.json").write_text(json.dumps({"data_dir": "data"}))
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: Any, ends: int = 0) -> Result:
        result = CliRunner().invoke(main, ["jobs", *map(str, arguments)])
        assert result.exit_code == ends, result.output
        return result

    return invoke


@pytest.fixture
def jobs(settings: Settings) -> None:
    """A job that is at work on three files, and one that waits."""
    with closing(open_image_database(settings)) as database:
        store = open_job_store(database)
        store.add(NewJob(JOB, "here", "a long name of photos.zip", ImportOptions(), 3))
        store.claim("here", "me", 60, 1)
        store.report(JOB, "me", FILES, 3, 2.0)
        store.add(
            NewJob("f" * 32, "here", "more.zip", ImportOptions("all", skip_duplicates=False), 1_000_000)
        )


@pytest.mark.usefixtures("jobs")
def test_jobs_are_listed_the_newest_first(run: Run) -> None:
    head, newest, oldest = run("list").output.splitlines()
    assert head.split() == ["id", "state", "files", "created", "what"]
    assert newest.split()[:3] == ["f" * 32, "queued", "0/1,000,000"]
    assert oldest.split()[:3] == [JOB, "running", "2/3"]
    assert max(map(len, (head, newest, oldest))) <= 80
    assert len(run("list", "--limit", 1).output.splitlines()) == 2
    assert [job["id"] for job in json.loads(run("list", "--json").output)] == ["f" * 32, JOB]


@pytest.mark.usefixtures("jobs")
def test_a_job_is_told_about(run: Run) -> None:
    said = run("show", JOB).output
    assert "running, 1.0 files a second, about 1 s left" in said
    assert "2 of 3: 1 inserted, 1 failed" in said
    told = json.loads(run("show", JOB, "--json").output)
    assert (told["id"], told["counts"]["total"]) == (JOB, 3)
    assert "all of each photo; duplicates: store" in run("show", "f" * 32).output


def test_why_a_job_failed(run: Run, settings: Settings) -> None:
    with closing(open_image_database(settings)) as database:
        store = open_job_store(database)
        store.add(NewJob(JOB, "here", "", ImportOptions(), 3))
        store.claim("here", "me", 60, 1)
        store.finish(JOB, "me", FAILED, NotAnImage())
    assert "The file is not an image of a known format." in run("show", JOB).output


@pytest.mark.usefixtures("jobs")
def test_what_became_of_the_files(run: Run, tmp_path: Path) -> None:
    lines = run("report", JOB).output.splitlines()
    assert lines[1].split() == ["inserted", "Ada/1.jpg", "Ada"]
    assert lines[3].strip().startswith("The image is damaged")
    assert max(map(len, lines)) <= 80
    told = json.loads(run("report", JOB, "--json").output)
    assert [file["status"] for file in told] == ["inserted", "failed"]
    target = tmp_path / "r.csv"
    assert run("report", JOB, "--csv", target).output == f"{target} has 2 files.\n"
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["Ada/1.jpg", "'=cmd.jpg"]
    assert json.loads(run("report", JOB, "--csv", target, "--json").output)["files"] == 2
    assert run("report", "f" * 32).output == "Nothing is known of its files yet.\n"


@pytest.mark.usefixtures("jobs")
def test_a_job_that_is_not_there_leaves_no_report(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "r.csv"
    assert run("report", "nope", "--csv", target, ends=1).stderr == "Error: There is no job with this id.\n"
    assert not target.exists()
    for command in ("show", "cancel"):
        assert "There is no job with this id." in run(command, "nope", ends=1).stderr


def test_a_reencoding_is_told_from_an_import(run: Run, settings: Settings) -> None:
    with closing(open_image_database(settings)) as database:
        new = NewJob(JOB, "here", "sface-mirror from kept crops", ImportOptions(), 3, kind=REENCODING)
        open_job_store(database).add(new)
    assert "reencoding: sface-mi" in run("list").output
    lines = run("show", JOB).output.splitlines()
    assert ["kind", "reencoding"] in [line.split() for line in lines]
    assert ["vectors", "sface-mirror", "from", "kept", "crops"] in [line.split() for line in lines]
    assert not any(word in "\n".join(lines) for word in ("archive", "duplicates", "largest"))


@pytest.mark.usefixtures("jobs")
def test_the_audit_log_tells_of_a_job_that_was_cancelled(run: Run, settings: Settings) -> None:
    run("cancel", JOB)
    line = json.loads((settings.data_dir / "access" / "audit.jsonl").read_text())
    assert (line["who"], line["what"], line["ids"]) == ("local", "jobs cancel", [JOB])


@pytest.mark.usefixtures("jobs")
def test_a_job_is_cancelled_with_its_archive(run: Run, settings: Settings) -> None:
    folder = settings.data_dir / "imports"
    folder.mkdir()
    (folder / f"{JOB}.zip").write_bytes(b"zip")
    assert "What it has stored stays: 1 of its files." in run("cancel", JOB).output
    assert not (folder / f"{JOB}.zip").exists()
    assert json.loads(run("show", JOB, "--json").output)["state"] == "cancelled"
    assert json.loads(run("cancel", JOB, "--json").output)["state"] == "cancelled"


@pytest.mark.parametrize("command", [("list",), ("show", JOB), ("report", JOB), ("cancel", JOB)])
def test_no_database_is_made(run: Run, settings: Settings, command: tuple[str, ...]) -> None:
    assert "There is no database yet" in run(*command, ends=1).stderr
    assert not settings.data_dir.exists()


def test_no_jobs_is_said(run: Run, settings: Settings) -> None:
    with closing(open_image_database(settings)) as database:
        database.prepare()
    assert run("list").output == "There are no jobs.\n"


def test_a_service_is_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    job = {"id": JOB, "counts": {"inserted": 4}, "state": "cancelled"}

    def ask(_: Any, *arguments: Any) -> dict[str, Any]:
        asked.append(arguments)
        return {"jobs": []} if arguments[1] == "v1/jobs" else job

    monkeypatch.setattr(RemoteService, "ask", ask)
    monkeypatch.setattr(RemoteService, "files", lambda _, job_id: iter([FILES[0]]))
    assert run("list", "--url", "http://x", "--limit", 3).output == "There are no jobs.\n"
    assert json.loads(run("show", "../keys", "--url", "http://x", "--json").output) == job
    assert "4 of its files" in run("cancel", JOB, "--url", "http://x").output
    assert "Ada/1.jpg" in run("report", JOB, "--url", "http://x").output
    assert asked == [
        ("GET", "v1/jobs", {"limit": 3, "collection": None}),
        ("GET", "v1/jobs/..%2Fkeys"),
        ("DELETE", f"v1/jobs/{JOB}"),
    ]
    monkeypatch.setattr(RemoteService, "ask", lambda *_: {})
    assert "is not understood" in run("list", "--url", "http://x", ends=1).stderr
