"""Which rows a filter lets through, kept for filters that are used again."""

import threading
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.records import FaceFilter

_KEPT = 16


class FilterMasks:
    """The masks of the last filters over the rows of one snapshot; lives as long as that.

    A mask is kept for the very array of ids that a filter names, as long as somebody else holds that, and
    for the persons that it names. Any thread may ask.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._kept: OrderedDict[Any, tuple[weakref.ref[Any] | None, NDArray[np.bool_]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, only: FaceFilter) -> NDArray[np.bool_] | None:
        """Return the mask that was kept for what this filter names; `without` has no part in it."""
        with self._mutex:
            key = _key(only)
            held = self._kept.get(key)
            if held is None or (held[0] is not None and held[0]() is not only.face_ids):
                return None
            self._kept.move_to_end(key)
            return held[1]

    def keep(self, only: FaceFilter, mask: NDArray[np.bool_]) -> None:
        """Keep a mask, and drop those whose filters are gone and those that were not used for long."""
        with self._mutex:
            ids = only.face_ids
            self._kept[_key(only)] = (None if ids is None else weakref.ref(ids), mask)
            gone = [key for key, (held, _) in self._kept.items() if held is not None and held() is None]
            for key in gone:
                del self._kept[key]
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)


def _key(only: FaceFilter) -> Any:
    return (None if only.face_ids is None else id(only.face_ids), only.persons)
