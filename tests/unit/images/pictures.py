"""Encoded pictures for the tests of this folder."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from facesearch.config import LimitSettings
from facesearch.images import AGTImage

LIMITS = LimitSettings()


def drawing(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Smooth enough for lossy formats, and different in each corner; uint8 of shape (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = rows * 255 // max(1, height - 1), columns * 255 // max(1, width - 1)
    return np.stack([red, green, np.full_like(red, 90)], axis=2).astype(np.uint8)


def saved(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """Return an encoded picture."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def opened(data: bytes, limits: LimitSettings = LIMITS) -> AGTImage:
    return AGTImage.open(data, "photo", limits)


def as_pillow_has_it(data: bytes) -> NDArray[np.uint8]:
    """The pixels of face_recognition.load_image_file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def exif(
    orientation: Any = None,
    details: dict[int, Any] | None = None,
    edited_at: Any = None,
    place: tuple[Any, Any, Any, Any] | None = None,
) -> Image.Exif:
    """EXIF with some fields: `place` is side and parts of the latitude, then of the longitude."""
    fields = Image.Exif()
    if orientation is not None:
        fields[Base.Orientation] = orientation
    if edited_at is not None:
        fields[Base.DateTime] = edited_at
    if details:
        fields.get_ifd(IFD.Exif).update(details)
    if place:
        tags = (GPS.GPSLatitudeRef, GPS.GPSLatitude, GPS.GPSLongitudeRef, GPS.GPSLongitude)
        for tag, value in zip(tags, place, strict=True):
            if value is not None:
                fields.get_ifd(IFD.GPSInfo)[tag] = value
    return fields
