"""The commands of `python3 -m facesearch faces`: what is stored of faces, its correction and its end."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from facesearch.commands.collection_options import (
    all_option,
    collection_at,
    limit_option,
    person_of,
    source_options,
)
from facesearch.commands.confirming import confirm, yes_option
from facesearch.commands.import_report import printable
from facesearch.commands.printing import as_object, counted, moment, not_there, print_fields, print_list
from facesearch.commands.text_arguments import ID, JSON_OBJECT, NAME
from facesearch.errors import Invalid

_INDENT = 15
# A thumbnail's media type, and how its file is called by default.
_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp"}

face_argument = click.argument("face_id", metavar="ID", type=ID)
faces_argument = click.argument("face_ids", metavar="ID...", type=ID, nargs=-1, required=True)


@click.group(short_help="List, show, correct and delete stored faces.")
def faces() -> None:
    """Faces of a collection: list, show, correct and delete them."""


@faces.command("list", short_help="List faces by their ids.")
@click.option("--person", metavar="PERSON", type=NAME, help="Of this person: an id, or a name.")
@click.option("--nobody", is_flag=True, help="Of those that are nobody's.")
@click.option("--external-id", type=NAME, help="With this external id.")
@click.option(
    "--filter",
    "conditions",
    metavar="JSON",
    type=NAME,
    help='Whose metadata is so, as \'{"site": "Paris", "age": {"gte": 30}}\'.',
)
@limit_option
@all_option
@source_options
@as_object
def list_faces(
    person: str | None,
    nobody: bool,
    external_id: str | None,
    conditions: str | None,
    limit: int,
    every: bool,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """List faces by their ids."""
    if person is not None and nobody:
        raise click.UsageError("--person does not go with --nobody.")
    whose = 0 if nobody else None if person is None else person_of(person)
    most = None if every else limit
    with collection_at(url, key, collection) as source:
        print_list(
            source.faces(whose, external_id, conditions, most),
            ["id", "person", "external id", "photo", "added"],
            _row,
            right={0},
            shrinks=(1, 2, 3),
            as_json=as_json,
            empty="There are no such faces.",
            most=most,
        )


@faces.command(short_help="Tell what is stored about a face.")
@face_argument
@source_options
@as_object
def show(face_id: int, collection: str | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell what is stored about the face ID."""
    with collection_at(url, key, collection) as source:
        _print(source.face(face_id), as_json)


@faces.command(short_help="Correct a face's external id and metadata.")
@face_argument
@click.option("--external-id", type=NAME, help="The new external id.")
@click.option("--no-external-id", is_flag=True, help="Take the external id away.")
@click.option(
    "--metadata",
    metavar="JSON",
    type=JSON_OBJECT,
    help='What takes the place of all its metadata, as \'{"site": "Paris"}\'; {} takes it away.',
)
@source_options
@as_object
def edit(
    face_id: int,
    external_id: str | None,
    no_external_id: bool,
    metadata: dict[str, Any] | None,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Correct what is known of the face ID; what no option names stays.

    Whose face it is, `people assign` and `faces unassign` change.
    """
    if external_id is not None and no_external_id:
        raise click.UsageError("--external-id does not go with --no-external-id.")
    fields: dict[str, Any] = {}
    if external_id is not None or no_external_id:
        fields["external_id"] = external_id
    if metadata is not None:
        fields["metadata"] = metadata
    if not fields:
        raise click.UsageError("Nothing to change: --external-id, --no-external-id or --metadata says what.")
    with collection_at(url, key, collection) as source:
        _print(source.edit_face(face_id, fields), as_json)


@faces.command(short_help="Delete faces for good.")
@faces_argument
@yes_option
@source_options
@as_object
def delete(
    face_ids: tuple[int, ...],
    yes: bool,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Delete the faces ID... for good.

    Nothing of them stays: vector, picture, metadata, what reports of imports tell of them, nor their photos
    in archives that wait.
    """
    ids = list(dict.fromkeys(face_ids))
    one = len(ids) == 1
    confirm(f"Delete {'the face ' + str(ids[0]) if one else f'{len(ids):,} faces'} for good?", yes)
    with collection_at(url, key, collection) as source:
        gone = source.delete_faces(ids)
    if as_json:
        click.echo(json.dumps({"deleted": gone}, indent=2))
    else:
        click.echo(f"Deleted {counted(len(gone), 'face')}.{not_there(ids, gone)}")


@faces.command(short_help="Let faces be nobody's.")
@faces_argument
@source_options
@as_object
def unassign(
    face_ids: tuple[int, ...], collection: str | None, url: str | None, key: str | None, as_json: bool
) -> None:
    """Let the faces ID... be nobody's; a person without faces goes, unless made or renamed by itself."""
    ids = list(dict.fromkeys(face_ids))
    with collection_at(url, key, collection) as source:
        done = source.unassign(ids)
    if as_json:
        click.echo(json.dumps({"unassigned": done}, indent=2))
    else:
        click.echo(f"{counted(len(done), 'face')} {_are(done)} nobody's now.{not_there(ids, done)}")


@faces.command(short_help="Save a face's picture.")
@face_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="Where to; - is the standard output.  [default: face-ID.jpg or .webp]",
)
@source_options
@as_object
def thumbnail(
    face_id: int,
    output: Path | None,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Save the picture of the face ID, which is kept where the config says crops.keep_crops."""
    with collection_at(url, key, collection) as source:
        media_type, data = source.thumbnail(face_id)
    if output == Path("-"):
        sys.stdout.buffer.write(data)
        return
    file = output or Path(f"face-{face_id}{_SUFFIXES.get(media_type, '')}")
    try:
        file.write_bytes(data)
    except OSError as error:
        raise Invalid(f"{printable(str(file))} cannot be written: {error.strerror}.") from None
    if as_json:
        told = {"id": face_id, "file": str(file), "media_type": media_type, "bytes": len(data)}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(f"{printable(str(file))} has the picture of the face {face_id}, {len(data):,} bytes.")


def _are(some: list[int]) -> str:
    return "is" if len(some) == 1 else "are"


def _row(face: dict[str, Any]) -> list[str]:
    return [
        str(face["id"]),
        face["person_name"] or "-",
        face["external_id"] or "-",
        face["file_name"] or "-",
        face["added_at"][:10],
    ]


def _print(face: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(face, indent=2))
        return
    size, box = face["size"], face["box"]
    person = "nobody" if face["person_id"] is None else f"{face['person_name']} (id {face['person_id']})"
    fields: dict[str, str | None] = {
        "person": person,
        "external id": face["external_id"],
        "metadata": ", ".join(f"{name}: {_value(value)}" for name, value in face["metadata"].items()),
        "photo": face["file_name"],
        "size": size and f"{size['width']} x {size['height']} px",
        "taken": face["taken_at"],
        "box": box and f"from {box['left']}, {box['top']} to {box['right']}, {box['bottom']}",
        "model": face["model"],
        "added": moment(face["added_at"]),
    }
    print_fields(f"Face {face['id']}", fields, _INDENT)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
