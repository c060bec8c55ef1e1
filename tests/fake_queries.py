"""What a face may be and which faces a query means, over again: in plain Python, for the stand-ins."""

import json
import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from facesearch.errors import InvalidParameter
from facesearch.records import (
    ABOVE,
    AT_LEAST,
    AT_MOST,
    BELOW,
    EXISTS,
    IN,
    MISSING,
    OPERATORS,
    Condition,
    FaceQuery,
    Metadata,
    NewFace,
    StoredFace,
)


def check_face(new: NewFace, model_id: str) -> None:
    texts = [(new.person_name, 255), (new.version, 255), (new.photo.file_name, 1024), (model_id, 64)]
    check_texts([*texts, (new.external_id or "", 255)])
    check_metadata(new.metadata)
    if new.photo_sha256 is not None and len(new.photo_sha256) != 32:
        raise InvalidParameter
    embedding = new.face.embedding
    if embedding.ndim != 1 or not 1 <= embedding.size <= 1024 or not np.isfinite(embedding).all():
        raise InvalidParameter


def check_texts(texts: Sequence[tuple[str, int]]) -> None:
    if any(len(text) > width for text, width in texts):
        raise InvalidParameter
    if any("\ud800" <= character <= "\udfff" for text, _ in texts for character in text):
        raise InvalidParameter


def check_metadata(metadata: Metadata) -> None:
    text = json.dumps(dict(metadata), ensure_ascii=False)
    if len(text.encode(errors="surrogatepass")) > 16_384:
        raise InvalidParameter
    for name, value in metadata.items():
        check_texts([(name, 255), (value if isinstance(value, str) else "", 16_384)])
        _check_value(value)


def _check_value(value: Any) -> None:
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidParameter
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidParameter


def check_query(query: FaceQuery) -> None:
    """Raise InvalidParameter where a query cannot be asked."""
    if len(query.conditions) > 20:
        raise InvalidParameter
    for one in query.conditions:
        counts = {IN: range(1_001), EXISTS: range(1), MISSING: range(1)}
        if one.operator not in OPERATORS or len(one.values) not in counts.get(one.operator, range(1, 2)):
            raise InvalidParameter
        for value in one.values:
            _check_value(value)
            if one.operator != IN and isinstance(value, bool):
                raise InvalidParameter
        check_texts([(text, 10**6) for text in (one.name, *one.values) if isinstance(text, str)])


def is_meant(face: StoredFace, query: FaceQuery) -> bool:
    """Whether a face satisfies a query."""
    return (
        (query.people is None or (face.person_id or 0) in query.people)
        and (query.external_id is None or face.external_id == query.external_id)
        and all(_holds(face.metadata.get(one.name), one) for one in query.conditions)
    )


def _holds(value: Any, condition: Condition) -> bool:
    if condition.operator in (EXISTS, MISSING):
        return (value is None) == (condition.operator == MISSING)
    if value is None:
        return False
    stored = _Spelled(value)
    if condition.operator == IN:
        return any(stored.equals(wanted) for wanted in condition.values)
    compare = {ABOVE: operator.gt, AT_LEAST: operator.ge, BELOW: operator.lt, AT_MOST: operator.le}
    [end] = condition.values
    if isinstance(end, str):
        return bool(compare[condition.operator](stored.text[:255].encode(), end[:255].encode()))
    return stored.number is not None and bool(compare[condition.operator](stored.number, float(end)))


class _Spelled:
    """A value of metadata as it is compared."""

    def __init__(self, value: str | float) -> None:
        self.text = str(value).lower() if isinstance(value, bool) else str(value)
        self.number: float | None = None
        if not isinstance(value, bool):
            with suppress(ValueError):
                self.number = float(value)

    def equals(self, wanted: str | float) -> bool:
        """Whether it is a wanted value; of texts of more than 255 characters none is."""
        if isinstance(wanted, int | float) and not isinstance(wanted, bool) and abs(wanted) < 2**53:
            return self.number == wanted
        return self.text == _Spelled(wanted).text and len(self.text) <= 255
