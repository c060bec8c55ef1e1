"""What commands take that look at photos: a file's bytes, and a tolerance."""

from pathlib import Path
from typing import Any

import click

from facesearch.errors import Invalid


class _Tolerance(click.ParamType[float | str]):
    """A distance, or `auto`."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        try:
            distance = float(value)
        except ValueError:
            distance = -1.0
        if not 0 <= distance <= 2:  # nor is NaN
            self.fail(f"{value!r} is neither a distance from 0 to 2 nor `auto`.", param, ctx)
        return distance


PHOTO = click.Path(exists=True, dir_okay=False, path_type=Path)
TOLERANCE = _Tolerance()


def read_photo(photo: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        Invalid: it cannot be read.
    """
    try:
        return photo.read_bytes()
    except OSError as error:
        raise Invalid(f"{photo.name} cannot be read: {error.strerror}.") from None
