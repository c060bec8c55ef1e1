import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from facesearch.errors import Conflict, DatabaseUnavailable, KeyMissing, KeyRefused
from facesearch.service.keys import keyring as keyring_module
from facesearch.service.keys.key_text import new_key_text, prefix_of
from facesearch.service.keys.keyring import FRESH_S, RETRY_S, UNKNOWN_S, Keyring
from tests.contracts.access import made
from tests.unit.service.fake_keys import FakeKeyStore
from tests.waiting import until

TRUSTED_S = 100.0


class Seconds:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def keys() -> FakeKeyStore:
    return FakeKeyStore()


@pytest.fixture
def ring(keys: FakeKeyStore, seconds: Seconds) -> Iterator[Keyring]:
    ring = Keyring(keys, TRUSTED_S, seconds)
    yield ring
    keys.may_go_on.set()
    ring.close()


def test_keys_are_read_again_where_they_were_read_too_long_ago(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds
) -> None:
    text = made(keys)
    for _ in range(10):
        assert ring.find(text)
    assert (keys.versions, keys.lists) == (1, 1)
    keys.revoke(prefix_of(text) or "")
    seconds.now += FRESH_S
    assert ring.find(text)
    seconds.now += 0.001
    with pytest.raises(KeyRefused, match="revoked"):
        ring.find(text)
    seconds.now += 100
    with pytest.raises(KeyRefused):
        ring.find(text)
    assert (keys.versions, keys.lists) == (3, 2)


def test_who_sends_unknown_keys_makes_few_questions(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds
) -> None:
    made(keys)
    for _ in range(100):
        with pytest.raises(KeyRefused):
            ring.find(new_key_text())
    assert keys.versions == 1
    text = made(keys)
    with pytest.raises(KeyRefused):
        ring.find(text)
    seconds.now += UNKNOWN_S + 0.001
    assert ring.find(text)
    assert keys.versions == 2


def test_what_has_not_the_form_of_a_key_asks_nothing(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds
) -> None:
    made(keys)
    for text in ("x", "fs_", "x" * 1000):
        seconds.now += UNKNOWN_S + 0.001
        with pytest.raises(KeyRefused):
            ring.find(text)
    assert keys.versions == 1


def test_that_there_are_no_keys_is_believed_of_the_database_alone(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds
) -> None:
    keys.error = DatabaseUnavailable()
    for text in (None, new_key_text()):
        with pytest.raises(DatabaseUnavailable):
            ring.find(text)
    keys.error = None
    seconds.now += RETRY_S
    assert ring.find(None) is None
    keys.error = DatabaseUnavailable()
    seconds.now += 10 * TRUSTED_S
    assert ring.find(None) is None


def test_while_the_database_is_away_keys_that_are_known_go_on_for_a_while(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds
) -> None:
    text, gone = made(keys), made(keys)
    keys.revoke(prefix_of(gone) or "")
    assert ring.find(text)
    keys.error = DatabaseUnavailable()
    seconds.now += TRUSTED_S
    assert ring.find(text)
    with pytest.raises(DatabaseUnavailable):
        ring.find(new_key_text())
    for wrong in (gone, "x", text[:-1] + ("a" if text[-1] != "a" else "b")):
        with pytest.raises(KeyRefused):
            ring.find(wrong)
    with pytest.raises(KeyMissing):
        ring.find(None)
    seconds.now += RETRY_S
    with pytest.raises(DatabaseUnavailable):
        ring.find(text)
    keys.error = None
    seconds.now += RETRY_S
    assert ring.find(text)


def test_a_database_that_fails_is_asked_once_a_second_and_named_once(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    keys.error = Conflict("It is damaged.")
    with caplog.at_level(logging.WARNING):
        for _ in range(40):
            seconds.now += RETRY_S / 4
            with pytest.raises(DatabaseUnavailable):
                ring.find(None)
    assert 9 <= keys.versions <= 11
    assert caplog.messages == ["The keys cannot be read: It is damaged."]


def test_a_database_that_does_not_answer_is_waited_for_once(
    ring: Keyring, keys: FakeKeyStore, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = made(keys)
    assert ring.find(text)
    monkeypatch.setattr(keyring_module, "WAIT_S", 0.05)
    keys.may_go_on.clear()
    seconds.now += 10
    assert ring.find(text)
    seconds.now += 10
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ring.find, [text] * 8))
    with pytest.raises(DatabaseUnavailable):
        ring.find(new_key_text())
    until(lambda: keys.versions > 1)  # it is another thread that asks
    assert keys.versions == 2
    keys.may_go_on.set()


def test_many_at_once_read_once(ring: Keyring, keys: FakeKeyStore) -> None:
    text = made(keys)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ring.find, [text] * 50))
    assert keys.versions == 1


def test_what_was_closed_knows_what_it_knew(ring: Keyring, keys: FakeKeyStore, seconds: Seconds) -> None:
    text = made(keys)
    assert ring.find(text)
    ring.close()
    seconds.now += 10
    assert ring.find(text)
    with pytest.raises(DatabaseUnavailable):
        ring.find(new_key_text())
