"""What every KeyStore does. A subclass brings the fixtures `database` and `keys`, the latter on `clock`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, KeyNotFound
from facesearch.interfaces import ImageDatabase, KeyStore
from facesearch.records import ALL_COLLECTIONS, SCOPES, Key, NewKey
from tests.contracts.job_parts import BEGUN, Clock, add_collection

MakeCollection = Callable[[str], int]
LATER = BEGUN + timedelta(days=90)


def new_key(prefix: str = "abcd1234", **fields: Any) -> NewKey:
    return NewKey(**{"prefix": prefix, "digest": bytes(range(32)), "scope": "read", **fields})


class KeyStoreContract:
    @pytest.fixture
    def make_collection(self, database: ImageDatabase) -> MakeCollection:
        return partial(add_collection, database)

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    def test_a_new_key_comes_back_whole(self, keys: KeyStore) -> None:
        added = keys.add(new_key(scope="write", name="Zoë's 王 \N{GRINNING FACE}", expires_at=LATER))
        assert added == Key(
            number=added.number,
            prefix="abcd1234",
            digest=bytes(range(32)),
            scope="write",
            collection="default",
            name="Zoë's 王 \N{GRINNING FACE}",
            created_at=BEGUN,
            expires_at=LATER,
        )
        assert keys.keys() == (added,)

    def test_keys_come_the_oldest_first_with_growing_numbers(self, keys: KeyStore) -> None:
        assert keys.keys() == ()
        added = [keys.add(new_key(prefix, scope=s)) for prefix, s in zip("cab", SCOPES, strict=True)]
        assert keys.keys() == tuple(added)
        assert added[0].number < added[1].number < added[2].number

    def test_a_prefix_is_given_once_in_each_spelling(self, keys: KeyStore) -> None:
        first = keys.add(new_key("abcd"))
        with pytest.raises(Conflict):
            keys.add(new_key("abcd", digest=bytes(32)))
        keys.add(new_key("ABCD"))
        assert keys.keys()[0] == first
        assert len(keys.keys()) == 2

    @pytest.mark.parametrize(
        "fields",
        [
            {"prefix": ""},
            {"prefix": "a b"},
            {"prefix": "x" * 17},
            {"prefix": "é"},
            {"digest": bytes(31)},
            {"scope": "owner"},
            {"collection": ""},
            {"collection": "x" * 256},
            {"collection": "a/b"},
            {"collection": ".."},
            {"collection": " a"},
            {"collection": "e\u0301"},
            {"collection": "a\x00"},
            {"collection": "\ud83d"},
            {"name": "x" * 256},
            {"name": "\ud83d"},
        ],
    )
    def test_what_cannot_be_stored_is_refused(self, keys: KeyStore, fields: dict[str, Any]) -> None:
        before = keys.version()
        with pytest.raises(InvalidParameter):
            keys.add(new_key(**fields))
        assert keys.keys() == ()
        assert keys.version() == before

    def test_the_longest_names_fit(self, keys: KeyStore, make_collection: MakeCollection) -> None:
        longest = "\N{GRINNING FACE}" * 255
        make_collection(longest)
        added = keys.add(new_key("x" * 16, name=longest, collection=longest))
        assert (added.name, added.collection) == (longest, longest)
        assert keys.keys() == (added,)

    def test_a_key_is_for_a_collection_that_there_is_or_for_all(
        self, keys: KeyStore, make_collection: MakeCollection
    ) -> None:
        before = keys.version()
        with pytest.raises(CollectionNotFound, match="'Fotos 2026'"):
            keys.add(new_key("a", collection="Fotos 2026"))
        assert (keys.keys(), keys.version()) == ((), before)
        make_collection("Fotos 2026")
        for wrong in ("fotos 2026", "Fotos 2026x", "%"):
            with pytest.raises(CollectionNotFound):
                keys.add(new_key("a", collection=wrong))
        assert keys.add(new_key("a", collection="Fotos 2026")).collection == "Fotos 2026"
        assert keys.add(new_key("b", collection=ALL_COLLECTIONS)).collection == ALL_COLLECTIONS

    def test_all_keys_of_a_collection_are_revoked_at_once(
        self, keys: KeyStore, make_collection: MakeCollection, clock: Clock
    ) -> None:
        for name in ("other", "Other"):
            make_collection(name)
        for prefix, collection in zip("abcde", ("other", "default", "other", "*", "Other"), strict=True):
            keys.add(new_key(prefix, collection=collection))
        keys.revoke("c")
        keys.add(new_key("f", collection="other"))
        before = list(keys.keys())
        seen = keys.version()
        clock.go_on(hours=1)
        assert keys.revoke_all("other") == ["a", "f"]
        changed = sorted(set(keys.keys()) - set(before), key=lambda key: key.prefix)
        assert [(key.prefix, key.revoked_at) for key in changed] == [("a", clock.now), ("f", clock.now)]
        assert keys.version() != seen
        for unknown in ("other", "other ", "unknown", "", "*", "%", "\ud83d"):
            assert keys.revoke_all(unknown) == []

    def test_the_version_changes_with_each_change_and_with_no_use(self, keys: KeyStore) -> None:
        seen = [keys.version()]
        keys.add(new_key("a"))
        seen.append(keys.version())
        keys.add(new_key("b"))
        seen.append(keys.version())
        keys.revoke("a")
        seen.append(keys.version())
        assert len(set(seen)) == 4
        keys.note_use("b")
        with pytest.raises(Conflict):
            keys.add(new_key("b"))
        with pytest.raises(KeyNotFound):
            keys.revoke("c")
        assert keys.version() == seen[-1]

    def test_a_key_is_revoked_once_and_for_good(self, keys: KeyStore, clock: Clock) -> None:
        keys.add(new_key("a"))
        other = keys.add(new_key("b"))
        revoked = keys.revoke("a")
        assert revoked.revoked_at == BEGUN
        assert revoked.state(BEGUN) == "revoked"
        clock.now += timedelta(hours=1)
        assert keys.revoke("a") == revoked
        assert keys.keys() == (revoked, other)

    @pytest.mark.parametrize("unknown", ["", "b", "A", "a ", "a\x00", "%", "é", "x" * 1000, "\ud83d"])
    def test_an_unknown_key_is_not_found(self, keys: KeyStore, unknown: str) -> None:
        added = keys.add(new_key("a"))
        with pytest.raises(KeyNotFound):
            keys.revoke(unknown)
        assert keys.keys() == (added,)

    def test_use_is_noted_once_a_minute(self, keys: KeyStore, clock: Clock) -> None:
        keys.add(new_key("a"))
        other = keys.add(new_key("b"))

        def used() -> Any:
            keys.note_use("a")
            return keys.keys()[0].last_used_at

        assert used() == BEGUN
        clock.now += timedelta(seconds=59)
        assert used() == BEGUN
        clock.now += timedelta(seconds=1)
        assert used() == clock.now
        assert keys.keys()[1] == other
        keys.note_use("unknown")

    def test_a_key_ends_when_it_expires(self, keys: KeyStore) -> None:
        key = keys.add(new_key(expires_at=LATER))
        assert key.state(LATER - timedelta(microseconds=1)) == "active"
        assert key.state(LATER) == "expired"

    def test_a_key_takes_part_in_a_transaction(self, keys: KeyStore, database: ImageDatabase) -> None:
        before = keys.version()
        with pytest.raises(KeyNotFound), database.transaction():
            keys.revoke(keys.add(new_key()).prefix + "x")
        assert keys.keys() == ()
        assert keys.version() == before

    def test_two_writers_at_once_make_each_key_once(self, keys: KeyStore) -> None:
        def add(number: int) -> bool:
            try:
                keys.add(new_key(f"k{number % 10}"))
            except Conflict:
                return False
            with suppress(KeyNotFound):  # threads come in any order: it may not be there yet
                keys.revoke(f"k{(number + 5) % 10}") if number % 2 and number > 10 else keys.note_use("k1")
            return True

        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(add, range(20)))
        assert sum(made) == len(keys.keys()) == 10
