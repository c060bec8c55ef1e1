from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from facesearch.encoders import calibration as module
from facesearch.encoders.calibration import described, fit, recommended_tolerance, with_calibrations
from facesearch.encoders.cards import Input, Kind, Licence, ModelCard, Output, Source, Space
from facesearch.errors import Invalid
from facesearch.records import Calibration, RatePoint

NOTE = "Random numbers."
BIN = 1.001e-4  # of vectors that are 5 to 50 long


def photos(
    people: int, each: int, apart: float = 0.5, dimension: int = 32
) -> tuple[NDArray[np.float32], list[str]]:
    """Vectors around one point per person."""
    random = np.random.default_rng(7)
    points = np.repeat(random.normal(size=(people, dimension)), each, axis=0)
    vectors = points + apart * random.normal(size=points.shape)
    return vectors.astype(np.float32), [f"Person {i // each}" for i in range(people * each)]


def distances(
    vectors: NDArray[np.float32], names: list[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of all pairs of one person, and of two, by a plain loop."""
    found: tuple[list[float], list[float]] = ([], [])
    for (a, one), (b, other) in combinations(zip(vectors.astype(np.float64), names, strict=True), 2):
        found[one != other].append(float(np.linalg.norm(a - b)))
    return np.array(found[0]), np.array(found[1])


@pytest.fixture(scope="module")
def sample() -> tuple[NDArray[np.float32], list[str]]:
    return photos(170, 2)


@pytest.fixture(scope="module")
def fitted(sample: tuple[NDArray[np.float32], list[str]]) -> Calibration:
    return fit(*sample, NOTE)


def card_of(family: Literal["arcface", "dlib"], spaces: dict[Kind, Space]) -> ModelCard:
    return ModelCard(
        id="dlib" if family == "dlib" else "model",
        name="A model",
        task="recognition",
        family=family,
        licence=Licence(name="None", commercial_use=None),
        source=Source(document="None"),
        input=Input(),
        output=Output(dimension=32),
        spaces=spaces,
    )


def similarity(calibration: Calibration, distance: float) -> float:
    at, values = zip(*calibration.similarity, strict=True)
    return float(np.interp(distance, at, values))


def test_each_tolerance_is_the_largest_at_its_rate(
    sample: tuple[NDArray[np.float32], list[str]], fitted: Calibration
) -> None:
    genuine, impostor = distances(*sample)
    assert (fitted.genuine_pairs, fitted.impostor_pairs) == (len(genuine), len(impostor))
    assert [point.false_match_rate for point in fitted.rates] == [1e-2, 1e-3]
    impostor.sort()
    for point in fitted.rates:
        allowed = int(point.false_match_rate * len(impostor))
        assert (impostor <= point.tolerance).sum() <= allowed
        assert (impostor <= point.tolerance + BIN).sum() > allowed
        assert point.true_accept_rate == pytest.approx((genuine <= point.tolerance).mean(), abs=1e-6)
        assert point.impostor_pairs == len(impostor)


def test_as_many_false_matches_as_the_rate_allows_are_within() -> None:
    vectors, names = photos(126, 2)
    _, impostor = distances(vectors, names)
    (point,) = fit(vectors, names, NOTE).rates[:1]
    assert (impostor <= point.tolerance).sum() == 315 == 0.01 * len(impostor)


def test_a_rate_is_fitted_where_ten_false_matches_are_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, names = photos(46, 2)  # 4,140 pairs of two people
    monkeypatch.setattr(module, "LEAST_IMPOSTOR_PAIRS", 1)
    monkeypatch.setattr(module, "FALSE_MATCH_RATES", (10 / 4140, 9.9 / 4140))
    monkeypatch.setattr(module, "_SIMILARITIES", {10 / 4140: 80.0})
    assert [point.false_match_rate for point in fit(vectors, names, NOTE).rates] == [10 / 4140]


def test_a_similarity_means_the_same_rate_whatever_the_distances(fitted: Calibration) -> None:
    larger = fit(10 * photos(170, 2)[0], photos(170, 2)[1], NOTE)
    for calibration in (fitted, larger):
        by_rate = {point.false_match_rate: point.tolerance for point in calibration.rates}
        assert similarity(calibration, 0.0) == 100
        assert similarity(calibration, by_rate[1e-3]) == 80
        assert similarity(calibration, by_rate[1e-2]) == 50
        assert recommended_tolerance(calibration) == by_rate[1e-3]
    assert recommended_tolerance(larger) == pytest.approx(10 * recommended_tolerance(fitted))


def test_half_of_the_strangers_have_no_similarity_at_all(
    sample: tuple[NDArray[np.float32], list[str]], fitted: Calibration
) -> None:
    _, impostor = distances(*sample)
    values = [similarity(fitted, distance) for distance in impostor]
    assert np.mean(np.array(values) == 0) == pytest.approx(0.5, abs=0.001)


def test_similarities_fall_as_distances_rise(fitted: Calibration) -> None:
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(fitted.similarity))


def test_the_order_of_the_photos_does_not_matter(
    sample: tuple[NDArray[np.float32], list[str]], fitted: Calibration
) -> None:
    vectors, names = sample
    order = np.random.default_rng(1).permutation(len(names))
    assert fit(vectors[order], [names[i] for i in order], NOTE) == fitted


def test_tolerances_are_short_decimal_fractions(fitted: Calibration) -> None:
    unit = photos(170, 2)[0] / np.linalg.norm(photos(170, 2)[0], axis=1, keepdims=True)
    for calibration, digits in ((fitted, 4), (fit(unit, photos(170, 2)[1], NOTE), 5)):
        for point in calibration.rates:
            assert point.tolerance == round(point.tolerance, digits)


def test_photos_and_people_are_counted_and_the_sentence_kept(fitted: Calibration) -> None:
    assert (fitted.people, fitted.photos, fitted.measured_on) == (170, 340, NOTE)


def test_of_too_many_photos_some_are_drawn_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, names = photos(60, 10)
    monkeypatch.setattr(module, "MOST_PHOTOS", 599)
    assert fit(vectors, names, NOTE).genuine_pairs == 60 * 45 - 9  # one photo less, and none twice
    monkeypatch.setattr(module, "MOST_PHOTOS", 200)
    drawn = fit(vectors, names, NOTE)
    assert drawn.photos == 200
    assert drawn.genuine_pairs + drawn.impostor_pairs == 200 * 199 // 2
    assert fit(vectors, names, NOTE) == drawn


@pytest.mark.parametrize(("people", "each"), [(0, 0), (1, 1), (1, 300), (300, 1), (40, 3)])
def test_too_few_people_or_photos_are_refused_with_what_is_missing(people: int, each: int) -> None:
    vectors, names = photos(people, each)
    with pytest.raises(Invalid, match=r"too few photos.* needs 20 and 10,000"):
        fit(vectors.reshape(len(names), 32), names, NOTE)


def test_what_the_refusal_names_is_enough() -> None:
    vectors, names = photos(170, 2)
    kept = [*range(0, 300, 2), *range(300, 340)]
    assert fit(vectors[kept], [names[i] for i in kept], NOTE).people == 170


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_people_whose_vectors_are_equal_are_refused(value: float) -> None:
    names = [f"Person {i // 2}" for i in range(200)]
    with pytest.raises(Invalid, match="under two names"):
        fit(np.full((200, 4), value, np.float32), names, NOTE)


def test_rates_that_share_a_tolerance_have_the_similarity_of_the_largest() -> None:
    corners = np.eye(200, dtype=np.float32)  # all are equally far from each other
    near = np.concatenate([corners, 0.9 * corners])
    calibration = fit(near, [f"Person {i}" for i in range(200)] * 2, NOTE)
    at = [distance for distance, _ in calibration.similarity]
    assert at == sorted(set(at))
    assert [value for _, value in calibration.similarity] == [100.0, 50.0, 0.0]


def test_a_card_gets_what_was_fitted_and_the_recommended_tolerance(fitted: Calibration) -> None:
    small = fit(photos(170, 2)[0] / np.float32(10), photos(170, 2)[1], NOTE)
    card = with_calibrations(card_of("arcface", {"plain": Space(tolerance=1.0)}), {"mirror": small})
    assert card.spaces["plain"] == Space(tolerance=1.0)
    assert card.spaces["mirror"] == Space(tolerance=recommended_tolerance(small), calibration=small)
    assert ModelCard.model_validate_json(card.model_dump_json()) == card
    with pytest.raises(Invalid, match=r"The tolerance of model-plain would be .*output\.divisor"):
        with_calibrations(card, {"plain": fitted})


def test_dlibs_tolerance_stays(fitted: Calibration) -> None:
    card = with_calibrations(card_of("dlib", {"plain": Space(tolerance=0.6)}), {"plain": fitted})
    assert card.spaces["plain"] == Space(tolerance=0.6, calibration=fitted)


def test_a_rate_that_was_not_fitted_is_said_to_lack_pairs(fitted: Calibration) -> None:
    lines = described(fitted)
    assert lines[0] == "340 photos of 170 people: 170 pairs of one person, 57,460 of two"
    assert [line.split()[0] for line in lines[2:]] == ["0.01", "0.001", "0.0001", "1e-05"]
    assert [line.split()[-1] for line in lines[2:4]] == ["575", "57"]
    assert [line.split("  ")[-1] for line in lines[4:]] == [
        "not fitted: 100,000 pairs of two are needed",
        "not fitted: 1,000,000 pairs of two are needed",
    ]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rates": (RatePoint(0.0, 0.5, 1, 0.5),)}, "lie between 0 and 1"),
        ({"rates": (RatePoint(1.0, 0.5, 1, 0.5),)}, "lie between 0 and 1"),
        ({"rates": (RatePoint(0.1, 0.5, 1, 0.5), RatePoint(0.1, 0.4, 1, 0.5))}, "tolerances fall"),
        ({"rates": (RatePoint(0.1, 0.5, 1, 0.5), RatePoint(0.2, 0.4, 1, 0.5))}, "tolerances fall"),
        ({"rates": (RatePoint(0.1, 0.5, 1, 0.5), RatePoint(0.01, 0.6, 1, 0.5))}, "tolerances fall"),
        ({"similarity": ((0.0, 100.0), (0.0, 90.0))}, "similarities fall"),
        ({"similarity": ((0.0, 90.0), (0.1, 100.0))}, "similarities fall"),
    ],
)
def test_a_card_with_a_calibration_out_of_order_is_refused(
    fitted: Calibration, changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        Space(tolerance=0.5, calibration=replace(fitted, **changed))


def test_a_card_without_a_calibration_is_whole() -> None:
    assert Space(tolerance=0.5, calibration=None).calibration is None
