"""The tolerance that keeps false alarms rare in a gallery of a given size.

A face that is compared with N others of different people finds a match by mistake with the probability
1 - (1 - f)^N, where f is the rate of false matches of one comparison. The calibration of a model says which
tolerance has which f, down to a smallest rate that its photos could measure.
"""

import math
from itertools import pairwise
from statistics import NormalDist

from facesearch.records import Calibration, ChosenTolerance, ExpectedAlarms, RatePoint

_STANDARD = NormalDist()
_ALMOST_ONE = 1 - 1e-12


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


def expected_alarms(
    calibration: Calibration | None, tolerance: float, gallery_faces: int
) -> ExpectedAlarms | None:
    """Return how often a stranger's face gets a match within a tolerance: the reverse of `tolerance_for`.

    Beyond the measured tolerances, on either side, the line of the last two is followed.

    Args:
        calibration: None, and one of fewer than two rates, tells nothing.
        gallery_faces: how many faces the probe is compared with.
    """
    if calibration is None or len(calibration.rates) < 2:
        return None
    rates = calibration.rates
    lines = list(pairwise(rates))
    first, second = next((line for line in lines if line[1].tolerance <= tolerance), lines[-1])
    rate = _rate(first, second, tolerance)
    extrapolated = not rates[-1].tolerance <= tolerance <= rates[0].tolerance
    alarms = -math.expm1(gallery_faces * math.log1p(-min(rate, _ALMOST_ONE)))
    return ExpectedAlarms(gallery_faces, tolerance, rate, alarms, extrapolated)


def _squared(first: RatePoint, second: RatePoint, rate: float) -> float:
    """The squared tolerance on the straight line through two points, over the normal deviate of the rate."""
    start, end, at = (_STANDARD.inv_cdf(r) for r in (first.false_match_rate, second.false_match_rate, rate))
    slope = (second.tolerance**2 - first.tolerance**2) / (end - start)
    return first.tolerance**2 + slope * (at - start)


def _rate(first: RatePoint, second: RatePoint, tolerance: float) -> float:
    """The rate on the straight line of `_squared`; where that is upright, the larger one."""
    if first.tolerance == second.tolerance:
        return first.false_match_rate
    start, end = (_STANDARD.inv_cdf(point.false_match_rate) for point in (first, second))
    part = (tolerance**2 - first.tolerance**2) / (second.tolerance**2 - first.tolerance**2)
    return _STANDARD.cdf(start + part * (end - start))
