"""What commands ask of the database itself; tests/real/test_commands.py has the rest."""

import os
from pathlib import Path

import pytest

from facesearch.bootstrap import direct, doctor, host_checks
from facesearch.config import Settings
from facesearch.errors import NotAllowed
from facesearch.records import OK, PROBLEM


def test_a_copy_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / "index").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(NotAllowed, match="as the user that the service runs as"):
        direct.search_photos(settings, [("a.jpg", b"")], direct.Asked(1))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied."),
        (RuntimeError("no room"), "The check broke off: RuntimeError: no room."),
        (NotAllowed("Not this."), "Not this."),
    ],
)
def test_a_check_that_breaks_off_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("FACESEARCH_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setattr(host_checks, "check_port", fail)
    for costly in ("_models", "_encoder", "_pool"):
        monkeypatch.setattr(doctor, costly, lambda *_: iter(()))
    found = {finding.check: finding for finding in doctor.examine()}
    assert (found["port"].state, found["port"].message) == (PROBLEM, said)
    assert found["clock"].state == OK
