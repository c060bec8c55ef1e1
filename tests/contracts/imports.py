"""What every Imports does. A subclass brings photos, and a function that makes and opens one."""

import io
import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facesearch.config import IntakeSettings
from facesearch.errors import (
    BrokenArchive,
    CollectionNotFound,
    InvalidParameter,
    JobNotFound,
    JobOver,
    KeyReused,
    NotAnArchive,
    QueueFull,
)
from facesearch.interfaces import ImageDatabase, Imports
from facesearch.records import CANCELLED, DONE, QUEUED, RUNNING, FileReport, ImportOptions, Job, Once
from tests.contracts.api import Photos, zipped

OpenImports = Callable[..., Imports]
LIMIT_S = 60.0
STORE_AGAIN = ImportOptions(skip_duplicates=False)


def files(imports: Imports, job: Job) -> list[FileReport]:
    return list(imports.files(job.id, 1000).items)


class ImportsContract(ABC):
    @pytest.fixture
    @abstractmethod
    def photos(self) -> Photos:
        """Return the photos that are imported."""

    @pytest.fixture
    @abstractmethod
    def new_imports(self) -> OpenImports:
        """Return a function from IntakeSettings, and maybe a gate, to Imports at work on one database.

        Whoever shares the database shares the folder. While the gate, a threading.Event, is not set, no photo
        is encoded.
        """

    @pytest.fixture
    @abstractmethod
    def database(self) -> ImageDatabase:
        """Return the database of `new_imports`."""

    @pytest.fixture
    @abstractmethod
    def folder(self) -> Path:
        """Return the folder of `new_imports`."""

    @pytest.fixture
    def imports(self, new_imports: OpenImports) -> Imports:
        return new_imports(IntakeSettings())

    def test_an_archive_becomes_a_job_that_ends_with_a_report_for_each_file(
        self, imports: Imports, photos: Photos, database: ImageDatabase, folder: Path
    ) -> None:
        archive = zipped({"all/Ada_0001.png": photos.person, "all/x.txt": b"notes", "b.png": photos.nobody})
        job = imports.start(archive, "C:\\photos\\all.zip", ImportOptions())
        assert (job.file_name, job.total) == ("all.zip", 3)
        assert job.state in (QUEUED, RUNNING, DONE)
        done = imports.wait(job.id, LIMIT_S)
        assert (done.state, done.done, done.left_s) == (DONE, 3, None)
        assert done.counts == {"inserted": 1, "no_face": 1, "duplicate": 0, "failed": 0, "skipped": 1}
        assert (
            done.created_at <= (done.started_at or done.created_at) <= (done.finished_at or done.created_at)
        )
        assert [(file.path, file.status) for file in files(imports, job)] == [
            ("all/Ada_0001.png", "inserted"),
            ("all/x.txt", "skipped"),
            ("b.png", "no_face"),
        ]
        assert database.newest_change() == 1
        assert list(folder.glob("*.zip")) == []

    def test_a_file_of_ours_is_taken_over_and_may_be_closed(self, imports: Imports, photos: Photos) -> None:
        with imports.new_file() as file:
            file.write(zipped({"Ada_0001.png": photos.person}).getvalue())
            job = imports.start(file, "a.zip", ImportOptions())
        assert imports.wait(job.id, LIMIT_S).counts["inserted"] == 1

    @pytest.mark.parametrize(
        ("data", "error"), [(b"", NotAnArchive), (b"notes", NotAnArchive), (b"PK\x03\x04cut", BrokenArchive)]
    )
    def test_what_is_no_archive_never_becomes_a_job(
        self, imports: Imports, data: bytes, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            imports.start(io.BytesIO(data), "a.zip", ImportOptions())
        assert imports.jobs(10).items == ()

    def test_a_way_to_choose_faces_that_is_none_is_refused(self, imports: Imports, photos: Photos) -> None:
        with pytest.raises(InvalidParameter):
            imports.start(zipped({"a.png": photos.person}), "a.zip", ImportOptions(faces="some"))

    def test_the_same_photo_is_skipped_or_stored_again_as_wanted(
        self, imports: Imports, photos: Photos, database: ImageDatabase
    ) -> None:
        statuses = []
        for options in (ImportOptions(), ImportOptions(), STORE_AGAIN):
            job = imports.start(zipped({"Ada_0001.png": photos.person}), "a.zip", options)
            imports.wait(job.id, LIMIT_S)
            statuses += [(file.status, file.duplicate_of) for file in files(imports, job)]
        assert statuses == [("inserted", None), ("duplicate", 1), ("inserted", 1)]
        assert database.newest_change() == 2

    def test_a_repeated_request_gets_the_first_job(
        self, new_imports: OpenImports, photos: Photos, database: ImageDatabase, folder: Path
    ) -> None:
        """Also from another process, and at the same time."""
        both = [new_imports(IntakeSettings()) for _ in range(2)]
        once = Once("a key", "this request")

        def start(number: int) -> str:
            archive = zipped({"Ada_0001.png": photos.person})
            return both[number % 2].start(archive, "a.zip", STORE_AGAIN, once).id

        with ThreadPoolExecutor(4) as threads:
            ids = set(threads.map(start, range(8)))
        assert len(ids) == 1
        (job_id,) = ids
        assert both[0].wait(job_id, LIMIT_S).state == DONE
        assert start(1) == job_id
        assert database.newest_change() == 1
        assert list(folder.glob("*.zip")) == []
        with pytest.raises(KeyReused):
            both[1].start(
                zipped({"a.png": photos.other}), "a.zip", STORE_AGAIN, Once("a key", "another request")
            )

    def test_a_job_that_is_cancelled_stops_and_keeps_what_it_has_stored(
        self, new_imports: OpenImports, photos: Photos, database: ImageDatabase, folder: Path
    ) -> None:
        gate = threading.Event()
        imports = new_imports(IntakeSettings(), gate)
        job = imports.start(zipped({"Ada_0001.png": photos.person}), "a.zip", ImportOptions())
        assert imports.cancel(job.id).state == CANCELLED
        gate.set()
        assert imports.wait(job.id, LIMIT_S).state == CANCELLED
        assert imports.cancel(job.id).state == CANCELLED
        later = imports.start(zipped({"Bo_0001.png": photos.other}), "b.zip", ImportOptions())
        assert imports.wait(later.id, LIMIT_S).state == DONE
        assert database.newest_change() == 1
        with pytest.raises(JobOver):
            imports.cancel(later.id)
        assert list(folder.glob("*.zip")) == []

    def test_a_queue_that_is_full_takes_no_more(self, new_imports: OpenImports, photos: Photos) -> None:
        gate = threading.Event()
        imports = new_imports(IntakeSettings(imports_at_once=1, imports_queued=2), gate)

        def start(name: str) -> Job:
            return imports.start(zipped({name: photos.person}), name, ImportOptions())

        first = start("Ada_0001.png")
        while imports.get(first.id).state == QUEUED:
            imports.wait(first.id, 0.01)
        waiting = [start(f"Ada_000{number}.png") for number in (2, 3)]
        with pytest.raises(QueueFull, match="2 imports are waiting"):
            start("Ada_0004.png")
        gate.set()
        assert {imports.wait(job.id, LIMIT_S).state for job in (first, *waiting)} == {DONE}
        assert imports.wait(start("Ada_0004.png").id, LIMIT_S).state == DONE

    def test_a_job_that_somebody_waits_for_goes_first(self, new_imports: OpenImports, photos: Photos) -> None:
        gate = threading.Event()
        imports = new_imports(IntakeSettings(imports_at_once=1), gate)
        blocking = imports.start(zipped({"a.png": photos.person}), "a.zip", ImportOptions())
        while imports.get(blocking.id).state == QUEUED:
            imports.wait(blocking.id, 0.01)
        later = [
            imports.start(zipped({"b.png": photos.other}), "b.zip", ImportOptions(waited_for=waited))
            for waited in (False, True)
        ]
        gate.set()
        ended = [imports.wait(job.id, LIMIT_S) for job in later]
        starts = [job.started_at for job in ended]
        assert starts[0] is not None
        assert starts[1] is not None
        assert starts[1] < starts[0]

    def test_jobs_and_reports_come_in_pages(self, imports: Imports, photos: Photos) -> None:
        jobs = [
            imports.start(zipped({f"{at}.txt": b"x" for at in range(5)}), f"{n}.zip", ImportOptions())
            for n in range(3)
        ]
        for job in jobs:
            imports.wait(job.id, LIMIT_S)
        first = imports.jobs(2)
        assert [job.file_name for job in first.items] == ["2.zip", "1.zip"]
        assert [job.file_name for job in imports.jobs(2, first.next).items] == ["0.zip"]
        assert imports.jobs(3, collection="default").items == imports.jobs(3).items
        with pytest.raises(CollectionNotFound):
            imports.jobs(3, collection="nowhere")
        page = imports.files(jobs[0].id, 3)
        assert [file.path for file in page.items] == ["0.txt", "1.txt", "2.txt"]
        rest = imports.files(jobs[0].id, 3, page.next)
        assert [file.path for file in rest.items] == ["3.txt", "4.txt"]
        assert rest.next is None
        assert imports.files(jobs[0].id, 3, status="inserted").items == ()

    def test_an_unknown_job_is_said_to_be_unknown(self, imports: Imports) -> None:
        for unknown in (uuid.uuid4().hex, "", "x" * 5_000, "../place", "\ud800"):
            for call in (
                lambda i=unknown: imports.get(i),
                lambda i=unknown: imports.wait(i, 0.0),
                lambda i=unknown: imports.files(i, 10),
                lambda i=unknown: imports.cancel(i),
            ):
                with pytest.raises(JobNotFound):
                    call()
