"""Half an hour of everything at once, with kills: what goes wrong, and what memory it leaves behind.

Threads search, add, import, cancel, list, follow events, send garbage and leave half-way, while every now and
then one of these is killed with -9: a child of a pool, a supervisor, the gunicorn worker at work, all of
gunicorn, the database server. Every photo that is sent has bytes of its own. At the end each photo that was
told as stored must be stored once and found, none may be stored twice, and every job must be over.

Memory (proportional and resident set size), open files and processes are printed at the beginning, once the
load has run for a while, every few minutes and at the end, when all has been quiet for a moment. Exit status
1 says that something was wrong: an answer, a status of 500 and above but 503 with Retry-After, a traceback, a
process that outlived its service, or more growth than MOST_GROWTH_BYTES beside the copy of the vectors.

    python3 -m benchmarks.soak [--minutes 30] [--engine mysql] [--kill-every 60] [--clients 6] [--seed SEED]
"""

import os

os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from benchmarks.import_check import FACES_TABLE, vectors_of
from benchmarks.import_client import ImportClient, WrongAnswer
from benchmarks.import_faults import as_config
from benchmarks.killer import END_S, Killer
from benchmarks.machine import describe
from benchmarks.processes import memory_bytes, open_files, processes_of, wait_for_none, wrong_words
from benchmarks.soak_clients import Account, Client
from facesearch.config import CONFIG_VARIABLE, load_settings
from facesearch.databases import SQLDatabase, open_image_database
from facesearch.encoders import AGTEncoder
from facesearch.search import ExactIndex
from facesearch.workers import InlinePool
from tests.mariadb import MariaDB
from tests.server import Server, kill

WORKERS = 2
LEASE_S = 5.0
WARM_UP_SHARE = 0.1
LOOKS = 8
EARLY_LOOKS = 3  # a kill may just have taken a pool, whose return is no growth
QUIET_S = 5.0
JOBS_END_S = 300.0
MOST_GROWTH_BYTES = 300 * 1024**2
MOST_OF_ONE_BYTES = 700 * 1024**2
SEARCHED_AT_ONCE = 256
SHOWN = 20


@dataclass(frozen=True)
class Look:
    """What the processes of a service took at one moment; all sizes in bytes."""

    minute: float
    pss: int
    largest: int
    lines: tuple[str, ...]

    def show(self) -> None:
        print(f"\nminute {self.minute:.1f}: {self.pss >> 20:,} MiB in all", flush=True)
        print("\n".join(self.lines), flush=True)


def look(server: Server, begun: float) -> Look:
    lines = []
    total = largest = 0
    for process in processes_of(server):
        if not (sizes := memory_bytes(process.pid)):
            continue
        total += sizes["Pss"]
        largest = max(largest, sizes["Pss"])
        lines.append(
            f"  {process.pid:>8} {process.role:<12} PSS {sizes['Pss'] >> 20:>5} MiB, "
            f"RSS {sizes['Rss'] >> 20:>5} MiB, {open_files(process.pid):>3} files"
        )
    return Look((time.monotonic() - begun) / 60, total, largest, tuple(lines))


def soak(server: Server, killer: Killer, chosen: argparse.Namespace, account: Account) -> list[Look]:
    """Let clients work and kill meanwhile; how the service looked from the beginning to the end."""
    begun = time.monotonic()
    seconds = 60 * chosen.minutes
    looks = [look(server, begun)]
    looks[0].show()
    shown_at = [begun + seconds * (WARM_UP_SHARE + (1 - WARM_UP_SHARE) * at / LOOKS) for at in range(LOOKS)]
    kill_at = begun + chosen.kill_every
    with clients(server, chosen, account):
        while time.monotonic() < begun + seconds:
            time.sleep(0.2)
            if chosen.kill_every and time.monotonic() >= kill_at:
                killer.kill()
                kill_at = time.monotonic() + chosen.kill_every * killer.chance.uniform(0.5, 1.5)
            if shown_at and time.monotonic() >= shown_at[0]:
                del shown_at[0]
                looks.append(look(server, begun))
                looks[-1].show()
    end_jobs(server, account)
    time.sleep(QUIET_S)
    looks.append(look(server, begun))
    looks[-1].show()
    return looks


@contextmanager
def clients(server: Server, chosen: argparse.Namespace, account: Account) -> Iterator[None]:
    end = threading.Event()
    threads = [Client(server.url, account, chosen.seed + number, end) for number in range(chosen.clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join(JOBS_END_S)
            if thread.is_alive():
                account.complain("a client still waits for an answer")


def end_jobs(server: Server, account: Account) -> None:
    """Wait for every job, and take down what became of its photos."""
    client = ImportClient(server.url)
    for job_id, digests in account.jobs.items():
        try:
            job = client.wait(job_id, JOBS_END_S)
            reports = client.files(job_id) or []
        except WrongAnswer as error:
            account.complain(str(error))
            continue
        account.saw("jobs", job["state"])
        if job["state"] != "done" and not (job["state"] == "cancelled" and job_id in account.cancelled):
            account.complain(f"the job is {job}")
        if job["state"] == "done" and len(reports) != len(digests):
            account.complain(f"{len(reports)} reports of {len(digests)} photos")
        for report in reports:
            if report["status"] in ("inserted", "no_face"):
                account.promise(digests[report["path"]], report["id"])
            else:
                account.saw("photos given up", f"{report['status']}: {report['reason']}")


def check_database(server: Server, account: Account) -> int:
    """Compare what is stored with what was told; the size of the copy of the vectors in bytes."""
    settings = load_settings({CONFIG_VARIABLE: str(server.config_file)})
    database = open_image_database(settings)
    assert isinstance(database, SQLDatabase)
    encoder = AGTEncoder(settings.encoder, settings.data_dir / "models")
    rows = database.select(FACES_TABLE, ["id", "photo_sha256"])
    times = Counter(bytes(row["photo_sha256"]) for row in rows)
    ids = {row["id"]: bytes(row["photo_sha256"]) for row in rows}
    # Garbage is stored where it happens to be a photo, and may be sent twice.
    complain_of(account, [d for d in account.sent if times[d] > 1], "stored more than once")
    complain_of(account, [i for d, i in account.stored.items() if ids.get(i) != d], "told and not stored")
    complain_of(account, [d for d in account.without_face if times[d]], "without a face, and stored")
    vectors = vectors_of(database, encoder.model_id)
    complain_of(account, vectors.keys() ^ ids.keys(), "in the changes or in the rows alone")
    folder = settings.data_dir / "index"
    index = ExactIndex(
        folder, encoder.model_id, encoder.dimension, InlinePool(), sys.maxsize, lock_wait_s=30.0
    )
    index.catch_up(database)
    if index.count() != len(ids):
        account.complain(f"the copy holds {index.count()} of {len(ids)} faces")
    stored = list(vectors.items())
    for at in range(0, len(stored), SEARCHED_AT_ONCE):
        some = stored[at : at + SEARCHED_AT_ONCE]
        # One photo under many digests has as many equal vectors.
        found = index.search(np.stack([vector for _, vector in some]), 1000, 0.0)
        lost = [
            i for (i, _), matches in zip(some, found, strict=True) if i not in {m.face_id for m in matches}
        ]
        complain_of(account, lost, "not found where they lie")
    index.close()
    database.close()
    for path in (settings.data_dir / "imports").glob("*.zip"):
        # One whose process was killed before there was a job is tidied up after an hour.
        known = httpx2.get(f"{server.url}/v1/jobs/{path.stem}")
        account.saw("archives left behind", "without a job" if known.status_code == 404 else "of a job")
        if known.status_code != 404:
            account.complain(f"the archive is still there of {known.text}")
    print(
        f"\n{len(rows):,} faces are stored, {len(account.stored):,} of them were told to a client", flush=True
    )
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def complain_of(account: Account, wrong: Iterable[Any], what: str) -> None:
    listed = list(wrong)
    if listed:
        account.complain(f"{what}: {len(listed)}, such as {listed[:3]}")


def judge(looks: list[Look], copy_bytes: int, account: Account) -> None:
    """Complain of growth since the load had run for a while, beside that of the copy."""
    early = max(looks[1 : 1 + EARLY_LOOKS], key=lambda one: one.pss)
    growth = looks[-1].pss - early.pss - copy_bytes
    print(f"growth since minute {early.minute:.1f}: {growth >> 20} MiB, of {MOST_GROWTH_BYTES >> 20} at most")
    if growth > MOST_GROWTH_BYTES:
        account.complain(f"the service has grown by {growth >> 20} MiB")
    largest = max(one.largest for one in looks)
    if largest > MOST_OF_ONE_BYTES:
        account.complain(f"a process took {largest >> 20} MiB")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("sqlite", "mysql"), default="mysql")
    parser.add_argument(
        "--kill-every", type=float, default=60.0, help="seconds, on average; 0: nothing is killed"
    )
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    return parser.parse_args()


def main() -> None:
    chosen = options()
    print(describe("httpx2", "numpy", "onnxruntime", "gunicorn", "uvicorn", "SQLAlchemy"), flush=True)
    print(f"seed {chosen.seed}", flush=True)
    account = Account()
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory()))
        database = parts.enter_context(MariaDB()) if chosen.engine == "mysql" else None
        settings: dict[str, Any] = {"workers": {"processes": 2}, "intake": {"lease_s": LEASE_S}}
        if database is not None:
            settings["database"] = as_config(database.new_database())
        server = Server(folder / "service", settings, workers=WORKERS)
        killer = Killer(server, database, random.Random(chosen.seed))
        with server:
            looks = soak(server, killer, chosen, account)
            judge(looks, check_database(server, account), account)
        if left := wait_for_none(server.config_file, END_S):
            account.complain(f"processes {left} are left")
            kill(left)
        for words in wrong_words(server.log):
            account.complain(f"the log says {words}")
    wrong = account.wrong + killer.wrong
    report(account, killer)
    if wrong:
        print("\n".join(wrong[:SHOWN]))
        sys.exit(f"{len(wrong)} faults, seed {chosen.seed}")
    print("nothing was wrong")


def report(account: Account, killer: Killer) -> None:
    print(
        "\nkilled: " + (", ".join(f"{n} {what}" for what, n in sorted(killer.happened.items())) or "nothing")
    )
    print("\n| request | answers |\n|---|---|")
    for what in sorted({what for what, _ in account.statuses}):
        told = {status: count for (of, status), count in account.statuses.items() if of == what}
        print(f"| {what} | {', '.join(f'{count:,} {status}' for status, count in sorted(told.items()))} |")


if __name__ == "__main__":
    main()
