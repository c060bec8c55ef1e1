import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from facesearch.config import IntakeSettings, LimitSettings
from facesearch.databases import open_collection_store, open_job_store
from facesearch.errors import (
    CollectionNotFound,
    DatabaseUnavailable,
    LeaseLost,
    ModelMismatch,
    NotFound,
    Unavailable,
    WorkerDied,
)
from facesearch.interfaces import ImageDatabase
from facesearch.records import CANCELLED, DONE, FAILED, RUNNING, ImportOptions, Job, NewJob, Outcome
from facesearch.service import AGTAPI
from facesearch.service import api as api_module
from facesearch.service.imports.jobs import ImportJobs
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.jobs import lost_groups, runner
from tests.contracts.api import Photos, vector, zipped
from tests.contracts.imports import LIMIT_S, ImportsContract, OpenImports, files
from tests.unit.service.conftest import NewDatabase, Opened
from tests.unit.service.imports.test_run import ReturningPool
from tests.unit.service.parts import PHOTOS, LosingPool, Parts, SwitchedDatabase


class GatedPool(LosingPool):
    """Begins with nothing before its gate is open; closing opens it."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self._gate = gate

    def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
        for item in items:
            assert self._gate.wait(LIMIT_S)
            yield from super().map(task, [item])

    def close(self) -> None:
        super().close()
        self._gate.set()


class TestImportJobs(ImportsContract):
    @pytest.fixture
    def photos(self) -> Photos:
        return PHOTOS

    @pytest.fixture
    def database(self, new_database: NewDatabase) -> ImageDatabase:
        return new_database()

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "imports"

    @pytest.fixture
    def new_imports(self, database: SwitchedDatabase, folder: Path) -> Iterator[OpenImports]:
        with ExitStack() as made:

            def new(intake: IntakeSettings, gate: threading.Event | None = None) -> ImportJobs:
                pool = GatedPool(gate) if gate else LosingPool()
                api = Parts(database, pool=pool, intake=intake).make(folder)
                made.callback(api.close)
                api.open()
                return api.imports

            yield new


ADA = {"Ada_0001.png": PHOTOS.person}


def started(api: AGTAPI) -> Job:
    return api.imports.start(zipped(ADA), "a.zip", ImportOptions())


def test_a_service_that_was_not_opened_takes_no_imports(new_database: NewDatabase, tmp_path: Path) -> None:
    api = Parts(new_database()).make(tmp_path / "imports")
    with pytest.raises(Unavailable):
        started(api)
    api.close()


def test_a_job_of_another_place_is_left_alone(
    opened: Opened, new_database: NewDatabase, tmp_path: Path
) -> None:
    database = new_database()
    jobs = open_job_store(database)
    jobs.add(NewJob("f" * 32, "elsewhere", "a.zip", ImportOptions(waited_for=True), 1))
    api = opened(database=database)
    assert api.imports.wait(started(api).id, LIMIT_S).state == DONE
    assert jobs.get("f" * 32).state == "queued"


def test_a_job_whose_archive_is_gone_fails(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    api = opened(database=database)
    place = api.imports._room.place()
    open_job_store(database).add(NewJob("f" * 32, place, "a.zip", ImportOptions(), 1))
    job = api.imports.wait("f" * 32, LIMIT_S)
    assert (job.state, job.error_code, job.error) == (
        FAILED,
        NotFound.code,
        "The archive of this import is gone.",
    )


def test_a_job_of_another_model_fails_and_a_bulk_says_why(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    api = opened(database=database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api._imports._parts.jobs, "report", _raise(ModelMismatch("The gallery holds others.")))
        with pytest.raises(ModelMismatch, match="holds others"):
            api.add_faces_in_bulk(zipped(ADA))
        assert api.imports.jobs(1).items[0].error == "The gallery holds others."
    assert database.newest_change() == 0


def test_an_error_that_nobody_foresaw_ends_its_job_and_quotes_nothing(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    api = opened()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api._imports._parts.jobs, "report", _raise(ZeroDivisionError("a secret")))
        job = api.imports.wait(started(api).id, LIMIT_S)
    assert (job.state, job.error_code) == (FAILED, "task_failed")
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
    assert api.imports.wait(started(api).id, LIMIT_S).state == DONE


def test_a_job_that_ends_its_processes_again_and_again_is_given_up(
    opened: Opened, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_MOST_ATTEMPTS", 0)
    api = opened()
    job = api.imports.wait(started(api).id, LIMIT_S)
    assert (job.state, job.error_code) == (FAILED, WorkerDied.code)


def test_a_pool_that_is_gone_puts_the_job_back_until_it_works(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_groups, "_POOL_PAUSE_S", 0.001)
    api = opened(pool=ReturningPool(9))
    assert api.imports.wait(started(api).id, LIMIT_S).state == DONE


def test_a_bulk_does_not_wait_for_a_service_that_has_ended(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    api = opened(pool=GatedPool(gate))
    threading.Timer(0.1, api.imports.stop).start()
    monkeypatch.setattr(api_module, "OUTAGE_S", 0.2)
    with pytest.raises(Unavailable, match="not working on imports"):
        api.add_faces_in_bulk(zipped(ADA))


def test_a_job_goes_on_after_its_process_has_gone(opened: Opened, new_database: NewDatabase) -> None:
    """As after kill -9: the first one's lease ends, and nothing else is heard of it."""
    database = new_database()
    gate = threading.Event()
    intake = IntakeSettings(lease_s=1)
    dying = opened(database=database, pool=GatedPool(gate), intake=intake)
    job = started(dying)
    while dying.imports.get(job.id).state != RUNNING:
        dying.imports.wait(job.id, 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dying.imports._runner, "_keep_leases", lambda: None)
        patch.setattr(dying.imports._runner, "_begin", lambda: False)
        other = opened(database=database, intake=intake)
        assert other.imports.wait(job.id, LIMIT_S).state == DONE
        gate.set()
        while dying.imports._runner._running:
            dying.imports._runner.wait_for_end(0.05)
    assert database.newest_change() == 1
    assert len(files(other.imports, job)) == 1


def test_closing_puts_a_job_back_into_the_queue(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    first = opened(database=database, pool=GatedPool(threading.Event()))
    job = started(first)
    while first.imports.get(job.id).state != RUNNING:
        first.imports.wait(job.id, 0.01)
    first.imports.stop()
    first._pool.close()
    first.imports.join()
    assert open_job_store(database).get(job.id).state == "queued"
    assert opened(database=database).imports.wait(job.id, LIMIT_S).state == DONE


def test_waiting_goes_on_while_the_database_is_away(opened: Opened, new_database: NewDatabase) -> None:
    database, gate = new_database(), threading.Event()
    api = opened(database=database, pool=GatedPool(gate))
    job = started(api)
    database.away = DatabaseUnavailable()

    def come_back() -> None:
        database.away = None
        gate.set()

    threading.Timer(0.2, come_back).start()
    assert api.imports.wait(job.id, LIMIT_S).state == DONE
    database.away = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        api.imports.wait(job.id, 0.05)
    database.away = None


def test_archives_without_a_job_are_put_away_also_while_nothing_can_be_written(
    opened: Opened, tmp_path: Path
) -> None:
    api = opened()
    imports = api.imports
    imports._room.take(zipped(ADA), "0" * 32)
    imports._room.take(zipped(ADA), "1" * 32)
    os.utime(tmp_path / "imports" / f"{'0' * 32}.zip", (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports._jobs, "prune", _raise(DatabaseUnavailable("The disk is full.")))
        with pytest.raises(DatabaseUnavailable):
            imports._tidy()
    assert [file.stem for file in (tmp_path / "imports").glob("*.zip")] == ["1" * 32]


@pytest.mark.parametrize("committed", [False, True])
def test_an_archive_is_kept_where_its_job_is_there_though_the_database_went_away(
    opened: Opened, new_database: NewDatabase, tmp_path: Path, committed: bool
) -> None:
    database, gate = new_database(), threading.Event()
    api = opened(database=database, pool=GatedPool(gate))
    lost = iter([DatabaseUnavailable("Gone away.")])

    def go_away() -> None:
        for error in lost:
            raise error

    setattr(database, "loses" if committed else "fails", go_away)
    with pytest.raises(DatabaseUnavailable):
        started(api)
    assert len(list((tmp_path / "imports").glob("*.zip"))) == len(api.imports.jobs(9).items) == committed
    gate.set()
    for job in api.imports.jobs(9).items:
        assert api.imports.wait(job.id, LIMIT_S).state == DONE


def source(data: dict[str, bytes]) -> PhotoArchive:
    return PhotoArchive(zipped(data), LimitSettings())


def test_an_import_may_be_run_in_the_callers_thread(opened: Opened) -> None:
    api = opened()
    seen: list[Job] = []
    job = api.imports.run_here(source(ADA), "photos", ImportOptions(), seen.append)
    assert (job.state, job.file_name, job.counts["inserted"]) == (DONE, "photos", 1)
    assert seen[-1].done == 1
    assert [file.status for file in files(api.imports, job)] == ["inserted"]


def test_an_import_here_that_is_interrupted_is_cancelled_and_keeps_what_it_has(opened: Opened) -> None:
    api = opened()
    with pytest.raises(KeyboardInterrupt):
        api.imports.run_here(source(ADA), "photos", ImportOptions(), _raise(KeyboardInterrupt()))
    (job,) = api.imports.jobs(10).items
    assert (job.state, job.counts["inserted"]) == (CANCELLED, 1)


def test_an_import_here_that_somebody_cancels_ends(opened: Opened) -> None:
    api = opened()
    photos = {f"{at}.txt": b"x" for at in range(1_500)}

    def cancel(job: Job) -> None:
        api.imports.cancel(job.id)

    with pytest.raises(LeaseLost):
        api.imports.run_here(source(photos), "photos", ImportOptions(), cancel)
    (job,) = api.imports.jobs(10).items
    assert job.state == CANCELLED


def test_an_import_here_that_fails_says_so(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    database.add_faces([vector(3)], "somebody else's")
    api = opened(database=database)
    with pytest.raises(ModelMismatch):
        api.imports.run_here(source(ADA), "photos", ImportOptions(), lambda _: None)
    assert api.imports.jobs(1).items[0].error_code == ModelMismatch.code


def test_photos_that_wait_are_erased_from_their_archives_and_not_enrolled(
    opened: Opened, new_database: NewDatabase, tmp_path: Path
) -> None:
    database, gate = new_database(), threading.Event()
    api = opened(database=database, pool=GatedPool(gate), intake=IntakeSettings(imports_at_once=1))
    data = {"Ada_0001.png": PHOTOS.person, "Bob_0001.png": PHOTOS.both}
    jobs = [api.imports.start(zipped(data), "a.zip", ImportOptions()) for _ in range(2)]
    digest = hashlib.sha256(PHOTOS.person).digest()
    api.imports.erase_photos(7, {digest: None})
    api.imports.erase_photos(1, {})
    assert {path.suffix for path in (tmp_path / "imports").iterdir()} == {"", ".zip"}
    api.imports.erase_photos(1, {digest: len(PHOTOS.person)})
    archives = list((tmp_path / "imports").glob("*.zip"))
    assert len(archives) == 2
    for archive in archives:
        assert b"Ada" not in archive.read_bytes()
        assert PHOTOS.person[-100:-30] not in archive.read_bytes()
    gate.set()
    for job in jobs:
        assert api.imports.wait(job.id, LIMIT_S).state == DONE
        assert [(file.path, file.status) for file in files(api.imports, job)] == [
            ("", "failed"),
            ("Bob_0001.png", "inserted" if job is jobs[0] else "duplicate"),
        ]
    assert not database.faces_of_photos([digest])
    api.imports.stop()
    api.imports.join()  # the archive of a job goes after its end is told
    assert [path.name for path in (tmp_path / "imports").iterdir()] == ["place"]


def test_an_import_into_a_collection_that_is_not_there_is_refused(opened: Opened, tmp_path: Path) -> None:
    api, nowhere = opened(), ImportOptions(collection="nowhere")
    with pytest.raises(CollectionNotFound):
        api.imports.start(zipped(ADA), "a.zip", nowhere)
    with pytest.raises(CollectionNotFound):
        api.imports.run_here(source(ADA), "photos", nowhere, lambda _: None)
    assert list((tmp_path / "imports").glob("*.zip")) == []
    assert api.imports.jobs(10).items == ()


def test_a_process_drops_a_job_that_was_erased_under_it_and_its_archive(
    opened: Opened, new_database: NewDatabase, tmp_path: Path
) -> None:
    database, gate = new_database(), threading.Event()
    store = open_collection_store(database)
    store.add("short")
    api = opened(database=database, pool=GatedPool(gate))
    job = api.imports.start(zipped(ADA), "a.zip", ImportOptions(collection="short"))
    while api.imports.get(job.id).state != RUNNING:
        api.imports.wait(job.id, 0.01)
    number = store.delete("short")
    assert open_job_store(database).forget_collection(number) == [job.id]
    gate.set()
    while api.imports._runner._running:
        api.imports._runner.wait_for_end(0.05)
    assert list((tmp_path / "imports").glob("*.zip")) == []


def _raise(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
