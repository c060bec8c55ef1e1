"""The keys as one process knows them."""

import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from facesearch.errors import DatabaseUnavailable, FacesearchError, KeyMissing, KeyRefused
from facesearch.interfaces import KeyStore
from facesearch.records import Key
from facesearch.service.keys.key_text import digest_of, prefix_of

# How old a view may be, in general and where it does not know the key that was sent.
FRESH_S = 0.5
UNKNOWN_S = 0.1
# How long a request waits for the database, and how long nobody asks it again after it failed.
WAIT_S = 1.0
RETRY_S = 1.0

_NO_DIGEST = bytes(32)
_AWAY = "The database that knows the keys cannot be reached right now."

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _View:
    """What the database held when reading it began, at `read_at` of the process's clock."""

    version: str
    keys: Mapping[str, Key]
    read_at: float


class Keyring:
    """All keys, read again before they are used where that was too long ago.

    Lives as long as its process. Any thread may call it. One thread of its own reads; who asks waits for it
    for a second at most, and goes on with what was read before where the database does not answer.

    Args:
        trusted_s: for how long keys are good that were read before.
        seconds: a clock that only goes forward.
        clock: tells the time with its zone.
    """

    def __init__(
        self,
        store: KeyStore,
        trusted_s: float,
        seconds: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._trusted_s = trusted_s
        self._seconds = seconds
        self._clock = clock
        self._view: _View | None = None
        self._lock = threading.Lock()
        self._reading: Future[None] | None = None
        self._begun_at = 0.0
        self._failed_at: float | None = None
        self._thread = ThreadPoolExecutor(1, "keys")

    def find(self, text: str | None) -> Key | None:
        """Return the key of this text, None where no key was ever made.

        Raises:
            KeyMissing, KeyRefused, DatabaseUnavailable: as for Access.admit.
        """
        prefix = None if text is None else prefix_of(text)
        level = self._read_within(FRESH_S)
        if level and prefix is not None and (self._view is None or prefix not in self._view.keys):
            level = self._read_within(UNKNOWN_S)
        view = self._view
        if view is None:
            raise DatabaseUnavailable(_AWAY)
        if not view.keys:
            return None
        if text is None:
            raise KeyMissing
        # The same work whether the prefix is known or not: the time tells nothing.
        key = view.keys.get(prefix or "")
        is_right = hmac.compare_digest(digest_of(text), _NO_DIGEST if key is None else key.digest)
        if key is None or not is_right:
            if key is None and prefix is not None and not level:
                raise DatabaseUnavailable(_AWAY)
            raise KeyRefused
        if not level and self._seconds() - view.read_at > self._trusted_s:
            raise DatabaseUnavailable(_AWAY)
        return self._active(key)

    def close(self) -> None:
        """Read no more; a read that goes on ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _active(self, key: Key) -> Key:
        state = key.state(self._clock())
        if state == "active":
            return key
        raise KeyRefused("The key has expired." if state == "expired" else "The key was revoked.")

    def _read_within(self, oldest_s: float) -> bool:
        """Have a view that is not older than that; False where the database does not give one."""
        now = self._seconds()
        if self._is_within(now, oldest_s):
            return True
        with self._lock:
            if self._is_within(now, oldest_s):
                return True
            if self._reading is None or self._reading.done():
                if self._failed_at is not None and now - self._failed_at < RETRY_S:
                    return False
                self._begun_at = now
                try:
                    self._reading = self._thread.submit(self._read)
                except RuntimeError:  # closed
                    return False
            reading, patience_s = self._reading, self._begun_at + WAIT_S - now
        try:
            reading.result(max(patience_s, 0.0))
        except (FacesearchError, TimeoutError, CancelledError):
            return False
        return True

    def _is_within(self, now: float, oldest_s: float) -> bool:
        view = self._view
        return view is not None and now - view.read_at <= oldest_s

    def _read(self) -> None:
        begun_at = self._seconds()
        try:
            # In this order: a change in between is then met by the next reading.
            version = self._store.version()
            if self._view is not None and self._view.version == version:
                keys = self._view.keys
            else:
                stored = self._store.keys()
                keys = {key.prefix: key for key in stored}
        except FacesearchError as error:
            if self._failed_at is None:
                _log.warning("The keys cannot be read: %s", error.message)
            self._failed_at = self._seconds()
            raise
        self._failed_at = None
        self._view = _View(version, keys, begun_at)
