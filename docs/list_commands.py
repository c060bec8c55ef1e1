"""Writes the help of each command into docs/commands.md: `python3 -m docs.list_commands`."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from facesearch.cli import main

PAGE = Path(__file__).parent / "commands.md"

_WIDTH = 80
_BLOCK = re.compile(r"<!-- help of (?P<name>[a-z ]+) -->\n```text\n.*?```\n", re.DOTALL)


def commands(group: click.Group = main, above: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, by its name below `facesearch`, in order."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


def help_of(name: str, command: click.Command) -> str:
    """Return what `facesearch NAME --help` prints on a terminal of 80 columns."""
    context = click.Context(
        command,
        info_name=f"facesearch {name}",
        terminal_width=_WIDTH,
        help_option_names=main.context_settings["help_option_names"],
    )
    return command.get_help(context)


def with_help(page: str) -> str:
    """Return the page with the help of now in each of its blocks; others stay."""
    known = dict(commands())

    def fresh(block: re.Match[str]) -> str:
        name = block["name"]
        if name not in known:
            return ""
        return f"<!-- help of {name} -->\n```text\n{help_of(name, known[name])}\n```\n"

    return _BLOCK.sub(fresh, page)


def named(page: str) -> list[str]:
    """Return the commands that have a block on a page."""
    return [block["name"] for block in _BLOCK.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text()))
