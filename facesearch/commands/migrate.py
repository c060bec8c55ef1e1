"""The command `migrate` of `python3 -m facesearch`: the database's tables, of this version."""

import json
import sys

import click

from facesearch.config import load_settings


@click.command(short_help="Bring the database's tables to this version.")
@click.option("--check", is_flag=True, help="Only tell; ends with 1 where there is something to do.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def migrate(check: bool, as_json: bool) -> None:
    """Make the database's tables, or bring them to the version that this program needs.

    The service does the same when it starts. Make a backup first: there is no way back.
    """
    from facesearch.bootstrap.direct import migrate_tables, tables_version  # noqa: PLC0415

    settings = load_settings()
    before, needed = tables_version(settings)
    ready = before == needed
    done = not ready and not check
    if done:
        migrate_tables(settings)
    if as_json:
        told = {"from": before or None, "to": needed, "up_to_date": ready, "migrated": done}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(_sentence(before, needed, done))
    if check and not ready:
        sys.exit(1)


def _sentence(before: str | None, needed: str, done: bool) -> str:
    if before == needed:
        return f"The tables are of version {needed}, as this program needs them. There is nothing to do."
    there = f"version {before}" if before else "no version" if before == "" else None
    if done:
        return (
            f"Made the tables, version {needed}."
            if there is None
            else f"Brought the tables from {there} to version {needed}."
        )
    if there is None:
        return f"There are no tables yet; `facesearch migrate` makes them, version {needed}."
    return f"The tables are of {there}; `facesearch migrate` brings them to version {needed}."
