"""The command `search` of `python3 -m facesearch`: whose faces are in a photo?"""

import json
from pathlib import Path
from typing import Any

import click

from facesearch.commands.import_report import printable
from facesearch.commands.photo_arguments import PHOTO, TOLERANCE, read_photo
from facesearch.commands.remote_options import asked, check_key, service_options
from facesearch.commands.terminal import paragraph, table
from facesearch.config import load_settings

_INDENT = 2


@click.command(short_help="Find the known faces nearest to those of a photo.")
@click.argument("photo", type=PHOTO)
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
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(
    photo: Path,
    k: int,
    tolerance: float | str | None,
    false_alarm_rate: float | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Find the known faces nearest to each face of PHOTO, the nearest first.

    Reads the database, and changes nothing in it.
    """
    if false_alarm_rate is not None and tolerance != "auto":
        raise click.UsageError("--false-alarm-rate counts with --tolerance auto only.")
    check_key(url, key)
    data = read_photo(photo)
    if url is not None:
        query = {"k": k, "tolerance": tolerance, "false_alarm_rate": false_alarm_rate}
        found = asked(url, key, "v1/search", query, {"file": (photo.name, data)}, "faces")
    else:
        # Here, not above: numpy's threads are limited before it is loaded.
        from facesearch.bootstrap.direct import search_photo  # noqa: PLC0415

        found = search_photo(load_settings(), (photo.name, data), k, tolerance, false_alarm_rate)
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(photo.name, found)))


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    faces = found["faces"]
    if not faces:
        return [f"No face was found in {printable(name)}."]
    lines = [f"{len(faces)} {'face' if len(faces) == 1 else 'faces'} in {printable(name)}."]
    if (tolerance := found["tolerance"]) is not None:
        beyond = ", beyond what was measured" if found["tolerance_extrapolated"] else ""
        lines[0] = f"{lines[0][:-1]}; matches are within the distance {tolerance:.4f}{beyond}."
        lines = [paragraph("", lines[0], 0)]
    if found["stale"]:
        away = f"The database is away: this is from a copy of {found['seconds']:.0f} s ago, without names."
        lines.append(click.style(paragraph("", away, 0), fg="yellow"))
    for number, face in enumerate(faces, 1):
        box = face["box"]
        size = f"{box['right'] - box['left']} x {box['bottom'] - box['top']} px"
        place = f"at {box['left']}, {box['top']}"
        lines += ["", click.style(f"Face {number}", bold=True) + f", {size} {place}"]
        lines += [f"{' ' * _INDENT}{line}" for line in _matches(face["matches"])]
    return lines


def _matches(matches: list[dict[str, Any]]) -> list[str]:
    if not matches:
        return ["nobody known"]
    similar = any(match["similarity"] is not None for match in matches)
    heads = ["person", "id", "distance", *(["similarity"] if similar else [])]
    rows = []
    for match in matches:
        row = [match["person_name"] or "?", str(match["id"]), f"{match['distance']:.4f}"]
        if similar:
            row.append(f"{match['similarity']:.1f}")
        rows.append(row)
    return table(heads, rows, right={1, 2, 3}, indent=_INDENT)
