from datetime import UTC, datetime, timedelta

import pytest

from facesearch.errors import CollectionNotFound, Conflict, InvalidParameter, KeyNotFound
from facesearch.records import Deed, Key, NewKey
from facesearch.service.keys import issuing
from facesearch.service.keys.issuing import KeyDesk
from facesearch.service.keys.key_text import digest_of, new_key_text, prefix_of
from tests.unit.service.fake_keys import FakeKeyStore


@pytest.fixture
def deeds() -> list[Deed]:
    return []


@pytest.fixture
def keys() -> FakeKeyStore:
    return FakeKeyStore()


@pytest.fixture
def desk(keys: FakeKeyStore, deeds: list[Deed]) -> KeyDesk:
    return KeyDesk(keys, deeds.append)


def test_a_key_is_made_and_its_text_kept_nowhere(
    desk: KeyDesk, keys: FakeKeyStore, deeds: list[Deed]
) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    text, key = desk.create("write", "default", "王 \N{GRINNING FACE}", expires_at)
    assert keys.keys() == (key,)
    assert (key.prefix, key.digest) == (prefix_of(text), digest_of(text))
    assert (key.scope, key.name, key.expires_at) == ("write", "王 \N{GRINNING FACE}", expires_at)
    assert deeds == [Deed("local", "", "keys create", (key.prefix,))]
    secret = text.split("_")[2]
    assert secret not in repr((key, deeds))
    assert repr(key.digest) not in repr(key)


def test_a_prefix_that_was_drawn_before_is_drawn_again(
    desk: KeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = new_key_text(), new_key_text()
    texts = iter([first, first, second])
    monkeypatch.setattr(issuing, "new_key_text", lambda: next(texts))
    assert [desk.create("read", "default", "")[0] for _ in range(2)] == [first, second]
    monkeypatch.setattr(issuing, "new_key_text", lambda: first)
    with pytest.raises(Conflict, match="prefix"):
        desk.create("read", "default", "")


@pytest.mark.parametrize("name", ["x" * 256, "a\nb", "\x1b[2J", "\u202e", "\ud83d"])
def test_a_name_that_cannot_be_shown_is_refused(desk: KeyDesk, keys: FakeKeyStore, name: str) -> None:
    with pytest.raises(InvalidParameter):
        desk.create("read", "default", name)
    assert keys.keys() == ()


class WithoutCollections(FakeKeyStore):
    def add(self, new: NewKey) -> Key:
        raise CollectionNotFound.of(new.collection)


def test_a_key_of_a_collection_that_there_is_not_is_no_deed(deeds: list[Deed]) -> None:
    with pytest.raises(CollectionNotFound, match="no collection 'other'"):
        KeyDesk(WithoutCollections(), deeds.append).create("read", "other", "")
    assert deeds == []


def test_a_key_that_has_expired_is_not_made(desk: KeyDesk) -> None:
    with pytest.raises(InvalidParameter, match="expired"):
        desk.create("read", "default", "", datetime.now(UTC))


def test_a_key_is_revoked(desk: KeyDesk, deeds: list[Deed]) -> None:
    _, key = desk.create("read", "default", "")
    assert desk.revoke(key.prefix).revoked_at is not None
    assert deeds[1] == Deed("local", "", "keys revoke", (key.prefix,))
    with pytest.raises(KeyNotFound):
        desk.revoke("unknown")
    assert len(deeds) == 2
