"""Whether a face's picture is good enough to be enrolled, and why not."""

from facesearch.config import QualitySettings
from facesearch.errors import FaceRefused
from facesearch.records import Face, Quality


def check_quality(face: Face, limits: QualitySettings) -> None:
    """Refuse a face whose picture is below a limit; a face without a quality record passes.

    Raises:
        FaceRefused: the message lists every reason.
    """
    reasons = [] if face.quality is None else reasons_against(face.quality, limits)
    if reasons:
        raise FaceRefused(f"The face was refused: {'; '.join(reasons)}.")


def reasons_against(quality: Quality, limits: QualitySettings) -> list[str]:
    """Return a reason for each limit that a face does not meet."""
    floors = (
        ("size", quality.size_px, limits.min_size_px, "pixels"),
        ("detector's score", quality.score, limits.min_score, ""),
        ("sharpness", quality.sharpness, limits.min_sharpness, ""),
        ("brightness", quality.brightness, limits.min_brightness, ""),
    )
    ceilings = (
        ("brightness", quality.brightness, limits.max_brightness, ""),
        ("roll", abs(quality.roll_deg), limits.max_roll_deg, "degrees"),
        ("yaw", abs(quality.yaw_deg), limits.max_yaw_deg, "degrees"),
        ("pitch", abs(quality.pitch_deg), limits.max_pitch_deg, "degrees"),
    )
    low = [_reason(n, v, "below", limit, u) for n, v, limit, u in floors if limit is not None and v < limit]
    high = [
        _reason(n, v, "above", limit, u) for n, v, limit, u in ceilings if limit is not None and v > limit
    ]
    return low + high


def _reason(name: str, value: float, side: str, limit: float, unit: str) -> str:
    return f"its {name} is {value:.3g}, {side} {limit:g} {unit}".rstrip()
