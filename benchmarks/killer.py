"""Kills what a service at work consists of, and starts again what nobody else would."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from benchmarks.processes import (
    CHILD,
    MASTER,
    SUPERVISOR,
    WORKER,
    all_of,
    busiest_worker,
    of_role,
    processes_of,
)
from tests.mariadb import MariaDB
from tests.server import Server, is_alive, kill, wait_until_gone

A_CHILD, A_SUPERVISOR, THE_WORKER, ALL, THE_DATABASE = (
    "pool children",
    "pool supervisors",
    "gunicorn workers at work",
    "all of gunicorn",
    "the database server",
)
LONGEST_AWAY_S = 2.0
END_S = 30.0
LOOK_S = 0.1


class Killer:
    """Kills with -9, each kind before any comes again. Belongs to the thread that started the database.

    Args:
        database: None where the service has a file for one.
    """

    def __init__(self, server: Server, database: MariaDB | None, chance: random.Random) -> None:
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._server = server
        self._database = database
        self.chance = chance
        self._kinds: dict[str, Callable[[], bool]] = {
            A_CHILD: lambda: self._kill_one(CHILD),
            A_SUPERVISOR: lambda: self._kill_one(SUPERVISOR),
            THE_WORKER: self._kill_worker,
            ALL: self._kill_all,
        }
        if database is not None:
            self._kinds[THE_DATABASE] = self._kill_database
        self._bag: list[str] = []

    def kill(self) -> None:
        """Kill something; a kind of which nothing is there right now stays for the next time."""
        if not self._bag:
            self._bag = self.chance.sample(sorted(self._kinds), len(self._kinds))
        kind = self._bag[-1]
        if self._kinds[kind]():
            self._bag.remove(kind)
            self.happened[kind] += 1

    def _kill_one(self, role: str) -> bool:
        there = of_role(role, processes_of(self._server))
        if there:
            kill([self.chance.choice(there)])
        return bool(there)

    def _kill_worker(self) -> bool:
        pid = busiest_worker(self._server)
        if pid is not None:
            kill([pid])
        return pid is not None

    def _kill_all(self) -> bool:
        """Kill gunicorn's own processes; the pools have to end by themselves, and leave the port alone."""
        self._server.process.send_signal(signal.SIGSTOP)  # or it might start one that is not known here
        before = all_of(self._server.config_file)
        processes = processes_of(self._server)
        gunicorns = [*of_role(MASTER, processes), *of_role(WORKER, processes)]
        kill(gunicorns)
        self._server.process.wait(END_S)
        wait_until_gone(gunicorns)  # each of them has the port open
        self._server.start()
        deadline = time.monotonic() + END_S
        while left := [pid for pid in before if is_alive(pid)]:
            if time.monotonic() > deadline:
                self.wrong.append(f"processes {left} outlived gunicorn")
                kill(left)
                break
            time.sleep(LOOK_S)
        return True

    def _kill_database(self) -> bool:
        assert self._database is not None
        self._database.kill()
        time.sleep(self.chance.uniform(0.0, LONGEST_AWAY_S))
        if self.chance.random() < 0.3:
            other = self.chance.choice([A_CHILD, A_SUPERVISOR, ALL])
            self.happened[other] += self._kinds[other]()
        self._database.start()
        return True
