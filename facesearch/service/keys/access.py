"""KeyAccess: keys from the database, rates and the audit log from the data folder."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from facesearch.config import AccessSettings
from facesearch.errors import FacesearchError, RateLimited
from facesearch.interfaces import Access, KeyStore
from facesearch.records import Caller, Deed
from facesearch.service.keys.audit_log import AuditLog
from facesearch.service.keys.keyring import Keyring
from facesearch.service.keys.rates import Rates

RATES_FILE = "rates"
USE_NOTED_EVERY_S = 60.0

_log = logging.getLogger(__name__)


class KeyAccess(Access):
    """Lives as long as its process, and owns what it is made of but the store. Any thread may call it.

    Args:
        folder: for the counts of requests and the audit log; the processes of a host share it.
        seconds: a clock that only goes forward and is the same for the processes of a host.
    """

    def __init__(
        self,
        store: KeyStore,
        folder: Path,
        settings: AccessSettings,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._seconds = seconds
        self._keyring = Keyring(store, settings.keys_trusted_s, seconds)
        per_minute = settings.requests_per_minute
        self._rates = per_minute and Rates(folder / RATES_FILE, per_minute, settings.burst, seconds)
        self._audit = AuditLog(folder, settings.audit_bytes, settings.audit_files)
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        self._thread = ThreadPoolExecutor(1, "key-use")

    def admit(self, key: str | None) -> Caller | None:
        """See Access."""
        found = self._keyring.find(key)
        if found is None:
            return None
        self._note_use(found.prefix)
        if self._rates and (wait_s := self._rates.take(found.number)):
            wait_s = math.ceil(wait_s)
            raise RateLimited(f"The key has made as many requests as it may; again in {wait_s} s.", wait_s)
        return Caller(found.prefix, found.name, found.scope, found.collection)

    def record(self, deed: Deed) -> None:
        """See Access."""
        self._audit.write(deed)

    def close(self) -> None:
        """See Access."""
        self._keyring.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._rates:
            self._rates.close()

    def _note_use(self, prefix: str) -> None:
        """Have the use written down by another thread: the request neither waits for it nor fails with it."""
        now = self._seconds()
        with self._lock:
            if now - self._used.get(prefix, -math.inf) < USE_NOTED_EVERY_S:
                return
            self._used[prefix] = now
        with suppress(RuntimeError):  # closed
            self._thread.submit(self._write_use, prefix)

    def _write_use(self, prefix: str) -> None:
        try:
            self._store.note_use(prefix)
        except FacesearchError as error:
            _log.info("The last use of a key could not be noted: %s", error.message)
