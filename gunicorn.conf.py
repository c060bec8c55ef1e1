"""What gunicorn takes for granted here; its command line overrides each line.

`python3 -m gunicorn app:app` reads this file by itself. Host, port and the number of workers come
from config.json.
"""

import fcntl
import os
import shutil
import signal
import struct
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from facesearch.config import load_settings
from facesearch.errors import InvalidConfig
from facesearch.logs import lines
from facesearch.workers.lifetime import die_with

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_METRICS_PREFIX = "facesearch-metrics-"
# A folder that is younger may be another master's that has not locked it yet.
_BEGINNING_S = 60.0
# What a worker counts in, each as long as all routes by all methods may make it.
_METRICS_FILES = ("counter", "histogram", "gauge_livesum")
_METRICS_BYTES = 1024**2
_USED = struct.Struct("i")

try:
    _settings = load_settings()
except InvalidConfig as error:
    sys.exit(error.message)
_server = _settings.server

# Before the workers load numpy: several threads for one product make it slower as soon as several workers
# compute (a product of 16 ms took 290 ms).
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

bind = f"[{_server.host}]:{_server.port}" if ":" in _server.host else f"{_server.host}:{_server.port}"
workers = _server.workers
worker_class = "uvicorn_worker.UvicornWorker"

# A worker beats while its requests run in threads, so this catches a process that hangs, not a long bulk.
timeout = 60
# How long requests in work may take to end after SIGTERM.
graceful_timeout = 30
# An idle connection is its client's to close: who sends the next request just while it is closed here gets no
# answer at all. httpx keeps connections for 5 s, proxies for 60.
keepalive = 75

# Each worker imports the application by itself: threads, connections and models do not survive a fork.
preload_app = False


class _Lines(Logger):  # type: ignore[misc]
    """gunicorn's own lines in the form of the service's, wherever its command line sends them."""

    def setup(self, cfg: Any) -> None:
        """See gunicorn."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(lines(_settings.log.format))


logger_class = _Lines
loglevel = _settings.log.level

# A socket in the home folder that could stop the service; nobody asked for it.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Make a fresh folder in which the workers count, before any of them loads what counts.

    Its lock is held by this process and, inherited, by the workers: folders whose lock nobody holds were
    left by a master that was killed.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_METRICS_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _BEGINNING_S:
                lock = _lock(left)
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)
    folder = tempfile.mkdtemp(prefix=_METRICS_PREFIX)
    if os.geteuid() == 0:  # the workers may run as somebody else
        os.chown(folder, server.cfg.uid, server.cfg.gid)
    server.metrics_lock = _lock(Path(folder))
    os.environ[_METRICS] = folder


def post_fork(server: Any, worker: Any) -> None:
    """Have the room on the disk that a worker counts in, or let it count for itself.

    What counts maps its files into memory without asking for room: on a full disk the first new count would
    kill the process (SIGBUS), and each that replaces it.
    """
    try:
        for kind in _METRICS_FILES:
            descriptor = os.open(_counts(kind, os.getpid()), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.geteuid() == 0:
                    os.fchown(descriptor, server.cfg.uid, server.cfg.gid)
                os.posix_fallocate(descriptor, 0, _METRICS_BYTES)
            finally:
                os.close(descriptor)
    except OSError as error:
        worker.log.warning("This process counts for itself: %s in the temporary folder.", error.strerror)
        for kind in _METRICS_FILES:
            with suppress(OSError):
                _counts(kind, os.getpid()).unlink()
        del os.environ[_METRICS]  # its own; nothing that counts is loaded yet


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what a worker that is gone had in hand; what it has done still counts, in as little room."""
    with suppress(OSError):
        _counts("gauge_livesum", worker.pid).unlink()
    for kind in ("counter", "histogram"):
        with suppress(OSError, struct.error):
            file = _counts(kind, worker.pid)
            with file.open("rb") as counts:
                (used,) = _USED.unpack(counts.read(_USED.size))
            if used:
                os.truncate(file, used)
            else:
                file.unlink()


def on_exit(_server: Any) -> None:
    """Leave no folder behind."""
    shutil.rmtree(os.environ[_METRICS], ignore_errors=True)


def _counts(kind: str, pid: int) -> Path:
    """The file of prometheus-client that a worker counts in; its first number says how much of it is used."""
    return Path(os.environ[_METRICS], f"{kind}_{pid}.db")


def _lock(folder: Path) -> int:
    """Take a folder's lock for as long as the descriptor is open, or raise OSError where somebody has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def post_worker_init(worker: Any) -> None:
    """Let a worker that was asked to stop end as a program does, and one whose master was killed end at all.

    uvicorn finishes its requests and then raises the signal once more. By default that kills the process
    before its exit handlers ran, and gunicorn logs an error about it.

    Without its master a worker would keep the port, and whoever starts the service anew would not get it.
    Asked for here, and not after the fork: a change of user and group in between would undo it.
    """
    die_with(worker.ppid)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
