import logging
from pathlib import Path

import pytest

from facesearch.workers.slots import HostSlots


def test_all_pools_of_a_host_have_no_more_than_its_slots(tmp_path: Path) -> None:
    pools = [HostSlots(tmp_path / "slots", 5) for _ in range(3)]
    assert [pool.take(4) for pool in pools] == [4, 1, 0]
    assert [pool.held for pool in pools] == [4, 1, 0]


def test_slots_that_were_given_back_can_be_taken(tmp_path: Path) -> None:
    first, second = HostSlots(tmp_path, 2), HostSlots(tmp_path, 2)
    first.take(2)
    first.release()
    assert second.take(2) == 2


def test_taking_more_later_keeps_what_is_held(tmp_path: Path) -> None:
    first, second = HostSlots(tmp_path, 3), HostSlots(tmp_path, 3)
    first.take(2)
    assert second.take(3) == 1
    first.release()
    assert second.take(3) == 2
    assert second.held == 3


def test_a_wish_is_seen_by_others_until_it_ends(tmp_path: Path) -> None:
    first, second = HostSlots(tmp_path, 1), HostSlots(tmp_path, 1)
    first.take(1)
    assert not first.is_wished_for()
    second.wish(True)
    second.wish(True)
    assert first.is_wished_for()
    second.wish(False)
    assert not first.is_wished_for()
    second.wish(True)
    second.release()
    assert not first.is_wished_for()


def test_a_folder_that_cannot_be_made_gives_no_slots_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    slots = HostSlots(tmp_path / "file" / "slots", 4)
    with caplog.at_level(logging.WARNING):
        assert slots.take(4) == 0
        slots.wish(True)
    assert "fewer processes" in caplog.text
    assert not slots.is_wished_for()
