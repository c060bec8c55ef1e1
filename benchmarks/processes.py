"""Which processes a running service has, what each is for, and what they take."""

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.server import Server, is_alive

MASTER, WORKER, SUPERVISOR, CHILD, OTHER = "gunicorn", "worker", "supervisor", "pool child", "other"
LOOK_S = 0.2
SHOWN_OF_LOG = 2000
_INDENTED = r"(?:[ \t][^\n]*\n)"
_ORPHANED_AT_START = re.compile(
    rf"Traceback [^\n]*\n{_INDENTED}*?[^\n]*in spawn_main\n{_INDENTED}*EOFError[^\n]*\n?"
)


@dataclass(frozen=True)
class Process:
    """One process as it was seen at one moment; `above` is whose child it is."""

    pid: int
    role: str
    above: int


def processes_of(server: Server) -> list[Process]:
    """The service's process tree, from the top down; processes that end meanwhile are left out."""
    found: list[Process] = []
    if server.process.poll() is not None:
        return found
    found.append(Process(server.process.pid, MASTER, 0))
    for above in found:
        for pid in _children(above.pid):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                found.append(Process(pid, _role(above.role, command), above.pid))
    return found


def all_of(config_file: Path) -> list[int]:
    """Every process that was started with this config file, whosever child it is by now."""
    wanted = b"FACESEARCH_CONFIG=" + os.fsencode(config_file)
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def of_role(role: str, processes: Iterable[Process]) -> list[int]:
    return [process.pid for process in processes if process.role == role]


def busiest_worker(server: Server) -> int | None:
    """The gunicorn worker whose pool is at work; None where no pool has done anything for a moment."""
    before = {pid: sum(map(cpu_ticks, pids)) for pid, pids in _pools(server).items()}
    time.sleep(LOOK_S)
    after = {pid: sum(map(cpu_ticks, pids)) for pid, pids in _pools(server).items()}
    gained = {pid: ticks - before.get(pid, 0) for pid, ticks in after.items()}
    best = max(gained, key=gained.__getitem__, default=None)
    return best if best is not None and gained[best] > 0 else None


def wait_for_none(config_file: Path, limit_s: float) -> list[int]:
    """Wait until no process of a service is left; those that are left after the time."""
    deadline = time.monotonic() + limit_s
    while True:
        left = [pid for pid in all_of(config_file) if is_alive(pid)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def cpu_ticks(pid: int) -> int:
    """User and system time in ticks, fields 14 and 15 of /proc/PID/stat; 0 where it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def memory_bytes(pid: int) -> dict[str, int]:
    """`Pss` and `Rss` of a process in bytes; empty where it is gone."""
    sizes = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Pss", "Rss"):
                sizes[name] = int(rest.split()[0]) * 1024
    return sizes


def open_files(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return 0


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _role(above: str, command: bytes) -> str:
    if above == MASTER:
        return WORKER
    if above == WORKER and b"supervis" in command:
        return SUPERVISOR
    if above == SUPERVISOR and b"spawn_main" in command:
        return CHILD
    return OTHER


def _pools(server: Server) -> dict[int, list[int]]:
    """The pool children of each gunicorn worker."""
    processes = processes_of(server)
    workers = {process.pid: process.above for process in processes if process.role == SUPERVISOR}
    pools: dict[int, list[int]] = {}
    for process in processes:
        if process.role == CHILD:
            pools.setdefault(workers[process.above], []).append(process.pid)
    return pools


def wrong_words(log: str) -> list[str]:
    """What a service's log may not say, each with what follows it.

    A child of which the maker is killed while it starts says so in a traceback of multiprocessing's own,
    before any line of ours: that is no fault.
    """
    said = _ORPHANED_AT_START.sub("", log)
    found = (said.find(words) for words in ("Traceback", "Unforeseen", "Connection in use"))
    return [said[at : at + SHOWN_OF_LOG] for at in found if at >= 0]
