import os
import threading
from pathlib import Path

import pytest

from facesearch.errors import Unavailable
from facesearch.search.locking import exclusive_lock


def test_a_second_holder_waits_and_then_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive_lock(path, 1.0), pytest.raises(Unavailable), exclusive_lock(path, 0.02):
        pass
    with exclusive_lock(path, 0.0):
        pass


def test_an_error_in_the_block_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_lock(tmp_path / "lock", 1.0):
        raise KeyError
    with exclusive_lock(tmp_path / "lock", 0.0):
        pass


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [], []

    def work() -> None:
        for _ in range(20):
            with exclusive_lock(tmp_path / "lock", 30.0):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 80


def test_a_lock_file_that_is_deleted_meanwhile_excludes_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, opened = tmp_path / "lock", os.open, list[int]()

    def open_then_delete(*arguments: object) -> int:
        descriptor = real(*arguments)  # type: ignore[arg-type]
        if not opened:
            path.unlink()
        opened.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", open_then_delete)
    with exclusive_lock(path, 1.0):
        assert len(opened) == 2, "the lock on the deleted file was taken for the lock"
        assert path.exists()
