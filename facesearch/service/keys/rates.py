"""How often each key may be used, counted over the processes of a host."""

import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from facesearch.service.host_lock import locked, private_file

_SLOT = struct.Struct("<d")
_LOCK_S = 0.05

_log = logging.getLogger(__name__)


class Rates:
    """Lets each key make `burst` requests at once, and so many a minute in the long run.

    The generic cell rate algorithm of ITU-T I.371: of each key nothing is kept but the moment at which the
    requests so far would have come had they come evenly. That moment is one float64, at the key's number in a
    file that the processes of a host share. A process that is killed leaves the file as it was before or
    after its request; moments of a clock that has begun anew since count for nothing.

    Lives as long as its process. Any thread may call it. Where the file cannot be used, this process counts
    for itself.

    Args:
        seconds: a clock that only goes forward and is the same for the processes of a host.
    """

    def __init__(
        self, file: Path, per_minute: float, burst: int, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file
        self._interval_s = 60.0 / per_minute
        self._burst = burst
        self._seconds = seconds
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._own: dict[int, float] = {}
        self._told = False

    def take(self, number: int) -> float:
        """Count a request of the key of this number; return 0, or in how many seconds it may come again."""
        with self._lock:
            try:
                if self._descriptor is None:
                    self._descriptor = private_file(self._file, os.O_RDWR)
                with locked(self._descriptor, _LOCK_S) as held:
                    if held:
                        return self._take_shared(self._descriptor, number * _SLOT.size)
            except OSError as error:
                self._tell(error)
            wait_s, self._own[number] = self._next(self._own.get(number, 0.0))
            return wait_s

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _take_shared(self, descriptor: int, place: int) -> float:
        stored = os.pread(descriptor, _SLOT.size, place)
        moment = _SLOT.unpack(stored)[0] if len(stored) == _SLOT.size else 0.0
        wait_s, moment = self._next(moment)
        if not wait_s:
            os.pwrite(descriptor, _SLOT.pack(moment), place)
        return wait_s

    def _next(self, moment: float) -> tuple[float, float]:
        """For how long a request has to wait, and the moment that is kept."""
        now = self._seconds()
        latest = now + self._burst * self._interval_s
        # Also where it is not a number. What rounding adds to the latest is no reason to begin anew.
        if not now <= moment <= latest + self._interval_s:
            moment = now
        wait_s = moment + self._interval_s - latest
        # What rounding leaves is no reason to refuse one.
        if wait_s > 1e-6:
            return wait_s, moment
        return 0.0, moment + self._interval_s

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            reason = error.strerror or type(error).__name__
            _log.warning("Each process counts the requests of keys for itself: %s.", reason)
