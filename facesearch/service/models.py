"""What is known of the models that the service makes vectors with, and what they would do in its gallery."""

import math
from contextlib import suppress
from statistics import NormalDist
from typing import NamedTuple

from facesearch.errors import DatabaseUnavailable, ModelMismatch, ModelNotFound
from facesearch.interfaces import ImageEncoder
from facesearch.records import DEFAULT_COLLECTION, Calibration, MeasuredRate, ModelInfo
from facesearch.service.auto_tolerance import expected_alarms
from facesearch.service.encoders import Encoders
from facesearch.service.galleries import Galleries

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)

_DEVIATES = NormalDist().inv_cdf(0.975)


class Models:
    """Lives as long as its process. Any thread may call it.

    While the database is away, what it alone knows is left out.

    Args:
        galleries: know the models and the sizes of the collections.
        encoders: of every model.
    """

    def __init__(self, galleries: Galleries, encoders: Encoders) -> None:
        self._galleries = galleries
        self._encoders = encoders

    def all(self) -> tuple[ModelInfo, ...]:
        """The default collection's model, the configured one, and those of the other collections."""
        state = self._look()
        encoders: list[ImageEncoder | None] = [state.held, self._encoders.configured]
        for model_id in sorted(state.used):
            with suppress(ModelMismatch):
                encoders.append(self._encoders.of(model_id))
        by_id = {encoder.model_id: encoder for encoder in encoders if encoder}
        return tuple(self._info(encoder, state) for encoder in by_id.values())

    def one(self, model_id: str) -> ModelInfo:
        """What is known of a model that this service makes vectors of.

        Raises:
            ModelNotFound: it makes none of this id.
        """
        try:
            encoder = self._encoders.of(model_id)
        except ModelMismatch:
            raise ModelNotFound from None
        return self._info(encoder, self._look())

    def _look(self) -> "_State":
        galleries = self._galleries
        try:
            found = galleries.find(DEFAULT_COLLECTION)
            used = frozenset(filter(None, galleries.look_around().values()))
            if found.model_id is None:
                return _State(None, 0, used, is_known=True)
            held = galleries.encoder_of(found)
            with galleries.copy(found.number, held) as copy:
                copy.index.catch_up(copy.database)
                return _State(held, copy.index.count(), used, is_known=True)
        except DatabaseUnavailable:
            known = galleries.known(DEFAULT_COLLECTION)
            model_id = known.model_id if known else None
            last = self._encoders.of(model_id) if model_id else None
            return _State(last, None, frozenset(), is_known=last is not None)

    def _info(self, encoder: ImageEncoder, state: "_State") -> ModelInfo:
        calibration = encoder.calibration
        by_default = state.held is not None and state.held.model_id == encoder.model_id
        in_use = by_default or encoder.model_id in state.used
        faces = state.faces if by_default or state.held is None else None
        return ModelInfo(
            id=encoder.model_id,
            dimension=encoder.dimension,
            tolerance=encoder.tolerance,
            origin=encoder.origin,
            calibration=calibration,
            rates=measured_rates(calibration),
            in_use=in_use if state.is_known else None,
            configured=encoder.model_id == self._encoders.configured.model_id,
            expected=None if faces is None else expected_alarms(calibration, encoder.tolerance, faces),
            by_size=tuple(
                expected
                for size in SIZES
                if (expected := expected_alarms(calibration, encoder.tolerance, size)) is not None
            ),
        )


class _State(NamedTuple):
    """The encoder of the default collection, how many faces it holds, and the models of all collections."""

    held: ImageEncoder | None
    faces: int | None
    used: frozenset[str]
    is_known: bool


def measured_rates(calibration: Calibration | None) -> tuple[MeasuredRate, ...]:
    """The rates of a calibration with their intervals."""
    if calibration is None:
        return ()
    return tuple(
        MeasuredRate(
            point,
            interval(point.false_match_rate, point.impostor_pairs),
            interval(point.true_accept_rate, calibration.genuine_pairs),
        )
        for point in calibration.rates
    )


def interval(share: float, of: int) -> tuple[float, float]:
    """Return the 95 % score interval (Wilson 1927) of a share that was seen in so many independent draws."""
    if not of:
        return 0.0, 1.0
    square = _DEVIATES**2 / of
    middle = (share + square / 2) / (1 + square)
    half = _DEVIATES / (1 + square) * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)
