"""What the commands of `models` tell of models: their cards, licences and tests, and a table of them."""

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from facesearch.bootstrap import ModelCard, SelfTest
    from facesearch.config import Settings

_WIDEST = 100
_LABEL = 16


def show_card(card: "ModelCard", *, err: bool = False) -> None:
    """Print what is known of a model, on the standard error where that is wanted."""
    click.echo(f"{click.style(card.name, bold=True)} ({card.id})", err=err)
    show_licence(card, err=err)
    show_field("facts from", card.source.document, err=err)
    show_field("tried here", card.tried or "not yet", err=err)
    show_field("SHA-256", card.sha256 or "in no document; that of your file is kept", err=err)


def show_licence(card: "ModelCard", *, err: bool = False) -> None:
    """Print the licence of a model's weights."""
    colour = {"yes": "green", "no": "red"}.get(card.licence.commercial, "yellow")
    show_field("licence", card.licence.name, err=err)
    show_field("", card.licence.url or "", err=err)
    show_field("commercial use", card.licence.commercial, err=err, fg=colour, bold=True)
    show_field("", card.licence.note or "", err=err)


def licence_of(card: "ModelCard") -> dict[str, Any]:
    """The same for programs."""
    licence = card.licence
    return {
        "name": licence.name,
        "url": licence.url,
        "commercial_use": licence.commercial,
        "note": licence.note,
    }


def show_test(test: "SelfTest", settings: "Settings") -> None:
    """Print what a test of a model saw."""
    for line in test.seen:
        show_field("test photos" if line is test.seen[0] else "", line)
    threads = "one thread" if settings.encoder.threads == 1 else f"{settings.encoder.threads} threads"
    what = "photo" if test.dimension is None else "face"
    show_field("speed", f"{test.ms:.1f} ms for a {what}, on {threads} ({settings.encoder.execution})")
    if test.dimension is not None:
        show_field("dimension", f"{test.dimension} numbers for a face")


def show_field(label: str, text: str, *, err: bool = False, **style: Any) -> None:
    """Print a line of a description, wrapped to the terminal; nothing where there is no text."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - _LABEL - 2
    lines = textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        click.echo(
            f"  {(label if number == 0 else ''):<{_LABEL}}{click.style(line, **style) if style else line}",
            err=err,
        )


def table_of(rows: list[dict[str, Any]]) -> str:
    """Models as a table, those in use marked."""
    heads = ("", "model", "task", "numbers", "commercial use", "state", "licence of the weights")
    cells = [
        (
            "*" if row["in_use"] else "",
            row["id"],
            row["task"],
            str(row["dimension"] or ""),
            row["commercial_use"],
            _state(row),
            row["licence"],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(len(heads))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *cells)
    ]
    lines[0] = click.style(lines[0], bold=True)
    lines = [click.style(line, fg="green") if line.startswith("*") else line for line in lines]
    return "\n".join(
        [
            *lines,
            "",
            "* in use. `facesearch models add FILE` or `fetch ID` installs one, `use ID` chooses it.",
        ]
    )


def _state(row: dict[str, Any]) -> str:
    if row["installed"]:
        return "installed"
    if not row["runs_here"]:
        return "cannot be run here"
    return "can be fetched" if row["can_be_fetched"] else "get the file yourself"


class Arriving:
    """Shows how much of a file has arrived, where that is wanted. Lives for one command."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._shown = -1

    def __call__(self, there: int, total: int | None) -> None:
        """Show it."""
        megabytes = there // 1_000_000
        if self._is_wanted and megabytes != self._shown:
            self._shown = megabytes
            whole = f" of {total / 1e6:,.0f}" if total else ""
            click.echo(f"\r  {megabytes:,}{whole} MB", err=True, nl=False)

    def end(self) -> None:
        """Go on to the next line."""
        if self._shown >= 0:
            click.echo(err=True)
