import hashlib
import io
import threading
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from facesearch.config import LimitSettings, QualitySettings
from facesearch.databases import open_collection_store, open_job_store
from facesearch.errors import CollectionNotFound, DatabaseUnavailable, LeaseLost, ModelMismatch, Unavailable
from facesearch.interfaces import JobStore, WorkerPool
from facesearch.records import DONE, CropStyle, FileReport, ImportOptions, Job, NewJob, Outcome, PhotoFile
from facesearch.service import EncodePhotos
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.imports.run import Enrolment, ImportRun
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.jobs import lost_groups, patience
from facesearch.service.jobs.patience import Stopped
from tests.contracts.api import vector, zipped
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    GREEN,
    NEGATIVES,
    RED,
    FakeKinds,
    LosingPool,
    SwitchedDatabase,
    galleries_of,
    open_image,
    photo,
)

NOBODY = photo((BLACK, 20))
OWNER = "owner"


@dataclass
class Bench:
    """A database with its jobs, on which imports are run."""

    database: SwitchedDatabase
    pool: WorkerPool = field(default_factory=LosingPool)
    quality: QualitySettings = field(default_factory=QualitySettings)
    crop_style: CropStyle | None = None

    @property
    def jobs(self) -> JobStore:
        return open_job_store(self.database)

    def queue(self, options: ImportOptions | None = None) -> Job:
        """Add a job and take it."""
        place = uuid.uuid4().hex
        options = options or ImportOptions()
        number = open_collection_store(self.database).get(options.collection).number
        self.jobs.add(NewJob(uuid.uuid4().hex, place, "a.zip", options, 0, number))
        job = self.jobs.claim(place, OWNER, 60, 1)
        assert job is not None
        return job

    def run_of(self, job: Job, files: dict[str, bytes] | io.BytesIO, **more: Any) -> ImportRun:
        archive = PhotoArchive(files if isinstance(files, io.BytesIO) else zipped(files), LimitSettings())
        task = EncodePhotos(open_image, FakeKinds, crop_style=self.crop_style)
        answers = FirstAnswers(self.database, self.jobs)
        galleries = galleries_of(self.database, FakeKinds())
        parts = Enrolment(galleries, answers, self.jobs, self.pool, task, self.quality)
        return ImportRun(parts, job, archive, OWNER, more.pop("stop", threading.Event()), **more)

    def enrol(
        self, files: dict[str, bytes] | io.BytesIO, options: ImportOptions | None = None
    ) -> list[FileReport]:
        job = self.queue(options)
        self.run_of(job, files).run()
        self.jobs.finish(job.id, OWNER, DONE)
        return self.reports(job)

    def reports(self, job: Job) -> list[FileReport]:
        return list(self.jobs.files(job.id, 10_000).items)

    def names(self) -> list[str]:
        """The names of all stored faces, in the order of their ids."""
        return [face.person_name for face in self.database.get_faces(range(1, 2_000)).values()]


@pytest.fixture
def bench(new_database: NewDatabase) -> Bench:
    return Bench(new_database())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_groups, "_POOL_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.002)


def people(number: int, first: int = 0) -> dict[str, bytes]:
    """A photo for each of so many people, whose name ends in the shade of its red."""
    return {f"Person{at}_0001.png": photo(((at, 1, 1), 4)) for at in range(first, first + number)}


def names(item: list[PhotoFile]) -> list[str]:
    return [file.file_name.partition("_")[0] for file in item]


def statuses(reports: list[FileReport]) -> list[str]:
    return [report.status for report in reports]


def test_photos_go_to_the_pool_in_groups_of_four_in_their_order(bench: Bench) -> None:
    bench.pool = pool = LosingPool()
    reports = bench.enrol(people(10))
    assert [len(item) for item in pool.items] == [4, 4, 2]
    assert [name for item in pool.items for name in names(item)] == [f"Person{at}" for at in range(10)]
    assert [file.path for file in reports] == list(people(10))


def test_what_is_not_worth_encoding_takes_no_place_in_a_group(bench: Bench) -> None:
    bench.pool = pool = LosingPool()
    files = {".DS_Store": b"x", "a/Thumbs.db": b"x", **people(4), "inner.zip": b"PK\x03\x04"}
    reports = bench.enrol(files)
    assert [len(item) for item in pool.items] == [4]
    assert statuses(reports) == ["skipped"] * 2 + ["inserted"] * 4 + ["skipped"]


def test_each_face_is_stored_under_its_own_name(bench: Bench) -> None:
    reports = bench.enrol(people(11))
    stored = bench.database.get_faces([file.id or 0 for file in reports])
    assert [stored[file.id or 0].person_name for file in reports] == [f"Person{at}" for at in range(11)]
    for batch in bench.database.changes_after(0, COLOURS):
        for change in batch:
            assert change.embedding is not None
            shade = round(float(change.embedding[0]) * 255)
            assert stored[change.face_id].person_name == f"Person{shade}"


def test_a_group_that_is_lost_is_done_again_one_by_one(bench: Bench) -> None:
    bench.pool = pool = LosingPool(lambda item: "Person5" in names(item))
    reports = bench.enrol(people(10))
    assert [len(item) for item in pool.items] == [4, 4, 1, 1, 1, 1, 2]
    assert statuses(reports).count("inserted") == 9
    assert reports[5].status == "failed"
    assert "died" in (reports[5].reason or "")
    assert bench.database.newest_change() == 9


def test_a_photo_that_is_lost_in_a_group_of_its_own_is_not_tried_again(bench: Bench) -> None:
    bench.pool = pool = LosingPool(lambda item: "Person4" in names(item))
    reports = bench.enrol(people(5))
    assert [len(item) for item in pool.items] == [4, 1]
    assert reports[4].status == "failed"


def test_a_pool_that_loses_everything_costs_no_more_than_the_photos(bench: Bench) -> None:
    bench.pool = LosingPool(lambda _: True)
    assert statuses(bench.enrol(people(5))) == ["failed"] * 5


class ReturningPool(LosingPool):
    """Gives so many groups up for want of processes, and then works."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals

    def map(self, task: Callable[[Any], Any], items: Any) -> Iterator[Outcome[Any]]:
        for item in items:
            if self._refusals:
                self._refusals -= 1
                yield Outcome(error=Unavailable("The worker processes do not stay alive."))
            else:
                yield next(super().map(task, [item]))


def test_a_pool_that_comes_back_costs_no_photo(bench: Bench) -> None:
    bench.pool = ReturningPool(3)
    assert statuses(bench.enrol(people(4))) == ["inserted"] * 4


def test_a_pool_that_does_not_come_back_is_not_waited_for_for_ever(bench: Bench) -> None:
    bench.pool = ReturningPool(1_000)
    with pytest.raises(Unavailable, match="do not stay alive"):
        bench.enrol(people(5))


def test_faces_are_stored_64_at_a_time(bench: Bench) -> None:
    reports = bench.enrol({**people(150), "nobody.png": NOBODY})
    assert bench.database.added == [64, 64, 22]
    assert statuses(reports).count("inserted") == 150
    assert reports[-1].status == "no_face"


def test_many_reports_without_a_face_are_written_on_the_way(bench: Bench) -> None:
    written = []
    job = bench.queue()
    files = {f"{number}.txt": b"notes" for number in range(1_100)}
    bench.run_of(job, files, on_report=lambda: written.append(bench.jobs.get(job.id).done)).run()
    assert written == [500, 1_000, 1_100]


def test_a_gallery_of_another_model_takes_nothing(bench: Bench) -> None:
    bench.database.add_faces([vector(3)], "another model")
    with pytest.raises(ModelMismatch):
        bench.enrol(people(3))
    assert bench.database.newest_change() == 1


def test_a_pool_that_is_closed_ends_the_run(bench: Bench) -> None:
    bench.pool.close()
    with pytest.raises(Unavailable):
        bench.enrol(people(3))


def test_a_run_that_stopped_half_way_is_gone_on_with(bench: Bench) -> None:
    job, stop = bench.queue(), threading.Event()
    files = {"notes.txt": b"notes", **people(150), "nobody.png": NOBODY}
    with pytest.raises(Stopped):
        bench.run_of(job, files, stop=stop, on_report=stop.set).run()
    before = bench.jobs.get(job.id).done
    assert 0 < before < len(files)
    bench.pool = pool = LosingPool()
    bench.run_of(job, files).run()
    assert [report.path for report in bench.reports(job)] == list(files)
    assert bench.names() == [f"Person{at}" for at in range(150)]
    assert sum(len(item) for item in pool.items) == len(files) - before
    assert bench.jobs.get(job.id).done == len(files)


@pytest.mark.parametrize("committed", [False, True])
def test_a_database_that_is_away_is_waited_for_and_nothing_is_stored_twice(
    bench: Bench, committed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With `committed`, it is lost after the commit, before its answer came."""
    failures = iter([DatabaseUnavailable("Gone away.")] * 3)

    def fail() -> None:
        if bench.database.added and (error := next(failures, None)):
            raise error

    setattr(bench.database, "loses" if committed else "fails", fail)
    reports = bench.enrol(people(150))
    assert statuses(reports) == ["inserted"] * 150
    assert bench.names() == [f"Person{at}" for at in range(150)]
    assert "Gone away. Job" in caplog.text


def test_a_run_does_not_wait_for_the_database_once_it_is_stopped(bench: Bench) -> None:
    stop = threading.Event()
    run = bench.run_of(bench.queue(), people(3), stop=stop)
    bench.database.away = DatabaseUnavailable()
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Stopped):
        run.run()


def test_a_job_that_is_another_processs_by_now_gets_nothing_stored(bench: Bench) -> None:
    job = bench.queue()
    run = bench.run_of(job, people(3))
    bench.jobs.release(job.id, OWNER)
    assert bench.jobs.claim(bench.jobs.get(job.id).id, "x", 60, 1) is None  # another place
    with pytest.raises(LeaseLost):
        run.run()
    assert bench.database.newest_change() == 0
    assert bench.reports(job) == []


def test_the_same_photo_is_stored_once(bench: Bench) -> None:
    ada, bo = photo((RED, 9)), photo((GREEN, 9))
    first = bench.enrol({"Ada_0001.png": ada, "Again.png": ada, "Bo_0001.png": bo})
    assert statuses(first) == ["inserted", "duplicate", "inserted"]
    assert (first[1].id, first[1].duplicate_of) == (1, 1)
    assert first[1].reason == "The same photo is stored already, as face 1."
    bench.pool = pool = LosingPool()
    assert statuses(bench.enrol({"x.png": bo, "y.png": ada})) == ["duplicate"] * 2
    assert pool.items == []
    assert bench.names() == ["Ada", "Bo"]


def test_the_same_photo_is_stored_again_where_that_is_wanted_and_told(bench: Bench) -> None:
    ada = photo((RED, 9))
    again = ImportOptions(skip_duplicates=False)
    reports = bench.enrol({"a.png": ada, "b.png": ada}, again) + bench.enrol({"c.png": ada}, again)
    assert statuses(reports) == ["inserted"] * 3
    assert [(file.id, file.duplicate_of) for file in reports] == [(1, None), (2, 1), (3, 1)]


def test_a_photo_whose_faces_were_removed_is_stored_again(bench: Bench) -> None:
    files = {"Ada_0001.png": photo((RED, 9))}
    (first,) = bench.enrol(files)
    bench.database.delete_faces([first.id or 0])
    assert statuses(bench.enrol(files)) == ["inserted"]


def test_a_photo_that_another_import_stored_meanwhile_is_a_duplicate(bench: Bench) -> None:
    files = people(3)
    other = Bench(bench.database)

    class Interrupted(LosingPool):
        def map(self, task: Callable[[Any], Any], items: Any) -> Iterator[Outcome[Any]]:
            yield from super().map(task, items)
            other.enrol({"x.png": files["Person1_0001.png"]})

    bench.pool = Interrupted()
    assert statuses(bench.enrol(files)) == ["inserted", "duplicate", "inserted"]
    assert sorted(bench.names()) == ["Person0", "Person2", "x"]


def test_all_faces_of_a_photo_are_stored_with_their_boxes(bench: Bench) -> None:
    two = photo((RED, 20), (BLACK, 4), (GREEN, 30))
    (report,) = bench.enrol({"Ada_0001.png": two}, ImportOptions(faces="all"))
    assert [(face.id, face.box.left, face.box.right) for face in report.faces] == [(1, 0, 19), (2, 24, 53)]
    assert (report.id, report.person_name) == (1, "Ada")
    assert bench.names() == ["Ada", "Ada"]


def test_a_photo_with_several_faces_is_refused_where_a_single_one_is_wanted(bench: Bench) -> None:
    two, one = photo((RED, 20), (BLACK, 4), (GREEN, 30)), photo((RED, 20))
    reports = bench.enrol({"two.png": two, "one.png": one}, ImportOptions(faces="single"))
    assert statuses(reports) == ["failed", "inserted"]
    assert "2 faces" in (reports[0].reason or "")
    assert [(face.id, face.box.left) for face in reports[0].faces] == [(None, 0), (None, 24)]


def test_a_list_names_photos_and_what_it_names_in_vain_is_told(bench: Bench) -> None:
    listed = "path,person,external_id,team\nx/1.png,Ada,a-1,engines\nx/2.png,,b-2,\nx/3.png,Nobody,,\n"
    files = {"x/1.png": photo((RED, 9)), "x/2.png": photo((GREEN, 9)), "y/Bo_0007.png": photo((RED, 5))}
    reports = bench.enrol({"people.csv": listed.encode(), **files})
    assert [(file.path, file.status) for file in reports] == [
        ("x/1.png", "inserted"),
        ("x/2.png", "inserted"),
        ("y/Bo_0007.png", "inserted"),
        ("x/3.png", "failed"),
    ]
    assert "people.csv names this file" in (reports[3].reason or "")
    ada, second, bo = bench.database.get_faces([1, 2, 3]).values()
    assert (ada.person_name, ada.external_id, ada.metadata) == ("Ada", "a-1", {"team": "engines"})
    assert (second.person_name, second.external_id, second.metadata) == ("x", "b-2", {})
    assert (bo.person_name, bo.version, bo.external_id) == ("Bo", "0007", None)


def test_a_name_that_the_database_does_not_take_costs_its_photo_only(bench: Bench) -> None:
    long = f"{'x' * 300}_0001.png"
    reports = bench.enrol({**people(3), long: photo((GREEN, 9)), **people(2, first=3)})
    assert statuses(reports) == ["inserted"] * 3 + ["failed"] + ["inserted"] * 2
    assert "255 characters" in (reports[3].reason or "")


def test_the_digest_is_that_of_the_files_bytes(bench: Bench) -> None:
    data = photo((RED, 9))
    bench.enrol({"a.png": data})
    assert bench.database.faces_of_photos([hashlib.sha256(data).digest()]) == {
        hashlib.sha256(data).digest(): 1
    }


def test_two_entries_of_one_name_have_a_report_each(bench: Bench) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", photo((RED, 9)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", photo((GREEN, 9)))
    assert statuses(bench.enrol(buffer)) == ["inserted"] * 2


def test_an_import_goes_into_its_collection(bench: Bench) -> None:
    store = open_collection_store(bench.database)
    faces = store.faces(store.add("Büro 😀").number)
    bench.enrol({"Ada_0001.png": photo((RED, 9))})
    (report,) = bench.enrol({"Ada_0001.png": photo((RED, 9))}, ImportOptions(collection="Büro 😀"))
    assert (report.status, report.duplicate_of) == ("inserted", None)
    assert report.id is not None
    assert [face.person_name for face in faces.get_faces([1, report.id]).values()] == ["Ada"]
    assert list(bench.database.get_faces([1, report.id])) == [1]


def test_an_import_ends_with_its_collection(bench: Bench) -> None:
    store = open_collection_store(bench.database)
    store.add("short")
    job = bench.queue(ImportOptions(collection="short"))
    store.delete("short")
    store.add("short")
    with pytest.raises(CollectionNotFound):
        bench.run_of(job, people(1)).run()
    assert bench.names() == []


def test_crops_of_imported_faces_are_kept_where_that_is_wanted(bench: Bench) -> None:
    bench.crop_style = CropStyle(64)
    bench.enrol({"a.png": photo((RED, 9))})
    crop = bench.database.crop(1)
    assert crop is not None
    assert crop.media_type == "image/jpeg"


def test_an_import_goes_on_with_the_model_that_its_collection_got_meanwhile(bench: Bench) -> None:
    class Switching(LosingPool):
        """Somebody else stores the collection's first face while the first photos are encoded."""

        def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
            for item in items:
                outcome = next(super().map(task, [item]))
                if bench.database.newest_change() == 0:
                    bench.database.add_faces([vector(3)], NEGATIVES)
                yield outcome

    bench.pool = Switching()
    assert statuses(bench.enrol(people(9))) == ["inserted"] * 9
    stored = bench.database.get_faces(range(1, 20)).values()
    assert {face.model_id for face in stored} == {NEGATIVES}
    assert len(stored) == 10


def test_what_was_erased_while_it_waited_is_not_stored_and_not_named(bench: Bench) -> None:
    """Also where it was encoded before, and where it is stored already."""
    erased: set[int] = set()

    class Erasing(LosingPool):
        def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
            for outcome in super().map(task, items):
                erased.update((1, 2))
                yield outcome

    bench.enrol({"known.png": photo(((2, 1, 1), 4))})
    bench.pool, job = Erasing(), bench.queue()
    erased.add(0)
    bench.run_of(job, people(4), erased=lambda: frozenset(erased)).run()
    reports = bench.reports(job)
    assert [(report.path, report.status) for report in reports] == [
        *[("", "failed")] * 3,
        ("Person3_0001.png", "inserted"),
    ]
    assert bench.names() == ["known", "Person3"]


def test_a_duplicate_of_a_face_that_was_erased_meanwhile_is_not_named(bench: Bench) -> None:
    bench.enrol(people(1))

    class Erasing(LosingPool):
        def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
            yield from super().map(task, items)
            bench.database.delete_faces([1])

    bench.pool = Erasing()
    reports = bench.enrol(people(2))
    assert [(report.path, report.status) for report in reports] == [
        ("", "duplicate"),
        ("Person1_0001.png", "inserted"),
    ]
