"""Jobs of collections, and how every JobStore forgets what was erased."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from facesearch.errors import CollectionNotFound, Conflict, JobNotFound, LeaseLost
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import (
    DONE,
    REENCODING,
    Box,
    FileReport,
    ImportOptions,
    Job,
    Once,
    ReportedFace,
)
from tests.contracts.image_database import MODEL, new_face
from tests.contracts.job_parts import (
    LEASE_S,
    OWNER,
    JobStoreFixtures,
    add_collection,
    new_job,
    report_of,
    running,
    writes_of,
)

BOX = Box(1, 2, 3, 0)


def stored(path: str, *ids: int) -> FileReport:
    """The report of a photo of which these faces were stored."""
    faces = tuple(ReportedFace(BOX, face_id) for face_id in ids)
    return FileReport(path, "inserted", ids[0], "Ana", faces=faces)


def files(jobs: JobStore, job: Job) -> list[FileReport]:
    return list(jobs.files(job.id, 10_000).items)


class JobErasureContract(JobStoreFixtures):
    def test_a_job_belongs_to_a_collection(self, jobs: JobStore, database: ImageDatabase) -> None:
        other = add_collection(database, "Urlaub 2026 😀")
        first = jobs.add(new_job())
        named = ImportOptions("all", collection="Urlaub 2026 😀")
        second = jobs.add(new_job(options=named, collection=other, kind=REENCODING))
        assert (first.collection, first.options.collection, first.kind) == (1, "default", "import")
        assert (second.collection, second.options, second.kind) == (other, named, REENCODING)
        assert jobs.get(second.id) == second
        assert jobs.jobs(9).items == (second, first)
        assert jobs.jobs(9, collection=1).items == (first,)
        assert jobs.jobs(9, second.number, other).items == ()

    def test_a_collection_that_is_gone_gets_no_job(self, jobs: JobStore) -> None:
        for number in (0, 999, -1):
            with pytest.raises(CollectionNotFound):
                jobs.add(new_job(collection=number))
        assert jobs.jobs(9).items == ()

    def test_unfinished_jobs_are_told_by_collection(self, jobs: JobStore, database: ImageDatabase) -> None:
        other = add_collection(database, "other")
        over, runs = running(jobs, collection=other), running(jobs, collection=other)
        jobs.finish(over.id, OWNER, DONE)
        waits, elsewhere = jobs.add(new_job(collection=other)), jobs.add(new_job())
        assert sorted(jobs.unfinished(other)) == sorted([runs.id, waits.id])
        assert jobs.unfinished(1) == [elsewhere.id]
        assert jobs.unfinished(999) == []

    def test_reports_tell_nothing_of_a_face_that_was_erased(self, jobs: JobStore) -> None:
        first, second = running(jobs), running(jobs)
        again = report_of("Ana (2).jpg", "duplicate", id=7, duplicate_of=7, reason="It is face 7.")
        later = FileReport("Ana (3).jpg", "inserted", 10, "Ana", duplicate_of=8)
        kept = [stored("Bob.jpg", 9), report_of("Carl.jpg", "no_face"), stored("Dora.jpg", 70)]
        jobs.report(first.id, OWNER, {0: stored("Ana.jpg", 7, 8), 1: kept[0], 2: again}, 9, 1.0)
        jobs.report(second.id, OWNER, {4: kept[1], 5: later, 6: kept[2]}, 9, 1.0)
        before = [jobs.get(first.id), jobs.get(second.id)]
        jobs.forget_faces([7, 7, 10**15])
        assert files(jobs, first) == [FileReport("", "inserted"), kept[0], FileReport("", "duplicate")]
        assert files(jobs, second) == [kept[1], later, kept[2]]
        jobs.forget_faces([8])
        assert files(jobs, second) == [kept[1], FileReport("", "inserted"), kept[2]]
        assert jobs.reported(second.id) == {4, 5, 6}
        assert [jobs.get(first.id), jobs.get(second.id)] == before
        jobs.report(second.id, OWNER, {7: stored("Ana.jpg", 7)}, 9, 1.0)

    def test_an_archive_whose_faces_were_all_erased_has_no_name(self, jobs: JobStore) -> None:
        job, other = running(jobs), running(jobs, file_name="Bob.zip")
        jobs.report(job.id, OWNER, {0: stored("a", 1), 1: stored("b", 2), 2: report_of("c")}, 3, 1.0)
        jobs.report(other.id, OWNER, {0: report_of("c")}, 3, 1.0)
        jobs.forget_faces([1])
        assert jobs.get(job.id).file_name == "faces.zip"
        jobs.forget_faces([2])
        assert jobs.get(job.id).file_name == ""
        assert jobs.get(other.id).file_name == "Bob.zip"

    def test_reports_of_files_that_were_not_stored_are_forgotten_by_their_paths(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        job, other = running(jobs), running(jobs, collection=add_collection(database, "other"))
        ours = {
            0: stored("Ana_1.jpg", 7),
            1: report_of("Ana_2.jpg"),
            2: report_of("Ana_3.jpg", "failed"),
            3: report_of("Ana_4.jpg", "duplicate", id=7, duplicate_of=7),
            4: report_of("Ana_5.jpg", "skipped"),
            5: report_of("Bob_1.jpg"),
        }
        jobs.report(job.id, OWNER, ours, 6, 1.0)
        jobs.report(other.id, OWNER, {0: report_of("Ana_6.jpg")}, 1, 1.0)
        before = jobs.get(job.id)
        jobs.forget_paths(1, lambda path: path.startswith("Ana_"))
        blank = [FileReport("", ours[at].status) for at in range(1, 5)]
        assert files(jobs, job) == [ours[0], *blank, ours[5]]
        assert files(jobs, other) == [report_of("Ana_6.jpg")]
        assert jobs.get(job.id) == before
        jobs.forget_paths(1, lambda path: path == "faces.zip")
        assert (jobs.get(job.id).file_name, jobs.get(other.id).file_name) == ("", "faces.zip")
        assert files(jobs, job)[0] == ours[0]

    def test_an_archive_of_which_only_such_files_were_left_has_no_name(self, jobs: JobStore) -> None:
        job = running(jobs)
        jobs.report(job.id, OWNER, {n: report_of(f"Ana_{n}.jpg") for n in range(2_500)}, 2_500, 1.0)
        jobs.forget_paths(1, lambda path: path != "Ana_2400.jpg")
        assert [(n, f.path) for n, f in enumerate(files(jobs, job)) if f.path] == [(2_400, "Ana_2400.jpg")]
        assert jobs.get(job.id).file_name == ""

    def test_many_faces_are_forgotten_at_once(self, jobs: JobStore) -> None:
        job = running(jobs)
        jobs.report(job.id, OWNER, {n: stored(f"{n}.jpg", n + 1) for n in range(2_500)}, 2_500, 1.0)
        jobs.forget_faces(range(1, 2_400))
        told = [report.path for report in files(jobs, job)]
        assert told == [""] * 2_399 + [f"{n}.jpg" for n in range(2_399, 2_500)]

    def test_faces_are_removed_and_forgotten_together_or_not_at_all(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        job = running(jobs)
        [face_id] = database.add_faces([new_face()], MODEL)
        jobs.report(job.id, OWNER, {0: stored("Ana.jpg", face_id)}, 1, 1.0)
        jobs.add_answer(Once("key", "f"), "x", [f"face:{face_id}"])

        def erase_and_fail() -> None:
            with database.transaction():
                database.delete_faces([face_id])
                jobs.forget_faces([face_id])
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            erase_and_fail()
        assert files(jobs, job) == [stored("Ana.jpg", face_id)]
        assert jobs.first_answer("key") is not None
        assert list(database.get_faces([face_id])) == [face_id]

    def test_a_collection_is_forgotten_with_its_jobs(self, jobs: JobStore, database: ImageDatabase) -> None:
        other = add_collection(database, "other")
        over, runs = running(jobs, collection=other), running(jobs, collection=other)
        for n, job in enumerate((over, runs)):
            jobs.report(job.id, OWNER, {0: stored("a", n + 1), 1: report_of("b")}, 3, 1.0)
        jobs.finish(over.id, OWNER, DONE)
        waits = jobs.add(new_job(collection=other))
        kept = running(jobs, place="b")
        jobs.report(kept.id, OWNER, {0: stored("a", 3)}, 3, 1.0)
        assert sorted(jobs.forget_collection(other)) == sorted([over.id, runs.id, waits.id])
        assert jobs.forget_collection(other) == []
        for gone in (over, runs, waits):
            with pytest.raises(JobNotFound):
                jobs.get(gone.id)
        for write in writes_of(jobs, runs.id, OWNER):
            with pytest.raises(LeaseLost):
                write()
        assert jobs.claim("place-1", OWNER, LEASE_S, 9) is None
        assert files(jobs, kept) == [stored("a", 3)]
        jobs.forget_faces([1, 2, 3])
        assert files(jobs, kept) == [FileReport("", "inserted")]

    def test_imports_report_beside_those_who_erase(self, jobs: JobStore, database: ImageDatabase) -> None:
        """Each photo is stored and reported, or is a duplicate of one that somebody else erases meanwhile."""
        own = [running(jobs, place=f"b{n}") for n in range(2)]
        digests = [n.to_bytes(32, "big") for n in range(12)]

        def enrol(job: Job) -> int:
            for at, digest in enumerate(digests * 2):
                with database.alone():
                    known = database.faces_of_photos([digest]).get(digest)
                    if known is None:
                        new = [new_face(photo_sha256=digest)]
                        report = stored("Ana.jpg", *database.add_faces(new, MODEL))
                    else:
                        report = report_of("Ana.jpg", "duplicate", id=known, duplicate_of=known)
                    jobs.report(job.id, OWNER, {at: report}, 24, 0.0)
            return 0

        def erase(_: int) -> int:
            erased = 0
            while erased < 12:
                with database.transaction():
                    ids = sorted(database.faces_of_photos(digests).values())[:3]
                    gone = database.delete_faces(ids)
                    jobs.forget_faces(gone)
                erased += len(gone)
            return erased

        def answer(_: int) -> int:
            for n in range(30):
                try:
                    with database.transaction():
                        [face_id] = database.add_faces([new_face()], MODEL)
                        jobs.add_answer(Once(f"{n % 15}", "f"), "x", [f"face:{face_id}"])
                except Conflict:
                    continue
                jobs.forget_faces([face_id])
            return 0

        with ThreadPoolExecutor(5) as threads:
            works = [threads.submit(enrol, job) for job in own]
            works += [threads.submit(erase, 0), threads.submit(answer, 0), threads.submit(answer, 1)]
            for work in works:
                work.result(60)
        there = set(database.faces_of_photos(digests).values())
        for job in own:
            for report in files(jobs, job):
                assert report.id in there if report.path else report.id is None
