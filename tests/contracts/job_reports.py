"""How every JobStore keeps the reports of files."""

import re

import pytest

from facesearch.errors import Conflict, InvalidParameter, LeaseLost
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import (
    FILE_STATUSES,
    Box,
    ReportedFace,
)
from tests.contracts.image_database import MODEL, new_face
from tests.contracts.job_parts import (
    OWNER,
    JobStoreFixtures,
    report_of,
    running,
)


class JobReportsContract(JobStoreFixtures):
    def test_a_report_is_kept_and_counted(self, jobs: JobStore) -> None:
        job = running(jobs)
        boxes = [Box(0, 10, 20, -5), Box(1, 2, 3, 0)]
        stored = report_of(
            "a/b.jpg",
            "inserted",
            id=2**40,
            person_name="Ana",
            reason=None,
            faces=(ReportedFace(boxes[0], 2**40), ReportedFace(boxes[1], 2**40 + 1)),
            duplicate_of=7,
        )
        refused = report_of("c.jpg", "failed", faces=tuple(map(ReportedFace, boxes)))
        again = report_of("e.jpg", "duplicate", id=7, duplicate_of=7)
        jobs.report(job.id, OWNER, {4: refused, 0: stored}, 6, 1.25)
        jobs.report(job.id, OWNER, {}, 7, 0.5)
        jobs.report(job.id, OWNER, {2: again, 99_999: report_of("z", "failed")}, 8, 0.25)
        after = jobs.get(job.id)
        assert (after.total, after.worked_s, after.done) == (8, 2.0, 4)
        assert after.counts == {"inserted": 1, "no_face": 0, "duplicate": 1, "failed": 2, "skipped": 0}
        assert jobs.reported(job.id) == {0, 2, 4, 99_999}
        page = jobs.files(job.id, 10)
        assert page.items == (stored, again, refused, report_of("z", "failed"))
        assert page.next is None

    def test_a_position_is_reported_once(self, jobs: JobStore) -> None:
        job = running(jobs)
        jobs.report(job.id, OWNER, {3: report_of("a")}, 9, 1.0)
        with pytest.raises(Conflict):
            jobs.report(job.id, OWNER, {2: report_of("b"), 3: report_of("c", "skipped")}, 10, 1.0)
        after = jobs.get(job.id)
        assert (after.total, after.done, after.worked_s) == (9, 1, 1.0)
        assert jobs.files(job.id, 10).items == (report_of("a"),)

    def test_a_report_never_fails_because_of_a_text(self, jobs: JobStore) -> None:
        job = running(jobs)
        odd = ["", " ", "a ", "\ud83d\ude00 \udfff", "\x00\r\n\t\\'\";--", "%s ?:a", "e\u0301"]
        for position, text in enumerate(odd):
            report = report_of(text, "failed", person_name=text, reason=text)
            jobs.report(job.id, OWNER, {position: report}, 9, 1.0)
        known = [re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text) for text in odd]
        stored = jobs.files(job.id, 10).items
        assert [(r.path, r.person_name, r.reason) for r in stored] == [(text,) * 3 for text in known]

    def test_a_text_that_is_too_long_is_shortened_in_its_middle(self, jobs: JobStore) -> None:
        job = running(jobs)
        for position, letter in enumerate("n😀\ud800"):
            text = "folder/" + letter * 80_000 + "/face.jpg"
            long = report_of(text, "failed", person_name=text, reason=text)
            jobs.report(job.id, OWNER, {position: long}, 9, 1.0)
        for stored in jobs.files(job.id, 10).items:
            for told in (stored.path, stored.person_name or "", stored.reason or ""):
                assert told.startswith("folder/")
                assert told.endswith("/face.jpg")
            assert [len(stored.path), len(stored.person_name or "")] == [2048, 255]

    def test_a_file_with_many_faces_is_reported(self, jobs: JobStore) -> None:
        job = running(jobs)
        faces = tuple(ReportedFace(Box(n, n + 9, n + 9, n), 10**15 + n) for n in range(5_000))
        jobs.report(job.id, OWNER, {0: report_of("a", "inserted", faces=faces)}, 1, 1.0)
        assert jobs.files(job.id, 1).items[0].faces == faces

    def test_many_files_are_reported_at_once(self, jobs: JobStore) -> None:
        job = running(jobs)
        reports = {n: report_of(f"{n}.jpg", FILE_STATUSES[n % 5]) for n in range(1_300)}
        jobs.report(job.id, OWNER, reports, 1_300, 1.0)
        assert set(jobs.get(job.id).counts.values()) == {260}
        assert jobs.reported(job.id) == set(range(1_300))

    def test_a_status_that_is_none_is_refused(self, jobs: JobStore) -> None:
        job = running(jobs)
        with pytest.raises(InvalidParameter):
            jobs.report(job.id, OWNER, {0: report_of("a", "lost")}, 1, 1.0)
        assert jobs.reported(job.id) == frozenset()

    def test_files_are_listed_in_pages_and_by_status(self, jobs: JobStore) -> None:
        job, other = running(jobs), running(jobs)
        statuses = ["failed", "inserted", "inserted", "failed", "inserted", "failed"]
        reports = {n: report_of(f"{n}", status) for n, status in enumerate(statuses)}
        jobs.report(job.id, OWNER, reports, 6, 1.0)
        jobs.report(other.id, OWNER, {0: report_of("other")}, 1, 1.0)

        def all_of(status: str | None, limit: int) -> list[list[str]]:
            pages, after = [], None
            while True:
                page = jobs.files(job.id, limit, after, status)
                pages.append([report.path for report in page.items])
                if page.next is None:
                    return pages
                after = page.next

        assert all_of(None, 4) == [["0", "1", "2", "3"], ["4", "5"]]
        assert all_of(None, 3) == [["0", "1", "2"], ["3", "4", "5"]]
        assert all_of("failed", 2) == [["0", "3"], ["5"]]
        assert all_of("inserted", 3) == [["1", "2", "4"]]
        assert all_of("no_face", 3) == [[]]
        assert jobs.files(job.id, 10, 5).items == ()
        for limit in (0, -1):
            with pytest.raises(InvalidParameter):
                jobs.files(job.id, limit)

    def test_a_report_and_its_faces_are_written_together_or_not_at_all(
        self, jobs: JobStore, database: ImageDatabase
    ) -> None:
        job = running(jobs)

        def store(position: int) -> None:
            with database.alone():
                [face_id] = database.add_faces([new_face()], MODEL)
                jobs.report(job.id, OWNER, {position: report_of("a", "inserted", id=face_id)}, 3, 1.0)
                if position == 1:
                    raise ZeroDivisionError

        store(0)
        for position, error in ((0, Conflict), (1, ZeroDivisionError)):
            with pytest.raises(error):
                store(position)
        assert database.newest_change() == 1
        assert jobs.reported(job.id) == {0}
        assert jobs.get(job.id).done == 1
        jobs.cancel(job.id)
        with pytest.raises(LeaseLost):
            store(2)
        assert database.newest_change() == 1
