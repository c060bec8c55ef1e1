"""The commands of `python3 -m facesearch collections`: galleries of their own, side by side."""

import json
from typing import Any

import click

from facesearch.commands.collection_options import collections_at
from facesearch.commands.confirming import confirm, yes_option
from facesearch.commands.import_report import printable
from facesearch.commands.printing import as_object, counted, moment, print_fields, print_list
from facesearch.commands.remote_options import service_options
from facesearch.commands.text_arguments import COLLECTION, NAME
from facesearch.errors import NotFound

_INDENT = 14

name_argument = click.argument("name", type=COLLECTION)


@click.group(short_help="List, make and delete collections.")
def collections() -> None:
    """Collections: galleries of their own, each with its people, its model and its keys.

    `default` is there from the beginning, and is meant where no command says otherwise.
    """


@collections.command("list", short_help="List collections, the oldest first.")
@service_options
@as_object
def list_collections(url: str | None, key: str | None, as_json: bool) -> None:
    """List collections, the oldest first."""
    with collections_at(url, key) as source:
        print_list(
            source.collections(None),
            ["name", "faces", "people", "model", "made"],
            _row,
            right={1, 2},
            shrinks=(0, 3),
            as_json=as_json,
            empty="There are no collections.",
        )


@collections.command(short_help="Tell about a collection.")
@name_argument
@service_options
@as_object
def show(name: str, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell about the collection NAME."""
    with collections_at(url, key) as source:
        _print(source.collection(name), as_json)


@collections.command(short_help="Make a collection.")
@name_argument
@click.option(
    "--model",
    metavar="ID",
    type=NAME,
    help="The model of its vectors.  [default: the configured one, with its first face]",
)
@service_options
@as_object
def create(name: str, model: str | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Make the collection NAME.

    A model is named by the id of an installed one and the kind of its vectors, such as dlib-resnet-v1-mirror,
    sface-mirror or sface-plain.
    """
    with collections_at(url, key) as source:
        try:
            made = source.add(name, model)
        except NotFound as error:
            hint = "It takes an installed model's id and the kind of its vectors, such as sface-mirror."
            raise NotFound(f"{error.message} {hint}") from None
        _print(made, as_json)


@collections.command(short_help="Delete a collection for good.")
@name_argument
@yes_option
@service_options
@as_object
def delete(name: str, yes: bool, url: str | None, key: str | None, as_json: bool) -> None:
    """Delete the collection NAME for good, with its faces and people, its imports and their archives.

    Its keys are revoked.
    """
    with collections_at(url, key) as source:
        there = source.collection(name)
        of = f"{counted(there['faces'], 'face')} of {counted(there['people'], 'person', 'people')}"
        confirm(f"Delete the collection {printable(there['name'])} with {of}, for good?", yes)
        source.delete(name)
    if as_json:
        click.echo(json.dumps({"deleted": there["name"]}, indent=2))
    else:
        click.echo(f"Deleted the collection {printable(there['name'])} with {of}. Its keys are revoked.")


def _row(collection: dict[str, Any]) -> list[str]:
    numbers = [f"{collection[name]:,}" for name in ("faces", "people")]
    return [collection["name"], *numbers, collection["model"] or "-", collection["created_at"][:10]]


def _print(collection: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(collection, indent=2))
        return
    fields: dict[str, str | None] = {
        "faces": f"{collection['faces']:,}",
        "people": f"{collection['people']:,}",
        "model": collection["model"] or "that of its first face",
        "next model": collection["next_model"],
        "made": moment(collection["created_at"]),
    }
    print_fields(collection["name"], fields, _INDENT)
