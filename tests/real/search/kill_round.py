"""Four processes that add and remove faces and search, each killed at random moments and half-way in writes.

    python -m tests.real.search.kill_round SEED FOLDER SECONDS

The processes are forked from this one, which has loaded all modules and started no thread, so that many
die in a few seconds. The last line tells how many did; any wrong answer is told on a line of its own
and makes the exit status 1.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.databases import SQLiteImageDatabase
from facesearch.records import Box, Face, NewFace, PhotoInfo
from facesearch.search import ExactIndex
from facesearch.workers import InlinePool
from tests.contracts.face_history import MODEL, FaceHistory

DIMENSION = 8
PROCESSES = 4
FAILED = 3
DEATHS_A_WRITE = 0.004
_TRIES = 50


def open_both(folder: Path) -> tuple[SQLiteImageDatabase, ExactIndex]:
    database = SQLiteImageDatabase(folder / "faces.db", wait_s=30.0)
    index = ExactIndex(
        folder / "index", MODEL, DIMENSION, InlinePool(), 0, block_rows=32, fit_from=40, lock_wait_s=30.0
    )
    return database, index


def add(database: SQLiteImageDatabase, vectors: NDArray[np.float32]) -> list[int]:
    photo = PhotoInfo("a.png", 10, 10)
    faces = [NewFace("A", "1", photo, Face(Box(0, 9, 9, 0), vector)) for vector in vectors]
    return database.add_faces(faces, MODEL)


def history_of(database: SQLiteImageDatabase) -> FaceHistory:
    """What the database holds now, and what it told of changes since."""
    history = FaceHistory()
    history.newest = database.newest_change()
    for batch in database.changes_after(0, MODEL):
        history.changes += [(MODEL, change) for change in batch]
    return history


def confirm(database: SQLiteImageDatabase, index: ExactIndex, probes: NDArray[np.float32]) -> str | None:
    """Compare with a plain scan of what the database held at a moment between the look and the answer.

    A face that is removed while the index catches up may be gone a little before its number is reached.
    """
    for _ in range(_TRIES):
        earlier = history_of(database)
        index.catch_up(database)
        found = index.search(probes, 20, 9.0)
        history = history_of(database)
        known = {change.number: change for _, change in earlier.changes + history.changes}
        numbers = range(earlier.newest, history.newest + 1)
        if not known.keys() >= set(numbers[1:]):
            continue  # a face came and went between the two looks, and where it was is not known
        for moment in numbers:
            for removals in range(moment, history.newest + 1):
                held = FaceHistory()
                held.changes = [
                    (MODEL, known[number])
                    for number in sorted(known)
                    if number <= (moment if known[number].embedding is not None else removals)
                ]
                held.newest = history.newest
                if found == held.nearest(probes, 20, 9.0):
                    return None
        return f"wrong answer between {earlier.newest} and {history.newest}: {found}"
    return None


def work(folder: Path, seed: int) -> str | None:
    chance = np.random.default_rng(seed)
    database, index = open_both(folder)
    while True:
        vectors = chance.standard_normal((int(chance.integers(1, 8)), DIMENSION)).astype(np.float32)
        ids = add(database, vectors)
        index.catch_up(database)
        found = index.search(vectors, 1, 0.0)
        if [pairs[0].face_id if pairs else 0 for pairs in found] != ids:
            return f"added {ids}, found {found}"
        if chance.random() < 0.7:
            gone = ids[: int(chance.integers(1, len(ids) + 1))]
            database.delete_faces(gone)
            index.catch_up(database)
            found = index.search(vectors, 1, 0.0)
            if [pairs[0].face_id if pairs else 0 for pairs in found] != [0] * len(gone) + ids[len(gone) :]:
                return f"removed {gone} of {ids}, found {found}"
        if wrong := confirm(database, index, vectors[:1]):
            return wrong


def die_in_writes(seed: int) -> None:
    """Let this process end half-way in one of its writes to the index's file."""
    chance, write = random.Random(seed), os.pwrite

    def write_or_die(descriptor: int, data: memoryview, at: int) -> int:
        if chance.random() < DEATHS_A_WRITE:
            write(descriptor, data[: len(data) // 2], at)
            os.kill(os.getpid(), signal.SIGKILL)
        return write(descriptor, data, at)

    os.pwrite = write_or_die  # type: ignore[assignment]


def fork(folder: Path, seed: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        die_in_writes(seed)
        wrong = work(folder, seed)
    except BaseException as error:
        wrong = repr(error)
    print(wrong, flush=True)
    os._exit(FAILED)


def has_failed(pid: int) -> bool:
    """Kill a process where it has not ended, and tell whether it had found something wrong."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == FAILED


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main(seed: int, folder: Path, seconds: float) -> int:
    chance = random.Random(seed)
    database, index = open_both(folder)
    database.prepare()
    database.close()
    workers = [fork(folder, seed + at) for at in range(PROCESSES)]
    kills = failures = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.0, 0.1))
        for at, worker in enumerate(workers):
            if has_ended(worker) or chance.random() < 0.03:
                failures += has_failed(worker)
                kills += 1
                workers[at] = fork(folder, seed + PROCESSES + kills)
    failures += sum(has_failed(worker) for worker in workers)
    database, index = open_both(folder)
    probes = np.random.default_rng(seed).standard_normal((5, DIMENSION)).astype(np.float32)
    if wrong := confirm(database, index, probes):
        print(wrong)
        failures += 1
    stored = len(history_of(database).faces())
    if index.count() != stored:
        print(f"{stored} faces are stored, the index holds {index.count()}")
        failures += 1
    index.close()
    database.close()
    print(f"{kills} processes killed, {stored} faces stored")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
