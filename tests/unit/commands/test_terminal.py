import shutil

import click
import pytest

from facesearch.commands.terminal import columns_of, paragraph, table


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert shutil.get_terminal_size().columns == 80


def test_a_paragraph_stands_beside_its_label() -> None:
    label = click.style("ok", fg="green")
    lines = click.unstyle(paragraph(label, "word " * 30, 10)).splitlines()
    assert lines[0].startswith("ok        word")
    assert all(line.startswith(" " * 10 + "word") for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_a_path_is_not_broken() -> None:
    path = "/a" * 60
    assert paragraph("", path, 20).strip() == path


def test_numbers_stand_at_their_right_edge() -> None:
    lines = [click.unstyle(line) for line in table(["name", "id"], [["Ada", "7"], ["Bo", "1234"]], right={1})]
    assert lines == ["name    id", "Ada      7", "Bo    1234"]


def test_a_table_is_no_wider_than_the_terminal() -> None:
    rows = [["x" * 100, "1"], ["名" * 60, "2"], ["short", "3"]]
    lines = [click.unstyle(line) for line in table(["name", "id"], rows, right={1}, indent=2)]
    assert {columns_of(line) for line in lines} == {78}
    assert "…" in lines[1]
    assert "…" in lines[2]
    assert lines[3].startswith("short ")


def test_of_several_columns_the_widest_is_cut_first() -> None:
    rows = [["7", "a" * 60, "b" * 50, "c" * 8]]
    line = click.unstyle(table(["id", "name", "photo", "day"], rows, shrinks=(1, 2))[1])
    assert columns_of(line) == 80
    assert [len(cell) for cell in line.split()] == [1, 32, 32, 8]
    endless = table(["a", "b"], [["x" * 200, "y" * 200]], shrinks=(0,))
    assert [len(cell) for cell in click.unstyle(endless[1]).split()] == [8, 200]


def test_wide_and_combining_characters_are_counted_as_they_are_drawn() -> None:
    assert columns_of("Ada") == 3
    assert columns_of("名前") == 4
    assert columns_of("e\N{COMBINING ACUTE ACCENT}") == 1


def test_what_would_move_the_cursor_is_not_printed() -> None:
    assert "\x1b[2J" not in "".join(table(["name"], [["a\x1b[2Jb"]])[1:])
    assert "\r" not in paragraph("", "a\rb", 0)
