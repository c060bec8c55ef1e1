"""The commands of `python3 -m facesearch keys`: who may use the service."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from facesearch.commands.printing import as_object
from facesearch.commands.terminal import paragraph, table
from facesearch.commands.text_arguments import COLLECTION
from facesearch.config import load_settings
from facesearch.errors import InvalidParameter
from facesearch.records import ALL_COLLECTIONS, DEFAULT_COLLECTION, SCOPES, Key

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from facesearch.bootstrap.keys import KeyDesk

_SPAN = re.compile(r"([0-9]{1,6})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_KEY_IN_TEXT = re.compile(r"fs_([0-9a-z]{8})_.*")


@click.group()
def keys() -> None:
    """Keys of the service's clients: make, list and revoke them.

    Without any key the service answers programs on its own computer only. Once one was made, every request
    needs a key.
    """


@keys.command(short_help="Make a key, and show it once.")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    required=True,
    help="read: searches and information; write: also what changes something; admin: everything.",
)
@click.option(
    "--collection",
    metavar="NAME|*",
    type=COLLECTION,
    default=DEFAULT_COLLECTION,
    show_default=True,
    help="The collection that it is for; '*', in quotes, is for all, and for making and deleting them.",
)
@click.option("--name", default="", help="Whose key it is, for people to read.")
@click.option(
    "--expires",
    metavar="90d|DATE",
    help="When it ends: in hours, days or weeks (12h, 90d, 4w), or at a date or a time such as 2030-01-31 "
    "or 2030-01-31T12:00+01:00; UTC where no zone is named.  [default: never]",
)
@as_object
def create(scope: str, collection: str, name: str, expires: str | None, as_json: bool) -> None:
    """Make a key, and show it once: it is not kept, only its SHA-256.

    A key is for one collection, which is meant where its requests name none, or for all.
    """
    expires_at = None if expires is None else _moment(expires, datetime.now(UTC))
    with _desk(makes_database=True) as desk:
        text, key = desk.create(scope, collection, name, expires_at)
    if as_json:
        click.echo(json.dumps({"key": text, **_told(key)}, indent=2))
        return
    what = "all collections" if key.collection == ALL_COLLECTIONS else f"the collection {key.collection}"
    made = f"Made the key {key.prefix} of scope {key.scope} for {what}, {_end(key)}. It is shown this once:"
    click.echo(paragraph("", made, 0) + "\n")
    click.echo(f"  {text}\n")
    click.echo("Send it as the header `X-API-Key`, or as `Authorization: Bearer`.")


@keys.command("list", short_help="List the keys.")
@as_object
def list_keys(as_json: bool) -> None:
    """List all keys, also those that are revoked or have expired; none of them can be shown again."""
    # Here, not above: as in `_desk`.
    from facesearch.bootstrap.keys import stored_keys  # noqa: PLC0415

    found = stored_keys(load_settings())
    if as_json:
        click.echo(json.dumps([_told(key) for key in found], indent=2))
    elif not found:
        click.echo(
            "There are no keys: the service answers programs on its own computer only. "
            "`facesearch keys create --scope read` makes one."
        )
    else:
        rows = [_row(key) for key in found]
        heads = ["prefix", "name", "scope", "collection", "state", "made", "last used", "expires"]
        click.echo("\n".join(table(heads, rows, shrinks=(1, 3))))


@keys.command(short_help="Revoke a key for good.")
@click.argument("prefix")
@as_object
def revoke(prefix: str, as_json: bool) -> None:
    """Revoke the key PREFIX for good; the whole key does as well."""
    whole = _KEY_IN_TEXT.fullmatch(prefix)
    with _desk() as desk:
        key = desk.revoke(whole[1] if whole else prefix)
    if as_json:
        click.echo(json.dumps(_told(key), indent=2))
    else:
        click.echo(f"The key {key.prefix} is revoked; within a second the service refuses it.")


def _desk(*, makes_database: bool = False) -> "AbstractContextManager[KeyDesk]":
    # Here, not above: `serve` needs none of it, and numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.keys import key_desk  # noqa: PLC0415

    return key_desk(load_settings(), makes_database=makes_database)


def _moment(text: str, now: datetime) -> datetime:
    try:
        if span := _SPAN.fullmatch(text):
            return now + timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidParameter(f"--expires takes 12h, 90d, 4w, a date or a time, not {text!r}.") from None


def _told(key: Key) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scope": key.scope,
        "collection": key.collection,
        "state": key.state(datetime.now(UTC)),
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
        "expires_at": key.expires_at and key.expires_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
    }


def _row(key: Key) -> list[str]:
    state = key.state(datetime.now(UTC))
    days = [_day(moment) for moment in (key.created_at, key.last_used_at, key.expires_at)]
    return [key.prefix, key.name, key.scope, key.collection, state, *days]


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"


def _end(key: Key) -> str:
    return (
        f"which expires at {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "which never expires"
    )
