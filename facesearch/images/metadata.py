"""What EXIF tells of a photo: which way is up, when it was taken, and where.

Cameras and editors write these fields carelessly, so each is read by itself, and one that makes no
sense counts as absent. Nothing here raises.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from PIL.ExifTags import GPS, IFD, Base
from PIL.Image import Exif

from facesearch.records import Location

T = TypeVar("T")

UPRIGHT = 1

# most trusted first: the shutter, the scanner, the last edit; each with its own zone
_DATES = (
    (IFD.Exif, Base.DateTimeOriginal, Base.OffsetTimeOriginal),
    (IFD.Exif, Base.DateTimeDigitized, Base.OffsetTimeDigitized),
    (None, Base.DateTime, Base.OffsetTime),
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What was found. `orientation` is EXIF's: 1 to 8, 1 where nothing needs turning."""

    orientation: int = UPRIGHT
    taken_at: str | None = None
    location: Location | None = None


def read_metadata(read_exif: Callable[[], Exif | None]) -> Metadata:
    """Read the fields of the EXIF that `read_exif` returns, or of none where it fails."""
    exif = _or_else(None, read_exif)
    if exif is None:
        return Metadata()
    return Metadata(
        _or_else(UPRIGHT, lambda: _orientation(exif)),
        _or_else(None, lambda: _taken_at(exif)),
        _or_else(None, lambda: _location(exif)),
    )


def _or_else(absent: T, read: Callable[[], T]) -> T:
    """Return what `read` returns, and `absent` where it fails: damaged EXIF fails in countless ways."""
    try:
        return read()
    except Exception:
        return absent


def _orientation(exif: Exif) -> int:
    value = exif.get(Base.Orientation, UPRIGHT)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def _taken_at(exif: Exif) -> str | None:
    nothing: dict[int, Any] = {}
    details = _or_else(nothing, lambda: exif.get_ifd(IFD.Exif))
    for ifd, date_tag, zone_tag in _DATES:
        fields = exif if ifd is None else details
        moment = _or_else(None, lambda: _moment(fields.get(date_tag)))  # noqa: B023  # called at once
        if moment is not None:
            zone = _or_else(None, lambda: _zone(details.get(zone_tag)))  # noqa: B023  # called at once
            return moment.replace(tzinfo=zone).isoformat()
    return None


def _moment(text: Any) -> datetime:
    return datetime.strptime(text.strip("\0 "), "%Y:%m:%d %H:%M:%S")


def _zone(text: Any) -> Any:
    return datetime.strptime(text.strip("\0 "), "%z").tzinfo


def _location(exif: Exif) -> Location | None:
    gps = exif.get_ifd(IFD.GPSInfo)
    latitude = _degrees(gps[GPS.GPSLatitude], gps[GPS.GPSLatitudeRef], "N", "S", 90)
    longitude = _degrees(gps[GPS.GPSLongitude], gps[GPS.GPSLongitudeRef], "E", "W", 180)
    if latitude is None or longitude is None:
        return None
    return Location(latitude, longitude)


def _degrees(parts: Any, side: Any, positive: str, negative: str, most: float) -> float | None:
    """Turn degrees, minutes and seconds into signed degrees; without a side the sign would be a guess."""
    letter = side.strip("\0 ").upper()
    # Pillow unwraps a single value
    values = [float(part) for part in (parts if isinstance(parts, tuple) else (parts,))]
    # a NaN, from a denominator of zero, fails this comparison too
    if letter not in (positive, negative) or not all(value >= 0 for value in values):
        return None
    degrees = math.fsum(value / 60**place for place, value in enumerate(values))
    if not values or len(values) > 3 or not degrees <= most:
        return None
    return degrees if letter == positive else -degrees
