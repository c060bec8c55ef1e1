"""How every JobStore remembers first answers."""

import pytest

from facesearch.errors import Conflict
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import (
    FirstAnswer,
    Once,
)
from tests.contracts.image_database import MODEL, new_face
from tests.contracts.job_parts import Clock, JobStoreFixtures


class FirstAnswersContract(JobStoreFixtures):
    def test_the_first_answer_is_remembered_for_a_day(self, jobs: JobStore, clock: Clock) -> None:
        assert jobs.first_answer("key") is None
        first = FirstAnswer("f", '{"id": 1, "name": "王小明 😀"}')
        jobs.add_answer(Once("key", first.fingerprint), first.content)
        clock.go_on(hours=23, minutes=59)
        jobs.prune(1.0)
        assert jobs.first_answer("key") == first
        with pytest.raises(Conflict):
            jobs.add_answer(Once("key", "f"), "second")
        assert jobs.first_answer("key") == first
        clock.go_on(minutes=1)
        assert jobs.first_answer("key") is None
        jobs.add_answer(Once("key", "g"), "third")
        assert jobs.first_answer("key") == FirstAnswer("g", "third")

    def test_keys_are_told_apart_byte_by_byte(self, jobs: JobStore) -> None:
        keys = ["a", "A", "a ", "a\x00", "á", "a\u0301", "", "k" * 100_000, "\ud800", "\udfff", "%"]
        for n, key in enumerate(keys):
            jobs.add_answer(Once(key, str(n)), "x")
        assert [(jobs.first_answer(key) or FirstAnswer("", "")).fingerprint for key in keys] == [
            str(n) for n in range(len(keys))
        ]

    def test_old_answers_are_forgotten(self, jobs: JobStore, clock: Clock) -> None:
        for n in range(3):
            jobs.add_answer(Once(f"old {n}", "f"), "x")
        clock.go_on(hours=24)
        jobs.add_answer(Once("new", "f"), "x")
        jobs.prune(1.0)
        clock.go_on(hours=-24)
        assert jobs.first_answer("old 1") is None
        assert jobs.first_answer("new") is not None

    def test_an_answer_and_its_faces_are_written_together_or_not_at_all(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        def enrol(key: str) -> None:
            with database.transaction():
                [face_id] = database.add_faces([new_face()], MODEL)
                jobs.add_answer(Once(key, "f"), str(face_id))

        enrol("a")
        with pytest.raises(Conflict):
            enrol("a")
        assert database.newest_change() == 1
        enrol("b")
        assert database.newest_change() == 2
