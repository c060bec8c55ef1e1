"""What distances mean: false match rates and similarities, fitted on labelled photos.

Only the constants of a card are fitted here, never a network's weights.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from facesearch.encoders.cards import Kind, ModelCard, Space
from facesearch.errors import Invalid
from facesearch.records import Calibration, RatePoint

FALSE_MATCH_RATES = (1e-2, 1e-3, 1e-4, 1e-5)
RECOMMENDED_RATE = 1e-3

# Fewer say little: where 10 are expected, 5 to 17 are seen in 19 cases of 20.
LEAST_FALSE_MATCHES = 10
LEAST_GENUINE_PAIRS = 20
LEAST_IMPOSTOR_PAIRS = round(LEAST_FALSE_MATCHES / RECOMMENDED_RATE)

# Their 450 million pairs take a minute; encoding them took half an hour.
MOST_PHOTOS = 30_000
_SEED = 5

_SIMILARITIES = {1e-2: 50.0, 1e-3: 80.0, 1e-4: 90.0, 1e-5: 95.0}
_ROWS = 128
_BINS = 1 << 20

Counts = NDArray[np.int64]


def fit(embeddings: NDArray[np.float32], identities: Sequence[str], measured_on: str) -> Calibration:
    """Fit tolerances and similarities to the distances of all pairs of labelled faces.

    A false match rate is fitted where at least 10 false matches are expected among the pairs: its tolerance
    is the largest at which at most that share of the pairs of different people is within. Distances are
    told apart in steps of a power of ten, 0.00001 for vectors of length 1.

    The similarity is 100 at distance 0; 95, 90, 80 and 50 where one of 100,000, of 10,000, of 1,000 and of
    100 pairs of different people is as near; and 0 from the median of their distances on, where half of
    them are. So 80 means the same with every network, and is a threshold for "the same person" that one
    pair of strangers in a thousand passes. Between these it is linear in the distance. A rate that was not
    fitted is left out, and the line goes straight to the next.

    Args:
        embeddings: float32 of shape (n, dimension), one face per photo. Of more than 30,000, as many are
            drawn with a fixed seed.
        identities: who each one is; n of them.
        measured_on: which photos, and how their faces were found, in a sentence.

    Raises:
        Invalid: these are too few people or photos for a rate of 1 in 1,000, or different people are not
            told apart at that rate.
    """
    people = np.unique(np.asarray(identities), return_inverse=True)[1].reshape(-1)
    if len(people) > MOST_PHOTOS:
        kept = np.sort(np.random.default_rng(_SEED).choice(len(people), MOST_PHOTOS, replace=False))
        embeddings, people = embeddings[kept], people[kept]
    genuine, impostor, exponent = _histograms(embeddings.astype(np.float64), people)
    _check_enough(int(genuine.sum()), int(impostor.sum()))
    rates = _rates(genuine.cumsum(), impostor.cumsum(), exponent)
    if not all(point.tolerance for point in rates):
        raise Invalid("Too many people have the vectors of others: are photos there under two names?")
    return Calibration(
        rates=rates,
        similarity=_similarity(rates, _distance(_largest_within(impostor.cumsum(), 0.5), exponent)),
        genuine_pairs=int(genuine.sum()),
        impostor_pairs=int(impostor.sum()),
        people=len(np.unique(people)),
        photos=len(people),
        measured_on=measured_on,
    )


def recommended_tolerance(calibration: Calibration) -> float:
    """The tolerance that one pair of strangers in a thousand passes; its similarity is 80."""
    return next(p.tolerance for p in calibration.rates if p.false_match_rate == RECOMMENDED_RATE)


def with_calibrations(card: ModelCard, calibrations: Mapping[Kind, Calibration]) -> ModelCard:
    """Return a card with what was fitted, and the recommended tolerances.

    dlib's tolerance stays: it is face_recognition's, and programs in use rely on it.

    Raises:
        Invalid: the recommended tolerance is above 2, which no search accepts.
    """
    spaces = dict(card.spaces)
    for kind, calibration in calibrations.items():
        tolerance = recommended_tolerance(calibration)
        try:
            spaces[kind] = Space(
                tolerance=card.space(kind).tolerance if card.family == "dlib" else tolerance,
                calibration=calibration,
            )
        except ValidationError:
            raise Invalid(
                f"The tolerance of {card.model_id(kind)} would be {tolerance:.3g}, and none is above 2: the "
                "card's output.divisor has to be larger."
            ) from None
    return card.model_copy(update={"spaces": spaces})


def described(calibration: Calibration) -> list[str]:
    """A calibration as lines for a terminal, with the pairs that stand behind each rate."""
    pairs = f"{calibration.genuine_pairs:,} pairs of one person, {calibration.impostor_pairs:,} of two"
    lines = [
        f"{calibration.photos:,} photos of {calibration.people:,} people: {pairs}",
        "false match rate  tolerance  true accept rate  pairs of two within",
    ]
    for point in calibration.rates:
        within = point.false_match_rate * point.impostor_pairs
        lines.append(
            f"{point.false_match_rate:16g}  {point.tolerance:9.4f}  {100 * point.true_accept_rate:14.1f} %  "
            f"{within:19,.0f}"
        )
    for rate in FALSE_MATCH_RATES[len(calibration.rates) :]:
        lines.append(f"{rate:16g}  not fitted: {LEAST_FALSE_MATCHES / rate:,.0f} pairs of two are needed")
    return lines


def _histograms(vectors: NDArray[np.float64], people: NDArray[np.intp]) -> tuple[Counts, Counts, int]:
    """Count the distances of pairs of one person, and of two, in bins; and give a bin's power of ten."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    largest = 2 * float(np.sqrt(squares.max(initial=0.0)) or 1.0)
    exponent = math.ceil(math.log10(largest / _BINS))
    genuine, impostor = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for start in range(0, len(vectors), _ROWS):
        block = slice(start, start + _ROWS)
        products = vectors[block] @ vectors[start:].T
        distances = np.sqrt(np.maximum(squares[block, None] + squares[start:] - 2 * products, 0.0))
        bins = np.minimum((distances / 10.0**exponent).astype(np.int64), _BINS - 1)
        is_later = np.triu(np.ones(bins.shape, bool), k=1)
        is_same = people[block, None] == people[start:]
        genuine += np.bincount(bins[is_later & is_same], minlength=_BINS)
        impostor += np.bincount(bins[is_later & ~is_same], minlength=_BINS)
    return genuine, impostor, exponent


def _check_enough(genuine: int, impostor: int) -> None:
    if genuine < LEAST_GENUINE_PAIRS or impostor < LEAST_IMPOSTOR_PAIRS:
        raise Invalid(
            f"These are too few photos with a face: {genuine:,} pairs of one person and {impostor:,} of two. "
            f"A calibration needs {LEAST_GENUINE_PAIRS} and {LEAST_IMPOSTOR_PAIRS:,}: 170 people, 20 of them "
            "with two photos, are enough."
        )


def _rates(genuine: Counts, impostor: Counts, exponent: int) -> tuple[RatePoint, ...]:
    """The points of all rates that these cumulated counts can tell."""
    points = []
    for rate in FALSE_MATCH_RATES:
        if impostor[-1] * rate >= LEAST_FALSE_MATCHES:
            bins = _largest_within(impostor, rate)
            accepted = genuine[bins - 1] / genuine[-1] if bins else 0.0
            points.append(
                RatePoint(rate, _distance(bins, exponent), int(impostor[-1]), round(float(accepted), 6))
            )
    return tuple(points)


def _largest_within(cumulated: Counts, share: float) -> int:
    """How many bins from the first on hold at most that share."""
    return int(np.searchsorted(cumulated, share * cumulated[-1], side="right"))


def _distance(bins: int, exponent: int) -> float:
    """Where the first bins end; the decimal fraction itself, so that cards stay readable."""
    return float(f"{bins}e{exponent}")


def _similarity(rates: Sequence[RatePoint], median: float) -> tuple[tuple[float, float], ...]:
    """The corners of the line, by rising distance; where rates share a tolerance, the largest counts."""
    corners = {0.0: 100.0}
    for point in reversed(rates):
        corners[point.tolerance] = _SIMILARITIES[point.false_match_rate]
    corners[median] = 0.0
    return tuple(sorted(corners.items()))
