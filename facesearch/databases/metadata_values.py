"""Metadata as rows that faces are filtered by. Pure functions; the migrations use them too, so they stay."""

import math
import re
from collections.abc import Mapping
from typing import Any

LONGEST_TEXT = 255

_NUMBER = re.compile(r"[+-]?(\d{1,300}(\.\d{0,300})?|\.\d{1,300})([eE][+-]?\d{1,3})?", re.ASCII)


def metadata_rows(face_id: int, collection: int, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row of FACESEARCH_METADATA for each name."""
    return [
        {"face_id": face_id, "name": name.encode(), "collection_number": collection, **value_columns(value)}
        for name, value in metadata.items()
    ]


def value_columns(value: Any) -> dict[str, Any]:
    """Return how a text, number or boolean is stored to be compared.

    As text, of which the first 255 characters count for order, and none for equality where there are more;
    and as a number, where it is one or reads as one.
    """
    if isinstance(value, bool):
        text, number = ("true" if value else "false"), None
    elif isinstance(value, int | float):
        text, number = str(value), float(value)
    else:
        text = str(value)
        number = float(text) if _NUMBER.fullmatch(text) else None
    if number is not None and not math.isfinite(number):
        number = None
    cut = text[:LONGEST_TEXT]
    return {"text_value": cut.encode(), "is_cut": int(len(cut) < len(text)), "number_value": number}
