"""docs/commands.md holds every command, with the help that it prints."""

import re

import pytest
from click.testing import CliRunner

from docs.list_commands import PAGE, commands, help_of, named, with_help
from facesearch.cli import main

NAMES = [name for name, _ in commands()]


def test_every_command_is_on_the_page_with_its_help_of_now() -> None:
    page = PAGE.read_text()
    assert sorted(named(page)) == sorted(NAMES)
    assert with_help(page) == page, "python3 -m docs.list_commands"


def test_another_help_would_show() -> None:
    page = PAGE.read_text()
    worn = page.replace("--tolerance", "--tolerence")
    assert worn != page
    assert with_help(worn).count("--tolerence") < worn.count("--tolerence")
    gone = page.replace("<!-- help of bench ", "<!-- help of branch ")
    assert named(with_help(gone)) == [name for name in named(page) if name != "bench"]


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_an_example(name: str) -> None:
    examples = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert f"facesearch {name.split(' ', maxsplit=1)[0]}" in examples


def test_the_help_is_what_is_printed() -> None:
    name, command = next(one for one in commands() if one[0] == "jobs report")
    printed = CliRunner().invoke(
        main, ["jobs", "report", "--help"], prog_name="facesearch", terminal_width=80
    )
    assert printed.output.strip() == help_of(name, command).strip()


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_a_terminal(name: str) -> None:
    lines = help_of(name, dict(commands())[name]).splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", [name for name in NAMES if name != "serve"])
def test_a_command_speaks_json(name: str) -> None:
    assert "--json" in help_of(name, dict(commands())[name])
