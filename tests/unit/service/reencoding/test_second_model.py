import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facesearch.config import LimitSettings
from facesearch.databases import (
    SQLImageDatabase,
    open_collection_store,
    open_job_store,
    open_reencoding_store,
)
from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    DatabaseUnavailable,
    LeaseLost,
    ModelMismatch,
    Unavailable,
)
from facesearch.records import (
    DONE,
    EVERY_FACE,
    FAILED,
    NO_BOX,
    REENCODING,
    Box,
    Crop,
    Face,
    ImportOptions,
    Job,
    NewJob,
    ReencodingProgress,
)
from facesearch.service import EncodePhotos
from facesearch.service.encoders import Encoders
from facesearch.service.erasure_notes import ERASURES, ErasureNotes
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.waiting_photos import WaitingPhotos
from facesearch.service.intake.waiting_room import WaitingRoom
from facesearch.service.jobs import lost_groups
from facesearch.service.reencoding import run as reencode_run
from facesearch.service.reencoding.run import ReencodingParts
from facesearch.service.reencoding.second_model import Reencoding, Switched
from tests.contracts.new_faces import all_changes, new_face
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    GREEN,
    LIGHTER_RED,
    NEGATIVES,
    RED,
    Colour,
    FakeKinds,
    LosingPool,
    SwitchedDatabase,
    open_image,
    photo,
)

SIZE = 24


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SwitchedDatabase]:
    database = SwitchedDatabase(tmp_path / "test.db")
    yield database
    database.close()


@pytest.fixture
def parts(database: SwitchedDatabase) -> ReencodingParts:
    encoder = FakeKinds()
    return ReencodingParts(
        database,
        open_collection_store(database),
        open_reencoding_store(database),
        open_job_store(database),
        LosingPool(),
        EncodePhotos(open_image, lambda: encoder),
        15.0,
    )


@pytest.fixture
def forgotten() -> list[int]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where archives wait."""
    return tmp_path / "imports"


def reencoding(
    parts: ReencodingParts, folder: Path, forget_copies: Callable[[], None] = lambda: None
) -> Reencoding:
    waiting = WaitingPhotos(parts.jobs, WaitingRoom(folder), LimitSettings())
    notes = ErasureNotes(folder / ERASURES)
    return Reencoding(parts, Encoders(FakeKinds()), waiting, notes, forget_copies)


@pytest.fixture
def work(parts: ReencodingParts, folder: Path, forgotten: list[int]) -> Reencoding:
    return reencoding(parts, folder, lambda: forgotten.append(1))


def vector(colour: Colour) -> Any:
    return np.array(colour, np.float32) / 255


def add(database: SQLImageDatabase, *colours: Colour, crops: bool = True, person: str = "Ada") -> list[int]:
    """Store a face of each colour, from a photo of its own."""
    faces = []
    for colour in colours:
        data = photo((colour, SIZE))
        crop = Crop("image/png", data) if crops else None
        face = Face(Box(0, SIZE - 1, SIZE - 1, 0), vector(colour), None, crop)
        digest = hashlib.sha256(data).digest()
        faces.append(new_face(person_name=person, face=face, photo_sha256=digest))
    return database.add_faces(faces, COLOURS)


def archive(**photos: bytes) -> PhotoArchive:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, data in photos.items():
            written.writestr(f"{name}.png", data)
    return PhotoArchive(file, LimitSettings())


def next_vectors(parts: ReencodingParts) -> dict[int, list[float]]:
    return {
        int(face): [round(float(number), 3) for number in row]
        for part in parts.store.pairs(1)
        for face, row in zip(part.face_ids, part.next, strict=True)
    }


def negative(colour: Colour) -> list[float]:
    return [round(1 - number / 255, 3) for number in colour]


def statuses(parts: ReencodingParts, job: Job) -> list[tuple[str, int | None, str | None]]:
    return [(one.status, one.id, one.reason) for one in parts.jobs.files(job.id, 1_000).items]


def test_vectors_are_made_from_kept_crops_as_a_job(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    ids = add(database, RED, GREEN, LIGHTER_RED)
    seen: list[Job] = []
    job = work.run("default", NEGATIVES, on_progress=seen.append)
    assert (job.state, job.kind, job.total, job.collection) == (DONE, REENCODING, 3, 1)
    assert job.counts["inserted"] == 3
    assert seen[-1].done == 3
    assert next_vectors(parts) == {
        ids[0]: negative(RED),
        ids[1]: negative(GREEN),
        ids[2]: negative(LIGHTER_RED),
    }
    assert statuses(parts, job) == [("inserted", i, None) for i in ids]
    assert work.progress("default") == ReencodingProgress(COLOURS, NEGATIVES, 3, 3)
    assert database.gallery_model() == COLOURS


def test_faces_without_a_crop_are_told_of(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    (red,), (green,) = add(database, RED), add(database, GREEN, crops=False)
    job = work.run("default", NEGATIVES)
    no_crop = "No crop of the face is kept."
    assert set(statuses(parts, job)) == {("inserted", red, None), ("skipped", green, no_crop)}
    assert work.progress("default").reencoded == 1


def test_photos_given_again_are_known_by_their_bytes(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    both = photo((RED, 30), (BLACK, 6), (GREEN, SIZE))
    digest = hashlib.sha256(both).digest()

    def face(box: Box, colour: Colour) -> Any:
        return new_face(face=Face(box, vector(colour)), photo_sha256=digest)

    ids = database.add_faces(
        [
            face(Box(2, 58, SIZE - 1, 37), GREEN),
            face(Box(0, 29, SIZE - 1, 3), RED),
            face(NO_BOX, RED),
            new_face(face=Face(Box(0, 9, 9, 0), vector(RED)), photo_sha256=bytes(32)),
        ],
        COLOURS,
    )
    source = archive(other=photo((GREEN, 10)), both=both, again=both, text=b"text")
    job = work.run("default", NEGATIVES, source, "photos.zip")
    assert job.file_name == f"{NEGATIVES} from photos.zip"
    assert next_vectors(parts) == {ids[0]: negative(GREEN), ids[1]: negative(RED)}
    no_photo = "The photo of the face was not among those given."
    assert statuses(parts, job) == [
        ("inserted", ids[0], None),
        ("inserted", ids[1], None),
        ("skipped", ids[2], no_photo),
        ("skipped", ids[3], no_photo),
    ]
    assert (job.total, job.done) == (4, 4)


def test_a_face_that_is_not_found_again_is_encoded_by_its_box(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    data = photo((RED, 10), (BLACK, 30), (GREEN, 10))
    face = Face(Box(0, 25, 9, 15), vector(RED))
    (black,) = database.add_faces([new_face(face=face, photo_sha256=hashlib.sha256(data).digest())], COLOURS)
    work.run("default", NEGATIVES, archive(a=data), "a")
    assert next_vectors(parts) == {black: [1, 1, 1]}


def test_what_cannot_be_read_costs_the_others_nothing(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    bad = new_face(face=Face(Box(0, 9, 9, 0), vector(RED), None, Crop("image/jpeg", b"\xff\xd8\xff")))
    (broken,) = database.add_faces([bad], COLOURS)
    (green,) = add(database, GREEN)
    job = work.run("default", NEGATIVES)
    assert job.state == DONE
    assert [one[:2] for one in statuses(parts, job)] == [("failed", broken), ("inserted", green)]
    assert next_vectors(parts) == {green: negative(GREEN)}


def test_a_group_that_is_lost_is_done_one_by_one(
    database: SwitchedDatabase, parts: ReencodingParts, folder: Path
) -> None:
    ids = add(database, RED, GREEN, LIGHTER_RED)
    deadly = database.crop(ids[1])
    assert deadly is not None
    pool = LosingPool(lambda items: any(one.file.data == deadly.data for one in items))
    work = reencoding(replace(parts, pool=pool), folder)
    job = work.run("default", NEGATIVES)
    assert [one[:2] for one in statuses(parts, job)] == [
        ("inserted", ids[0]),
        ("failed", ids[1]),
        ("inserted", ids[2]),
    ]


def test_the_same_command_goes_on_with_what_is_missing(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    first = add(database, RED)
    work.run("default", NEGATIVES)
    second = add(database, GREEN)
    before = next_vectors(parts)
    job = work.run("default", NEGATIVES)
    assert job.total == 1
    assert next_vectors(parts) == before | {second[0]: negative(GREEN)}
    assert first[0] in before
    assert work.run("default", NEGATIVES).total == 0


def test_a_job_that_a_dead_process_left_is_gone_on_with(
    database: SwitchedDatabase, parts: ReencodingParts, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    ids = add(database, RED, GREEN, LIGHTER_RED, (1, 2, 3))
    monkeypatch.setattr(reencode_run, "_REPORTS_A_TRANSACTION", 1)
    monkeypatch.setattr(reencode_run, "_PHOTOS_A_TASK", 1)
    dead = replace(parts, lease_s=0.001)

    def die(_: object) -> bool:
        if parts.store.progress(1).reencoded == 2:
            raise SystemExit
        return False

    with pytest.raises(SystemExit):
        reencoding(replace(dead, pool=LosingPool(die)), folder).run("default", NEGATIVES)
    [left] = parts.jobs.jobs(10).items
    assert (left.state, left.done, left.total) == ("running", 2, 4)
    job = reencoding(parts, folder).run("default", NEGATIVES)
    assert (job.id, job.state, job.done, job.total) == (left.id, DONE, 4, 4)
    assert statuses(parts, job) == [("inserted", i, None) for i in ids]


def test_two_processes_do_not_work_on_one_collection(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    add(database, RED)
    refused: list[str] = []

    def begin_too(_: Job) -> None:
        with pytest.raises(Conflict) as caught:
            work.run("default", NEGATIVES)
        refused.append(caught.value.message)

    work.run("default", NEGATIVES, on_progress=begin_too)
    assert len(refused) == 1
    assert len(parts.jobs.jobs(10).items) == 1


def test_a_job_ends_when_it_is_cancelled_or_abandoned(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode_run, "_REPORTS_A_TRANSACTION", 1)
    monkeypatch.setattr(reencode_run, "_PHOTOS_A_TASK", 1)
    add(database, RED, GREEN, LIGHTER_RED)

    def cancel(job: Job) -> None:
        parts.jobs.cancel(job.id)

    with pytest.raises(LeaseLost):
        work.run("default", NEGATIVES, on_progress=cancel)
    assert work.progress("default").reencoded == 1
    with pytest.raises(Conflict):
        work.run("default", NEGATIVES, on_progress=lambda _: parts.store.abandon(1))
    assert work.progress("default") == ReencodingProgress(COLOURS, None, 3, 0)
    assert parts.jobs.jobs(1).items[0].state == FAILED


def test_abandoning_cancels_the_job(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode_run, "_REPORTS_A_TRANSACTION", 1)
    monkeypatch.setattr(reencode_run, "_PHOTOS_A_TASK", 1)
    add(database, RED, GREEN)
    with pytest.raises((LeaseLost, Conflict)):
        work.run("default", NEGATIVES, on_progress=lambda _: work.abandon("default"))
    assert parts.jobs.jobs(1).items[0].state == "cancelled"
    assert work.progress("default").reencoded == 0


def test_an_interruption_keeps_what_was_made(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode_run, "_REPORTS_A_TRANSACTION", 1)
    monkeypatch.setattr(reencode_run, "_PHOTOS_A_TASK", 1)
    add(database, RED, GREEN)

    def interrupt(_: Job) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.run("default", NEGATIVES, on_progress=interrupt)
    assert parts.jobs.jobs(1).items[0].state == "cancelled"
    assert work.progress("default").reencoded == 1
    assert work.run("default", NEGATIVES).total == 1


def test_a_pool_that_does_not_come_back_fails_the_job(
    database: SwitchedDatabase, parts: ReencodingParts, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(lost_groups, "_POOL_PAUSE_S", 0.001)
    add(database, RED)
    pool = LosingPool()
    pool.close()
    with pytest.raises(Unavailable):
        reencoding(replace(parts, pool=pool), folder).run("default", NEGATIVES)
    assert parts.jobs.jobs(1).items[0].state == FAILED


def test_a_commit_whose_answer_is_lost_is_not_written_twice(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    ids = add(database, RED, GREEN)
    lost: list[int] = []

    def lose() -> None:
        if not lost and parts.store.progress(1).reencoded:
            lost.append(1)
            raise DatabaseUnavailable

    work.progress("default")
    database.loses = lose
    job = work.run("default", NEGATIVES)
    assert lost
    assert (job.state, job.done) == (DONE, 2)
    assert statuses(parts, job) == [("inserted", i, None) for i in ids]


def test_a_face_that_is_removed_meanwhile_leaves_nothing(
    database: SwitchedDatabase, parts: ReencodingParts, folder: Path
) -> None:
    red, green = add(database, RED, GREEN)
    removed: list[list[int]] = []

    def remove(_: object) -> bool:
        removed.append(database.delete_faces([red]))
        return False

    work = reencoding(replace(parts, pool=LosingPool(remove)), folder)
    job = work.run("default", NEGATIVES)
    [first, second] = parts.jobs.files(job.id, 10).items
    assert (first.path, first.status, first.id, first.faces) == ("", "skipped", None, ())
    assert second.id == green
    assert list(next_vectors(parts)) == [green]


def test_only_models_that_can_be_made_are_begun(database: SwitchedDatabase, work: Reencoding) -> None:
    add(database, RED)
    with pytest.raises(ModelMismatch):
        work.run("default", "unknown")
    with pytest.raises(Conflict):
        work.run("default", COLOURS)
    with pytest.raises(CollectionNotFound):
        work.run("nothing", NEGATIVES)
    assert work.progress("default").next_model_id is None


def test_a_switch_takes_the_new_vectors_and_forgets_the_old_copy(
    database: SwitchedDatabase, work: Reencoding, forgotten: list[int]
) -> None:
    ids = add(database, RED, GREEN)
    with pytest.raises(Conflict):
        work.switch("default")
    with pytest.raises(Conflict):
        work.preview("default", 1, 1)
    work.run("default", NEGATIVES)
    assert work.switch("default") == Switched(NEGATIVES, 2, (), wiped=True)
    assert forgotten == [1]
    assert database.gallery_model() == NEGATIVES
    assert [one.face_id for one in all_changes(database, 0, NEGATIVES)] == ids


def test_faces_that_are_dropped_leave_no_report(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding
) -> None:
    (red,), (green,) = add(database, RED), add(database, GREEN, crops=False)
    job = work.run("default", NEGATIVES)
    with pytest.raises(Conflict, match="1 of 2"):
        work.switch("default")
    assert work.switch("default", drop_missing=True) == Switched(NEGATIVES, 1, (green,), wiped=True)
    assert database.face_ids(EVERY_FACE).tolist() == [red]
    assert green not in [one.id for one in parts.jobs.files(job.id, 10).items]
    assert [one.path for one in parts.jobs.files(job.id, 10).items].count("") == 1


def waiting(parts: ReencodingParts, folder: Path, **photos: bytes) -> str:
    """An archive that waits for the default collection; its job's id."""
    room, file = WaitingRoom(folder), io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        for name, data in photos.items():
            written.writestr(f"{name}.png", data)
    parts.jobs.add(NewJob("waits", room.place(), "a.zip", ImportOptions(), len(photos), 1))
    room.take(file, "waits")
    return "waits"


def test_photos_of_faces_that_are_dropped_are_gone_from_archives_that_wait(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding, folder: Path
) -> None:
    add(database, RED), add(database, GREEN, crops=False)
    red, green = photo((RED, SIZE)), photo((GREEN, SIZE))
    archive = folder / f"{waiting(parts, folder, red=red, green=green)}.zip"
    work.run("default", NEGATIVES)
    assert red in archive.read_bytes()
    assert green in archive.read_bytes()
    work.switch("default", drop_missing=True)
    assert red in archive.read_bytes()
    assert green not in archive.read_bytes()
    assert WaitingRoom(folder).erased("waits") == {1}


def test_a_switch_that_is_refused_erases_no_photo(
    database: SwitchedDatabase, parts: ReencodingParts, work: Reencoding, folder: Path
) -> None:
    add(database, GREEN, crops=False)
    green = photo((GREEN, SIZE))
    archive = folder / f"{waiting(parts, folder, green=green)}.zip"
    parts.store.begin(1, NEGATIVES, 3)
    with pytest.raises(Conflict, match="No face"):
        work.switch("default", drop_missing=True)
    assert green in archive.read_bytes()


def test_faces_that_lose_their_chance_while_photos_are_erased_have_theirs_erased_too(
    database: SwitchedDatabase, parts: ReencodingParts, folder: Path
) -> None:
    add(database, RED)
    green = photo((GREEN, SIZE))
    archive = folder / f"{waiting(parts, folder, green=green)}.zip"
    reencoding(parts, folder).run("default", NEGATIVES)
    dropped = add(database, LIGHTER_RED, crops=False)

    class Slow(WaitingPhotos):
        calls = 0

        def erase(self, collection: int, photos: Mapping[bytes, int | None]) -> None:
            super().erase(collection, photos)
            self.calls += 1
            if self.calls == 1:
                dropped.extend(add(database, GREEN, crops=False))

    slow = Slow(parts.jobs, WaitingRoom(folder), LimitSettings())
    work = Reencoding(parts, Encoders(FakeKinds()), slow, ErasureNotes(folder / ERASURES))
    assert work.switch("default", drop_missing=True).dropped == tuple(dropped)
    assert green not in archive.read_bytes()


@pytest.mark.parametrize("fails", [False, True])
def test_a_switch_whose_wipe_fails_is_noted_for_a_service_to_end(
    database: SwitchedDatabase,
    work: Reencoding,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,
) -> None:
    _, (green,) = add(database, RED), add(database, GREEN, crops=False)
    work.run("default", NEGATIVES)

    def wipe(_: SQLImageDatabase) -> None:
        assert list((folder / ERASURES).iterdir())
        if fails:
            raise DatabaseUnavailable

    monkeypatch.setattr(type(database), "wipe", wipe)
    assert work.switch("default", drop_missing=True) == Switched(NEGATIVES, 1, (green,), wiped=not fails)
    with ErasureNotes(folder / ERASURES).broken_off() as is_broken_off:
        assert is_broken_off is fails


def test_a_preview_tells_what_would_change(
    database: SwitchedDatabase, parts: ReencodingParts, folder: Path
) -> None:
    near = [(100, 0, 0), (110, 0, 0), (0, 100, 0), (0, 110, 0), (0, 0, 250)]
    ids = []
    for colour, name in zip(near, ["Ada", "Ada", "Bo", "Cy", "Dee"], strict=True):
        ids += add(database, colour, person=name)
    parts.store.begin(1, NEGATIVES, 3)
    moved = {ids[0]: 0.0, ids[1]: 0.05, ids[2]: 0.5, ids[3]: 0.9, ids[4]: 0.54}
    parts.store.put(1, NEGATIVES, {i: np.array([x, 0, 0], np.float32) for i, x in moved.items()})
    preview = reencoding(parts, folder).preview("default", 100, 10)
    assert (preview.model_id, preview.next_model_id, preview.faces, preview.probes) == (
        COLOURS,
        NEGATIVES,
        5,
        5,
    )
    assert (preview.tolerance, preview.next_tolerance) == (0.25, 0.1)
    assert preview.counts == {"unchanged": 2, "same_person": 0, "other": 1, "gained": 1, "lost": 1}
    assert (preview.known, preview.right_now, preview.right_next) == (2, 2, 2)
    told = {one.face_id: one for one in preview.examples}
    assert {face: one.change for face, one in told.items()} == {
        ids[2]: "other",
        ids[3]: "lost",
        ids[4]: "gained",
    }
    now, following = told[ids[2]].now, told[ids[2]].next
    assert now is not None
    assert following is not None
    assert (now.face_id, now.person_name, round(now.distance, 4)) == (ids[3], "Cy", round(10 / 255, 4))
    assert now.similarity is not None
    assert (following.face_id, following.person_name, round(following.distance, 4)) == (ids[4], "Dee", 0.04)
    assert following.similarity is None


def test_a_preview_is_that_of_a_plain_search(
    database: SwitchedDatabase, parts: ReencodingParts, folder: Path
) -> None:
    random = np.random.default_rng(3)
    colours = random.random((300, 3)).astype(np.float32)
    others = random.random((300, 3)).astype(np.float32)
    colours[7], others[9] = colours[3], others[4]  # as near as can be, and ties for others
    faces = [new_face(row, person_name=f"P{n % 40}") for n, row in enumerate(colours)]
    ids = database.add_faces(faces, COLOURS)
    parts.store.begin(1, NEGATIVES, 3)
    parts.store.put(1, NEGATIVES, dict(zip(ids, others, strict=True)))
    work = reencoding(parts, folder)
    preview = work.preview("default", 300, 300)

    def nearest(rows: Any, tolerance: float) -> list[int]:
        wide = rows.astype(np.float64)
        found = []
        for n, row in enumerate(wide):
            distances = np.sqrt(((wide - row) ** 2).sum(axis=1))
            distances[n] = np.inf
            best = int(distances.argmin())
            found.append(ids[best] if distances[best] <= tolerance else 0)
        return found

    before, after = nearest(colours, 0.25), nearest(others, 0.1)
    same = sum(one == other for one, other in zip(before, after, strict=True))
    assert preview.counts["unchanged"] == same
    told = {one.face_id: one for one in preview.examples}
    for face_id, one, other in zip(ids, before, after, strict=True):
        if face_id in told:
            change = told[face_id]
            assert ((change.now and change.now.face_id) or 0) == one
            assert ((change.next and change.next.face_id) or 0) == other
    assert work.preview("default", 10, 0).probes == 10
