"""What every Access does. A subclass brings `new_access`, which makes one on the same keys as `keys`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facesearch.config import AccessSettings
from facesearch.databases import open_key_store
from facesearch.errors import KeyMissing, KeyRefused, RateLimited
from facesearch.interfaces import Access, ImageDatabase, KeyStore
from facesearch.records import Caller, Deed, NewKey
from facesearch.service import KeyAccess
from facesearch.service.keys import keyring
from facesearch.service.keys.key_text import digest_of, new_key_text, prefix_of
from tests.waiting import until

NewAccess = Callable[[AccessSettings], Access]
LIMIT_S = 20.0


def made(keys: KeyStore, scope: str = "read", **fields: object) -> str:
    """The text of a key that was stored."""
    text = new_key_text()
    keys.add(NewKey(prefix_of(text) or "", digest_of(text), scope, **fields))  # type: ignore[arg-type]
    return text


class AccessContract:
    @pytest.fixture
    def access(self, new_access: NewAccess) -> Access:
        return new_access(AccessSettings())

    def test_without_keys_nobody_is_known(self, access: Access) -> None:
        assert access.admit(None) is None
        assert access.admit(new_key_text()) is None

    def test_a_key_tells_whose_it_is(self, access: Access, keys: KeyStore) -> None:
        text = made(keys, "write", name="Ada", collection="*")
        assert access.admit(text) == Caller(prefix_of(text) or "", "Ada", "write", "*")

    def test_once_there_is_a_key_each_request_needs_one(self, access: Access, keys: KeyStore) -> None:
        assert access.admit(None) is None
        made(keys)
        until(lambda: _refuses(access, None, KeyMissing))

    def test_a_new_key_is_known_at_once(self, access: Access, keys: KeyStore) -> None:
        for _ in range(3):
            text = made(keys)
            until(lambda text=text: not _refuses(access, text, KeyRefused))  # type: ignore[misc]

    def test_what_is_no_key_is_refused(self, access: Access, keys: KeyStore) -> None:
        text = made(keys)
        other = new_key_text()
        wrong = [
            "",
            " ",
            other,
            text[:-1],
            text + "x",
            f" {text}",
            f"{text}\n",
            text.upper(),
            text.swapcase(),
            text[:12] + other[12:],
            f"{text}, {text}",
            f"{text}, {other}",
            "é" * 55,
            "\ud83d",
            "\x00",
            "x" * 100_000,
        ]
        for text in wrong:
            with pytest.raises(KeyRefused):
                access.admit(text)

    def test_a_revoked_key_is_refused_soon_and_no_other_is(self, access: Access, keys: KeyStore) -> None:
        text, other = made(keys), made(keys)
        assert access.admit(text)
        keys.revoke(prefix_of(text) or "")
        until(lambda: _refuses(access, text, KeyRefused))
        assert access.admit(other)

    def test_that_all_keys_are_revoked_opens_nothing(self, access: Access, keys: KeyStore) -> None:
        text = made(keys)
        keys.revoke(prefix_of(text) or "")
        for key, error in ((None, KeyMissing), (text, KeyRefused), (new_key_text(), KeyRefused)):
            with pytest.raises(error):
                access.admit(key)

    def test_a_key_that_has_expired_is_refused(self, access: Access, keys: KeyStore) -> None:
        now = datetime.now(UTC)
        old = made(keys, expires_at=now - timedelta(seconds=1))
        new = made(keys, expires_at=now + timedelta(hours=1))
        assert access.admit(new)
        with pytest.raises(KeyRefused, match="expired"):
            access.admit(old)

    def test_the_last_use_is_noted(self, access: Access, keys: KeyStore) -> None:
        text = made(keys)
        access.admit(text)
        until(lambda: keys.keys()[0].last_used_at is not None)
        noted = keys.keys()[0].last_used_at
        assert noted is not None
        assert abs(datetime.now(UTC) - noted) < timedelta(minutes=5)

    def test_each_key_has_its_burst_over_all_processes(self, new_access: NewAccess, keys: KeyStore) -> None:
        settings = AccessSettings(requests_per_minute=0.01, burst=5)
        processes = [new_access(settings) for _ in range(2)]
        text, other = made(keys), made(keys)
        for at in range(5):
            assert processes[at % 2].admit(text)
        for process in processes:
            with pytest.raises(RateLimited) as refused:
                process.admit(text)
            assert 0 < refused.value.retry_after_s <= 6000
            assert process.admit(other)

    def test_wrong_keys_are_counted_for_nobody(self, new_access: NewAccess, keys: KeyStore) -> None:
        access = new_access(AccessSettings(requests_per_minute=0.01, burst=1))
        text = made(keys)
        for _ in range(5):
            with pytest.raises(KeyRefused):
                access.admit(text[:-1] + ("a" if text[-1] != "a" else "b"))
        assert access.admit(text)

    def test_an_entry_of_the_log_raises_nothing(self, access: Access) -> None:
        access.record(Deed("local", "\ud83d\n\x00", "POST /é", (1, "\ud83d"), 200))

    def test_what_is_closed_ends(self, access: Access, keys: KeyStore) -> None:
        text = made(keys)
        access.admit(text)
        access.close()


def _refuses(access: Access, key: str | None, error: type[Exception]) -> bool:
    try:
        access.admit(key)
    except error:
        return True
    return False


class StoredAccessContract(AccessContract):
    """The keys in a database, which the fixture `database` is."""

    @pytest.fixture
    def keys(self, database: ImageDatabase) -> KeyStore:
        return open_key_store(database)

    @pytest.fixture
    def new_access(
        self, keys: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[NewAccess]:
        monkeypatch.setattr(keyring, "WAIT_S", LIMIT_S)  # a busy machine may take more than its second
        opened: list[Access] = []

        def new(settings: AccessSettings) -> Access:
            opened.append(KeyAccess(keys, tmp_path / "access", settings))
            return opened[-1]

        yield new
        for access in opened:
            access.close()
