"""The command `bench` of `python3 -m facesearch`: how fast is this installation?"""

import json

import click

from facesearch.commands.terminal import paragraph
from facesearch.config import load_settings

_INDENT = 18
_LABELS = {
    "encode": "encode",
    "search_gallery": "search, gallery",
    "search_synthetic": "search, made up",
    "bulk": "bulk",
}
_NOTE = (
    "A short benchmark of this installation as it is now, beside whatever else this host does: a hint, no "
    "measurement to compare machines by."
)


@click.command(short_help="Measure this installation, within about a minute.")
@click.option(
    "--faces",
    type=click.IntRange(1, 5_000_000),
    default=100_000,
    show_default=True,
    help="How many made-up faces are searched.",
)
@click.option(
    "--photos",
    type=click.IntRange(1, 100_000),
    default=64,
    show_default=True,
    help="How many photos the processes of the pool encode.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def bench(faces: int, photos: int, as_json: bool) -> None:
    """Measure this installation: encoding, searching, and photos in bulk, with the project's test photos.

    Nothing is stored, and nothing of the gallery is changed.
    """
    # Here, not above: numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.bench import Bench  # noqa: PLC0415

    run = Bench(load_settings(), faces, photos)
    machine = run.machine()
    if not as_json:
        click.echo(paragraph("", _NOTE, 0))
        click.echo()
        for name, value in machine.items():
            click.echo(paragraph(f"  {name}", value, _INDENT))
        click.echo()
    figures = {}
    for figure in run.figures():
        known = None if figure.value is None else round(figure.value, 3)
        figures[figure.name] = {"value": known, "unit": figure.unit, "note": figure.note}
        if not as_json:
            amount = _amount(figure.value, figure.unit)
            label = f"  {_LABELS.get(figure.name, figure.name):<{_INDENT - 2}}"
            click.echo(paragraph(label + click.style(f"{amount:>15}", bold=True), figure.note, _INDENT + 17))
    if as_json:
        click.echo(json.dumps({"note": _NOTE, "machine": machine, "figures": figures}, indent=2))


def _amount(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
