"""Bytes to upright RGB pixels with Pillow, and each way in which that fails to one of our errors.

The plugin that the first bytes name is called directly, not through `PIL.Image.open`: that one tries
every format that any library registered, and refuses or warns by a module-wide number of pixels that
threads would have to share. Ours are the limits of the settings, checked between header and pixels. So
nothing of Pillow's global state is changed, and HEIC needs no registering.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.Image import Image as PillowImage
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from facesearch.config import LimitSettings
from facesearch.errors import BrokenImage, FacesearchError, NotAnImage, TooLarge
from facesearch.images.formats import Format, is_cut, sniff
from facesearch.images.heif import HeifPicture, read_exif
from facesearch.images.jpeg import has_more_scans_than
from facesearch.images.metadata import UPRIGHT, Metadata, read_metadata
from facesearch.images.png import without_extras
from facesearch.images.tiff import silence_libtiff

Pixels = NDArray[np.uint8]

_PLUGINS: dict[Format, Callable[[io.BytesIO], ImageFile]] = {
    Format.JPEG: JpegImageFile,
    Format.PNG: PngImageFile,
    Format.GIF: GifImageFile,
    Format.WEBP: WebPImageFile,
    Format.BMP: BmpImageFile,
    Format.TIFF: TiffImageFile,
    Format.AVIF: AvifImageFile,
}

# a progressive JPEG comes in about ten scans; a few bytes may make one that passes over all pixels, and
# the decoder takes as many of those as there are
_MOST_SCANS = 50
_STRIP_PIXELS = 1 << 20
_PILLOW = r"PIL\."

_log = logging.getLogger(__name__)


def decode(data: bytes, limits: LimitSettings) -> tuple[Pixels, Metadata]:
    """Decode a photo and turn it upright.

    Returns:
        uint8 of shape (height, width, 3), RGB, C-contiguous; and what EXIF tells.

    Raises:
        NotAnImage: the first bytes are of no known format.
        BrokenImage: the format is known, the file is damaged, cut, or of a variant that is not read.
        TooLarge: the file or the picture is over a limit; told by the header, before anything is decoded.
    """
    if len(data) > limits.photo_bytes:
        raise TooLarge(f"The photo has {len(data)} bytes; at most {limits.photo_bytes} are accepted.")
    kind = sniff(data)
    if kind is None:
        raise NotAnImage
    _ignore_pillow_warnings()
    if kind is Format.TIFF:
        silence_libtiff()
    if kind in (Format.AVIF, Format.HEIF) and is_cut(data):
        raise BrokenImage(f"The {kind.value} image is cut short.")
    if kind is Format.JPEG and has_more_scans_than(data, _MOST_SCANS):
        raise TooLarge("The JPEG image has too many scans.")
    try:
        pixels, metadata = _decode(data, kind, limits)
    except BrokenImage:
        plain = without_extras(data) if kind is Format.PNG else None
        if plain is None:
            raise
        pixels, metadata = _decode(plain, kind, limits)
    return turned(pixels, metadata.orientation), metadata


def _decode(data: bytes, kind: Format, limits: LimitSettings) -> tuple[Pixels, Metadata]:
    """Decode, and translate what the decoders raise: nearly every kind of exception there is."""
    try:
        return _decode_heif(data, limits) if kind is Format.HEIF else _decode_with_pillow(data, kind, limits)
    except FacesearchError:
        raise
    except (DecompressionBombError, MemoryError):
        raise TooLarge("The image is too large to be decoded.") from None
    except Exception as error:
        _log.debug("%s refused: %r", kind.value, error)
        raise BrokenImage(
            f"The {kind.value} image is damaged, cut short, or of a variant that cannot be read."
        ) from None


def _decode_with_pillow(data: bytes, kind: Format, limits: LimitSettings) -> tuple[Pixels, Metadata]:
    image = _PLUGINS[kind](io.BytesIO(data))
    _check_size(image.size, limits)
    image.load()
    # a GIF's first frame may turn out larger than the header said
    _check_size(image.size, limits)
    # after the pixels: a PNG may write its EXIF behind them, and a TIFF is turned by Pillow itself
    metadata = read_metadata(image.getexif)
    return _rgb(image), metadata


def _decode_heif(data: bytes, limits: LimitSettings) -> tuple[Pixels, Metadata]:
    picture = HeifPicture(data)
    _check_size(picture.size, limits)
    picture.load()
    # its tiles may turn out larger than the header said
    _check_size(picture.size, limits)
    metadata = read_metadata(lambda: read_exif(data))
    # the decoder has turned the picture by its own properties, which outrank EXIF
    return picture.pixels(), replace(metadata, orientation=UPRIGHT)


def _check_size(size: tuple[int, int], limits: LimitSettings) -> None:
    width, height = size
    if width * height > limits.photo_pixels or max(size) > limits.photo_side:
        raise TooLarge(
            f"The image has {width} x {height} pixels; at most {limits.photo_pixels} are accepted, "
            f"and {limits.photo_side} on a side."
        )


def _rgb(image: PillowImage) -> Pixels:
    """Return the pixels as `image.convert("RGB")` has them, but deeper greys scaled instead of clipped.

    Alpha is dropped as `face_recognition.load_image_file` does it, so that the same file gives the same
    embedding; what hides under transparent pixels is then seen, and a face cut out of its background
    keeps whatever colour the editor left around it.

    Strip by strip: Pillow holds four bytes a pixel, and whole-picture copies would add to that.
    """
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    to_rgb = _converter(image)
    for top, strip in _strips(image):
        pixels[top : top + strip.height] = to_rgb(strip)
    return pixels


def _strips(image: PillowImage) -> Iterator[tuple[int, PillowImage]]:
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _converter(image: PillowImage) -> Callable[[PillowImage], NDArray[Any]]:
    """Choose how a strip of this picture's mode becomes an array that fits (rows, columns, 3)."""
    if image.mode == "RGB":
        return np.asarray
    if image.mode.startswith("I;16"):
        # the upper byte, as Pillow itself takes it of 16-bit colour
        return lambda strip: (np.asarray(strip) >> 8)[:, :, np.newaxis]
    if image.mode in ("I", "F"):
        low, high = _range(image)
        return lambda strip: _stretched(np.asarray(strip), low, high)[:, :, np.newaxis]
    return lambda strip: np.asarray(strip.convert("RGB"))


def _range(image: PillowImage) -> tuple[float, float]:
    """Return the least and greatest finite value: 32-bit greys agree on no black and no white."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _stretched(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    if low >= 0 and high <= 255 and np.issubdtype(values.dtype, np.integer):
        return values
    finite = np.nan_to_num(np.clip(values.astype(np.float64), low, high), nan=low)
    return (finite - low) * (255 / ((high - low) or 1.0))


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return pixels turned and mirrored as EXIF's `orientation` (1 to 8) asks; the same array for 1."""
    rows, columns = slice(None, None, -1), slice(None, None, -1)
    views: dict[int, Callable[[], Pixels]] = {
        2: lambda: pixels[:, columns],
        3: lambda: pixels[rows, columns],
        4: lambda: pixels[rows],
        5: lambda: pixels.swapaxes(0, 1),
        6: lambda: pixels[rows].swapaxes(0, 1),
        7: lambda: pixels[rows, columns].swapaxes(0, 1),
        8: lambda: pixels[:, columns].swapaxes(0, 1),
    }
    return np.ascontiguousarray(views[orientation]()) if orientation in views else pixels


def _ignore_pillow_warnings() -> None:
    """Keep Pillow's remarks on careless metadata out of the log.

    One filter that names Pillow's modules and stays: `warnings.catch_warnings` would swap the filters of
    the whole process, under the feet of other threads.
    """
    known = (getattr(module, "pattern", None) for _, _, _, module, _ in warnings.filters)
    if _PILLOW not in known:
        warnings.filterwarnings("ignore", module=_PILLOW)
