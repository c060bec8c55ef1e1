"""The command `export` of `python3 -m facesearch`: a collection as one file."""

import json
import sys
from pathlib import Path

import click

from facesearch.commands.import_report import printable
from facesearch.commands.member_bar import MemberBar
from facesearch.commands.printing import as_object, counted
from facesearch.commands.text_arguments import COLLECTION
from facesearch.config import load_settings
from facesearch.errors import Invalid


@click.command(short_help="Write a collection into one file.")
@click.argument("collection", type=COLLECTION)
@click.argument("file", metavar="FILE.zip", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace the file where it is there already.")
@as_object
def export(collection: str, file: Path, replace: bool, as_json: bool) -> None:
    """Write the faces and people of COLLECTION into FILE.zip, as they are at one moment.

    `import FILE.zip --collection NAME` takes it in again, on any database. The file holds vectors, names, and
    crops where they are kept: guard it as you guard the database. Its owner alone may read it.
    """
    # Here, not above: `serve` needs none of it, and numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.exporting import export as write  # noqa: PLC0415

    name = printable(file.name)
    try:
        with MemberBar(sys.stderr.isatty() and not as_json) as bar:
            told = write(load_settings(), collection, file, replace, bar.show)
    except OSError as error:
        raise Invalid(f"{name} cannot be written: {error.strerror}.") from None
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    parts = [counted(told["faces"], "face"), counted(told["people"], "person", "people")]
    parts += [counted(told["crops"], "crop")] if told["crops"] else []
    click.echo(f"{name} holds {', '.join(parts)} of {printable(collection)}: {told['bytes']:,} bytes.")
