"""Keys of clients on any SQL database: written once, over the five verbs of the database of the faces."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.names import is_collection_name
from facesearch.databases.tables import (
    COLLECTIONS,
    DIGEST_BYTES,
    KEY_PREFIX_WIDTH,
    KEYS,
    KEYS_VERSION,
    NAME_WIDTH,
)
from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, KeyNotFound
from facesearch.interfaces import KeyStore
from facesearch.records import ALL_COLLECTIONS, SCOPES, Key, NewKey

USE_NOTED_EVERY = timedelta(minutes=1)

_VERSION_ROW = {"id": 1}
_PREFIX = re.compile(rf"[0-9A-Za-z]{{1,{KEY_PREFIX_WIDTH}}}")


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class SQLKeyStore(KeyStore):
    """Keys in the database of the faces.

    Lives as long as that database, whose connections and transactions it shares; any thread may call it.

    Args:
        clock: tells the time with its zone.
    """

    def __init__(self, database: SQLImageDatabase, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(self, new: NewKey) -> Key:
        row = self._row_of(new)
        with self._database.transaction():
            self._hold(new.collection)
            self._change_version()
            self._database.insert(KEYS, [row])
            return self._key(new.prefix)

    def keys(self) -> tuple[Key, ...]:
        self._database.ready()
        return tuple(_key_of(row) for row in self._database.select(KEYS, order_by="number"))

    def version(self) -> str:
        self._database.ready()
        rows = self._database.select(KEYS_VERSION, ["version"], _VERSION_ROW)
        if not rows:
            raise Conflict(f"The database's table {KEYS_VERSION} has lost its row.")
        return str(rows[0]["version"])

    def revoke(self, prefix: str) -> Key:
        self._database.ready()
        if not _PREFIX.fullmatch(prefix):
            raise KeyNotFound
        with self._database.transaction():
            revoked = {"revoked_at": self._now()}
            # In this order, as in `add`: the row of the version lets one through at a time.
            self._change_version()
            self._database.update(KEYS, revoked, {"prefix": prefix, "revoked_at": None})
            return self._key(prefix)

    def revoke_all(self, collection: str) -> list[str]:
        if not is_collection_name(collection):
            return []
        with self._database.transaction():
            # As in `revoke`: a key that is being made for it is waited for.
            self._change_version()
            of_it = {"collection": collection, "revoked_at": None}
            rows = self._database.select(KEYS, ["prefix"], of_it, order_by="number")
            revoked = {"revoked_at": self._now()}
            for row in rows:
                self._database.update(KEYS, revoked, {"prefix": row["prefix"]})
            return [row["prefix"] for row in rows]

    def note_use(self, prefix: str) -> None:
        self._database.ready()
        now = self._now()
        for before in ({"last_used_at": None}, {"last_used_at <=": now - USE_NOTED_EVERY}):
            if self._database.update(KEYS, {"last_used_at": now}, {"prefix": prefix, **before}):
                return

    def _key(self, prefix: str) -> Key:
        rows = self._database.select(KEYS, None, {"prefix": prefix})
        if not rows:
            raise KeyNotFound
        return _key_of(rows[0])

    def _hold(self, collection: str) -> None:
        """Let whoever deletes the collection wait, or wait for that: a later one of its name is another."""
        there = {"name": collection.encode(), "deleted_at": None}
        known = collection == ALL_COLLECTIONS or self._database.update(COLLECTIONS, there, there)
        if not known:
            raise CollectionNotFound.of(collection)

    def _change_version(self) -> None:
        self._database.update(KEYS_VERSION, {"version": str(uuid.uuid4())}, _VERSION_ROW)

    def _row_of(self, new: NewKey) -> dict[str, Any]:
        if not _PREFIX.fullmatch(new.prefix) or len(new.digest) != DIGEST_BYTES or new.scope not in SCOPES:
            raise InvalidParameter("The key's prefix, digest or scope cannot be stored.")
        if new.collection != ALL_COLLECTIONS and not is_collection_name(new.collection):
            raise InvalidParameter("The collection's name cannot be stored.")
        if len(new.name) > NAME_WIDTH:
            raise InvalidParameter(f"The key's name has more than {NAME_WIDTH} characters.")
        return {
            "prefix": new.prefix,
            "digest": new.digest,
            "scope": new.scope,
            "collection": new.collection,
            "name": new.name,
            "created_at": self._now(),
            "expires_at": new.expires_at and new.expires_at.astimezone(UTC).replace(tzinfo=None),
        }

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(tzinfo=None)


def _key_of(row: Mapping[str, Any]) -> Key:
    moments = ("created_at", "expires_at", "revoked_at", "last_used_at")
    known = {name: row[name] and row[name].replace(tzinfo=UTC) for name in moments}
    return Key(
        number=row["number"],
        prefix=row["prefix"],
        digest=bytes(row["digest"]),
        scope=row["scope"],
        collection=row["collection"],
        name=row["name"],
        **known,
    )
