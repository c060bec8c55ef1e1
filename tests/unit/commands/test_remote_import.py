"""Archives sent one by one, and their jobs."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

import pytest

from facesearch.bootstrap import Part
from facesearch.commands import remote_import
from facesearch.commands.remote_answers import RemoteJob
from facesearch.commands.remote_import import RemoteImport
from facesearch.commands.remote_service import RemoteService
from facesearch.errors import JobNotFound, TooLarge, Unavailable
from facesearch.records import CANCELLED, DONE, FAILED, FILE_STATUSES, RUNNING, FileReport, ImportOptions

FILES = 3


class FakeService(RemoteService):
    """Takes archives of FILES photos, whose jobs do one with each look."""

    def __init__(self) -> None:
        super().__init__("http://service")
        self.events: list[str] = []
        self.keys: set[str] = set()
        self.ends: dict[str, str] = {}
        self.failing: Callable[[str], None] = lambda _: None
        self._done: dict[str, int] = {}

    def start(
        self,
        archive: BinaryIO,
        name: str,
        options: ImportOptions,
        key: str,
        on_sent: Callable[[int, int], None],
        collection: str | None = None,
    ) -> RemoteJob:
        self.failing(f"start {name}")
        self.events.append(f"start {name}")
        self.keys.add(key)
        on_sent(1, 1)
        self._done[name] = 0
        return self._job(name)

    def job(self, job_id: str) -> RemoteJob:
        self.failing(f"job {job_id}")
        self._done[job_id] += 1
        job = self._job(job_id)
        if job.is_over:
            self.events.append(f"over {job_id}")
        return job

    def files(self, job_id: str) -> Iterator[FileReport]:
        for number in range(self._done[job_id]):
            yield FileReport(f"{job_id}{number}", "inserted", number)

    def cancel(self, job_id: str) -> None:
        self.failing(f"cancel {job_id}")
        self.events.append(f"cancel {job_id}")

    def _job(self, job_id: str) -> RemoteJob:
        done = self._done[job_id]
        state = self.ends.get(job_id, DONE) if done == FILES else RUNNING
        counts = dict.fromkeys(FILE_STATUSES, 0) | {"inserted": done}
        return RemoteJob(job_id, state, FILES, counts, "It failed." if state == FAILED else None)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    monkeypatch.setattr(remote_import, "_FIRST_PAUSE_S", 0.0)
    made = FakeService()
    yield made
    made.close()


class Seen:
    """What an import told of itself."""

    def __init__(self, service: FakeService, total: int | None = None) -> None:
        self.progress: list[tuple[int, int]] = []
        self.sent: list[str] = []
        self.importing = RemoteImport(service, ImportOptions(), total, self._progress, self._sent)

    def _progress(self, total: int, counts: Mapping[str, int]) -> None:
        self.progress.append((sum(counts.values()), total))

    def _sent(self, name: str, sent: int, size: int) -> None:
        self.sent.append(name)


def part(name: str, *positions: int) -> Part:
    left_out = {at: FileReport(f"{name} out {at}", "skipped") for at in positions}
    return Part(name, io.BytesIO(b"zip"), left_out)


def raising(at: str, error: BaseException) -> Callable[[str], None]:
    def fail(event: str) -> None:
        if event == at:
            raise error

    return fail


def test_one_archive_is_sent_and_followed_to_its_end(service: FakeService) -> None:
    seen = Seen(service)
    imported = seen.importing.run([part("a")])
    assert (imported.jobs, imported.state, imported.total, imported.error) == (("a",), DONE, 3, None)
    assert imported.counts == dict.fromkeys(FILE_STATUSES, 0) | {"inserted": 3}
    assert [report.path for report in imported.files] == ["a0", "a1", "a2"]
    assert seen.progress == [(0, 3), (1, 3), (2, 3), (3, 3)] or seen.progress[-1] == (3, 3)
    assert seen.sent == ["a"]
    assert imported.service == "http://service"


def test_the_next_archive_is_sent_while_one_is_worked_on_and_no_further_one(service: FakeService) -> None:
    made: list[str] = []

    def parts() -> Iterator[Part]:
        for name in "abcd":
            made.append(name)
            service.events.append(f"pack {name}")
            yield part(name)

    imported = Seen(service, total=12).importing.run(parts())
    assert imported.jobs == ("a", "b", "c", "d")
    assert len(service.keys) == 4
    for late, early in (("c", "a"), ("d", "b")):
        assert service.events.index(f"over {early}") < service.events.index(f"start {late}")
    assert service.events.index("start b") < service.events.index("over a")


def test_reports_of_files_that_were_not_sent_stand_where_the_files_lay(service: FakeService) -> None:
    imported = Seen(service, 8).importing.run(
        [part("a", 0, 2, 5), Part("n", None, {0: FileReport("n", "failed")})]
    )
    assert [report.path for report in imported.files] == [
        "a out 0",
        "a0",
        "a out 2",
        "a1",
        "a2",
        "a out 5",
        "n",
    ]
    assert (imported.counts["skipped"], imported.counts["failed"], imported.counts["inserted"]) == (3, 1, 3)


@pytest.mark.parametrize(("end", "error"), [(FAILED, "It failed."), (CANCELLED, "The import was cancelled.")])
def test_after_a_job_that_ends_badly_no_more_is_sent(service: FakeService, end: str, error: str) -> None:
    service.ends = {"b": end}
    imported = Seen(service, 30).importing.run(part(name) for name in "abcdefghij")
    assert (imported.state, imported.error) == (end, error)
    assert "d" not in imported.jobs
    assert all(f"over {job}" in service.events for job in imported.jobs)


def test_archives_are_closed_whether_they_are_taken_or_not(service: FakeService) -> None:
    taken, refused = part("a"), part("b")
    service.failing = raising("start b", TooLarge("Over the limit."))
    with pytest.raises(TooLarge, match=r"^Over the limit\. What was sent before is imported\.$"):
        Seen(service).importing.run([taken, refused])
    for one in (taken, refused):
        assert one.file is not None
        assert one.file.closed


def test_an_archive_that_is_refused_has_nothing_before_it(service: FakeService) -> None:
    service.failing = raising("start a", TooLarge("Over the limit."))
    with pytest.raises(TooLarge, match=r"^Over the limit\.$"):
        Seen(service).importing.run([part("a")])


def test_an_interrupt_cancels_what_goes_on(service: FakeService) -> None:
    service.failing = raising("start c", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        Seen(service).importing.run(part(name) for name in "abc")
    assert [event for event in service.events if event.startswith("cancel")] == ["cancel b"]


@pytest.mark.parametrize(
    ("error", "words"), [(Unavailable(), "could not be told, and goes on"), (JobNotFound(), "^$")]
)
def test_an_interrupt_that_a_service_does_not_hear_of_says_so(
    service: FakeService, error: Exception, words: str
) -> None:
    def fail(event: str) -> None:
        if event == "job a":
            raise KeyboardInterrupt
        if event == "cancel a":
            raise error

    service.failing = fail
    with pytest.raises(KeyboardInterrupt, match=words):
        Seen(service).importing.run([part("a")])
