"""The tolerance that keeps false alarms rare in a gallery of a given size.

A face that is compared with N others of different people finds a match by mistake with the probability
1 - (1 - f)^N, where f is the rate of false matches of one comparison. The calibration of a model says which
tolerance has which f, down to a smallest rate that its photos could measure.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import NormalDist

from facesearch.errors import InvalidParameter
from facesearch.interfaces import ImageEncoder
from facesearch.records import AutoTolerance, Calibration, ChosenTolerance, RatePoint

LOWEST_RATE = 0.0001
HIGHEST_RATE = 0.5

_STANDARD = NormalDist()


def tolerance_for(calibration: Calibration, false_alarm_rate: float, gallery_faces: int) -> ChosenTolerance:
    """Return the tolerance at which a stranger's face gets a match with the given probability at most.

    Comparisons count as independent. They are not quite: strangers who resemble one face of a person
    resemble the person's others too, so fewer than the wanted share of strangers get a match.

    Between two measured rates the square of the tolerance is interpolated over the normal deviate of the
    rate. The squared distance of vectors of one length is a line of their inner product, which is nearly
    normal for strangers, so that the quantiles are nearly a straight line there. Below the smallest rate the
    line of the last two is followed; above the largest rate its tolerance is kept.

    Args:
        calibration: of at least two rates, by falling rate.
        false_alarm_rate: more than 0, less than 1.
        gallery_faces: how many faces the probe is compared with; none counts as one.
    """
    rate = -math.expm1(math.log1p(-false_alarm_rate) / max(1, gallery_faces))
    rates = calibration.rates
    if rate >= rates[0].false_match_rate:
        return ChosenTolerance(rates[0].tolerance, rates[0].false_match_rate, extrapolated=False)
    lines = list(pairwise(rates))
    first, second = next((line for line in lines if line[1].false_match_rate <= rate), lines[-1])
    tolerance = math.sqrt(max(0.0, _squared(first, second, rate)))
    return ChosenTolerance(tolerance, rate, extrapolated=rate < rates[-1].false_match_rate)


def check_rate(wanted: AutoTolerance) -> None:
    """Check a wanted rate.

    Raises:
        InvalidParameter: it is out of range.
    """
    if not LOWEST_RATE <= wanted.false_alarm_rate <= HIGHEST_RATE:
        raise InvalidParameter(f"false_alarm_rate must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g}.")


def tolerance_of(
    encoder: ImageEncoder, wanted: float | AutoTolerance | None
) -> float | Callable[[int], ChosenTolerance]:
    """Return the distance that is wanted, or the function from a gallery's size to it.

    Raises:
        InvalidParameter: it is to fit the gallery, and nobody has measured the encoder's distances.
    """
    if not isinstance(wanted, AutoTolerance):
        return encoder.tolerance if wanted is None else wanted
    calibration = encoder.calibration
    if calibration is None or len(calibration.rates) < 2:
        raise InvalidParameter(
            f"tolerance=auto needs a calibration, and {encoder.model_id} has none. "
            "`python3 -m facesearch models calibrate` makes one of labelled photos."
        )
    return partial(tolerance_for, calibration, wanted.false_alarm_rate)


def _squared(first: RatePoint, second: RatePoint, rate: float) -> float:
    """The squared tolerance on the straight line through two points, over the normal deviate of the rate."""
    start, end, at = (_STANDARD.inv_cdf(r) for r in (first.false_match_rate, second.false_match_rate, rate))
    slope = (second.tolerance**2 - first.tolerance**2) / (end - start)
    return first.tolerance**2 + slope * (at - start)
