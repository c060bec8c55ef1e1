"""Rounds of kills while a service works on a zip: each photo ends in the database once, or in the report.

Each round has a new database, a new data folder and a seed that is printed before it begins. A zip of LFW
photos, a few of them twice, with some files among them that are no photos, broken, or without a face, goes
to /v1/imports. Until its job is over, at random moments one of these is killed with -9: a child of a pool,
a pool's supervisor, the gunicorn worker that works on the job, all of gunicorn at once, the database server;
the last two are then started again.

After that each file must have one report, each photo that was reported as inserted one row, and each row
such a report; search must find all of them, with the vectors of their own photos; no process and no archive
may be left. A photo at which processes died twice and more may be reported as failed, with that reason.

The first fault ends the run with exit status 1; `--rounds 1 --seed SEED` draws the same numbers again, though
what is hit at which moment differs from run to run.

    python3 -m benchmarks.faults imports [--rounds 30] [--photos 1000] [--engine both] [--seed SEED]
"""

import argparse
import math
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.archives import ZippedFile, mixed_files, zip_bytes
from benchmarks.import_check import Checker
from benchmarks.import_client import OVER, ImportClient, WrongAnswer
from benchmarks.killer import END_S, LOOK_S, Killer
from benchmarks.machine import describe
from benchmarks.processes import wait_for_none, wrong_words
from facesearch.config import DatabaseSettings
from tests.mariadb import MariaDB
from tests.server import Server, kill

KILLS = 8  # and one at the beginning, and those that follow at once
KILLED_AGAIN = 0.3
LONGEST_PAUSE_S = 2.0
ROUND_LIMIT_S = 900.0
LEASE_S = 2.0
SHOWN = 20
LOG_SHOWN = 5000


class ImportRound:
    """One job, and what is killed meanwhile. Belongs to the thread that started the database server."""

    def __init__(self, server: Server, database: MariaDB | None, chance: random.Random) -> None:
        self.killer = Killer(server, database, chance)
        self._server = server
        self._chance = chance
        self._client = ImportClient(server.url)

    def run(self, files: dict[str, ZippedFile]) -> dict[str, Any]:
        """Import the files among kills; the job once it is over.

        The kills are spread over the job, by shares of it drawn before; some come in quick succession.

        Raises:
            WrongAnswer: the service gave a wrong answer, or the job did not end.
        """
        archive = zip_bytes((path, file.data) for path, file in files.items())
        job = self._client.start(archive)
        if job is None:
            raise WrongAnswer("the job was not queued")
        deadline = time.monotonic() + ROUND_LIMIT_S
        shares = sorted(self._chance.random() for _ in range(KILLS))
        kill_at = time.monotonic() + self._chance.uniform(0.0, 1.0)
        while True:
            seen = self._client.job(job["id"])
            if seen is not None and seen["state"] in OVER:
                return seen
            now = time.monotonic()
            if self._server.process.poll() is not None:
                raise WrongAnswer("gunicorn has ended, and not by this hand")
            if now > deadline:
                raise WrongAnswer(f"the job is not over after {ROUND_LIMIT_S:g} s: {seen}")
            if now >= kill_at:
                self.killer.kill()
                again = self._chance.random() < KILLED_AGAIN
                kill_at = time.monotonic() + self._chance.uniform(0.0, LONGEST_PAUSE_S) if again else math.inf
            elif kill_at == math.inf and shares and seen and seen["done"] >= shares[0] * len(files):
                del shares[0]
                kill_at = now + self._chance.uniform(0.0, 1.0)
            time.sleep(LOOK_S)


def run_round(folder: Path, engine: str, seed: int, photos: int) -> tuple[Counter[str], list[str]]:
    """Run a round with a service, and where it needs one a database server, of its own.

    Returns:
        What happened, and what was wrong.
    """
    chance = random.Random(seed)
    with ExitStack() as parts:
        database = parts.enter_context(MariaDB()) if engine == "mysql" else None
        server = Server(folder, _settings(database), workers=chance.choice([2, 3]))
        happened: Counter[str] = Counter()
        wrong: list[str] = []
        try:
            with server:
                wrong += _import_and_check(server, database, chance, photos, happened)
        except RuntimeError as error:
            wrong.append(str(error))
        if left := wait_for_none(server.config_file, END_S):
            wrong.append(f"processes {left} are left")
            kill(left)
        wrong += [f"the log says {words}" for words in wrong_words(server.log)]
        if wrong:
            del wrong[SHOWN:]
            wrong.append(f"the log's end:\n{server.log[-LOG_SHOWN:]}")
    return happened, wrong


def _import_and_check(
    server: Server, database: MariaDB | None, chance: random.Random, photos: int, happened: Counter[str]
) -> list[str]:
    files = mixed_files(photos, chance)
    round_ = ImportRound(server, database, chance)
    wrong: list[str] = []
    begun = time.monotonic()
    try:
        job = round_.run(files)
        happened["seconds"] += round(time.monotonic() - begun)
        checker = Checker(server, files, job)
        wrong += checker.check(chance)
        happened.update(checker.counts)
    except WrongAnswer as error:
        wrong.append(str(error))
    happened.update(round_.killer.happened)
    return wrong + round_.killer.wrong


def _settings(database: MariaDB | None) -> dict[str, Any]:
    settings: dict[str, Any] = {"workers": {"processes": 2}, "intake": {"lease_s": LEASE_S}}
    if database is not None:
        settings["database"] = as_config(database.new_database())
    return settings


def as_config(database: DatabaseSettings) -> dict[str, Any]:
    """What config.json would hold, the password in the clear as there."""
    return {**database.model_dump(), "password": database.password.get_secret_value()}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--photos", type=int, default=1000, help="LFW photos in each round's zip")
    parser.add_argument("--engine", choices=("both", "sqlite", "mysql"), default="both")
    parser.add_argument("--seed", type=int, help="the first round's; by default each round's is drawn")


def run(chosen: argparse.Namespace) -> None:
    print(describe("numpy", "SQLAlchemy", "mysql-connector-python", "gunicorn"), flush=True)
    engines = ["sqlite", "mysql"] if chosen.engine == "both" else [chosen.engine]
    sums: dict[str, Counter[str]] = {engine: Counter() for engine in engines}
    for engine in engines:
        for number in range(1, chosen.rounds + 1):
            drawn = random.SystemRandom().getrandbits(32)
            seed = drawn if number > 1 or chosen.seed is None else chosen.seed
            print(f"{engine}, round {number}, seed {seed}", end="", flush=True)
            with tempfile.TemporaryDirectory() as name:
                happened, wrong = run_round(Path(name), engine, seed, chosen.photos)
            print(": " + ", ".join(f"{count} {what}" for what, count in sorted(happened.items())), flush=True)
            if wrong:
                print("\n".join(wrong), flush=True)
                again = f"imports --engine {engine} --photos {chosen.photos} --rounds 1 --seed {seed}"
                sys.exit(f"{len(wrong)} faults: {again}")
            sums[engine] += happened
    print(f"\n| {chosen.rounds} rounds of {chosen.photos:,} photos | {' | '.join(engines)} |")
    print("|---|" + "---|" * len(engines))
    for title in sorted({what for happened in sums.values() for what in happened}):
        print(f"| {title} | {' | '.join(f'{sums[engine][title]:,}' for engine in engines)} |")
    print(f"| photos lost, doubled or not found | {' | '.join('0' for _ in engines)} |")
