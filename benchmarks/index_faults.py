"""Rounds of kills: processes add, remove and search, are killed at any moment, and no answer may be wrong.

Each round has a new database and a new copy of its vectors, and a seed that is printed before it begins.
Four processes add faces, remove old ones and search; after a second or less each is killed, by this process
or half-way in one of its own writes to the copy, and another takes its place. Small blocks, an early first
stage and few spare rows let growth, refits and compaction happen all the time.

Each answer is compared with a plain float64 scan of what the database held: it must be that of one moment
between the look at the newest change before the search and the end of the search; but faces that are removed
while the search goes on may be missing already, since their rows are overwritten at once ("overtaken").
Where a face came and went in between, its vector is known no more; an answer that then agrees with no moment
is counted as undecided. After a round all that was told as added must be stored and found, nothing that was
told as removed may be. Of a face that was removed, no file of the index may hold the vector or its code once
the next catch-up has ended.

The first wrong answer ends the run with exit status 1; `--rounds 1 --seed SEED` draws the same numbers again.

    python3 -m benchmarks.faults index [--rounds 50] [--seconds 5] [--engine both|sqlite|mysql] [--seed SEED]
"""

import os

# Before numpy: a thread would not survive the forks.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import argparse
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from facesearch.databases import MySQLImageDatabase, SQLiteImageDatabase
from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import Box, Face, FaceChange, FaceFilter, Match, NewFace, PhotoInfo
from facesearch.search import ExactIndex, matrix
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory
from tests.mariadb import MariaDB

PROCESSES = 4
FAILED = 3
DEATHS_A_WRITE = 0.004
DIMENSION = 16
PERSONS = 9
KEPT_FACES = 120
BLOCK_ROWS = 32
FIT_FROM = 64
SPARE_ROWS = 100
WAIT_S = 30.0
EVERYTHING = 1e6  # a tolerance that leaves nothing out

Connect = Callable[[], ImageDatabase]


class Diary:
    """What the processes of a round did, a line each in one file; lives as long as its round.

    Any process may write: a line is one short append, which a kill does not tear.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, *numbers: int) -> None:
        os.write(self._descriptor, f"{' '.join([what, *map(str, numbers)])}\n".encode())

    def lines(self) -> list[tuple[str, list[int]]]:
        split = [line.split() for line in self._file.read_text().splitlines()]
        return [(what, [int(number) for number in numbers]) for what, *numbers in split]

    def close(self) -> None:
        os.close(self._descriptor)


class DiaryHandler(logging.Handler):
    """Notes the index's own words about its file; lives as long as its process."""

    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self._diary = diary

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        for words, what in (("built anew", "rebuilt"), ("tidy file", "tidied")):
            if words in text:
                self._diary.note(what)


@dataclass(frozen=True)
class Round:
    """One round's database, folder and diary. Each process opens its own database and index."""

    connect: Connect
    folder: Path
    diary: Diary

    def open(self) -> tuple[ImageDatabase, ExactIndex]:
        index = ExactIndex(
            self.folder / "index",
            MODEL,
            DIMENSION,
            InlinePool(),
            sys.maxsize,
            block_rows=BLOCK_ROWS,
            fit_from=FIT_FROM,
            lock_wait_s=WAIT_S,
        )
        return self.connect(), index


def look(database: ImageDatabase) -> list[FaceChange]:
    return [change for batch in database.changes_after(0, MODEL) for change in batch]


class Worker:
    """Lives as long as its process: adds, removes and searches until it is killed or finds a fault."""

    def __init__(self, round_: Round, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._diary = round_.diary
        self._database, self._index = round_.open()
        self._seen: list[FaceChange] = []

    def run(self) -> str:
        """Return what was wrong."""
        while True:
            try:
                if wrong := self._add() or self._remove() or self._confirm():
                    return wrong
            except DatabaseUnavailable:
                self._diary.note("refused")

    def _draw(self, rows: int) -> NDArray[np.float32]:
        return self._chance.standard_normal((rows, DIMENSION)).astype(np.float32)

    def _add(self) -> str | None:
        """Add a few faces, and expect each to be found at once unless another process removed it."""
        vectors = self._draw(int(self._chance.integers(1, 8)))
        photo = PhotoInfo("a.png", 10, 10)
        names = [f"Person {self._chance.integers(PERSONS)}" for _ in vectors]
        faces = [
            NewFace(name, "1", photo, Face(Box(0, 9, 9, 0), vector))
            for name, vector in zip(names, vectors, strict=True)
        ]
        ids = self._database.add_faces(faces, MODEL)
        self._diary.note("added", *ids)
        found = self._found_at(vectors)
        lost = [face_id for face_id, there in zip(ids, found, strict=True) if face_id not in there]
        if still := sorted(self._database.get_faces(lost)):
            return f"faces {still} were added and not found"
        return None

    def _remove(self) -> str | None:
        """Remove some of the older faces, and expect none of them to be found again."""
        faces = [change for change in self._seen if change.embedding is not None]
        count = min(int(self._chance.integers(1, 12)), len(faces) - KEPT_FACES)
        if count <= 0:
            return None
        chosen = [faces[at] for at in self._chance.choice(len(faces) // 2, count, replace=False)]
        self._diary.note("removing", *(face.face_id for face in chosen))
        gone = self._database.delete_faces([face.face_id for face in chosen])
        self._diary.note("removed", *gone)
        vectors = np.stack([face.embedding for face in chosen if face.embedding is not None])
        found = {face_id for there in self._found_at(vectors) for face_id in there}
        # Also those that another process had removed before.
        if back := sorted(found & {face.face_id for face in chosen}):
            return f"faces {back} were removed and found"
        if left := self._files_with(vectors):
            return f"{left} hold vectors or codes of faces that were removed"
        return None

    def _files_with(self, vectors: NDArray[np.float32]) -> list[str]:
        """The index's files in which any of the vectors lies, or its code."""
        told = [vector.tobytes() for vector in vectors]
        snapshot = self._index.snapshot()
        if snapshot is not None and snapshot.file.encoder is not None:
            codes = snapshot.file.encoder.encode_rows(vectors).first[:, :DIMENSION]
            told += [code.tobytes() for code in codes]
        found = []
        for path in self._index.matrix.path.parent.iterdir():
            with suppress(FileNotFoundError):  # replaced or deleted meanwhile
                data = path.read_bytes()
                found += [path.name] if any(one in data for one in told) else []
        return found

    def _found_at(self, vectors: NDArray[np.float32]) -> list[set[int]]:
        """The ids that lie where the vectors do."""
        self._index.catch_up(self._database)
        found = self._index.search(vectors, 1, 0.0)
        self._diary.note("searched", len(vectors))
        return [{match.face_id for match in matches} for matches in found]

    def _confirm(self) -> str | None:
        """Compare a search with the oracle at each moment that it may speak of."""
        probes = self._draw(int(self._chance.integers(1, 4)))
        k = int(self._chance.choice([1, 5, 50, 1000]))
        tolerance = float(self._chance.choice([4.0, 5.5, EVERYTHING]))
        only = None
        if self._chance.random() < 0.4:
            some = self._chance.choice(np.arange(1, PERSONS + 1), 2, replace=False)
            only = FaceFilter(persons=frozenset(int(person) for person in some))
        surely_seen = self._database.newest_change()
        earlier = look(self._database)
        before = self._database.newest_change()
        self._index.catch_up(self._database)
        found = self._index.search(probes, k, tolerance, only)
        self._diary.note("searched", len(probes))
        after = self._database.newest_change()
        self._seen = look(self._database)
        told = {change.number: change for change in (*earlier, *self._seen)}
        history = FaceHistory()
        history.changes = [(MODEL, told[number]) for number in sorted(told)]
        for moment in range(before, after + 1):
            if found == history.nearest(probes, k, tolerance, upto=moment, only=only):
                return None
        for moment in range(before, after + 1):
            gone = {n.face_id for n in told.values() if n.number > moment and n.embedding is None}
            if found == nearest_but(history, gone, found, probes, k, tolerance, moment, only):
                self._diary.note("overtaken")
                return None
        if not told.keys() >= set(range(surely_seen + 1, after + 1)):
            self._diary.note("undecided")
            return None
        asked = f"k={k}, tolerance={tolerance}, {only}"
        return f"the answer to {asked} is of no moment from {before} to {after}: {found}"


def nearest_but(
    history: FaceHistory,
    gone: set[int],
    found: list[list[Match]],
    probes: NDArray[np.float32],
    k: int,
    tolerance: float,
    moment: int,
    only: FaceFilter | None,
) -> list[list[Match]]:
    """What is nearest at a moment, each probe's answer without those of `gone` that it did not find."""
    answers = []
    for at, matches in enumerate(found):
        missed = frozenset(gone - {match.face_id for match in matches})
        left = replace(only or FaceFilter(), without=missed)
        answers += history.nearest(probes[at : at + 1], k, tolerance, upto=moment, only=left)
    return answers


def fork(round_: Round, seed: int) -> int:
    """Start a worker; one that finds something wrong says so and ends with the status FAILED."""
    if pid := os.fork():
        return pid
    try:
        logger = logging.getLogger("facesearch")
        logger.handlers[:] = [DiaryHandler(round_.diary)]
        logger.setLevel(logging.INFO)
        logger.propagate = False
        die_in_writes(seed)
        wrong = Worker(round_, seed).run()
    except BaseException as error:
        wrong = repr(error)
    print(f"process {seed}: {wrong}", flush=True)
    os._exit(FAILED)


def die_in_writes(seed: int) -> None:
    """Let this process end half-way in one of its writes to the index's file."""
    chance, write = random.Random(seed), os.pwrite

    def write_or_die(descriptor: int, data: memoryview, at: int) -> int:
        if chance.random() < DEATHS_A_WRITE:
            write(descriptor, data[: len(data) // 2], at)
            os.kill(os.getpid(), signal.SIGKILL)
        return write(descriptor, data, at)

    os.pwrite = write_or_die  # type: ignore[assignment]


def has_failed(pid: int) -> bool:
    """Kill a process where it has not ended, and tell whether it had found something wrong."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == FAILED


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_round(round_: Round, seed: int, seconds: float) -> int:
    """Let the processes work and die; return how many failures there were."""
    chance = random.Random(seed)
    database = round_.connect()
    database.prepare()
    database.close()
    workers = [fork(round_, seed + at) for at in range(PROCESSES)]
    killed = failures = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end and not failures:
            time.sleep(chance.uniform(0.0, 0.1))
            for at, worker in enumerate(workers):
                by_itself = has_ended(worker)
                if by_itself or chance.random() < 0.05:
                    failures += has_failed(worker)
                    killed += 1
                    round_.diary.note("halfway" if by_itself else "killed")
                    workers[at] = fork(round_, seed + PROCESSES + killed)
    finally:
        failures += sum(has_failed(worker) for worker in workers)
    for wrong in settle(round_, np.random.default_rng(seed)):
        print(wrong, flush=True)
        failures += 1
    return failures


def settle(round_: Round, chance: np.random.Generator) -> list[str]:
    """What is wrong once all is quiet: with the database, with the copy, or with what was told."""
    database, index = round_.open()
    index.catch_up(database)
    history = FaceHistory()
    history.newest = database.newest_change()
    history.changes = [(MODEL, change) for change in look(database)]
    stored = {face.face_id: face.embedding for face in history.stored() if face.embedding is not None}
    told: dict[str, set[int]] = {"added": set(), "removing": set(), "removed": set()}
    for what, numbers in round_.diary.lines():
        if what in told:
            told[what].update(numbers)
    wrong = []
    if lost := told["added"] - told["removing"] - stored.keys():
        wrong.append(f"faces {sorted(lost)} were told as added and are not stored")
    if back := told["removed"] & stored.keys():
        wrong.append(f"faces {sorted(back)} were told as removed and are stored")
    if index.count() != len(stored):
        wrong.append(f"{len(stored)} faces are stored, the index holds {index.count()}")
    found = index.search(np.stack(list(stored.values())), 1, 0.0) if stored else []
    if [[match.face_id for match in matches] for matches in found] != [[face_id] for face_id in stored]:
        wrong.append("not each stored face is found where it lies")
    probes = chance.standard_normal((10, DIMENSION)).astype(np.float32)
    if index.search(probes, 1000, EVERYTHING) != history.nearest(probes, 1000, EVERYTHING):
        wrong.append("the whole gallery is answered wrongly")
    index.close()
    database.close()
    return wrong


def rounds(engine: str, seeds: list[int], seconds: float) -> Counter[str]:
    """Run a round per seed; the sums of what happened. Ends this program at the first wrong answer."""
    sums: Counter[str] = Counter()
    with ExitStack() as parts:
        server = parts.enter_context(MariaDB()) if engine == "mysql" else None
        for number, seed in enumerate(seeds, 1):
            print(f"{engine}, round {number}, seed {seed}", flush=True)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                diary = Diary(folder / "diary")
                round_ = Round(_connect(folder, server), folder, diary)
                if failures := run_round(round_, seed, seconds):
                    sys.exit(f"{failures} failures: index --engine {engine} --rounds 1 --seed {seed}")
                for what, numbers in diary.lines():
                    sums[what] += 1
                    sums[f"{what} faces"] += len(numbers)
                diary.close()
    return sums


def _connect(folder: Path, server: MariaDB | None) -> Connect:
    if server is None:
        return lambda: SQLiteImageDatabase(folder / "faces.db", wait_s=WAIT_S)
    settings = server.new_database(wait_s=WAIT_S, connections=2)
    return lambda: MySQLImageDatabase(settings)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each round lasts")
    parser.add_argument("--engine", choices=("both", "sqlite", "mysql"), default="both")
    parser.add_argument("--seed", type=int, help="the first round's; by default each round's is drawn")


def run(chosen: argparse.Namespace) -> None:
    matrix._SPARE_ROWS = SPARE_ROWS
    print(describe("numpy", "SQLAlchemy", "mysql-connector-python"), flush=True)
    seeds = [random.SystemRandom().getrandbits(32) for _ in range(chosen.rounds)]
    if chosen.seed is not None:
        seeds[0] = chosen.seed
    engines = ["sqlite", "mysql"] if chosen.engine == "both" else [chosen.engine]
    sums = {engine: rounds(engine, seeds, chosen.seconds) for engine in engines}
    print(f"\n| {chosen.rounds} rounds of {chosen.seconds:g} s | {' | '.join(engines)} |")
    print("|---|" + "---|" * len(engines))
    rows = {
        "processes killed at a random moment": "killed",
        "processes killed half-way in a write": "halfway",
        "calls that added faces": "added",
        "faces added": "added faces",
        "faces removed": "removed faces",
        "searches": "searched",
        "calls refused by the database": "refused",
        "copies put into a tidy file": "tidied",
        "copies built anew": "rebuilt",
        "answers overtaken by a removal": "overtaken",
        "answers undecided": "undecided",
    }
    for title, what in rows.items():
        print(f"| {title} | {' | '.join(f'{sums[engine][what]:,}' for engine in engines)} |")
    print(f"| answers wrong | {' | '.join('0' for _ in engines)} |")
