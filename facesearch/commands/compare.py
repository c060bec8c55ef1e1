"""The command `compare` of `python3 -m facesearch`: are two photos of one person?"""

import json
from pathlib import Path
from typing import Any

import click

from facesearch.commands.collection_options import collection_option
from facesearch.commands.import_report import printable
from facesearch.commands.photo_arguments import PHOTO, TOLERANCE, read_photo
from facesearch.commands.remote_options import asked, check_key, service_options
from facesearch.commands.terminal import paragraph, table
from facesearch.config import load_settings
from facesearch.errors import FacesearchError
from facesearch.records import DEFAULT_COLLECTION

_SHOWN = 20


@click.command(short_help="Compare the faces of two photos.")
@click.argument("photo1", type=PHOTO)
@click.argument("photo2", type=PHOTO)
@click.option("--largest", is_flag=True, help="Compare the largest face of each photo alone.")
@click.option(
    "--tolerance",
    type=TOLERANCE,
    metavar="N|auto",
    help="Distance up to which two faces are one person's, 0 to 2, or `auto`.  [default: the model's]",
)
@collection_option
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(
    photo1: Path,
    photo2: Path,
    largest: bool,
    tolerance: float | str | None,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Compare every face of PHOTO1 with every face of PHOTO2, the nearest pair first. Nothing is stored.

    With the model of the collection.
    """
    check_key(url, key)
    source, target = ((photo.name, read_photo(photo)) for photo in (photo1, photo2))
    try:
        if url is not None:
            query = {"max_faces": 1 if largest else None, "tolerance": tolerance, "collection": collection}
            files = [("source", source), ("target", target)]
            found = asked(url, key, "v1/compare", query, files, "pairs")
        else:
            # Here, not above: numpy's threads are limited before it is loaded.
            from facesearch.bootstrap.direct import compare_photos  # noqa: PLC0415

            name = collection or DEFAULT_COLLECTION
            found = compare_photos(load_settings(), source, target, tolerance, largest, name)
    except FacesearchError as error:
        raise type(error)(_with_path(error.message, photo1, photo2)) from None
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(photo1.name, photo2.name, found)))


def _with_path(message: str, source: Path, target: Path) -> str:
    """A sentence in which a photo has the name that was typed, not that of the route's field."""
    for field, photo in (("source", source), ("target", target)):
        if message.startswith((f"{field}: ", f"{field} is ")):
            return printable(str(photo)) + message.removeprefix(field)
    return message


def _lines(first: str, second: str, found: dict[str, Any]) -> list[str]:
    for name, side in ((first, "source"), (second, "target")):
        if not found[side]["faces"]:
            return [f"No face was found in {printable(name)}."]
    within = f"within the distance {found['tolerance']:.4f}"
    if found["match"]:
        lines = [click.style(f"One person is in both photos: faces {within}.", fg="green", bold=True)]
    else:
        lines = [click.style(f"Nobody is in both photos: no faces {within}.", fg="yellow", bold=True)]
    lines += [paragraph(f"  photo {at}", name, 11) for at, name in enumerate((first, second), 1)]
    rows = [
        [
            f"{pair['source'] + 1} {_place(found['source'], pair['source'])}",
            f"{pair['target'] + 1} {_place(found['target'], pair['target'])}",
            f"{pair['distance']:.4f}",
            "" if pair["similarity"] is None else f"{pair['similarity']:.1f}",
            "yes" if pair["within"] else "no",
        ]
        for pair in found["pairs"][:_SHOWN]
    ]
    heads = ["face of photo 1", "face of photo 2", "distance", "similarity", "within"]
    lines += ["", *(f"  {line}" for line in table(heads, rows, right={2, 3}, indent=2))]
    if (more := len(found["pairs"]) - len(rows)) > 0:
        lines.append(f"  and {more:,} pairs further apart; --json has all.")
    return lines


def _place(photo: dict[str, Any], number: int) -> str:
    box = photo["faces"][number]["box"]
    return f"at {box['left']}, {box['top']}"
