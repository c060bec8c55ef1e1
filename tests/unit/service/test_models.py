import pytest

from facesearch.databases import open_collection_store
from facesearch.service.encoders import Encoders
from facesearch.service.galleries import Galleries
from facesearch.service.models import Models, interval, measured_rates
from facesearch.service.outage import Outage
from tests.contracts.api import vector
from tests.fakes import FakeIndex
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import CALIBRATION, COLOURS, NEGATIVES, FakeKinds, SwitchedDatabase


def models_of(database: SwitchedDatabase, model_id: str) -> Models:
    encoders = Encoders(FakeKinds(model_id))
    store = open_collection_store(database)
    return Models(Galleries(database, store, encoders, FakeIndex(model_id, 3), Outage()), encoders)


@pytest.mark.parametrize(
    ("share", "of", "low", "high"),
    # Of 0 in n it ends at z^2 / (n + z^2).
    [(0.1, 100, 0.0552, 0.1744), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_an_interval_is_the_score_interval(share: float, of: int, low: float, high: float) -> None:
    assert interval(share, of) == pytest.approx((low, high), abs=1e-4)


def test_an_interval_of_nothing_is_everything() -> None:
    assert interval(0.0, 0) == (0.0, 1.0)


def test_the_pairs_of_two_people_stand_behind_false_matches_and_those_of_one_behind_true_ones() -> None:
    first, _ = measured_rates(CALIBRATION)
    assert first.false_match_interval == interval(0.01, 10_000)
    assert first.true_accept_interval == interval(0.9, 100)
    assert measured_rates(None) == ()


def test_a_model_without_a_calibration_expects_nothing(new_database: NewDatabase) -> None:
    database = new_database()
    models = models_of(database, NEGATIVES)
    database.add_faces([vector(3)], NEGATIVES)
    (model,) = models.all()
    assert (model.in_use, model.expected, model.by_size, model.rates) == (True, None, (), ())


def test_the_size_is_that_of_now(new_database: NewDatabase) -> None:
    database = new_database()
    models = models_of(database, COLOURS)
    ids = database.add_faces([vector(3) for _ in range(5)], COLOURS)
    for there in (5, 3):
        (model,) = models.all()
        assert model.expected is not None
        assert model.expected.faces == there
        database.delete_faces(ids[:2])


def test_the_sizes_that_are_told_grow(new_database: NewDatabase) -> None:
    (model,) = models_of(new_database(), COLOURS).all()
    assert [alarms.faces for alarms in model.by_size] == [100, 1_000, 10_000, 100_000, 1_000_000]
    assert all(0 < alarms.false_alarm_rate <= 1 for alarms in model.by_size)


def test_the_models_of_all_collections_are_told_once_each_and_those_that_cannot_be_made_are_not(
    new_database: NewDatabase,
) -> None:
    database = new_database()
    store = open_collection_store(database)
    for name, model_id in (("a", NEGATIVES), ("b", NEGATIVES), ("c", "unknown")):
        store.add(name, model_id, 3)
    configured, other = models_of(database, COLOURS).all()
    assert (configured.id, configured.in_use, configured.configured) == (COLOURS, False, True)
    assert (other.id, other.in_use, other.configured) == (NEGATIVES, True, False)
