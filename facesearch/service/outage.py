"""Whether the database is away, and who asks it then."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from facesearch.errors import DatabaseUnavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Outage:
    """Lives as long as its process. Any thread may call it.

    While the database is away one thread at a time asks it, and waits for as long as that takes; the others
    go on with what is known meanwhile.
    """

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._is_away = False

    def ask(
        self, question: Callable[[], T], known: Callable[[], T], is_known: Callable[[], bool] = lambda: True
    ) -> T:
        """Return what the database says, or what is known while it is away.

        Args:
            question: raises DatabaseUnavailable where the database is away.
            known: asks nobody.
            is_known: whether there is anything known; where not, the error reaches the caller.
        """
        if not (self._is_away and is_known()):
            return self._asked(question, known, is_known)
        if not self._asking.acquire(blocking=False):
            return known()
        try:
            return self._asked(question, known, is_known)
        finally:
            self._asking.release()

    def _asked(self, question: Callable[[], T], known: Callable[[], T], is_known: Callable[[], bool]) -> T:
        try:
            answer = question()
        except DatabaseUnavailable as error:
            if not is_known():
                raise
            self._note_away(error)
            return known()
        self._note_back()
        return answer

    def _note_away(self, error: DatabaseUnavailable) -> None:
        if not self._is_away:
            self._is_away = True
            _log.warning("%s Until it answers, this process goes on with what it knows.", error.message)

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("The database answers again.")
