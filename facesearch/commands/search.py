"""The command `search` of `python3 -m facesearch`: whose faces are in a photo?"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from facesearch.commands.collection_options import collection_option
from facesearch.commands.import_report import printable
from facesearch.commands.photo_arguments import PHOTO, TOLERANCE, read_photo
from facesearch.commands.remote_options import asked, check_key, service_options
from facesearch.commands.terminal import paragraph, table
from facesearch.commands.text_arguments import ID, NAME
from facesearch.config import load_settings
from facesearch.records import DEFAULT_COLLECTION

_INDENT = 2


@click.command(short_help="Find the known faces nearest to those of a photo.")
@click.argument("photos", metavar="PHOTO...", type=PHOTO, nargs=-1)
@click.option("--face", "face_id", metavar="ID", type=ID, help="Search with a stored face, without a photo.")
@click.option(
    "-k",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How many matches per face at most.",
)
@click.option(
    "--tolerance",
    type=TOLERANCE,
    metavar="N|auto",
    help="Largest distance, 0 to 2, or `auto`, the one that fits the gallery's size.  [default: the model's]",
)
@click.option(
    "--false-alarm-rate",
    type=click.FloatRange(0.0001, 0.5),
    help="With `--tolerance auto`: how often a face of nobody may get a match.  [default: 0.01]",
)
@click.option("--by-person", is_flag=True, help="Show a person once, with the nearest face.")
@click.option(
    "--filter",
    "conditions",
    metavar="JSON",
    type=NAME,
    help='Only faces whose metadata is so, as \'{"site": "Paris"}\'.',
)
@click.option(
    "--combine",
    type=click.Choice(["mean", "best"]),
    help="How several photos of one person are one probe: with the mean of their vectors, or by the least "
    "distance to any.",
)
@collection_option
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(
    photos: tuple[Path, ...],
    face_id: int | None,
    k: int,
    tolerance: float | str | None,
    false_alarm_rate: float | None,
    by_person: bool,
    conditions: str | None,
    combine: str | None,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Find the known faces nearest to each face of PHOTO, the nearest first.

    Of several photos the largest face of each is one person's, and --combine says how they count. Reads the
    database, and changes nothing in it.
    """
    if false_alarm_rate is not None and tolerance != "auto":
        raise click.UsageError("--false-alarm-rate counts with --tolerance auto only.")
    _check_probe(len(photos), face_id, combine)
    check_key(url, key)
    files = [(photo.name, read_photo(photo)) for photo in photos]
    if url is not None:
        query = {
            "k": k,
            "tolerance": tolerance,
            "false_alarm_rate": false_alarm_rate,
            "group_by": "person" if by_person else None,
            "filter": conditions,
            "combine": combine,
            "collection": collection,
        }
        path = "v1/search" if face_id is None else f"v1/faces/{face_id}/search"
        found = asked(url, key, path, query, [("file", file) for file in files], "faces")
    else:
        # Here, not above: numpy's threads are limited before it is loaded.
        from facesearch.bootstrap.direct import Asked, search_face, search_photos  # noqa: PLC0415

        settings, name = load_settings(), collection or DEFAULT_COLLECTION
        terms = Asked(k, tolerance, false_alarm_rate, name, by_person, conditions, combine)
        found = (
            search_photos(settings, files, terms)
            if face_id is None
            else search_face(settings, face_id, terms)
        )
    what = f"the face {face_id}" if face_id is not None else " and ".join(photo.name for photo in photos)
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(what, found)))


def _check_probe(photos: int, face_id: int | None, combine: str | None) -> None:
    if face_id is not None and (photos or combine):
        raise click.UsageError("--face goes without photos, and without --combine.")
    if face_id is None and not photos:
        raise click.UsageError("What is to be searched for? Give a PHOTO, or a stored face with --face ID.")
    if photos > 1 and combine is None:
        raise click.UsageError("Several photos of one person go with --combine mean, or --combine best.")


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    faces = found["faces"]
    if not faces:
        return [f"No face was found in {printable(name)}."]
    # A probe that is no photo, or several of them, has no place in one.
    is_photo = faces[0]["box"] is not None
    count = f"{len(faces)} {'face' if len(faces) == 1 else 'faces'} in"
    said = f"{count if is_photo else 'Searched with'} {printable(name)}"
    if (tolerance := found["tolerance"]) is not None:
        beyond = ", beyond what was measured" if found["tolerance_extrapolated"] else ""
        said += f"; matches are within the distance {tolerance:.4f}{beyond}"
    lines = [paragraph("", f"{said}.", 0)]
    if found["stale"]:
        away = f"The database is away: this is from a copy of {found['seconds']:.0f} s ago, without names."
        lines.append(click.style(paragraph("", away, 0), fg="yellow"))
    for number, face in enumerate(faces, 1):
        lines.append("")
        if is_photo:
            box = face["box"]
            size = f"{box['right'] - box['left']} x {box['bottom'] - box['top']} px"
            place = f"at {box['left']}, {box['top']}"
            lines.append(click.style(f"Face {number}", bold=True) + f", {size} {place}")
        lines += [f"{' ' * _INDENT}{line}" for line in _matches(face["matches"])]
    return lines


def _matches(matches: list[dict[str, Any]]) -> list[str]:
    if not matches:
        return ["nobody known"]
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("person", lambda match: match["person_name"] or "?"),
        ("face", lambda match: str(match["id"])),
        ("distance", lambda match: f"{match['distance']:.4f}"),
        ("similarity", lambda match: "" if match["similarity"] is None else f"{match['similarity']:.1f}"),
        ("faces", lambda match: f"{match['faces_within']:,}" if match.get("faces_within") else ""),
        ("external id", lambda match: match.get("external_id") or ""),
    ]
    # The last three only where there is something to show.
    columns = [column for at, column in enumerate(columns) if at < 3 or any(map(column[1], matches))]
    heads = [head for head, _ in columns]
    rows = [[told(match) for _, told in columns] for match in matches]
    right = {at for at, head in enumerate(heads) if head not in ("person", "external id")}
    return table(heads, rows, right, indent=_INDENT)
