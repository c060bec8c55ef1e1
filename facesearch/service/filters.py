"""Which faces a query means, worked out once and brought up to date by what has changed since."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesearch.interfaces import ImageDatabase
from facesearch.records import EVERY_FACE, FaceFilter, FaceQuery

MOST_FILTERS = 256
MOST_IDS = 16_000_000  # 128 MB

Ids = NDArray[np.int64]


class FaceFilters:
    """Lives as long as its process. Any thread may call it.

    A query that is asked again gets the same filter while its faces are the same, so that an index need not
    work it out again. Those that were asked longest ago are given up where there are too many.

    Args:
        most_filters: how many are kept.
        most_ids: how many ids of faces they hold in all.
    """

    def __init__(self, most_filters: int = MOST_FILTERS, most_ids: int = MOST_IDS) -> None:
        self._most_filters = most_filters
        self._most_ids = most_ids
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def of(self, collection: int, database: ImageDatabase, query: FaceQuery) -> FaceFilter | None:
        """Return the filter of a query on a collection's faces as they are now; None for every face.

        Raises:
            InvalidParameter: a condition cannot be asked for.
        """
        if query == EVERY_FACE:
            return None
        key = _key(collection, query)
        with self._lock:
            kept = self._kept.setdefault(key, _Kept(query))
            self._kept.move_to_end(key)
        try:
            return kept.bring_level(database)
        finally:
            with self._lock:
                self._give_up_some()

    def _give_up_some(self) -> None:
        ids = sum(kept.ids for kept in self._kept.values())
        while self._kept and (len(self._kept) > self._most_filters or ids > self._most_ids):
            _, oldest = self._kept.popitem(last=False)
            ids -= oldest.ids


class _Kept:
    """One query's filter, of the collection as it was at a change. One thread at a time brings it level."""

    def __init__(self, query: FaceQuery) -> None:
        self._query = query
        self._lock = threading.Lock()
        self._at = -1
        self._filter: FaceFilter | None = None

    @property
    def ids(self) -> int:
        filter = self._filter
        return 0 if filter is None or filter.face_ids is None else len(filter.face_ids)

    def bring_level(self, database: ImageDatabase) -> FaceFilter:
        query = self._query
        with self._lock:
            if query.external_id is None and not query.conditions:
                self._filter = self._filter or FaceFilter(persons=query.people)
                return self._filter
            # Asked first: what changes meanwhile is looked at once more the next time.
            newest = database.newest_change()
            if self._filter is None or self._filter.face_ids is None or newest < self._at:
                self._filter = FaceFilter(_read_only(database.face_ids(query)))
            elif newest > self._at:
                changed = database.changed_faces(self._at)
                wanted = database.face_ids(query, self._at)
                ids = updated(self._filter.face_ids, changed, wanted)
                if not np.array_equal(ids, self._filter.face_ids):
                    self._filter = FaceFilter(_read_only(ids))
            self._at = newest
            return self._filter


def updated(ids: Ids, changed: Ids, wanted: Ids) -> Ids:
    """Return ids without those that changed, and with those of them that are wanted now; all ascending.

    Costs a copy, and no sorting of what stays.
    """
    gone = np.union1d(changed, wanted)
    places = np.searchsorted(ids, gone)
    there = places < len(ids)
    there[there] = ids[places[there]] == gone[there]
    kept = np.delete(ids, places[there])
    return np.insert(kept, np.searchsorted(kept, wanted), wanted)


class _Key(NamedTuple):
    """Values carry their types: 1, 1.0 and True are equal, and mean different faces."""

    collection: int
    people: frozenset[int] | None
    external_id: str | None
    conditions: tuple[Hashable, ...]


def _key(collection: int, query: FaceQuery) -> _Key:
    conditions = tuple(
        (one.name, one.operator, tuple((type(value), value) for value in one.values))
        for one in query.conditions
    )
    return _Key(collection, query.people, query.external_id, conditions)


def _read_only(ids: Ids) -> Ids:
    ids = np.ascontiguousarray(ids, np.int64)
    ids.flags.writeable = False
    return ids
