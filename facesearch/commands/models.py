"""The commands of `python3 -m facesearch models`: which networks there are, and which the service uses."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facesearch.commands.import_report import printable
from facesearch.commands.model_telling import (
    Arriving,
    licence_of,
    show_card,
    show_field,
    show_licence,
    show_test,
    table_of,
)
from facesearch.commands.printing import as_object
from facesearch.config import Settings, load_settings
from facesearch.errors import Conflict, FacesearchError, NotAllowed

if TYPE_CHECKING:
    from facesearch.bootstrap import ModelCard, SelfTest

accept_licence = click.option(
    "--accept-licence", is_flag=True, help="Accept the licence that is shown, without being asked."
)


@click.group(short_help="Recognition networks and detectors.")
def models() -> None:
    """Recognition networks and detectors: list, add, check and choose them.

    The service comes with no weights besides dlib's, and fetches none unless `fetch` is called.
    """


@models.command("list", short_help="Show the known models and their licences.")
@as_object
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
    click.echo(json.dumps(rows, indent=2) if as_json else table_of(rows))


@models.command(short_help="Install a model from a file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--card", "wanted", metavar="ID|CARD.json", help="What the file is.  [default: by its SHA-256]")
@accept_licence
@as_object
def add(file: Path, wanted: str | None, accept_licence: bool, as_json: bool) -> None:
    """Install the model in FILE, an ONNX file, once its licence is accepted and it has passed its test.

    Its SHA-256 says which known model it is. `--card` names one, or a card of your own; `card ID` prints one
    to start from.
    """
    from facesearch.bootstrap import add_model, model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    card = store.card_for(file, wanted)
    store.refuse_second(card)
    _accept(card, accept_licence, as_json)
    if not as_json:
        click.echo(f"Trying {card.id} on the test photos ...")
    _show_installed(card, add_model(settings, file, card), settings, "Installed", as_json)


@models.command(short_help="Fetch a model over https and install it.")
@click.argument("model", metavar="ID")
@accept_licence
@as_object
def fetch(model: str, accept_licence: bool, as_json: bool) -> None:
    """Fetch the model ID over https, and install it as `add` does.

    Only where its card gives the address and the SHA-256. A fetch that ends early goes on where it ended.
    """
    from facesearch.bootstrap import check_fetchable, fetch_model, model_store  # noqa: PLC0415

    settings = load_settings()
    store = model_store(settings)
    card = store.card(model)
    store.refuse_second(card)
    check_fetchable(card)
    _accept(card, accept_licence, as_json)
    if not as_json:
        click.echo(f"Fetching {card.source.url}")
    progress = Arriving(sys.stderr.isatty() and not as_json)
    test = fetch_model(settings, card, progress)
    progress.end()
    _show_installed(card, test, settings, "Fetched and installed", as_json)


@models.command(short_help="Verify and try installed models again.")
@click.argument("model", metavar="[ID]", required=False)
@as_object
def check(model: str | None, as_json: bool) -> None:
    """Verify installed models again: SHA-256, test photos, speed. All of them, or ID."""
    from facesearch.bootstrap import check_model, model_store  # noqa: PLC0415

    settings = load_settings()
    wanted = [model] if model else list(dict.fromkeys(["dlib", *model_store(settings).installed()]))
    checked = []
    for name in wanted:
        test, reason = None, None
        try:
            test = check_model(settings, name)
        except FacesearchError as error:
            reason = error.message
        told = {"id": name, "good": test is not None, "error": reason, "test": test and asdict(test)}
        checked.append(told)
        if not as_json:
            _show_checked(name, test, reason, settings)
    if as_json:
        click.echo(json.dumps(checked, indent=2))
    if not all(told["good"] for told in checked):
        sys.exit(1)


@models.command(short_help="Choose the model of the service.")
@click.argument("model", metavar="ID")
@click.option("--kind", type=click.Choice(["mirror", "plain"]), help="Kind of vectors of an empty gallery.")
@as_object
def use(model: str, kind: str | None, as_json: bool) -> None:
    """Write the model ID into the config file; the service uses it once it is restarted.

    A recognition model becomes the encoder, a detector the way faces are found; `hog` and `cnn` are dlib's.
    A gallery keeps the model of its first face, so another is refused while there is one.
    """
    from facesearch.bootstrap import model_store, use_model  # noqa: PLC0415

    settings = load_settings()
    use_model(settings, model, kind)
    card = model_store(settings).known().get(model)
    key = "model" if card is not None and card.task == "recognition" else "detector"
    value = card.family if card is not None and key == "detector" else model
    if as_json:
        licence = None if card is None else licence_of(card)
        told = {"setting": f"encoder.{key}", "value": value, "kind": kind, "licence": licence}
        click.echo(json.dumps(told, indent=2))
        return
    if card is not None:
        show_licence(card)
    click.echo(f"The config file says encoder.{key}: {value}. Restart the service to use it.")


@models.command(short_help="Measure what a model's distances mean.")
@click.argument("model", metavar="ID")
@click.argument("photos", metavar="FOLDER|LIST.csv", type=click.Path(exists=True, path_type=Path))
@as_object
def calibrate(model: str, photos: Path, as_json: bool) -> None:
    """Measure what the distances of the model ID mean, on labelled photos, and store it in its card.

    A folder per person, or files named as Ada_Lovelace_0001.jpg; or a CSV file with the columns path and
    identity. Searches with tolerance=auto need it. Restart the service to use it.
    """
    from facesearch.bootstrap import calibrate_model  # noqa: PLC0415

    if as_json:
        told = calibrate_model(load_settings(), model, photos, lambda _: None)
        click.echo(json.dumps(told, indent=2))
    else:
        calibrate_model(load_settings(), model, photos, click.echo)


@models.command(short_help="Make a model's 8-bit twin.")
@click.argument("model", metavar="ID")
@as_object
def quantise(model: str, as_json: bool) -> None:
    """Install ID-int8, the 8-bit twin of the recognition network ID: a third of the bytes, less accurate.

    It is a model of its own, whose vectors are not compared with those of ID. Under the licence of ID.
    """
    from facesearch.bootstrap import quantise_model  # noqa: PLC0415

    settings = load_settings()
    card, test = quantise_model(settings, model)
    if not as_json:
        show_licence(card)
    _show_installed(card, test, settings, "Installed", as_json)


@models.command(short_help="Remove an installed model.")
@click.argument("model", metavar="ID")
@as_object
def remove(model: str, as_json: bool) -> None:
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
    click.echo(json.dumps({"removed": model}, indent=2) if as_json else f"Removed {model}.")


@models.command(short_help="Print a model's card.")
@click.argument("model", metavar="ID")
@click.option("--json", is_flag=True, expose_value=False, help="As without: a card is JSON.")
def card(model: str) -> None:
    """Print the card of the model ID as JSON, as a start for a card of your own."""
    from facesearch.bootstrap import model_store  # noqa: PLC0415

    click.echo(model_store(load_settings()).card(model).model_dump_json(indent=2))


def _accept(card: "ModelCard", accepted: bool, as_json: bool) -> None:
    """Show a model, and have its licence accepted; what is no JSON goes where people alone see it."""
    if not (accepted and as_json):
        show_card(card, err=as_json)
    if accepted:
        return
    if not _asks():
        raise NotAllowed(
            "The licence was not accepted: nobody is here to ask, and --accept-licence is not given."
        )
    click.confirm("Do you accept this licence?", abort=True, err=as_json)


def _asks() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty()


def _show_installed(card: "ModelCard", test: "SelfTest", settings: Settings, how: str, as_json: bool) -> None:
    if as_json:
        told = {"installed": card.id, "task": card.task, "licence": licence_of(card), "test": asdict(test)}
        click.echo(json.dumps(told, indent=2))
        return
    show_test(test, settings)
    done = click.style(how, fg="green", bold=True)
    click.echo(f"{done}. To use it: facesearch models use {card.id}")


def _show_checked(name: str, test: "SelfTest | None", reason: str | None, settings: Settings) -> None:
    if test is None:
        click.echo(f"{name}: {click.style('failed', fg='red', bold=True)}")
        show_field("", reason or "")
    else:
        click.echo(f"{name}: {click.style('good', fg='green', bold=True)}")
        show_field("SHA-256", "as the card says")
        show_test(test, settings)
