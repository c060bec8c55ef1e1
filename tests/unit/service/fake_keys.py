"""Keys in memory, of a database that can be away or slow."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

from facesearch.errors import Conflict, FacesearchError, KeyNotFound
from facesearch.interfaces import KeyStore
from facesearch.records import Key, NewKey


class FakeKeyStore(KeyStore):
    """Counts what it is asked. While `may_go_on` is cleared, reading takes until it is set."""

    def __init__(self) -> None:
        self.error: FacesearchError | None = None
        self.note_error: FacesearchError | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.versions = self.lists = self.notes = 0
        self._keys: list[Key] = []
        self._version = 0

    def add(self, new: NewKey) -> Key:
        if any(key.prefix == new.prefix for key in self._keys):
            raise Conflict
        key = Key(
            len(self._keys) + 1,
            new.prefix,
            new.digest,
            new.scope,
            new.collection,
            new.name,
            datetime.now(UTC),
            new.expires_at,
        )
        self._keys.append(key)
        self._version += 1
        return key

    def keys(self) -> tuple[Key, ...]:
        self.lists += 1
        self._answer()
        return tuple(self._keys)

    def version(self) -> str:
        self.versions += 1
        self._answer()
        return str(self._version)

    def revoke(self, prefix: str) -> Key:
        for at, key in enumerate(self._keys):
            if key.prefix == prefix:
                self._keys[at] = replace(key, revoked_at=datetime.now(UTC))
                self._version += 1
                return self._keys[at]
        raise KeyNotFound

    def revoke_all(self, collection: str) -> list[str]:
        of_it = [key for key in self._keys if key.collection == collection and key.revoked_at is None]
        return [self.revoke(key.prefix).prefix for key in of_it]

    def note_use(self, prefix: str) -> None:
        self.notes += 1
        if self.note_error is not None:
            raise self.note_error

    def _answer(self) -> None:
        assert self.may_go_on.wait(20)
        if self.error is not None:
            raise self.error
