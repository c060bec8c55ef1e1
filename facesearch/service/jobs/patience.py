"""Work on a job while the database may be away: tried again until it is back, or the job is stopped."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from facesearch.errors import DatabaseUnavailable

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run was asked to end before its job did."""


@dataclass(frozen=True)
class Patience:
    """Waits for a database that is away, until its job is stopped. Any thread may call it."""

    job_id: str
    stop: threading.Event

    def __call__(self, work: Callable[[bool], T]) -> T:
        """Do something that needs the database, again and again while it is away.

        Args:
            work: gets whether it was tried before.

        Raises:
            Stopped: the job was stopped meanwhile.
        """
        pause, again = _FIRST_PAUSE_S, False
        while True:
            try:
                return work(again)
            except DatabaseUnavailable as error:
                if not again:
                    _log.warning("%s Job %s waits for it.", error.message, self.job_id)
                again = True
                self.pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def pause(self, seconds: float) -> None:
        """Wait, or raise Stopped."""
        if self.stop.wait(seconds):
            raise Stopped
