"""Finds the processes of a test in /proc by a mark in their environment."""

import os
from functools import partial
from pathlib import Path

from tests.waiting import until

MARK = "FACESEARCHTEST_MARK"
wait_until = partial(until, limit_s=30.0)


class MarkedProcesses:
    """All processes that were started under one mark, whoever their parent is by now."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{MARK}={mark}".encode()

    def all(self) -> dict[int, str]:
        """Return the command line of each, by pid; the test's own process is not among them."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
                except OSError:
                    continue  # it ended meanwhile
        return found

    def supervisors(self) -> list[int]:
        return [pid for pid, line in self.all().items() if "supervise" in line]

    def supervisor(self) -> int:
        """The only one; a child that is just being started looks like one too for a moment."""
        found: list[int] = []

        def is_alone() -> bool:
            found[:] = self.supervisors()
            return len(found) == 1

        wait_until(is_alone)
        return found[0]

    def children(self) -> list[int]:
        return [pid for pid, line in self.all().items() if "spawn_main" in line]
