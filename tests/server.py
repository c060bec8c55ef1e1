"""A real service in processes of its own, for tests and benchmarks."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from facesearch.config import PREFIX

PROJECT_ROOT = Path(__file__).resolve().parent.parent
START_S = 90.0
STOP_S = 40.0


class Server:
    """gunicorn with workers on a free local port, its data and its config in `folder`.

    A context manager: the processes live as long as it, and none outlives it.

    Args:
        folder: empty or absent; `facesearch-data`, config.json and the log are made in it.
        settings: what differs from the project's config.json, in the same shape.
        workers: gunicorn workers.
        arguments: more words for gunicorn's command line.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any] | None = None,
        workers: int = 2,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log_file = folder / "log.txt"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_file = folder / "config.json"
        self.config_file.write_text(json.dumps(settings or {}))
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
        self._environment |= {"FACESEARCH_CONFIG": str(self.config_file), **(environment or {})}
        self._command = [sys.executable, "-m", "gunicorn", "app:app", "--workers", str(workers)]
        self._command += ["--bind", f"127.0.0.1:{self.port}", *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx2.Client(base_url=self.url, timeout=600)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def processes(self) -> list[int]:
        """The process ids of the server and all that descends from it."""
        return descendants(self.process.pid)

    def memory_bytes(self) -> dict[int, int]:
        """The proportional set size of each process, by process id."""
        sizes = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        sizes[pid] = int(line.split()[1]) * 1024
        return sizes

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=PROJECT_ROOT, env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}:\n{self.log}")
            with contextlib.suppress(httpx2.TransportError):
                self.client.get("/openapi.json", timeout=5)
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the server did not answer within {START_S} s:\n{self.log}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the server and wait until all of its processes are gone."""
        pids = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_S)
        wait_until_gone(pids)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.stop()


def free_port() -> int:
    """A port that nobody has.

    It is none of those that the system gives to whoever connects or asks for any (on Linux from 32768 on):
    one of these may be another's by the time that it is used.
    """
    while True:
        port = secrets.choice(range(20_000, 30_000))
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def descendants(pid: int) -> list[int]:
    """A process and all that descends from it; what ends meanwhile may be missing."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found += [int(child) for child in (task / "children").read_text().split()]
    return found


def kill(pids: Iterable[int]) -> None:
    """Kill processes with -9; one may have died with another."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids: Sequence[int], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            kill(left)
            raise RuntimeError(f"processes {left} outlived the server")
        time.sleep(0.05)


@contextlib.contextmanager
def photo(path: Path) -> Iterator[dict[str, Any]]:
    """The multipart field of a photo or zip."""
    with path.open("rb") as file:
        yield {"file": (path.name, file)}
