"""What a request says may be within, checked and turned into a distance."""

from collections.abc import Callable
from functools import partial

from facesearch.errors import InvalidParameter
from facesearch.interfaces import ImageEncoder
from facesearch.records import AutoTolerance, ChosenTolerance, LeastSimilarity, WantedTolerance
from facesearch.service.auto_tolerance import tolerance_for
from facesearch.service.similarity import largest_distance

LARGEST_TOLERANCE = 2.0
LOWEST_RATE = 0.0001
HIGHEST_RATE = 0.5
MOST_SIMILAR = 100.0


def check_tolerance(wanted: WantedTolerance) -> None:
    """Check what is wanted, before a photo is decoded for it.

    Raises:
        InvalidParameter: it is out of range, or not a number.
    """
    if isinstance(wanted, AutoTolerance):
        if not LOWEST_RATE <= wanted.false_alarm_rate <= HIGHEST_RATE:
            raise InvalidParameter(
                f"false_alarm_rate must be from {LOWEST_RATE:g} to {HIGHEST_RATE:g}.", ["false_alarm_rate"]
            )
    elif isinstance(wanted, LeastSimilarity):
        if not 0 < wanted.similarity <= MOST_SIMILAR:
            raise InvalidParameter(
                f"min_similarity must be more than 0 and at most {MOST_SIMILAR:g}.", ["min_similarity"]
            )
    elif wanted is not None and not 0 <= wanted <= LARGEST_TOLERANCE:
        raise InvalidParameter(f"tolerance must be from 0 to {LARGEST_TOLERANCE:g}.", ["tolerance"])


def tolerance_of(encoder: ImageEncoder, wanted: WantedTolerance) -> float | Callable[[int], ChosenTolerance]:
    """Return the distance that is wanted, or the function from a gallery's size to it.

    Raises:
        InvalidParameter: it needs a calibration, and nobody has measured the encoder's distances.
    """
    calibration = encoder.calibration
    if isinstance(wanted, AutoTolerance):
        if calibration is None or len(calibration.rates) < 2:
            raise _not_calibrated(encoder, "tolerance=auto")
        return partial(tolerance_for, calibration, wanted.false_alarm_rate)
    if isinstance(wanted, LeastSimilarity):
        if calibration is None or not calibration.similarity:
            raise _not_calibrated(encoder, "min_similarity")
        return min(LARGEST_TOLERANCE, largest_distance(calibration, wanted.similarity))
    return encoder.tolerance if wanted is None else wanted


def distance_of_pairs(encoder: ImageEncoder, wanted: WantedTolerance) -> float:
    """Return the distance that is wanted where two faces are compared with each other alone.

    Raises:
        InvalidParameter: as for `tolerance_of`.
    """
    within = tolerance_of(encoder, wanted)
    return within(1).tolerance if callable(within) else within


def _not_calibrated(encoder: ImageEncoder, parameter: str) -> InvalidParameter:
    return InvalidParameter(
        f"{parameter} needs a calibration, and {encoder.model_id} has none. "
        "`python3 -m facesearch models calibrate` makes one of labelled photos.",
        [parameter.partition("=")[0]],
    )
