"""The command `search` of `python3 -m facesearch`: whose faces are in a photo?"""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from facesearch.config import load_settings
from facesearch.errors import Invalid
from facesearch.import_report import printable
from facesearch.records import AutoTolerance
from facesearch.remote_service import RemoteService
from facesearch.terminal import paragraph, table

_INDENT = 2


class _Tolerance(click.ParamType[float | str]):
    """A distance, or `auto`."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "auto":
            return "auto"
        try:
            return click.FloatRange(0, 2).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither a distance from 0 to 2 nor `auto`.", param, ctx)


@click.command(short_help="Find the known faces nearest to those of a photo.")
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-k",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How many matches per face at most.",
)
@click.option(
    "--tolerance",
    type=_Tolerance(),
    help="Largest distance, 0 to 2, or `auto`, the one that fits the gallery's size.  [default: the model's]",
)
@click.option(
    "--false-alarm-rate",
    type=click.FloatRange(0.0001, 0.5),
    help="With `--tolerance auto`: how often a face of nobody may get a match.  [default: 0.01]",
)
@click.option("--url", metavar="URL", help="A running service to ask.  [default: the database itself]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def search(
    photo: Path,
    k: int,
    tolerance: float | str | None,
    false_alarm_rate: float | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Find the known faces nearest to each face of PHOTO, the nearest first.

    Reads the database, and changes nothing in it.
    """
    if false_alarm_rate is not None and tolerance != "auto":
        raise click.UsageError("--false-alarm-rate counts with --tolerance auto only.")
    data = read_photo(photo)
    if url is not None:
        found = _asked(url, photo.name, data, k, tolerance, false_alarm_rate)
    else:
        # Here, not above: numpy's threads are limited before it is loaded.
        from facesearch.bootstrap.direct import search_photo  # noqa: PLC0415

        within = AutoTolerance(false_alarm_rate or AutoTolerance().false_alarm_rate)
        distance = within if tolerance == "auto" else None if tolerance is None else float(tolerance)
        found = search_photo(load_settings(), data, photo.name, k, distance)
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(_lines(photo.name, found)))


def read_photo(photo: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        Invalid: it cannot be read.
    """
    try:
        return photo.read_bytes()
    except OSError as error:
        raise Invalid(f"{photo.name} cannot be read: {error.strerror}.") from None


def _asked(
    url: str, name: str, photo: bytes, k: int, tolerance: float | str | None, rate: float | None
) -> dict[str, Any]:
    query = {"k": k, "tolerance": tolerance, "false_alarm_rate": rate}
    given = {name: value for name, value in query.items() if value is not None}
    with closing(RemoteService(url)) as service:
        result = service.ask("POST", "search_faces/", given, {"file": (name, photo)}).get("result")
        if not isinstance(result, dict):
            raise Invalid(f"What {service.name} answers is not understood: is it a facesearch?")
        return result


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    faces = found["faces"]
    if not faces:
        return [f"No face was found in {printable(name)}."]
    lines = [f"{len(faces)} {'face' if len(faces) == 1 else 'faces'} in {printable(name)}."]
    if (tolerance := found.get("tolerance")) is not None:
        beyond = ", beyond what was measured" if found.get("tolerance_extrapolated") else ""
        lines.append(f"Matches are within {tolerance:.4f}{beyond}.")
    if found.get("stale"):
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
    similar = any(match.get("similarity") is not None for match in matches)
    heads = ["person", "id", "distance", *(["similarity"] if similar else [])]
    rows = []
    for match in matches:
        row = [match["person_name"] or "?", str(match["id"]), f"{match['distance']:.4f}"]
        if similar:
            row.append(f"{match['similarity']:.1f}")
        rows.append(row)
    return table(heads, rows, right={1, 2, 3}, indent=_INDENT)
