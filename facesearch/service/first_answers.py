"""Requests that may be repeated, and what the first of them came to."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from facesearch.errors import Conflict, KeyReused
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import Once

R = TypeVar("R")


class FirstAnswers:
    """Carries a request out once, however often and wherever it is repeated.

    Nothing is reserved: of two that work on the same request at the same time, the one that commits first
    counts, and the other's transaction is rolled back. So nothing waits for a process that has died.

    Lives as long as its process. Any thread may call it.
    """

    def __init__(self, database: ImageDatabase, jobs: JobStore) -> None:
        self._database = database
        self._jobs = jobs

    def find(self, once: Once | None) -> Any:
        """Return what the first request came to, None where this is the first.

        Raises:
            KeyReused: the first request was another one.
        """
        answer = self._jobs.first_answer(once.key) if once else None
        if answer is None:
            return None
        if once and answer.fingerprint != once.fingerprint:
            raise KeyReused
        return json.loads(answer.content)

    def write(
        self,
        once: Once | None,
        work: Callable[[], R],
        content: Callable[[R], Any],
        restored: Callable[[Any], R],
        *,
        about: Callable[[R], Sequence[str]] = lambda _: (),
        alone: bool = False,
    ) -> R:
        """Do the writing part of a request in one transaction with its answer; return what it came to.

        Args:
            work: writes, and returns what it came to.
            content: turns that into what JSON can hold.
            restored: turns it back, where somebody else was first and all of this was rolled back.
            about: what the answer tells of, as JobStore.add_answer takes it.
            alone: whether nobody else may change faces meanwhile.
        """
        try:
            with self._database.alone() if alone else self._database.transaction():
                done = work()
                if once:
                    self._jobs.add_answer(once, json.dumps(content(done)), about(done))
                return done
        except Conflict:
            if once and (first := self.find(once)) is not None:
                return restored(first)
            raise

    def forget_people(self, person_ids: Sequence[int]) -> None:
        """Have requests that made these people, who are gone, carried out anew where they are repeated."""
        for person_id in person_ids:
            self._jobs.forget_person(person_id)
