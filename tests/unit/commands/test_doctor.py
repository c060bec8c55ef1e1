"""The command `doctor`: what it prints, and how it ends. tests/real/test_doctor.py has its checks at work."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from facesearch.bootstrap import doctor
from facesearch.cli import main
from facesearch.records import OK, PROBLEM, WARNING, Finding

FINE = Finding("config", OK, "Every key is known.")
ODD = Finding("clock", WARNING, "The clock is ahead. " * 6, "Set the clock.")
BAD = Finding("pool", PROBLEM, "No child starts.", "Look into the log. " * 6)


def run(monkeypatch: pytest.MonkeyPatch, *findings: Finding, options: tuple[str, ...] = ()) -> Result:
    def examine() -> Iterator[Finding]:
        yield from findings

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setenv("COLUMNS", "80")
    return CliRunner().invoke(main, ["doctor", *options])


def test_all_in_order_ends_with_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, FINE)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "ok       config           Every key is known.",
        "",
        "1 check, and all is in order.",
    ]


def test_a_warning_ends_with_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, FINE, ODD)
    assert result.exit_code == 0
    assert "                       -> Set the clock." in result.output
    assert result.output.endswith("1 warning in 2 checks: the service can run like this.\n")


def test_a_problem_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, FINE, ODD, BAD, BAD)
    assert result.exit_code == 1
    assert result.output.endswith("2 problems and 1 warning in 4 checks: what to do stands beside each.\n")
    assert max(map(len, result.output.splitlines())) <= 80


def test_one_object_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, FINE, BAD, options=("--json",))
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert (told["problems"], told["warnings"]) == (1, 0)
    assert told["checks"][0] == {
        "check": "config",
        "state": "ok",
        "message": "Every key is known.",
        "advice": None,
    }
