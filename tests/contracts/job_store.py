"""What every JobStore does. A subclass brings the fixtures `database` and `jobs`, the latter on `clock`."""

import uuid
from datetime import timedelta

import pytest

from facesearch.errors import BrokenArchive, Conflict, InvalidParameter, JobNotFound, JobOver, LeaseLost
from facesearch.interfaces import JobStore
from facesearch.records import (
    CANCELLED,
    COMMANDS_PLACE,
    DONE,
    FAILED,
    FILE_STATUSES,
    QUEUED,
    RUNNING,
    ImportOptions,
    Job,
)
from tests.contracts.first_answers import FirstAnswersContract
from tests.contracts.job_erasure import JobErasureContract
from tests.contracts.job_parts import (
    BEGUN,
    LEASE_S,
    ODD_IDS,
    OTHER,
    OWNER,
    PLACE,
    Clock,
    new_job,
    report_of,
    running,
    writes_of,
)
from tests.contracts.job_races import JobRacesContract
from tests.contracts.job_reports import JobReportsContract


class JobStoreContract(JobRacesContract, JobReportsContract, JobErasureContract, FirstAnswersContract):
    def test_a_new_job_comes_back_whole(self, jobs: JobStore) -> None:
        new = new_job(options=ImportOptions("all", skip_duplicates=False, waited_for=True), total=77)
        added = jobs.add(new)
        assert jobs.get(new.id) == added
        assert added == Job(
            id=new.id,
            number=added.number,
            file_name="faces.zip",
            options=new.options,
            state=QUEUED,
            total=77,
            counts=dict.fromkeys(FILE_STATUSES, 0),
            worked_s=0.0,
            created_at=BEGUN,
        )

    def test_options_are_kept(self, jobs: JobStore) -> None:
        for faces in ("largest", "all", "single"):
            for options in (ImportOptions(faces), ImportOptions(faces, waited_for=True)):
                assert jobs.get(jobs.add(new_job(options=options)).id).options == options

    def test_an_id_is_given_once(self, jobs: JobStore) -> None:
        job = jobs.add(new_job())
        with pytest.raises(Conflict):
            jobs.add(new_job(id=job.id, place="elsewhere"))
        assert jobs.get(job.id) == job

    def test_an_odd_id_place_or_kind_is_refused(self, jobs: JobStore) -> None:
        for fields in [*({"id": odd} for odd in ODD_IDS), {"place": "x" * 65}, {"kind": "other"}]:
            with pytest.raises(InvalidParameter):
                jobs.add(new_job(**fields))
        assert jobs.jobs(10).items == ()

    def test_an_odd_file_name_is_no_reason_to_refuse_a_job(self, jobs: JobStore) -> None:
        for name in ["x" * 70_000 + ".zip", "a\ud83d.zip", "\x00", "", "王小明 😀.zip"]:
            stored = jobs.add(new_job(file_name=name)).file_name
            assert len(stored) <= 1024
            assert stored[-5:] == name[-5:].replace("\ud83d", "\N{REPLACEMENT CHARACTER}")

    def test_an_unknown_job_is_not_found(self, jobs: JobStore) -> None:
        job = jobs.add(new_job())
        for unknown in [*ODD_IDS, f"{job.id} ", job.id.upper() + "x", uuid.uuid4().hex]:
            for call in (jobs.get, jobs.reported, jobs.cancel, lambda job_id: jobs.files(job_id, 10)):
                with pytest.raises(JobNotFound):
                    call(unknown)
            for write in writes_of(jobs, unknown, OWNER):
                with pytest.raises(LeaseLost):
                    write()

    def test_jobs_are_listed_from_the_newest_in_pages(self, jobs: JobStore) -> None:
        added = [jobs.add(new_job(file_name=f"{n}.zip")) for n in range(5)]
        assert [job.number for job in added] == sorted({job.number for job in added})
        first = jobs.jobs(2)
        second = jobs.jobs(2, first.next)
        third = jobs.jobs(2, second.next)
        assert [*first.items, *second.items, *third.items] == added[::-1]
        assert third.next is None
        assert jobs.jobs(5).next is None
        assert jobs.jobs(5, added[0].number).items == ()
        with pytest.raises(InvalidParameter):
            jobs.jobs(0)

    def test_those_that_wait_are_counted_by_place(self, jobs: JobStore) -> None:
        for place in ("a", "a", "b"):
            jobs.add(new_job(place=place))
        assert [jobs.queued(place) for place in ("a", "b", "c")] == [2, 1, 0]
        jobs.claim("a", OWNER, LEASE_S, 1)
        assert jobs.queued("a") == 1

    def test_those_that_run_are_counted_by_place_also_once_their_lease_has_ended(
        self, jobs: JobStore, clock: Clock
    ) -> None:
        for place in ("a", "a", "b"):
            jobs.add(new_job(place=place))
        assert [jobs.running(place) for place in ("a", "b")] == [0, 0]
        job = jobs.claim("a", OWNER, LEASE_S, 1)
        assert job is not None
        clock.go_on(seconds=2 * LEASE_S)
        assert [jobs.running(place) for place in ("a", "b")] == [1, 0]
        jobs.finish(job.id, OWNER, DONE)
        assert jobs.running("a") == 0

    def test_a_job_goes_to_one_owner_of_its_place(self, jobs: JobStore, clock: Clock) -> None:
        added = jobs.add(new_job())
        clock.go_on(seconds=2)
        assert jobs.claim("elsewhere", OWNER, LEASE_S, 10) is None
        job = jobs.claim(PLACE, OWNER, LEASE_S, 10)
        assert job is not None
        assert (job.id, job.state, job.created_at) == (added.id, RUNNING, BEGUN)
        assert (job.started_at, job.attempts) == (BEGUN + timedelta(seconds=2), 1)
        assert jobs.get(job.id) == job
        assert jobs.claim(PLACE, OTHER, LEASE_S, 10) is None

    def test_those_that_somebody_waits_for_come_first_then_the_oldest(self, jobs: JobStore) -> None:
        waited = ImportOptions(waited_for=True)
        added = [jobs.add(new_job(options=o)).id for o in (ImportOptions(), waited, ImportOptions(), waited)]
        taken = [jobs.claim(PLACE, OWNER, LEASE_S, 10) for _ in range(4)]
        assert [job.id for job in taken if job] == [added[1], added[3], added[0], added[2]]

    def test_no_more_are_at_work_than_may_be(self, jobs: JobStore) -> None:
        for place in (PLACE, PLACE, PLACE, "b"):
            jobs.add(new_job(place=place))
        first = jobs.claim(PLACE, OWNER, LEASE_S, 2)
        assert first is not None
        assert jobs.claim(PLACE, OTHER, LEASE_S, 1) is None
        assert jobs.claim(PLACE, OTHER, LEASE_S, 2) is not None
        assert jobs.claim(PLACE, OTHER, LEASE_S, 2) is None
        assert jobs.claim("b", OTHER, LEASE_S, 1) is not None
        jobs.finish(first.id, OWNER, DONE)
        assert jobs.claim(PLACE, OTHER, LEASE_S, 2) is not None

    def test_a_job_is_taken_over_when_its_lease_has_ended(self, jobs: JobStore, clock: Clock) -> None:
        job = running(jobs)
        clock.go_on(seconds=LEASE_S - 0.001)
        assert jobs.claim(PLACE, OTHER, LEASE_S, 1) is None
        clock.go_on(seconds=0.001)
        taken = jobs.claim(PLACE, OTHER, LEASE_S, 1)
        assert taken is not None
        assert (taken.id, taken.started_at, taken.attempts) == (job.id, job.started_at, 2)
        for write in writes_of(jobs, job.id, OWNER):
            with pytest.raises(LeaseLost):
                write()
        assert jobs.get(job.id) == taken
        assert jobs.reported(job.id) == frozenset()
        jobs.report(job.id, OTHER, {0: report_of("a")}, 1, 1.0)
        jobs.finish(job.id, OTHER, DONE)

    def test_a_lease_is_kept(self, jobs: JobStore, clock: Clock) -> None:
        job = running(jobs)
        for _ in range(3):
            clock.go_on(seconds=LEASE_S - 1)
            jobs.keep(job.id, OWNER, LEASE_S)
        assert jobs.claim(PLACE, OTHER, LEASE_S, 10) is None
        clock.go_on(seconds=3 * LEASE_S)
        jobs.keep(job.id, OWNER, LEASE_S)
        assert jobs.claim(PLACE, OTHER, LEASE_S, 10) is None

    def test_an_owner_whose_lease_has_ended_may_write_until_it_is_taken_over(
        self, jobs: JobStore, clock: Clock
    ) -> None:
        job = running(jobs)
        clock.go_on(hours=1)
        jobs.report(job.id, OWNER, {0: report_of("a")}, 1, 1.0)
        jobs.finish(job.id, OWNER, DONE)
        assert jobs.get(job.id).state == DONE

    def test_attempts_are_counted_from_the_last_report(self, jobs: JobStore) -> None:
        job = running(jobs)
        for attempts in (2, 3):
            jobs.release(job.id, OWNER)
            again = jobs.claim(PLACE, OWNER, LEASE_S, 1)
            assert again is not None
            assert again.attempts == attempts
        jobs.report(job.id, OWNER, {1: report_of("a")}, 2, 0.0)
        assert jobs.get(job.id).attempts == 0

    def test_a_job_ends_as_done_or_failed(self, jobs: JobStore, clock: Clock) -> None:
        done, failed = running(jobs), running(jobs)
        clock.go_on(seconds=5)
        jobs.finish(done.id, OWNER, DONE)
        jobs.finish(failed.id, OWNER, FAILED, BrokenArchive("x" * 3_000))
        ended = jobs.get(done.id)
        assert (ended.state, ended.finished_at, ended.error) == (DONE, clock.now, None)
        assert ended.is_over
        broken = jobs.get(failed.id)
        assert (broken.state, broken.error_code, len(broken.error or "")) == (FAILED, "broken_archive", 1024)
        for job in (done, failed):
            with pytest.raises(LeaseLost):
                jobs.finish(job.id, OWNER, DONE)
            with pytest.raises(LeaseLost):
                jobs.report(job.id, OWNER, {0: report_of("a")}, 1, 1.0)
            with pytest.raises(JobOver):
                jobs.cancel(job.id)
        assert jobs.claim(PLACE, OTHER, LEASE_S, 9) is None

    def test_a_job_does_not_finish_in_another_state(self, jobs: JobStore) -> None:
        job = running(jobs)
        for state in (QUEUED, RUNNING, CANCELLED, "", "lost"):
            with pytest.raises(InvalidParameter):
                jobs.finish(job.id, OWNER, state)
        assert jobs.get(job.id) == job

    def test_a_released_job_goes_to_the_next(self, jobs: JobStore) -> None:
        job = running(jobs)
        jobs.report(job.id, OWNER, {0: report_of("a")}, 3, 1.0)
        jobs.release(job.id, OWNER)
        assert (jobs.get(job.id).state, jobs.queued(PLACE)) == (QUEUED, 1)
        with pytest.raises(LeaseLost):
            jobs.report(job.id, OWNER, {1: report_of("b")}, 3, 1.0)
        taken = jobs.claim(PLACE, OTHER, LEASE_S, 1)
        assert taken is not None
        assert (taken.id, taken.started_at, taken.done) == (job.id, job.started_at, 1)

    def test_a_job_is_cancelled_before_and_while_it_runs(self, jobs: JobStore, clock: Clock) -> None:
        waits, runs = new_job(place="b"), running(jobs)
        jobs.add(waits)
        jobs.report(runs.id, OWNER, {0: report_of("a")}, 3, 1.0)
        for job_id in (waits.id, runs.id):
            cancelled = jobs.cancel(job_id)
            assert (cancelled.state, cancelled.finished_at) == (CANCELLED, clock.now)
            clock.go_on(seconds=1)
            assert jobs.cancel(job_id) == cancelled == jobs.get(job_id)
        with pytest.raises(LeaseLost):
            jobs.report(runs.id, OWNER, {1: report_of("b")}, 3, 1.0)
        with pytest.raises(LeaseLost):
            jobs.finish(runs.id, OWNER, DONE)
        assert jobs.claim("b", OTHER, LEASE_S, 9) is None
        assert jobs.reported(runs.id) == {0}

    def test_a_command_that_died_at_its_job_is_not_waited_for(self, jobs: JobStore, clock: Clock) -> None:
        own, others = running(jobs, place=f"{COMMANDS_PLACE}1"), running(jobs)
        jobs.prune(1)
        assert jobs.get(own.id).state == RUNNING
        clock.go_on(minutes=10)
        jobs.prune(1)
        ended = jobs.get(own.id)
        assert (ended.state, ended.error_code, ended.finished_at) == (FAILED, "worker_died", clock.now)
        assert jobs.get(others.id).state == RUNNING
        with pytest.raises(LeaseLost):
            jobs.keep(own.id, OWNER, LEASE_S)

    def test_jobs_that_were_over_for_long_are_forgotten(self, jobs: JobStore, clock: Clock) -> None:
        old = [running(jobs), running(jobs)]
        jobs.report(old[0].id, OWNER, {n: report_of(f"{n}") for n in range(5_000)}, 5_000, 1.0)
        jobs.finish(old[0].id, OWNER, DONE)
        jobs.cancel(old[1].id)
        kept = [running(jobs), jobs.add(new_job()), running(jobs, place="b")]
        jobs.report(kept[0].id, OWNER, {0: report_of("a")}, 3, 1.0)
        clock.go_on(days=30)
        jobs.finish(kept[2].id, OWNER, FAILED, BrokenArchive())
        assert sorted(jobs.prune(30.0)) == sorted(job.id for job in old)
        assert jobs.prune(30.0) == []
        for job in old:
            with pytest.raises(JobNotFound):
                jobs.get(job.id)
        assert {job.id for job in jobs.jobs(10).items} == {job.id for job in kept}
        assert jobs.reported(kept[0].id) == {0}
        assert jobs.add(new_job()).number > max(job.number for job in kept)

    def test_a_number_is_not_given_again(self, jobs: JobStore, clock: Clock) -> None:
        job = running(jobs)
        jobs.cancel(job.id)
        clock.go_on(days=1)
        assert jobs.prune(0.5) == [job.id]
        assert jobs.add(new_job()).number > job.number
