"""What this process knows of the collections, and the copies of them that it keeps open."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from facesearch.errors import CollectionNotFound, FacesearchError, ModelMismatch
from facesearch.interfaces import CollectionStore, FaceIndex, ImageDatabase, ImageEncoder, PersonStore
from facesearch.records import DEFAULT_COLLECTION, DEFAULT_NUMBER
from facesearch.service.encoders import Encoders
from facesearch.service.lookup import Copy
from facesearch.service.outage import Outage

MOST_OPEN = 64
_MOST_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class FoundCollection:
    """A collection as a request found it.

    `model_id` is None while it has none. `is_live` says that the database has just told so.
    """

    number: int
    name: str
    model_id: str | None
    is_live: bool = True


class Galleries:
    """Lives as long as its process. Any thread may call it.

    A collection is looked up by its name at each request, so that whatever other processes do to it holds
    here at once: another model, a deletion, another collection of the same name. What was found last counts
    while the database is away.

    Args:
        database: the faces of the default collection, which is always there.
        store: the other ones.
        encoders: of every model.
        index: the copy of the default collection, of the configured model; makes those of the others.
        most_open: how many copies are kept open; those that were used longest ago are closed.
    """

    def __init__(
        self,
        database: ImageDatabase,
        store: CollectionStore,
        encoders: Encoders,
        index: FaceIndex,
        outage: Outage,
        most_open: int = MOST_OPEN,
    ) -> None:
        self.store = store
        self.encoders = encoders
        self._database = database
        self._index = index
        self._outage = outage
        self._most_open = most_open
        self._lock = threading.Lock()
        self._known: OrderedDict[str, FoundCollection] = OrderedDict()
        self._models: dict[int, str | None] = {DEFAULT_NUMBER: None}
        self._copies: OrderedDict[tuple[int, str], _OpenCopy] = OrderedDict()
        self._has_leftovers = False

    def find(self, name: str) -> FoundCollection:
        """Return a collection as the database knows it.

        Raises:
            CollectionNotFound: there is none of this name.
            DatabaseUnavailable: the database is away.
        """
        try:
            if name == DEFAULT_COLLECTION:
                found = FoundCollection(DEFAULT_NUMBER, name, self._database.gallery_model())
            else:
                row = self.store.get(name)
                found = FoundCollection(row.number, row.name, row.model_id)
        except CollectionNotFound:
            self._forget(name)
            raise
        self._note(name, found)
        return found

    def find_or_known(self, name: str) -> FoundCollection:
        """As `find`; what was found last while the database is away, where anything was."""
        known = self._known.get(name)
        if known is None:
            return self.find(name)
        return self._outage.ask(lambda: self.find(name), lambda: replace(known, is_live=False))

    def likely_encoder(self, name: str) -> ImageEncoder:
        """Return the encoder of a collection's model, while the database is away that of the last known one.

        Raises:
            CollectionNotFound: there is none of this name.
            ModelMismatch: the collection's model is none that this service can make.
        """
        found = self._outage.ask(lambda: self.find(name), lambda: self._known.get(name))
        return self.encoders.of(found.model_id if found else None)

    def known(self, name: str) -> FoundCollection | None:
        """Return a collection as it was found last; asks nobody."""
        return self._known.get(name)

    def encoder_of(self, found: FoundCollection) -> ImageEncoder:
        """Return the encoder of a collection's model, and of one without a model the configured encoder.

        Raises:
            ModelMismatch: the collection's model is none that this service can make.
        """
        return self.encoders.of(found.model_id)

    def database(self, number: int) -> ImageDatabase:
        """Return the faces of a collection; asks nobody."""
        return self._database if number == DEFAULT_NUMBER else self.store.faces(number)

    def found_database(self, name: str) -> ImageDatabase:
        """Return the faces of a collection; as `find`."""
        return self.database(self.find(name).number)

    def people(self, number: int) -> PersonStore:
        """Return the people of a collection; asks nobody."""
        return self.store.people(number)

    @contextmanager
    def copy(self, number: int, encoder: ImageEncoder) -> Iterator[Copy]:
        """The copy of a collection, of an encoder's model, which stays open meanwhile.

        At its end the files of copies go that were found to be nobody's any more.
        """
        key = number, encoder.model_id
        with self._lock:
            if key not in self._copies:
                self._copies[key] = _OpenCopy(self._new_copy(number, encoder))
            opened = self._copies[key]
            self._copies.move_to_end(key)
            opened.users += 1
        try:
            yield opened.copy
        finally:
            with self._lock:
                opened.users -= 1
                idle = self._take_idle()
                has_leftovers, self._has_leftovers = self._has_leftovers, False
            for index in idle:
                index.close()
            if has_leftovers:
                with suppress(FacesearchError):  # they are looked for every ten minutes too
                    self.keep_only_these()

    def any_was_level(self) -> bool:
        """Whether a search in some collection could be answered from its copy alone; asks nobody."""
        with self._lock:
            return any(opened.copy.was_level for opened in self._copies.values())

    def ping_index(self) -> None:
        """Raise where the copies cannot be read or written; asks no database."""
        self._index.ping()

    def look_around(self) -> dict[int, str | None]:
        """Return the model of every collection by its number, and keep that for `faces`."""
        self._models = self.store.numbers()
        return self._models

    def faces(self) -> int:
        """How many faces the copies of all known collections hold; asks nobody."""
        return sum(self._faces_of(number, model_id) for number, model_id in tuple(self._models.items()))

    def changes_behind(self) -> int:
        """By how many numbers of changes the copy is behind that is farthest behind, of those kept open.

        Raises:
            DatabaseUnavailable: the database is away.
        """
        found = self.find(DEFAULT_COLLECTION)
        # The copy first: it may be brought level meanwhile.
        with self.copy(found.number, self.encoder_of(found)) as copy:
            covered = {found.number: copy.index.extent()[0]}
        with self._lock:
            others = [opened.copy for opened in self._copies.values() if not opened.is_stale]
        for copy in others:
            covered.setdefault(copy.collection, copy.index.extent()[0])
        behind = 0
        for number, last in covered.items():
            try:
                behind = max(behind, self.database(number).newest_change() - last)
            except CollectionNotFound:
                continue
        return behind

    def keep_only_these(self) -> None:
        """Delete this host's copies of collections that are gone, and of models that they have no more."""
        models = self.look_around()
        with self._lock:
            for (number, model_id), opened in self._copies.items():
                opened.is_stale |= number not in models or models[number] not in (None, model_id)
            idle = self._take_idle()
        for index in idle:
            index.close()
        self._index.keep_only(models)

    def level(self, number: int, model_id: str | None) -> None:
        """Have this host's copies of a collection hold nothing that was removed.

        Where there is none, none is made. Those of models that the collection has no more are deleted, and
        so is that of a model that this service cannot make.
        """
        if model_id is None:
            return
        try:
            encoder = self.encoders.of(model_id)
        except ModelMismatch:
            self._index.keep_only({at: model for at, model in self.store.numbers().items() if at != number})
            return
        with self.copy(number, encoder) as copy:
            if copy.index.has_copy():
                copy.index.catch_up(copy.database)
        self.keep_only_these()

    def close(self) -> None:
        """Release the copies."""
        with self._lock:
            opened = [one.copy.index for one in self._copies.values() if one.copy.index is not self._index]
            self._copies.clear()
        for index in opened:
            index.close()
        self._index.close()

    def _faces_of(self, number: int, model_id: str | None) -> int:
        try:
            encoder = self.encoders.of(model_id)
        except ModelMismatch:
            return 0
        if number == DEFAULT_NUMBER and encoder is self.encoders.configured:
            return self._index.extent()[1]
        index = self._index.of(number, encoder.model_id, encoder.dimension)
        try:
            return index.extent()[1]
        finally:
            index.close()

    def _note(self, name: str, found: FoundCollection) -> None:
        with self._lock:
            before = self._known.get(name)
            self._known[name] = found
            self._models[found.number] = found.model_id
            if len(self._known) > _MOST_NAMES:
                self._known.popitem(last=False)
            if before is not None and (before.number, before.model_id) != (found.number, found.model_id):
                self._set_stale(before.number, found if before.number == found.number else None)

    def _forget(self, name: str) -> None:
        with self._lock:
            before = self._known.pop(name, None)
            if before is not None:
                self._models.pop(before.number, None)
                self._set_stale(before.number, None)

    def _set_stale(self, number: int, found: FoundCollection | None) -> None:
        """Have the copies of a collection closed, but for that of its model, as soon as nobody uses them.

        Then their files go too.
        """
        self._has_leftovers = True
        for (collection, model_id), opened in self._copies.items():
            if collection == number and (found is None or model_id != found.model_id):
                opened.is_stale = True

    def _new_copy(self, number: int, encoder: ImageEncoder) -> Copy:
        own = number == DEFAULT_NUMBER and encoder is self.encoders.configured
        index = self._index if own else self._index.of(number, encoder.model_id, encoder.dimension)
        return Copy(number, encoder.model_id, self.database(number), index)

    def _take_idle(self) -> list[FaceIndex]:
        """Take out what is to be closed: what is stale, and the oldest of what is too much."""
        taken = []
        for key, opened in tuple(self._copies.items()):
            too_many = len(self._copies) > self._most_open
            if opened.users == 0 and (opened.is_stale or too_many):
                del self._copies[key]
                if opened.copy.index is not self._index:
                    taken.append(opened.copy.index)
        return taken


class _OpenCopy:
    """A copy with how many requests use it, and whether it is to be closed as soon as none does."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.users = 0
        self.is_stale = False
