from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.config import AccessSettings, DatabaseSettings, Settings
from facesearch.databases import open_image_database
from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import Deed
from facesearch.service import KeyAccess
from tests.contracts.access import StoredAccessContract, made
from tests.unit.service.fake_keys import FakeKeyStore
from tests.waiting import until


class TestKeyAccess(StoredAccessContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[ImageDatabase]:
        database = open_image_database(Settings(data_dir=tmp_path, database=DatabaseSettings(wait_s=30)))
        database.prepare()
        yield database
        database.close()


def test_a_use_that_cannot_be_noted_fails_no_request(tmp_path: Path) -> None:
    keys = FakeKeyStore()
    text = made(keys)
    access = KeyAccess(keys, tmp_path, AccessSettings())
    keys.note_error = DatabaseUnavailable()
    assert access.admit(text)
    until(lambda: keys.notes == 1)
    assert access.admit(text)
    access.close()


def test_a_use_is_noted_once_a_minute(tmp_path: Path) -> None:
    now = [1000.0]
    keys = FakeKeyStore()
    text = made(keys)
    access = KeyAccess(keys, tmp_path, AccessSettings(), lambda: now[0])
    for second in range(119):
        now[0] = 1000.0 + second
        assert access.admit(text)
    until(lambda: keys.notes == 2)
    access.close()
    assert keys.notes == 2


def test_after_its_end_no_use_is_noted(tmp_path: Path) -> None:
    keys = FakeKeyStore()
    text, other = made(keys), made(keys)
    access = KeyAccess(keys, tmp_path, AccessSettings())
    assert access.admit(text)
    access.close()
    assert access.admit(other)


def test_the_log_lies_in_the_folder(tmp_path: Path) -> None:
    access = KeyAccess(FakeKeyStore(), tmp_path / "new", AccessSettings())
    access.record(Deed("local", "", "POST /add_face/", (7,), 200))
    assert '"ids":[7]' in (tmp_path / "new" / "audit.jsonl").read_text()
    access.close()
