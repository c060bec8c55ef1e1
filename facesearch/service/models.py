"""What is known of the models that the service makes vectors with, and what they would do in its gallery."""

import math
from statistics import NormalDist

from facesearch.errors import DatabaseUnavailable, ModelMismatch, ModelNotFound
from facesearch.interfaces import ImageDatabase, ImageEncoder
from facesearch.records import Calibration, MeasuredRate, ModelInfo
from facesearch.service.auto_tolerance import expected_alarms
from facesearch.service.gallery import Gallery

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)

_DEVIATES = NormalDist().inv_cdf(0.975)


class Models:
    """Lives as long as its process. Any thread may call it.

    While the database is away, what it alone knows is left out.

    Args:
        database: knows the gallery's model and size.
        gallery: of that database.
        configured: the encoder of an empty gallery.
    """

    def __init__(self, database: ImageDatabase, gallery: Gallery, configured: ImageEncoder) -> None:
        self._database = database
        self._gallery = gallery
        self._configured = configured

    def all(self) -> tuple[ModelInfo, ...]:
        """The gallery's model, and the configured one where that is another."""
        state = self._look()
        encoders = {encoder.model_id: encoder for encoder in (state.held, self._configured) if encoder}
        return tuple(self._info(encoder, state) for encoder in encoders.values())

    def one(self, model_id: str) -> ModelInfo:
        """What is known of a model that the configured networks make.

        Raises:
            ModelNotFound: they make none of this id.
        """
        try:
            encoder = self._configured.for_model(model_id)
        except ModelMismatch:
            raise ModelNotFound from None
        return self._info(encoder, self._look())

    def _look(self) -> "_State":
        held = None
        try:
            held = self._gallery.held()
            if held is None:
                return _State(None, 0, is_known=True)
            index = self._gallery.index_of(held)
            index.catch_up(self._database)
            return _State(held, index.count(), is_known=True)
        except DatabaseUnavailable:
            return _State(held, None, is_known=held is not None)

    def _info(self, encoder: ImageEncoder, state: "_State") -> ModelInfo:
        calibration = encoder.calibration
        in_use = state.held is not None and state.held.model_id == encoder.model_id
        faces = state.faces if in_use or state.held is None else None
        return ModelInfo(
            id=encoder.model_id,
            dimension=encoder.dimension,
            tolerance=encoder.tolerance,
            origin=encoder.origin,
            calibration=calibration,
            rates=measured_rates(calibration),
            in_use=in_use if state.is_known else None,
            configured=encoder.model_id == self._configured.model_id,
            expected=None if faces is None else expected_alarms(calibration, encoder.tolerance, faces),
            by_size=tuple(
                expected
                for size in SIZES
                if (expected := expected_alarms(calibration, encoder.tolerance, size)) is not None
            ),
        )


class _State:
    """The encoder of the gallery and how many faces it holds, as far as that is known."""

    def __init__(self, held: ImageEncoder | None, faces: int | None, *, is_known: bool) -> None:
        self.held = held
        self.faces = faces
        self.is_known = is_known


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
