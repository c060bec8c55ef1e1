"""The command `import` in processes of its own, on real photos, killed and repeated."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from facesearch.config import PREFIX, DatabaseSettings, Settings
from facesearch.databases import open_image_database
from facesearch.interfaces import ImageDatabase
from facesearch.records import StoredFace
from tests.labelled_photos import labelled
from tests.server import PROJECT_ROOT, Server, descendants, kill, photo, wait_until_gone

PICTURES = PROJECT_ROOT / "test_images"
LIMIT_S = 120.0
# More than are stored in one transaction.
KILLED_PHOTOS = 120
GOES_ON = "The same command goes on: photos that are stored are skipped."


class Command:
    """`facesearch import` with a config of its own. A context manager: it does not outlive it."""

    def __init__(self, config: Path, *arguments: object) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "facesearch", "import", *map(str, arguments)],
            cwd=PROJECT_ROOT,
            env={**environment, "FACESEARCH_CONFIG": str(config)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=LIMIT_S)

    def end(self, code: int = 0) -> str:
        """Wait for its end; return what it printed, errors first."""
        output, errors = self.process.communicate(timeout=LIMIT_S)
        assert self.process.returncode == code, errors + output
        return errors + output

    def signal_when(self, number: int, ready: Callable[[], bool]) -> Sequence[int]:
        """Send a signal once something is so, ^C to all processes as a terminal does; return their ids."""
        deadline = time.monotonic() + LIMIT_S
        while not ready():
            assert self.process.poll() is None, "the import was over before"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = descendants(self.process.pid)
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return pids


class Gallery(NamedTuple):
    """A database, and the config that leads to it."""

    config: Path
    database: ImageDatabase

    def faces(self) -> list[StoredFace]:
        """All that is stored; there are fewer than a thousand."""
        return list(self.database.get_faces(range(1, 1000)).values())


def imported(config: Path, *arguments: object) -> dict[str, Any]:
    with Command(config, *arguments, "--json") as command:
        told: dict[str, Any] = json.loads(command.end())
    return told


def counts(**numbers: int) -> dict[str, int]:
    return dict.fromkeys(("inserted", "no_face", "duplicate", "failed", "skipped"), 0) | numbers


def reported(report: Path) -> dict[str, tuple[str, str]]:
    """The status and the name of each file of a report."""
    with report.open(newline="", encoding="utf-8") as lines:
        return {row["path"]: (row["status"], row["person_name"]) for row in csv.DictReader(lines)}


def jobs_of(server: Server) -> list[dict[str, Any]]:
    """The jobs of a service, the newest first."""
    jobs: list[dict[str, Any]] = server.client.get("/v1/jobs").json()["jobs"]
    return jobs


def has_begun(server: Server) -> bool:
    """Whether the service is in the midst of an import."""
    jobs = jobs_of(server)
    return bool(jobs) and jobs[0]["state"] == "running" and jobs[0]["counts"]["inserted"] > 0


@pytest.fixture
def gallery(database_settings: Settings, tmp_path: Path) -> Iterator[Gallery]:
    with_gallery = _config(tmp_path, database_settings)
    database = open_image_database(database_settings)
    database.prepare()
    yield Gallery(with_gallery, database)
    database.close()


@pytest.fixture
def sqlite_gallery(tmp_path: Path) -> Iterator[Gallery]:
    settings = Settings(data_dir=tmp_path / "data", database=DatabaseSettings(engine="sqlite"))
    database = open_image_database(settings)
    database.prepare()
    yield Gallery(_config(tmp_path, settings), database)
    database.close()


def _config(folder: Path, settings: Settings) -> Path:
    database = settings.database
    file = folder / "config.json"
    keys = database.model_dump(exclude={"password"}) | {"password": database.password.get_secret_value()}
    file.write_text(
        json.dumps({"data_dir": str(settings.data_dir), "database": keys, "workers": {"processes": 2}})
    )
    return file


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Eight files: five photos with faces, one of them twice, one photo without, and a note."""
    made = tmp_path / "album"
    (made / "Jane Roe").mkdir(parents=True)
    for file in PICTURES.glob("*.jpg"):
        shutil.copy(file, made)
    shutil.copy(PICTURES / "Joe_Biden_0001.jpg", made / "Jane Roe" / "same.jpg")
    (made / "notes.txt").write_text("not a photo")
    (made / "people.csv").write_text("path,person,external_id,team\nJoe_Biden_0001.jpg,J. B.,e7,blue\n")
    return made


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of so many photos of labelled people that killing falls between them."""
    made = tmp_path / "many"
    made.mkdir()
    for file in sorted(labelled("lfw").rglob("*.jpg"))[:KILLED_PHOTOS]:
        shutil.copy(file, made)
    return made


ALBUM = {
    "Barack_Obama_0001.jpg": ("inserted", "Barack Obama"),
    "Barack_Obama_0002.jpg": ("inserted", "Barack Obama"),
    "Barack_Obama_0003.jpg": ("inserted", "Barack Obama"),
    "Eileen_Collins_0001.jpg": ("inserted", "Eileen Collins"),
    "Jane Roe/same.jpg": ("inserted", "Jane Roe"),
    "Joe_Biden_0001.jpg": ("duplicate", ""),
    "no_face_coffee.jpg": ("no_face", ""),
    "notes.txt": ("skipped", ""),
}


def test_a_folder_goes_into_the_database_and_is_a_job(gallery: Gallery, album: Path, tmp_path: Path) -> None:
    with Command(gallery.config, album, "--report", tmp_path / "report.csv") as command:
        told = command.end()
    assert "5 inserted, 1 duplicate, 1 without a face, 1 skipped." in told
    assert reported(tmp_path / "report.csv") == ALBUM
    stored = gallery.faces()
    assert sorted(face.person_name for face in stored) == sorted(
        name for status, name in ALBUM.values() if status == "inserted"
    )
    assert imported(gallery.config, album)["counts"] == counts(duplicate=6, no_face=1, skipped=1)
    assert imported(gallery.config, album, "--duplicates", "store")["counts"]["inserted"] == 6
    named = [face for face in gallery.faces() if face.person_name == "J. B."]
    assert [(face.external_id, face.metadata) for face in named] == [("e7", {"team": "blue"})]


def test_a_service_takes_a_folder_in_parts_and_names_it_as_the_database_does(
    tmp_path: Path, album: Path, sqlite_gallery: Gallery
) -> None:
    with Server(tmp_path / "service", {"limits": {"zip_entries": 6}}) as server:
        told = imported(
            sqlite_gallery.config, album, "--url", server.url, "--report", tmp_path / "report.csv"
        )
        assert (len(told["jobs"]), told["total"], told["service"]) == (3, 8, server.url)
        statuses = {path: status for path, (status, _) in ALBUM.items()}
        found = reported(tmp_path / "report.csv")
        # Two parts are worked on at the same time: which of two equal photos comes first is open.
        assert {path: status for path, (status, _) in found.items()} | {
            "Jane Roe/same.jpg": "inserted",
            "Joe_Biden_0001.jpg": "duplicate",
        } == statuses
        assert {found["Jane Roe/same.jpg"][1], found["Joe_Biden_0001.jpg"][1]} in (
            {"Jane Roe", ""},
            {"J. B.", ""},
        )
        assert [job["file_name"] for job in jobs_of(server)] == [
            f"album (part {number}).zip" for number in (3, 2, 1)
        ]
        again = imported(sqlite_gallery.config, album, "--url", server.url)
        assert again["counts"] == counts(duplicate=6, no_face=1, skipped=1)
    assert sqlite_gallery.faces() == []


def test_a_service_takes_a_zip_as_it_is(tmp_path: Path, album: Path, sqlite_gallery: Gallery) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "album"), "zip", album))
    with Server(tmp_path / "service", workers=1) as server:
        arguments = (archive, "--url", server.url, "--report", tmp_path / "report.csv", "--faces", "single")
        told = imported(sqlite_gallery.config, *arguments)
        assert told["counts"] == counts(inserted=5, duplicate=1, no_face=1, skipped=1)
        assert reported(tmp_path / "report.csv").keys() == ALBUM.keys()
        with photo(PICTURES / "Eileen_Collins_0001.jpg") as files:
            (match,) = server.client.post("/search_faces/", files=files).json()["body"]["matches"]["face1"]
        assert match["person_name"] == "Eileen Collins"
        (tmp_path / "broken.zip").write_bytes(archive.read_bytes()[:-30])
        with Command(sqlite_gallery.config, tmp_path / "broken.zip", "--url", server.url) as command:
            assert command.end(code=1).startswith("Error: The zip archive is ")


@pytest.fixture(autouse=True)
def interrupts_arrive() -> Iterator[None]:
    """A shell that starts something in the background has it ignore ^C, and all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.faces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_an_import_that_ended_early_is_repeated_and_stores_each_photo_once(
    gallery: Gallery, many: Path, number: int
) -> None:
    with Command(gallery.config, many) as command:
        pids = command.signal_when(number, lambda: bool(gallery.faces()))
        told = command.end(code=130 if number == signal.SIGINT else -number)
    assert (GOES_ON in told) == (number == signal.SIGINT)
    wait_until_gone(pids)
    before = len(gallery.faces())
    assert 0 < before < KILLED_PHOTOS
    again = imported(gallery.config, many)
    assert again["counts"]["duplicate"] == before
    assert again["counts"]["inserted"] + again["counts"]["no_face"] == KILLED_PHOTOS - before
    files = [face.photo.file_name for face in gallery.faces()]
    assert len(files) == len(set(files)) == KILLED_PHOTOS - again["counts"]["no_face"]


@pytest.mark.slow
@pytest.mark.faces
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_an_import_into_a_service_that_ended_early_is_repeated_and_stores_each_photo_once(
    tmp_path: Path, many: Path, sqlite_gallery: Gallery, number: int
) -> None:
    with Server(tmp_path / "service") as server:
        with Command(sqlite_gallery.config, many, "--url", server.url) as command:
            command.signal_when(number, partial(has_begun, server))
            told = command.end(code=130 if number == signal.SIGINT else -number)
        if number == signal.SIGINT:
            assert GOES_ON in told
            assert jobs_of(server)[0]["state"] == "cancelled"
        # A service goes on with the job of a client that was killed, beside the client's next one.
        again = imported(sqlite_gallery.config, many, "--url", server.url)["counts"]
        assert again["duplicate"] + again["inserted"] + again["no_face"] == KILLED_PHOTOS
        deadline = time.monotonic() + LIMIT_S
        while "running" in {job["state"] for job in jobs_of(server)}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        inserted = [job["counts"]["inserted"] for job in jobs_of(server)]
        assert len(inserted) == 2
        assert inserted[1] > 0
        assert sum(inserted) == KILLED_PHOTOS - again["no_face"]


@pytest.mark.slow
@pytest.mark.faces
def test_a_service_that_dies_and_comes_back_is_waited_for(
    tmp_path: Path, many: Path, sqlite_gallery: Gallery
) -> None:
    with Server(tmp_path / "service", {"intake": {"lease_s": 1}}) as server:
        arguments = (many, "--url", server.url, "--json")
        with Command(sqlite_gallery.config, *arguments) as command:
            command.signal_when(signal.SIGCONT, partial(has_begun, server))
            pids = server.processes()
            kill(pids)
            server.process.wait()
            wait_until_gone(pids)
            assert command.process.stderr is not None
            assert "Trying again" in command.process.stderr.readline()
            server.start()
            end = json.loads(command.end())
        assert end["state"] == "done"
        assert end["counts"]["inserted"] + end["counts"]["no_face"] == KILLED_PHOTOS
        again = imported(sqlite_gallery.config, many, "--url", server.url)["counts"]
        assert again["duplicate"] == end["counts"]["inserted"]
