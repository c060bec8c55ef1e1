import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from facesearch.workers import memory
from facesearch.workers.memory import private_bytes


def test_what_a_process_holds_of_its_own_counts() -> None:
    # Not through malloc, which may have as much left over from earlier tests.
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        before = private_bytes()
        for at in range(0, len(held), mmap.PAGESIZE):
            held[at] = 1
        assert private_bytes() - before > 45_000_000


def test_mapped_files_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "gallery"
    file.write_bytes(bytes(50_000_000))
    before = private_bytes()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert private_bytes() - before < 10_000_000


def test_another_process_can_be_asked() -> None:
    code = "held = bytearray(b'x') * 50_000_000; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert 50_000_000 < private_bytes(other.pid) < 90_000_000
        other.communicate(b"\n")


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(30)
        assert private_bytes(gone.pid) == 0


def test_where_the_system_does_not_tell_a_process_still_knows_the_most_it_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "Path", lambda _: Path("/nowhere"))
    assert private_bytes() > 1_000_000
    assert private_bytes(os.getppid()) == 0
