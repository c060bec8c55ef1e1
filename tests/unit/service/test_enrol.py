import pytest

from facesearch.config import LimitSettings, QualitySettings
from facesearch.errors import DatabaseUnavailable, ModelMismatch, Unavailable
from facesearch.interfaces import ImageDatabase, WorkerPool
from facesearch.records import BulkReport, PhotoFile
from facesearch.service import EncodePhotos
from facesearch.service.enrol import BulkEnrolment
from tests.contracts.api import vector, zipped
from tests.fakes import FakeImageDatabase
from tests.unit.service.parts import (
    BLACK,
    COLOURS,
    FailingDatabase,
    FakeKinds,
    LosingPool,
    open_image,
    photo,
)

NOBODY = photo((BLACK, 20))


def enrol(
    files: dict[str, bytes],
    database: ImageDatabase | None = None,
    pool: WorkerPool | None = None,
    model_id: str = COLOURS,
) -> BulkReport:
    bulk = BulkEnrolment(
        database or FakeImageDatabase(),
        model_id,
        pool or LosingPool(),
        EncodePhotos(open_image, FakeKinds, model_id=model_id),
        LimitSettings(),
        QualitySettings(),
    )
    return bulk.run(zipped(files))


def people(number: int) -> dict[str, bytes]:
    """A photo for each of so many people, whose name ends in the shade of its red."""
    return {f"Person{at}_0001.png": photo(((at, 1, 1), 4)) for at in range(number)}


def names(item: list[PhotoFile]) -> list[str]:
    return [file.file_name.partition("_")[0] for file in item]


def test_photos_go_to_the_pool_in_groups_of_four_in_their_order() -> None:
    pool = LosingPool()
    report = enrol(people(10), pool=pool)
    assert [len(item) for item in pool.items] == [4, 4, 2]
    assert [name for item in pool.items for name in names(item)] == [f"Person{at}" for at in range(10)]
    assert [file.path for file in report.files] == list(people(10))


def test_what_is_not_worth_encoding_takes_no_place_in_a_group() -> None:
    pool = LosingPool()
    files = {".DS_Store": b"x", "a/Thumbs.db": b"x", **people(4), "inner.zip": b"PK\x03\x04"}
    report = enrol(files, pool=pool)
    assert [len(item) for item in pool.items] == [4]
    assert report.counts == {"inserted": 4, "no_face": 0, "failed": 0, "skipped": 3}


def test_each_face_is_stored_under_its_own_name() -> None:
    database = FakeImageDatabase()
    report = enrol(people(11), database)
    stored = database.get_faces([file.id or 0 for file in report.files])
    assert [stored[file.id or 0].person_name for file in report.files] == [f"Person{at}" for at in range(11)]
    for batch in database.changes_after(0, COLOURS):
        for change in batch:
            assert change.embedding is not None
            shade = round(float(change.embedding[0]) * 255)
            assert stored[change.face_id].person_name == f"Person{shade}"


def test_a_group_that_is_lost_is_done_again_one_by_one() -> None:
    pool = LosingPool(lambda item: "Person5" in names(item))
    database = FakeImageDatabase()
    report = enrol(people(10), database, pool)
    sizes = [len(item) for item in pool.items]
    assert sizes == [4, 4, 1, 1, 1, 1, 2]
    assert [file.status for file in report.files].count("inserted") == 9
    assert report.files[5].status == "failed"
    assert "died" in (report.files[5].reason or "")
    assert database.newest_change() == 9


def test_a_photo_that_is_lost_in_a_group_of_its_own_is_not_tried_again() -> None:
    pool = LosingPool(lambda item: "Person4" in names(item))
    report = enrol(people(5), pool=pool)
    assert [len(item) for item in pool.items] == [4, 1]
    assert report.files[4].status == "failed"


def test_a_pool_that_loses_everything_costs_no_more_than_the_photos() -> None:
    report = enrol(people(5), pool=LosingPool(lambda _: True))
    assert [file.status for file in report.files] == ["failed"] * 5


def test_faces_are_stored_64_at_a_time() -> None:
    database = FailingDatabase()
    files = people(150)
    report = enrol({**files, "nobody.png": NOBODY}, database)
    assert database.transactions == [64, 64, 22]
    assert report.counts["inserted"] == 150


@pytest.mark.parametrize("transactions", [0, 1, 2])
def test_a_database_that_is_lost_on_the_way_is_told_with_what_was_stored(transactions: int) -> None:
    database = FailingDatabase(transactions)
    with pytest.raises(DatabaseUnavailable, match=f" {64 * transactions} faces had been stored before"):
        enrol(people(150), database)
    assert database.newest_change() == 64 * transactions


def test_a_gallery_of_another_model_takes_nothing() -> None:
    database = FakeImageDatabase()
    database.add_faces([vector(3)], "another model")
    with pytest.raises(ModelMismatch):
        enrol(people(3), database)
    assert database.newest_change() == 1


def test_a_pool_that_is_closed_ends_the_bulk() -> None:
    pool = LosingPool()
    pool.close()
    with pytest.raises(Unavailable):
        enrol(people(3), pool=pool)
