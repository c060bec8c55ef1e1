import pytest

from facesearch.service.gallery import Gallery
from facesearch.service.models import Models, interval, measured_rates
from tests.contracts.api import vector
from tests.fakes import FakeImageDatabase, FakeIndex
from tests.unit.service.parts import CALIBRATION, COLOURS, NEGATIVES, FakeKinds


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


def test_a_model_without_a_calibration_expects_nothing() -> None:
    database, encoder = FakeImageDatabase(), FakeKinds(NEGATIVES)
    models = Models(database, Gallery(database, encoder, FakeIndex(NEGATIVES, 3)), encoder)
    database.add_faces([vector(3)], NEGATIVES)
    (model,) = models.all()
    assert (model.in_use, model.expected, model.by_size, model.rates) == (True, None, (), ())


def test_the_size_is_that_of_now() -> None:
    database, encoder = FakeImageDatabase(), FakeKinds(COLOURS)
    models = Models(database, Gallery(database, encoder, FakeIndex(COLOURS, 3)), encoder)
    ids = database.add_faces([vector(3) for _ in range(5)], COLOURS)
    for there in (5, 3):
        (model,) = models.all()
        assert model.expected is not None
        assert model.expected.faces == there
        database.delete_faces(ids[:2])


def test_the_sizes_that_are_told_grow() -> None:
    database, encoder = FakeImageDatabase(), FakeKinds(COLOURS)
    (model,) = Models(database, Gallery(database, encoder, FakeIndex(COLOURS, 3)), encoder).all()
    assert [alarms.faces for alarms in model.by_size] == [100, 1_000, 10_000, 100_000, 1_000_000]
    assert all(0 < alarms.false_alarm_rate <= 1 for alarms in model.by_size)
