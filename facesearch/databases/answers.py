"""First answers to requests that may be repeated, on any SQL database."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.tables import ANSWERS, FINGERPRINT_WIDTH
from facesearch.errors import InvalidParameter
from facesearch.records import FirstAnswer, Once

REMEMBERED = timedelta(hours=24)
ANSWERS_A_BATCH = 500


class SQLAnswers:
    """First answers, kept for 24 hours under the digests of their keys. Lives and locks as SQLJobStore.

    Args:
        now: tells the time in UTC without a zone.
    """

    def __init__(self, database: SQLImageDatabase, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def get(self, key: str) -> FirstAnswer | None:
        """Return what the first request under a key came to; None where there was none within 24 hours."""
        self._database.ready()
        where = {"key_digest": _digest(key), "added_at >": self._now() - REMEMBERED}
        rows = self._database.select(ANSWERS, ["fingerprint", "content"], where)
        return FirstAnswer(rows[0]["fingerprint"], rows[0]["content"]) if rows else None

    def add(self, once: Once, content: str) -> None:
        """Note what a request came to.

        Raises:
            Conflict: there is an answer under this key; the transaction around can only be rolled back.
        """
        if len(once.fingerprint) > FINGERPRINT_WIDTH:
            raise InvalidParameter(f"A fingerprint has more than {FINGERPRINT_WIDTH} characters.")
        now, digest = self._now(), _digest(once.key)
        with self._database.transaction():
            self._database.delete(ANSWERS, {"key_digest": digest, "added_at <=": now - REMEMBERED})
            row = {"fingerprint": once.fingerprint, "content": content, "added_at": now}
            self._database.insert(ANSWERS, [{"key_digest": digest, **row}])

    def prune(self) -> None:
        """Forget answers of more than 24 hours ago, some at a time."""
        self._database.ready()
        old = {"added_at <=": self._now() - REMEMBERED}
        while rows := self._database.select(ANSWERS, ["key_digest"], old, limit=ANSWERS_A_BATCH):
            # The age is asked for again: one of these may have been replaced in between.
            self._database.delete(ANSWERS, {"key_digest": [row["key_digest"] for row in rows], **old})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
