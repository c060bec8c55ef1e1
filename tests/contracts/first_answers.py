"""How every JobStore remembers first answers."""

from concurrent.futures import ThreadPoolExecutor, wait

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

    def test_an_answer_is_forgotten_with_what_it_is_about(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        ids = database.add_faces([new_face()] * 3, MODEL)
        about = {
            "none": [],
            "first": [f"face:{ids[0]}", f"face:{ids[0]}"],
            "both": [f"face:{ids[0]}", f"face:{ids[1]}", "person:7"],
            "third": [f"face:{ids[2]}"],
            "person": ["person:7"],
            "another": ["person:71"],
            "collection": ["collection:7"],
        }
        for key, things in about.items():
            jobs.add_answer(Once(key, "f"), "x", things)

        def left() -> set[str]:
            return {key for key in about if jobs.first_answer(key)}

        assert left() == set(about)
        jobs.forget_faces([ids[0], 10**15])
        assert left() == {"none", "third", "person", "another", "collection"}
        jobs.forget_person(7)
        assert left() == {"none", "third", "another", "collection"}
        jobs.forget_collection(7)
        assert left() == {"none", "third", "another"}
        jobs.forget_faces(ids)
        jobs.forget_faces([])
        assert left() == {"none", "another"}
        jobs.add_answer(Once("both", "f"), "again")
        jobs.forget_person(7)
        assert jobs.first_answer("both") == FirstAnswer("f", "again")

    def test_an_answer_that_follows_an_old_one_is_not_about_the_same(
        self, jobs: JobStore, clock: Clock
    ) -> None:
        jobs.add_answer(Once("a", "f"), "x", ["person:1"])
        jobs.add_answer(Once("b", "f"), "x", ["person:1"])
        clock.go_on(hours=24)
        jobs.add_answer(Once("a", "f"), "y", ["person:2"])
        jobs.prune(1.0)
        jobs.add_answer(Once("b", "f"), "y")
        jobs.forget_person(1)
        assert jobs.first_answer("a") == jobs.first_answer("b") == FirstAnswer("f", "y")
        jobs.forget_person(2)
        assert jobs.first_answer("a") is None

    def test_an_answer_about_a_face_that_is_erased_meanwhile_is_not_kept(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        [face_id] = database.add_faces([new_face()], MODEL)
        with ThreadPoolExecutor(1) as other:
            with database.transaction():
                assert database.delete_faces([face_id]) == [face_id]
                jobs.forget_faces([face_id])
                telling = other.submit(jobs.add_answer, Once("key", "f"), "x", [f"face:{face_id}"])
                wait([telling], 0.2)
                assert not telling.done()
            telling.result(30)
        assert jobs.first_answer("key") is None
