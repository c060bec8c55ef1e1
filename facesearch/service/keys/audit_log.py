"""The log of who changed what: JSON lines in files of bounded size."""

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from facesearch.records import Deed
from facesearch.service.host_lock import locked, private_file

FILE = "audit.jsonl"

_LOCK = "audit.lock"
_LOCK_S = 1.0
_MOST_IDS = 1000

_log = logging.getLogger(__name__)


class AuditLog:
    """Appends a line for each change: time, who, what, ids, status.

    `audit.jsonl` is the newest file; before a line that would make it too long it becomes `audit.1.jsonl`,
    and so on, and the oldest is removed. A line is whole in one file, also where processes write at the same
    time.

    Lives as long as its process. Any thread may call it, and processes of one host share the folder.

    Args:
        most_bytes: how long a file gets.
        files: how many are kept, the newest included.
    """

    def __init__(
        self,
        folder: Path,
        most_bytes: int,
        files: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._files = files
        self._clock = clock
        self._lock = threading.Lock()
        self._patience_s = _LOCK_S

    def write(self, deed: Deed) -> None:
        """Append a line; where that cannot be done, the service's own log says so."""
        entry = {
            "at": self._clock().astimezone(UTC).isoformat(timespec="milliseconds"),
            "who": deed.who,
            "key_name": deed.name,
            "what": deed.what,
            "ids": list(deed.ids[:_MOST_IDS]),
            "status": deed.status,
        }
        line = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        try:
            with self._lock:
                lock = private_file(self._folder / _LOCK, os.O_RDWR)
                try:
                    with locked(lock, self._patience_s) as held:
                        # Whoever was stopped with it is waited for once, not by one request after the other.
                        self._patience_s = _LOCK_S if held else 0.0
                        self._append(line, may_rotate=held)
                finally:
                    os.close(lock)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            _log.error("The audit log cannot be written (%s): %s by %s", reason, deed.what, deed.who)

    def _append(self, line: bytes, *, may_rotate: bool) -> None:
        file = self._folder / FILE
        with suppress(FileNotFoundError):
            if may_rotate and file.stat().st_size + len(line) > self._most_bytes:
                self._rotate()
        with closing(os.fdopen(private_file(file, os.O_RDWR | os.O_APPEND), "r+b", buffering=0)) as log:
            end = os.fstat(log.fileno()).st_size
            # A line that was cut short, by a full disk or a crash, spoils no other.
            if end and os.pread(log.fileno(), 1, end - 1) != b"\n":
                line = b"\n" + line
            if os.write(log.fileno(), line) != len(line):
                raise OSError(0, "the disk is full")

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._name(number - 1).replace(self._name(number))
        if self._files == 1:
            self._name(0).unlink(missing_ok=True)

    def _name(self, number: int) -> Path:
        return self._folder / (FILE if number == 0 else f"audit.{number}.jsonl")
