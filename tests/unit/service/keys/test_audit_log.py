import json
import logging
import multiprocessing
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from facesearch.records import Deed
from facesearch.service.host_lock import locked, private_file
from facesearch.service.keys.audit_log import AuditLog

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
DEED = Deed("abcd1234", "Ada's phone", "POST /add_face", (7, "j-1"), 200)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("ascii").splitlines()]


def test_an_entry_tells_who_changed_what_and_when(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "new", 10_000, 3, lambda: NOW)
    log.write(DEED)
    log.write(Deed("local", "", "keys revoke", ("abcd1234",)))
    first, second = lines(tmp_path / "new" / "audit.jsonl")
    assert first == {
        "at": "2026-01-02T03:04:05.678+00:00",
        "who": "abcd1234",
        "key_name": "Ada's phone",
        "what": "POST /add_face",
        "ids": [7, "j-1"],
        "status": 200,
    }
    assert (second["who"], second["ids"], second["status"]) == ("local", ["abcd1234"], None)
    assert (tmp_path / "new" / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_odd_text_stays_on_one_line(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 10_000, 3)
    log.write(Deed("a", 'x\n"\u2028\ud83d\x00', "POST /\n", ("\r\n",), 500))
    log.write(DEED)
    first, _ = lines(tmp_path / "audit.jsonl")
    assert first["key_name"] == 'x\n"\u2028\ud83d\x00'


def test_many_ids_are_cut(tmp_path: Path) -> None:
    AuditLog(tmp_path, 10**6, 3).write(Deed("a", "", "x", tuple(range(5000)), 200))
    assert lines(tmp_path / "audit.jsonl")[0]["ids"] == list(range(1000))


def test_files_are_put_aside_and_the_oldest_removed(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 4096, 3)
    for number in range(200):
        log.write(Deed("a", "", "x", (number,), 200))
    names = ["audit.2.jsonl", "audit.1.jsonl", "audit.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "audit.lock"])
    assert all((tmp_path / name).stat().st_size <= 4096 for name in names)
    kept = [entry["ids"][0] for name in names for entry in lines(tmp_path / name)]
    assert kept == list(range(kept[0], 200))


def test_one_file_is_begun_anew(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 4096, 1)
    for number in range(100):
        log.write(Deed("a", "", "x", (number,), 200))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.jsonl", "audit.lock"]
    kept = [entry["ids"][0] for entry in lines(tmp_path / "audit.jsonl")]
    assert kept == list(range(kept[0], 100))


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 10_000, 3)
    log.write(DEED)
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"at":"2026')
    log.write(DEED)
    written = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert len(written) == 3
    assert json.loads(written[0])["who"] == json.loads(written[2])["who"] == "abcd1234"


def _write(folder: Path, who: str) -> None:
    log = AuditLog(folder, 4096, 100)
    for number in range(150):
        log.write(Deed(who, "", "x", (number,), 200))


def test_processes_write_whole_lines_and_lose_none(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_write, [(tmp_path, who) for who in ("a", "b", "c")])
    entries = [entry for file in tmp_path.glob("*.jsonl") for entry in lines(file)]
    assert sorted((entry["who"], entry["ids"][0]) for entry in entries) == [
        (who, number) for who in "abc" for number in range(150)
    ]


def test_a_lock_that_somebody_keeps_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facesearch.service.keys.audit_log._LOCK_S", 0.01)
    log = AuditLog(tmp_path, 4096, 2)
    descriptor = private_file(tmp_path / "audit.lock", os.O_RDWR)
    with locked(descriptor, 1) as held:
        assert held
        for _ in range(50):
            log.write(DEED)
    os.close(descriptor)
    assert len(lines(tmp_path / "audit.jsonl")) == 50


def _write_all(log: AuditLog, times: int) -> None:
    for _ in range(times):
        log.write(DEED)


def test_who_was_stopped_with_the_lock_is_waited_for_once(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, 10_000, 3)
    descriptor = private_file(tmp_path / "audit.lock", os.O_RDWR)
    with locked(descriptor, 1) as held:
        assert held
        writing = threading.Thread(target=_write_all, args=(log, 40), daemon=True)
        writing.start()
        writing.join(20)  # a second each would take longer
        assert not writing.is_alive()
    os.close(descriptor)
    assert len(lines(tmp_path / "audit.jsonl")) == 40
    _write_all(log, 60)
    assert (tmp_path / "audit.1.jsonl").exists()  # it has the lock again


def test_what_cannot_be_written_is_told_without_a_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.ERROR):
        AuditLog(tmp_path / "file", 4096, 2).write(DEED)
    [message] = caplog.messages
    assert message.endswith("POST /add_face by abcd1234")
    assert str(tmp_path) not in message


def test_a_full_disk_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda *_: 3)
    with caplog.at_level(logging.ERROR):
        AuditLog(tmp_path, 4096, 2).write(DEED)
    assert "the disk is full" in caplog.messages[0]
