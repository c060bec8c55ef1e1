"""A disk that is really full: a small file system, filled while a service on SQLite uses it."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.labelled_photos import labelled
from tests.real.test_service import BIDEN, OBAMA, OBAMA_AGAIN, zipped
from tests.server import PROJECT_ROOT, Server
from tests.waiting import until

# Not marked `faces`: what is skipped here may be for want of the right to mount, which no photo mends.
pytestmark = pytest.mark.faults

DISK_BYTES = 64 * 1024**2
PHOTOS = 160
LIMIT_S = 120.0
wait_for = partial(until, limit_s=LIMIT_S)
_ALONE = "FACESEARCH_TEST_OWN_MOUNTS"


class SmallDisk:
    """A file system of 64 MB; lives until `remove`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        options = f"size={DISK_BYTES},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    @property
    def free_bytes(self) -> int:
        known = os.statvfs(self.folder)
        return known.f_bavail * known.f_frsize

    def fill(self, but: int = 0) -> None:
        """Leave so many bytes free."""
        self.make_room()
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while (free := self.free_bytes - but) > 0:
                try:
                    ballast.write(b"\1" * min(free, 1024**2))
                except OSError:
                    break
        assert self.free_bytes <= but

    def make_room(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def remove(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True, capture_output=True, timeout=30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        disk = SmallDisk(tmp_path / "service" / "facesearch-data")
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("nothing may be mounted here; see the test of all of these in a name space of its own")
    yield disk
    disk.remove()


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[Server]:
    settings = {"workers": {"processes": 2}, "intake": {"lease_s": 2}, "database": {"wait_s": 2}}
    with Server(disk.folder.parent, settings, workers=2) as server:
        yield server
        assert "Traceback" not in server.log
        assert "Unforeseen" not in server.log


@pytest.mark.skipif(os.getuid() == 0, reason="root mounts without a name space of its own")
@pytest.mark.skipif(_ALONE in os.environ, reason="this is the run inside")
def test_all_of_these_hold_in_a_name_space_of_its_own(tmp_path: Path) -> None:
    """Where the user may not mount, he may in a user name space, which some hosts forbid."""
    unshare = [shutil.which("unshare") or "unshare", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True, timeout=30)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("this host lets its users neither mount nor have name spaces of their own")
    command = [sys.executable, "-m", "pytest", "-m", "faults", "-p", "no:cacheprovider", __file__]
    inside = {**os.environ, _ALONE: "1"}
    done = subprocess.run(
        [*unshare, *command], cwd=PROJECT_ROOT, env=inside, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


def test_an_archive_for_which_there_is_no_room_is_refused_and_leaves_nothing(
    disk: SmallDisk, server: Server
) -> None:
    archive = zipped(photos(40))
    assert post(server, "/add_face/", OBAMA.name, OBAMA.read_bytes()).status_code == 200
    found = search(server)
    disk.fill()
    answer = post(server, "/v1/imports", "a.zip", archive)
    refused(answer, "storage_full")
    assert answer.json()["message"] == "There is no room left on the service's disk."
    refused(post(server, "/add_faces_in_bulk/", "a.zip", archive), "storage_full")
    assert archives(disk) == []
    assert search(server) == found
    disk.make_room()
    job = post(server, "/v1/imports", "a.zip", archive).json()
    assert ended(server, job["id"])["counts"]["inserted"] > 30


def test_an_archive_whose_job_finds_no_room_is_not_left_on_the_disk(disk: SmallDisk, server: Server) -> None:
    """Each repetition would take more of what room there is."""
    archive = zipped({"a/b.jpg": OBAMA.read_bytes()})
    assert post(server, "/v1/imports", "a.zip", archive).status_code == 202
    disk.fill(but=len(archive) + 60_000)
    answers = [post(server, "/v1/imports", f"{n}.zip", archive) for n in range(40)]
    taken = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer.status_code != 202:
            refused(answer, "storage_full", "database_unavailable")
    disk.make_room()
    for job in taken:
        assert ended(server, job)["state"] == "done"
    wait_for(lambda: archives(disk) == [])  # a job is over before its archive goes


def test_nothing_is_lost_of_an_import_that_runs_out_of_room(disk: SmallDisk, server: Server) -> None:
    files = photos(PHOTOS)
    assert post(server, "/add_face/", OBAMA.name, OBAMA.read_bytes()).status_code == 200
    found = search(server)
    job = post(server, "/v1/imports", "a.zip", zipped(files)).json()["id"]
    wait_for(lambda: status(server, job)["done"] > 0)
    disk.fill()
    wait_for(lambda: "disk is full" in server.log)
    key = {"Idempotency-Key": "a"}
    refused(post(server, "/add_face/", BIDEN.name, BIDEN.read_bytes(), key), "database_unavailable")
    before = status(server, job)
    assert before["state"] == "running"
    assert 0 < before["done"] < PHOTOS
    server.stop()  # what it had in its memory is done again
    server.start()
    assert status(server, job)["done"] >= before["done"]
    answer = post(server, "/search_faces/?k=1&tolerance=0.6", OBAMA_AGAIN.name, OBAMA_AGAIN.read_bytes())
    if answer.status_code != 200:  # the new faces find no room in the searchable copy
        refused(answer, "storage_full")
    disk.make_room()
    done = ended(server, job)
    assert done["state"] == "done"
    assert done["done"] == done["counts"]["total"] == PHOTOS
    assert done["counts"]["inserted"] + done["counts"]["no_face"] == PHOTOS
    wait_for(lambda: archives(disk) == [])
    added = [post(server, "/add_face/", BIDEN.name, BIDEN.read_bytes(), key).json() for _ in range(2)]
    assert added[0] == added[1]
    with closing(sqlite3.connect(database_of(disk))) as database:
        rows = database.execute("SELECT photo_sha256, COUNT(*) FROM IMAGE_DATASET GROUP BY 1").fetchall()
    assert {count for _, count in rows} == {1}
    assert len(rows) == done["counts"]["inserted"] + 2
    assert {digest for digest, _ in rows} - {hashlib.sha256(data).digest() for data in files.values()} == {
        hashlib.sha256(single.read_bytes()).digest() for single in (OBAMA, BIDEN)
    }
    assert search(server) == found


def photos(number: int) -> dict[str, bytes]:
    found = sorted(labelled("lfw").rglob("*.jpg"))[:number]
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


def database_of(disk: SmallDisk) -> Path:
    [file] = disk.folder.glob("*.db")
    return file


def archives(disk: SmallDisk) -> list[str]:
    return [path.name for path in (disk.folder / "imports").iterdir() if path.name != "place"]


def post(
    server: Server, route: str, name: str, data: bytes, headers: dict[str, str] | None = None
) -> httpx2.Response:
    """Post over a connection of its own, so that any worker may take it."""
    return httpx2.post(server.url + route, files={"file": (name, data)}, headers=headers, timeout=60)


def search(server: Server) -> Any:
    answer = post(server, "/search_faces/?k=1&tolerance=0.6", OBAMA_AGAIN.name, OBAMA_AGAIN.read_bytes())
    assert answer.status_code == 200, answer.text
    return answer.json()["body"]


def refused(answer: httpx2.Response, *codes: str) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    content = answer.json()
    assert content.get("code", content.get("result", {}).get("code")) in codes


def status(server: Server, job: str) -> dict[str, Any]:
    answer = httpx2.get(f"{server.url}/v1/jobs/{job}", timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(server: Server, job: str) -> dict[str, Any]:
    wait_for(lambda: status(server, job)["state"] not in ("queued", "running"))
    return status(server, job)
