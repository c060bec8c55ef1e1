"""The bars of an import, as a terminal gets them."""

import re

import pytest

from facesearch.commands import import_bar
from facesearch.commands.import_bar import ImportBar


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(import_bar, "_REDRAW_S", 0.0)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was drawn, one after the other, without what moves the cursor."""
    captured = capsys.readouterr()
    assert captured.out == ""
    drawn = re.sub(r"\x1b\[A", "", captured.err)
    return [line.strip() for line in re.split(r"[\r\n]", drawn) if line.strip()]


def test_the_bar_shows_files_rate_time_left_and_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportBar(shown=True) as bar:
        bar.files(200, {"inserted": 0})
        bar.files(200, {"inserted": 40, "duplicate": 2, "no_face": 1, "failed": 1, "skipped": 0})
        bar.files(200, {"inserted": 196, "duplicate": 2, "no_face": 1, "failed": 1, "skipped": 0})
    drawn = lines(capsys)
    assert re.search(r"22%\|.*\| 44/200 \[00:\d\d<.*/s\], 40 inserted, 2 duplicates, 1 without", drawn[-3])
    assert re.search(r"100%\|.*\| 200/200 \[00:\d\d<00:00, .*/s\], 196 inserted", drawn[-1])


def test_the_bar_goes_on_while_nothing_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportBar(shown=True) as bar:
        bar.files(10, {"inserted": 3})
        before = len(lines(capsys))
        bar.files(10, {"inserted": 3})
        assert before
        assert "3/10" in lines(capsys)[0]


def test_sending_has_a_bar_of_its_own_which_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportBar(shown=True) as bar:
        bar.files(10, {"inserted": 3})
        bar.sending("a.zip", 0, 4_000_000)
        bar.sending("a.zip", 1_000_000, 4_000_000)
        bar.sending("a.zip", 0, 4_000_000)
        bar.sending("a.zip", 4_000_000, 4_000_000)
        bar.files(10, {"inserted": 10})
    drawn = lines(capsys)
    assert any(line.startswith("Sending a.zip:  25%") and "1.00M/4.00M" in line for line in drawn)
    assert "10/10" in drawn[-1]


def test_what_is_waited_for_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportBar(shown=False) as bar:
        for _ in range(2):
            bar.waiting("The queue is\x1b full.")
        bar.files(10, {})
        bar.waiting("The queue is\x1b full.")
    assert lines(capsys) == ["The queue is\ufffd full. Trying again ..."] * 2
    with ImportBar(shown=True) as bar:
        bar.files(10, {})
        bar.waiting("Full.")
    assert "Full. Trying again ..." in lines(capsys)


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with ImportBar(shown=False) as bar:
        bar.sending("a.zip", 0, 10)
        bar.files(10, {"inserted": 3})
    assert lines(capsys) == []
