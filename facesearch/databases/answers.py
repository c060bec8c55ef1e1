"""First answers to requests that may be repeated, on any SQL database."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.statements import parts
from facesearch.databases.tables import ANSWERS, ANSWERS_ABOUT, FACES, FINGERPRINT_WIDTH
from facesearch.errors import InvalidParameter
from facesearch.records import FirstAnswer, Once

REMEMBERED = timedelta(hours=24)
ANSWERS_A_BATCH = 500
FACE, PERSON, COLLECTION = "face:", "person:", "collection:"


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

    def add(self, once: Once, content: str, about: Sequence[str] = ()) -> None:
        """Note what a request came to, and what that is about.

        An answer about a face that somebody has erased meanwhile is not kept.

        Raises:
            Conflict: there is an answer under this key; the transaction around can only be rolled back.
        """
        if len(once.fingerprint) > FINGERPRINT_WIDTH:
            raise InvalidParameter(f"A fingerprint has more than {FINGERPRINT_WIDTH} characters.")
        now, digest = self._now(), _digest(once.key)
        with self._database.transaction():
            if not self._are_there(about):
                return
            self._forget({"key_digest": digest, "added_at <=": now - REMEMBERED})
            row = {"fingerprint": once.fingerprint, "content": content, "added_at": now}
            self._database.insert(ANSWERS, [{"key_digest": digest, **row}])
            named = [{"about": one, "key_digest": digest} for one in sorted(set(about))]
            self._database.insert(ANSWERS_ABOUT, named)

    def forget_about(self, about: Iterable[str]) -> None:
        """Forget the answers about these."""
        with self._database.transaction():
            rows = [
                row
                for part in parts(sorted(set(about)))
                for row in self._database.select(ANSWERS_ABOUT, ["key_digest"], {"about": part})
            ]
            # In one order, so that of two who forget the same answers one waits for the other.
            for digest in sorted({bytes(row["key_digest"]) for row in rows}):
                self._forget({"key_digest": digest})

    def prune(self) -> None:
        """Forget answers of more than 24 hours ago, some at a time."""
        self._database.ready()
        old = {"added_at <=": self._now() - REMEMBERED}
        while rows := self._database.select(ANSWERS, ["key_digest"], old, limit=ANSWERS_A_BATCH):
            with self._database.transaction():
                for digest in sorted(bytes(row["key_digest"]) for row in rows):
                    # The age is asked for again: one of these may have been replaced in between.
                    self._forget({"key_digest": digest, **old})

    def _forget(self, where: dict[str, Any]) -> None:
        """Delete an answer, if there is one with these marks, and what it is about."""
        if self._database.delete(ANSWERS, where):
            self._database.delete(ANSWERS_ABOUT, {"key_digest": where["key_digest"]})

    def _are_there(self, about: Sequence[str]) -> bool:
        """Whether all faces among these are stored; they are not erased before this transaction's end."""
        ids = sorted({int(one.removeprefix(FACE)) for one in about if one.startswith(FACE)})
        if ids:
            self._database.lock_counter()
        there = [row for part in parts(ids) for row in self._database.select(FACES, ["id"], {"id": part})]
        return len(there) == len(ids)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
