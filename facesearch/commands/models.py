"""The commands of `python3 -m facesearch models`: which networks there are, and which the service uses."""

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facesearch.commands.import_report import printable
from facesearch.config import Settings, load_settings
from facesearch.errors import Conflict, FacesearchError, NotAllowed

if TYPE_CHECKING:
    from facesearch.bootstrap import ModelCard, SelfTest

_WIDEST = 100
_LABEL = 16

accept_licence = click.option(
    "--accept-licence", is_flag=True, help="Accept the licence that is shown, without being asked."
)


@click.group(short_help="Recognition networks and detectors.")
def models() -> None:
    """Recognition networks and detectors: list, add, check and choose them.

    The service comes with no weights besides dlib's, and fetches none unless `fetch` is called.
    """


@models.command("list", short_help="Show the known models and their licences.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_models(as_json: bool) -> None:
    """Show the known models, their licences, and which of them are installed and in use."""
    from facesearch.bootstrap import model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    installed = store.installed()
    rows = []
    for card in store.known().values():
        there = card.id in installed or card.family == "dlib"
        in_use = card.id == settings.encoder.model or (there and card.family == settings.encoder.detector)
        rows.append(
            {
                "id": card.id,
                "name": card.name,
                "task": card.task,
                "dimension": card.output.dimension if card.output else None,
                "licence": card.licence.name,
                "commercial_use": card.licence.commercial,
                "installed": there,
                "in_use": in_use,
                "runs_here": card.runs_here,
                "can_be_fetched": card.runs_here and bool(card.source.url and card.sha256),
                "tried_here": card.tried,
            }
        )
    rows.sort(key=lambda row: (row["task"] != "recognition", not row["installed"], row["id"]))
    click.echo(json.dumps(rows, indent=2) if as_json else _table(rows))


@models.command(short_help="Install a model from a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--card", "wanted", metavar="ID|CARD.json", help="What the file is.  [default: by its SHA-256]")
@accept_licence
def add(file: Path, wanted: str | None, accept_licence: bool) -> None:
    """Install the model in FILE, an ONNX file, once its licence is accepted and it has passed its test.

    Its SHA-256 says which known model it is. `--card` names one, or a card of your own; `card ID` prints one
    to start from.
    """
    from facesearch.bootstrap import add_model, model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    card = store.card_for(file, wanted)
    store.refuse_second(card)
    _show(card)
    _confirm(card, accept_licence)
    click.echo(f"Trying {card.id} on the test photos ...")
    _show_test(add_model(settings, file, card), settings)
    _show_next(card, "Installed")


@models.command(short_help="Fetch a model over https and install it.")
@click.argument("model", metavar="ID")
@accept_licence
def fetch(model: str, accept_licence: bool) -> None:
    """Fetch the model ID over https, and install it as `add` does.

    Only where its card gives the address and the SHA-256. A fetch that ends early goes on where it ended.
    """
    from facesearch.bootstrap import check_fetchable, fetch_model, model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    card = store.card(model)
    store.refuse_second(card)
    check_fetchable(card)
    _show(card)
    _confirm(card, accept_licence)
    click.echo(f"Fetching {card.source.url}")
    progress = _Progress()
    test = fetch_model(settings, card, progress)
    progress.end()
    _show_test(test, settings)
    _show_next(card, "Fetched and installed")


@models.command(short_help="Verify and try installed models again.")
@click.argument("model", metavar="[ID]", required=False)
def check(model: str | None) -> None:
    """Verify installed models again: SHA-256, test photos, speed. All of them, or ID."""
    from facesearch.bootstrap import check_model, model_store  # noqa: PLC0415

    settings = load_settings()
    wanted = [model] if model else list(dict.fromkeys(["dlib", *model_store(settings).installed()]))
    failed = 0
    for name in wanted:
        try:
            test = check_model(settings, name)
        except FacesearchError as error:
            failed += 1
            click.echo(f"{name}: {click.style('failed', fg='red', bold=True)}")
            _field("", error.message)
        else:
            click.echo(f"{name}: {click.style('good', fg='green', bold=True)}")
            _field("SHA-256", "as the card says")
            _show_test(test, settings)
    if failed:
        sys.exit(1)


@models.command(short_help="Choose the model of the service.")
@click.argument("model", metavar="ID")
@click.option("--kind", type=click.Choice(["mirror", "plain"]), help="Kind of vectors of an empty gallery.")
def use(model: str, kind: str | None) -> None:
    """Write the model ID into the config file; the service uses it once it is restarted.

    A recognition model becomes the encoder, a detector the way faces are found; `hog` and `cnn` are dlib's.
    A gallery keeps the model of its first face, so another is refused while there is one.
    """
    from facesearch.bootstrap import model_store, use_model  # noqa: PLC0415

    settings = load_settings()
    use_model(settings, model, kind)
    card = model_store(settings).known().get(model)
    if card is not None:
        _show_licence(card)
    key = "model" if card is not None and card.task == "recognition" else "detector"
    value = card.family if card is not None and key == "detector" else model
    click.echo(f"The config file says encoder.{key}: {value}. Restart the service to use it.")


@models.command(short_help="Measure what a model's distances mean.")
@click.argument("model", metavar="ID")
@click.argument("photos", metavar="FOLDER|LIST.csv", type=click.Path(exists=True, path_type=Path))
def calibrate(model: str, photos: Path) -> None:
    """Measure what the distances of the model ID mean, on labelled photos, and store it in its card.

    A folder per person, or files named as Ada_Lovelace_0001.jpg; or a CSV file with the columns path and
    identity. Searches with tolerance=auto need it. Restart the service to use it.
    """
    from facesearch.bootstrap import calibrate_model  # noqa: PLC0415

    calibrate_model(load_settings(), model, photos, click.echo)


@models.command(short_help="Make a model's 8-bit twin.")
@click.argument("model", metavar="ID")
def quantise(model: str) -> None:
    """Install ID-int8, the 8-bit twin of the recognition network ID: a third of the bytes, less accurate.

    It is a model of its own, whose vectors are not compared with those of ID. Under the licence of ID.
    """
    from facesearch.bootstrap import quantise_model  # noqa: PLC0415

    settings = load_settings()
    card, test = quantise_model(settings, model)
    _show_licence(card)
    _show_test(test, settings)
    _show_next(card, "Installed")


@models.command(short_help="Remove an installed model.")
@click.argument("model", metavar="ID")
def remove(model: str) -> None:
    """Remove the installed model ID; of those that the config or a collection uses, damaged ones alone."""
    from facesearch.bootstrap import collections_of, model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    card = store.installed().get(model)
    in_use = model == settings.encoder.model or (
        card is not None and card.family == settings.encoder.detector
    )
    # A damaged one is in nobody's use, and has to make room for its own file.
    if in_use and store.is_whole(model):
        raise Conflict(f"{model} is in use; choose another first: facesearch models use ID")
    if card is not None and store.is_whole(model) and (names := collections_of(settings, card)):
        raise Conflict(f"{model} is in use: the collection {printable(names[0])} holds its vectors.")
    store.remove(model)
    click.echo(f"Removed {model}.")


@models.command(short_help="Print a model's card.")
@click.argument("model", metavar="ID")
def card(model: str) -> None:
    """Print the card of the model ID as JSON, as a start for a card of your own."""
    from facesearch.bootstrap import model_store  # noqa: PLC0415

    click.echo(model_store(load_settings()).card(model).model_dump_json(indent=2))


def _show(card: "ModelCard") -> None:
    click.echo(f"{click.style(card.name, bold=True)} ({card.id})")
    _show_licence(card)
    _field("facts from", card.source.document)
    _field("tried here", card.tried or "not yet")
    _field("SHA-256", card.sha256 or "in no document; that of your file is kept")


def _show_licence(card: "ModelCard") -> None:
    colour = {"yes": "green", "no": "red"}.get(card.licence.commercial, "yellow")
    _field("licence", card.licence.name)
    _field("", card.licence.url or "")
    _field("commercial use", card.licence.commercial, fg=colour, bold=True)
    _field("", card.licence.note or "")


def _confirm(card: "ModelCard", accepted: bool) -> None:
    if accepted:
        return
    if not _asks():
        raise NotAllowed(
            "The licence was not accepted: nobody is here to ask, and --accept-licence is not given."
        )
    click.confirm("Do you accept this licence?", abort=True)


def _asks() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty()


def _show_test(test: "SelfTest", settings: Settings) -> None:
    for line in test.seen:
        _field("test photos" if line is test.seen[0] else "", line)
    threads = "one thread" if settings.encoder.threads == 1 else f"{settings.encoder.threads} threads"
    what = "photo" if test.dimension is None else "face"
    _field("speed", f"{test.ms:.1f} ms for a {what}, on {threads} ({settings.encoder.execution})")
    if test.dimension is not None:
        _field("dimension", f"{test.dimension} numbers for a face")


def _show_next(card: "ModelCard", done: str) -> None:
    click.echo(f"{click.style(done, fg='green', bold=True)}. To use it: facesearch models use {card.id}")


def _field(label: str, text: str, **style: Any) -> None:
    """Print a line of a description, wrapped to the terminal; nothing where there is no text."""
    width = min(shutil.get_terminal_size().columns, _WIDEST) - _LABEL - 2
    lines = textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        click.echo(
            f"  {(label if number == 0 else ''):<{_LABEL}}{click.style(line, **style) if style else line}"
        )


def _table(rows: list[dict[str, Any]]) -> str:
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


class _Progress:
    """Shows how much of a file has arrived, on a terminal only. Lives for one command."""

    def __init__(self) -> None:
        self._shown = -1

    def __call__(self, there: int, total: int | None) -> None:
        megabytes = there // 1_000_000
        if sys.stderr.isatty() and megabytes != self._shown:
            self._shown = megabytes
            whole = f" of {total / 1e6:,.0f}" if total else ""
            click.echo(f"\r  {megabytes:,}{whole} MB", err=True, nl=False)

    def end(self) -> None:
        if self._shown >= 0:
            click.echo(err=True)
