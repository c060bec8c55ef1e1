"""Archives that were made to do harm, sent to the running service: each gets its answer, and nothing else."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hostile_photos import bmp, gif, jpeg, png, tiff, zlib_of_zeros
from tests.hostile_zips import (
    BZIP2,
    DEFLATE64,
    DEFLATED,
    DEVICE,
    ENCRYPTED,
    LINK,
    LZMA,
    MIB,
    PIPE,
    ZSTANDARD,
    Member,
    file_of,
    lzma_of,
    many_empty,
    nested,
    overlapping,
    quoting,
    special,
    zeros,
    zip_of,
)
from tests.server import PROJECT_ROOT, Server
from tests.waiting import until

pytestmark = pytest.mark.faults

ANSWER_S = 300.0  # a hang is a failure
MEMORY_BYTES = 768 * MIB  # of any one process; a photo of 64 megapixels takes 400 MiB
PHOTO = (PROJECT_ROOT / "test_images" / "Barack_Obama_0001.jpg").read_bytes()
GOOD = "Good Person_0001.jpg"

Files = Mapping[str, tuple[str, str]]


class Hostile(NamedTuple):
    """An archive, and what it gets: an error of the whole, or a status and a reason for every file."""

    make: Callable[[], bytes]
    status: int = 202
    code: str = ""
    message: str = ""
    files: Files | None = None


def refused(make: Callable[[], bytes], status: int, code: str, message: str) -> Hostile:
    return Hostile(make, status, code, message)


def taken(members: Callable[[], list[Member]], files: Files) -> Hostile:
    """Files that a good photo lies beside, which must not suffer from them."""
    return Hostile(lambda: zip_of([*members(), photo(GOOD)]), files={**files, GOOD: ("inserted", "")})


def photo(name: str | bytes, **more: Any) -> Member:
    return file_of(name, PHOTO, **more)


def damaged(count: int = 1) -> Files:
    return {f"{number}.jpg": ("failed", "damaged inside the archive") for number in range(count)}


HOSTILE = {
    "gigabytes of 42 kB": refused(
        lambda: overlapping(250, 21 * MIB), 413, "too_large", "times its size, over the limit of 200 times"
    ),
    "files upon each other": refused(lambda: overlapping(9, MIB), 400, "broken_archive", "upon each other"),
    "files that quote each other": refused(lambda: quoting(9, MIB), 400, "broken_archive", "upon each other"),
    "a packed gigabyte": refused(
        lambda: zip_of([zeros("a.bmp", 1024 * MIB)]), 413, "too_large", "times its size"
    ),
    "more bytes than a disk": refused(
        lambda: zip_of([file_of("a.jpg", b"x", size=2**62, local={"size": 1})]),
        413,
        "too_large",
        "expands to more than",
    ),
    "too many entries": refused(lambda: many_empty(100_001), 413, "too_large", "100000 entries"),
    "a directory that is cut short": refused(
        lambda: zip_of([photo(GOOD), photo("b.jpg")])[:-30], 400, "broken_archive", "cut short"
    ),
    "a directory of half its records": refused(
        lambda: zip_of([photo(GOOD)], records=2), 400, "broken_archive", "records are missing"
    ),
    "a directory of other bytes": refused(
        lambda: zip_of([photo(GOOD)]).replace(b"PK\1\2", b"PK\1\3"), 400, "broken_archive", "damaged"
    ),
    "a part of a split archive": refused(
        lambda: zip_of([photo(GOOD)]).replace(b"PK\5\6\0\0", b"PK\5\6\1\0"), 400, "broken_archive", "part"
    ),
    "no archive": refused(lambda: PHOTO, 415, "not_an_archive", "not a zip"),
    "a list with a wrong line": refused(
        lambda: zip_of([photo(GOOD), file_of("people.csv", b"path,person\n,Ana\n")]), 400, "invalid", "Line 2"
    ),
    "sizes that lie": taken(
        lambda: [
            zeros("0.jpg", 1024 * MIB, told=10),
            zeros("1.jpg", 1024 * MIB, told=15 * MIB),
            Member(b"2.jpg", lzma_of(bytes(64 * MIB)), LZMA, 1000, 1),
            Member(b"3.jpg", lzma_of(b"x", 2**32 - 1), LZMA, 1000, 1),
            file_of("4.jpg", bytes(64 * MIB), BZIP2, size=1000),
            file_of("5.jpg", PHOTO, size=len(PHOTO) + 1),
        ],
        damaged(6),
    ),
    "a hundred thousand empty files": Hostile(
        lambda: many_empty(100_000), files={f"{n}.jpg": ("failed", "empty") for n in range(100_000)}
    ),
    "paths that lead elsewhere": taken(
        lambda: [
            photo("../../../../escaped/Ana_0001.jpg"),
            photo("/tmp/escaped/Ben_0001.jpg"),
            photo("C:\\escaped\\Cem_0001.jpg"),
            photo("..\\..\\escaped\\Dan_0001.jpg"),
            photo(".."),
        ],
        {
            "escaped/Ana_0001.jpg": ("inserted", ""),
            "tmp/escaped/Ben_0001.jpg": ("inserted", ""),
            "escaped/Cem_0001.jpg": ("inserted", ""),
            "escaped/Dan_0001.jpg": ("inserted", ""),
            "(no name)": ("failed", "no name"),
        },
    ),
    "links and devices": taken(
        lambda: [special("link.jpg", LINK), special("pipe.jpg", PIPE), special("disk.jpg", DEVICE)],
        {
            "link.jpg": ("skipped", "A link"),
            "pipe.jpg": ("skipped", "A device or a pipe"),
            "disk.jpg": ("skipped", "A device or a pipe"),
        },
    ),
    "encrypted files": taken(
        lambda: [photo("a.jpg", flags=ENCRYPTED), photo("b.jpg", flags=ENCRYPTED, method=99)],
        {"a.jpg": ("failed", "encrypted"), "b.jpg": ("failed", "encrypted")},
    ),
    "wrong checksums": taken(lambda: [photo("0.jpg", crc=1)], damaged()),
    "files that are elsewhere": taken(
        lambda: [photo("0.jpg", offset=2**40), photo("1.jpg", offset=3)], damaged(2)
    ),
    "headers that contradict the directory": taken(
        lambda: [
            photo("0.jpg", local={"name": b"other.jpg"}),
            photo("1.jpg", local={"method": DEFLATED}),
            photo("2.jpg", local={"extra": bytes(100)}, packed_size=len(PHOTO) + 50),
            photo("sizes.jpg", local={"size": 1, "packed_size": 1, "crc": 1}),
        ],
        {**damaged(2), "2.jpg": ("failed", "damaged"), "sizes.jpg": ("inserted", "")},
    ),
    "ways of packing that nobody knows": taken(
        lambda: [photo(f"{method}.jpg", method=method) for method in (DEFLATE64, ZSTANDARD, 1, 65_535)],
        {f"{method}.jpg": ("failed", "not supported") for method in (DEFLATE64, ZSTANDARD, 1, 65_535)},
    ),
    "names in odd encodings": taken(
        lambda: [
            photo("王.jpg".encode("shift-jis"), flags=0),
            photo(b"Zo\x89.jpg", flags=0),
            photo(b"\xff\xfe\xed\xa0\x80.jpg"),
            photo("Ana\u202egpj.exe"),
            photo(b"nul\0\n\x1b[2J.jpg"),
            photo("😀.jpg"),
        ],
        {
            "ëñ.jpg": ("inserted", ""),
            "Zoë.jpg": ("inserted", ""),
            "\ufffd" * 5 + ".jpg": ("inserted", ""),
            "Anagpj.exe": ("inserted", ""),
            "nul[2J.jpg": ("inserted", ""),
            "😀.jpg": ("inserted", ""),
        },
    ),
    "names without end": taken(
        lambda: [photo("x/" * 1000 + "a.jpg"), photo("y" * 300 + ".jpg")],
        {
            ("x/" * 1000)[:1023] + "…": ("failed", "more than 1024 characters"),
            "y" * 300 + ".jpg": ("failed", "more than 255 characters"),
        },
    ),
    "archives in the archive": taken(
        lambda: [file_of("0.zip", nested(3, 64 * MIB)), file_of("1.jpg", nested(1, 64 * MIB))],
        {"0.zip": ("skipped", "archive inside"), "1.jpg": ("skipped", "archive inside")},
    ),
    "photos that are bombs": taken(
        lambda: [
            file_of("a.png", png(19_999, 19_999), DEFLATED),
            file_of("b.png", png(2**31 - 1, 2**31 - 1, rows=0)),
            file_of("c.gif", gif(65_535, 65_535)),
            file_of("d.bmp", bmp(60_000, 60_000)),
            file_of("e.jpg", jpeg(65_500, 65_500)),
            file_of("f.tif", tiff(60_000, 60_000)),
            file_of("g.png", png(8, 8, (b"zTXt", b"x\0\0" + zlib_of_zeros(1024 * MIB))), DEFLATED),
            file_of("i.png", png(8_000, 8_000)),
            file_of("h.png", png(8, 8, (b"iCCP", b"x\0\0" + zlib_of_zeros(1024 * MIB))), DEFLATED),
        ],
        {
            **{
                f"{n}": ("failed", "at most 64000000")
                for n in ("a.png", "b.png", "c.gif", "d.bmp", "e.jpg", "f.tif")
            },
            **dict.fromkeys(["g.png", "h.png", "i.png"], ("no_face", "")),
        },
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("hostile"), {"workers": {"processes": 2}}) as running:
        running.client.timeout = ANSWER_S
        yield running
        assert "Traceback" not in running.log, running.log
        assert "Unforeseen" not in running.log, running.log


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_answered_and_the_next_request_too(server: Server, name: str) -> None:
    hostile = HOSTILE[name]
    archive = hostile.make()
    bulk = server.client.post("/add_faces_in_bulk/", files={"file": ("a.zip", archive)})
    job = server.client.post("/v1/imports?duplicates=store", files={"file": ("a.zip", archive)})
    if hostile.files is None:
        assert (bulk.status_code, bulk.json()["result"]["code"]) == (hostile.status, hostile.code)
        assert (job.status_code, job.json()["code"]) == (hostile.status, hostile.code)
        assert hostile.message in bulk.json()["body"]
        assert hostile.message in job.json()["message"]
    else:
        assert (bulk.status_code, job.status_code) == (200, 202), (bulk.text, job.text)
        check(bulk.json()["result"]["files"], "file", hostile.files)
        check(finished(server, job.json()["id"]), "path", hostile.files)
    until(lambda: waiting(server) == [], 30)  # a job is over before its archive goes
    assert server.client.post("/search_faces/?k=1", files={"file": (GOOD, PHOTO)}).status_code == 200
    assert most_memory(server) < MEMORY_BYTES


def test_nothing_was_written_where_paths_lead_to(server: Server) -> None:
    archive = HOSTILE["paths that lead elsewhere"].make()
    assert server.client.post("/add_faces_in_bulk/", files={"file": ("a.zip", archive)}).status_code == 200
    for folder in (server.folder, *server.folder.parents[:4], PROJECT_ROOT):
        assert not list(folder.glob("*escaped*"))
    assert not list(server.folder.rglob("*escaped*"))


def check(files: list[dict[str, Any]], path: str, expected: Files) -> None:
    found = {file[path]: (file["status"], file["reason"] or "") for file in files}
    assert {name: status for name, (status, _) in found.items()} == {n: s for n, (s, _) in expected.items()}
    assert len(files) == len(expected)
    for name, (_, reason) in expected.items():
        assert reason in found[name][1], (name, found[name])


def finished(server: Server, job_id: str) -> list[dict[str, Any]]:
    """The reports of a job, once it is over."""
    deadline = time.monotonic() + ANSWER_S
    while (job := server.client.get(f"/v1/jobs/{job_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    assert job["state"] == "done", job
    files: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        at = {"cursor": page["next"]} if page["next"] else {}
        page = server.client.get(f"/v1/jobs/{job_id}/files", params={"limit": 1000, **at}).json()
        files += page["files"]
    assert len(files) == job["counts"]["total"] == job["done"]
    return files


def waiting(server: Server) -> list[Path]:
    """Archives that no job needs any more."""
    return list((server.folder / "facesearch-data" / "imports").glob("*.zip"))


def most_memory(server: Server) -> int:
    """The most bytes that a process which is alive has ever had."""
    most = 0
    for pid in server.processes():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            most = max(most, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
    return most


READ_ALL = """
import io, json, resource, sys
from pathlib import Path
from facesearch.config import LimitSettings
from facesearch.errors import FacesearchError
from facesearch.service.intake.archive import PhotoArchive

used = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + 160 * 1024**2,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    read = 0
    try:
        with path.open("rb") as file:
            for entry in PhotoArchive(file, LimitSettings()):
                try:
                    read += bool(entry.reason_to_skip or entry.read())
                except FacesearchError:
                    pass
        found[path.name] = ""
    except FacesearchError as error:
        found[path.name] = error.code
print(json.dumps(found))
"""


def test_little_memory_and_time_are_enough_to_read_every_archive(tmp_path: Path) -> None:
    for name, hostile in HOSTILE.items():
        (tmp_path / name).write_bytes(hostile.make())
    child = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    told = subprocess.run(child, cwd=PROJECT_ROOT, capture_output=True, timeout=ANSWER_S, check=False)
    assert told.returncode == 0, told.stderr.decode()
    assert json.loads(told.stdout) == {name: hostile.code for name, hostile in HOSTILE.items()}
