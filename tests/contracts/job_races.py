"""What every JobStore does where several ask at the same time."""

from concurrent.futures import ThreadPoolExecutor, wait

from facesearch.errors import Conflict, JobOver, LeaseLost
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import (
    DONE,
    QUEUED,
    RUNNING,
    Once,
)
from tests.contracts.image_database import MODEL, new_face
from tests.contracts.job_parts import (
    LEASE_S,
    OWNER,
    PLACE,
    Clock,
    JobStoreFixtures,
    new_job,
    report_of,
    running,
)


class JobRacesContract(JobStoreFixtures):
    def test_of_many_claimers_each_job_goes_to_one_and_no_more_are_at_work(self, jobs: JobStore) -> None:
        added = {jobs.add(new_job()).id for _ in range(12)}

        def take(number: int) -> list[str]:
            taken: list[str] = []
            for _ in range(8):
                if job := jobs.claim(PLACE, f"owner-{number}", LEASE_S, 9):
                    taken.append(job.id)
            return taken

        with ThreadPoolExecutor(6) as threads:
            taken = [job_id for part in threads.map(take, range(6)) for job_id in part]
        assert len(taken) == len(set(taken)) == 9
        assert set(taken) < added
        states = [job.state for job in jobs.jobs(100).items]
        assert (states.count(RUNNING), states.count(QUEUED)) == (9, 3)

    def test_whether_a_job_exists_is_told_once_its_addition_is_over(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        assert jobs.exists(jobs.add(new_job()).id)
        assert not jobs.exists(new_job().id)
        assert not jobs.exists("no id")
        with ThreadPoolExecutor(1) as other:
            with database.transaction():
                coming = jobs.add(new_job())
                asked = other.submit(jobs.exists, coming.id)
                wait([asked], 0.2)
                assert not asked.done()
            assert asked.result(30)

    def test_of_many_who_take_over_one_does(self, jobs: JobStore, clock: Clock) -> None:
        for _ in range(5):
            job = running(jobs)
            clock.go_on(seconds=LEASE_S)
            with ThreadPoolExecutor(4) as threads:
                owners = [f"heir-{n}" for n in range(4)]
                found = list(threads.map(lambda owner: jobs.claim(PLACE, owner, LEASE_S, 1), owners))
            [heir] = [owner for owner, taken in zip(owners, found, strict=True) if taken]
            jobs.report(job.id, heir, {0: report_of("a")}, 1, 1.0)
            jobs.finish(job.id, heir, DONE)

    def test_a_cancel_falls_before_or_after_a_report(self, jobs: JobStore, database: ImageDatabase) -> None:
        def store(job_id: str) -> int:
            written = 0
            try:
                for position in range(50):
                    with database.alone():
                        database.add_faces([new_face()], MODEL)
                        jobs.report(job_id, OWNER, {position: report_of("a", "inserted")}, 50, 0.0)
                    written += 1
            except LeaseLost:
                pass
            return written

        before = 0
        for _ in range(5):
            job = running(jobs)
            with ThreadPoolExecutor(1) as other:
                storing = other.submit(store, job.id)
                while not jobs.reported(job.id) and not storing.done():
                    pass
                cancelled = jobs.cancel(job.id)
                written = storing.result()
            assert jobs.get(job.id) == cancelled
            assert cancelled.done == written == len(jobs.reported(job.id))
            before += written
            assert database.newest_change() == before

    def test_a_job_that_is_cancelled_and_finished_at_once_is_one_of_both(self, jobs: JobStore) -> None:
        def finish(job_id: str) -> str | None:
            try:
                jobs.finish(job_id, OWNER, DONE)
            except LeaseLost:
                return None
            return DONE

        def cancel(job_id: str) -> str | None:
            try:
                return jobs.cancel(job_id).state
            except JobOver:
                return None

        with ThreadPoolExecutor(2) as threads:
            for _ in range(10):
                job = running(jobs)
                ends = [threads.submit(finish, job.id), threads.submit(cancel, job.id)]
                [end] = [state for state in (one.result() for one in ends) if state]
                assert jobs.get(job.id).state == end

    def test_of_requests_that_race_under_one_key_one_leaves_its_faces(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        def enrol(key: str) -> int | None:
            try:
                with database.transaction():
                    [face_id] = database.add_faces([new_face()], MODEL)
                    jobs.add_answer(Once(key, "f"), str(face_id))
            except Conflict:
                return None
            return face_id

        database.add_faces([new_face()], MODEL)
        with ThreadPoolExecutor(4) as threads:
            for n in range(5):
                done = [face_id for face_id in threads.map(enrol, [f"key {n}"] * 4) if face_id]
                answer = jobs.first_answer(f"key {n}")
                assert answer is not None
                assert [answer.content] == [str(face_id) for face_id in done]
        assert database.newest_change() == 6

    def test_of_requests_that_race_for_an_expired_key_one_wins(self, jobs: JobStore, clock: Clock) -> None:
        def answer(number: int) -> int | None:
            try:
                jobs.add_answer(Once("key", "f"), str(number))
            except Conflict:
                return None
            return number

        for _ in range(5):
            with ThreadPoolExecutor(4) as threads:
                [number] = [n for n in threads.map(answer, range(4)) if n is not None]
            first = jobs.first_answer("key")
            assert first is not None
            assert first.content == str(number)
            clock.go_on(hours=24)
