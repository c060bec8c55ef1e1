"""The commands of `python3 -m facesearch reencode`: a second model for a collection."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from facesearch.commands.confirming import confirm, yes_option
from facesearch.commands.import_bar import ImportBar
from facesearch.commands.import_report import described, printable
from facesearch.commands.printing import as_object, counted
from facesearch.commands.terminal import table
from facesearch.commands.text_arguments import COLLECTION
from facesearch.config import load_settings
from facesearch.errors import Conflict, Invalid
from facesearch.records import Job

_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_CHANGES = {
    "unchanged": "have the same nearest face, or none, as before",
    "same_person": "have another face of the same person",
    "other": "have somebody else's face",
    "gained": "have a match, and had none",
    "lost": "have none any more",
}

collection_argument = click.argument("collection", type=COLLECTION)


@click.group(short_help="Give a collection another model's vectors.")
def reencode() -> None:
    """Give a collection another model: its vectors are made beside the old ones, compared, and switched to.

    Until the switch everything goes on with the old vectors; the two are never compared with each other.
    """


@reencode.command(short_help="Make another model's vectors, or go on with that.")
@collection_argument
@click.option(
    "--model",
    required=True,
    metavar="ID",
    help="The new vectors' model: an installed one and their kind, as sface-mirror.",
)
@click.option(
    "--photos",
    metavar="FOLDER|ZIP",
    type=click.Path(exists=True, path_type=Path),
    help="The photos that the faces came from; each is known by its bytes.  [default: the kept crops]",
)
@as_object
def start(collection: str, model: str, photos: Path | None, as_json: bool) -> None:
    """Make vectors of another model for the faces of COLLECTION that have none of it yet.

    It is a job that `jobs` shows. Interrupted or killed, the same command goes on where it was. Ends with 1
    where faces are left without a vector.
    """
    # Here, not above: `serve` needs none of it, and numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.reencoding import reencode as run  # noqa: PLC0415

    try:
        with ImportBar(sys.stderr.isatty() and not as_json) as bar:

            def show(job: Job) -> None:
                bar.files(job.total, job.counts)

            job = run(load_settings(), collection, model, photos, show)
    except KeyboardInterrupt:
        click.echo("Interrupted. The vectors that were made stay; the same command goes on.", err=True)
        sys.exit(_INTERRUPTED)
    except OSError as error:
        name = printable(photos.name) if photos else "The photos"
        raise Invalid(f"{name} cannot be read: {error.strerror}.") from None
    told = _status(collection)
    if as_json:
        click.echo(json.dumps({"job": job, "reencoding": told}, indent=2))
    else:
        counts = {name: number for name, number in job["counts"].items() if name != "total"}
        click.echo(f"{counted(job['counts']['total'], 'face')} worked on: {described(counts) or 'none'}.")
        _tell(told)
    if told["missing"]:
        sys.exit(1)


@reencode.command(short_help="Tell how far it is.")
@collection_argument
@as_object
def status(collection: str, as_json: bool) -> None:
    """Tell which model COLLECTION has, which one is to come, and how many faces have vectors of it."""
    told = _status(collection)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _tell(told)


@reencode.command(short_help="Tell which matches a switch would change.")
@collection_argument
@click.option(
    "--probes",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="How many of its faces are searched for.",
)
@click.option(
    "--examples",
    type=click.IntRange(0, 1_000),
    default=10,
    show_default=True,
    help="How many changes are shown one by one.",
)
@as_object
def compare(collection: str, probes: int, examples: int, as_json: bool) -> None:
    """Search for faces of COLLECTION among its others with both models, and tell what a switch would change.

    Each is searched for within the model's own tolerance, and the nearest other face counts.
    """
    from facesearch.bootstrap.reencoding import preview_switch  # noqa: PLC0415

    told = preview_switch(load_settings(), collection, probes, examples)
    click.echo(json.dumps(told, indent=2) if as_json else "\n".join(_compared(told)))


@reencode.command(short_help="Switch to the new model.")
@collection_argument
@click.option(
    "--drop-missing", is_flag=True, help="Remove faces for good that have no vector of the new model."
)
@yes_option
@as_object
def switch(collection: str, drop_missing: bool, yes: bool, as_json: bool) -> None:
    """Let COLLECTION be one of its new model, at once; the old vectors go.

    It is refused while faces lack a vector.
    """
    from facesearch.bootstrap.reencoding import switch_model  # noqa: PLC0415

    before = _status(collection)
    if before["missing"] and not drop_missing:
        raise Conflict(
            f"{before['missing']:,} of {counted(before['faces'], 'face')} have no vector of "
            f"{before['next_model']}. `reencode start` makes more; --drop-missing removes them for good with "
            "the switch."
        )
    if before["next_model"] is not None:
        gone = (
            f", and {counted(before['missing'], 'face')} removed"
            if drop_missing and before["missing"]
            else ""
        )
        confirm(f"Switch {printable(collection)} to {before['next_model']}{gone}?", yes)
    told = switch_model(load_settings(), collection, drop_missing)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    dropped = (
        f" {counted(told['dropped'], 'face')} without a vector of it removed." if told["dropped"] else ""
    )
    click.echo(
        f"{printable(collection)} is of {told['model']} now: {counted(told['faces'], 'face')}.{dropped}"
    )
    if not told["wiped"]:
        click.echo("Others were reading the database: what was removed may be in its log still.", err=True)


@reencode.command(short_help="Give it up.")
@collection_argument
@yes_option
@as_object
def abandon(collection: str, yes: bool, as_json: bool) -> None:
    """Remove the new model's vectors of COLLECTION; the old ones are as they were."""
    from facesearch.bootstrap.reencoding import abandon_reencoding  # noqa: PLC0415

    before = _status(collection)
    confirm(f"Remove {counted(before['reencoded'], 'new vector')} of {printable(collection)}?", yes)
    abandon_reencoding(load_settings(), collection)
    if as_json:
        click.echo(json.dumps(_status(collection), indent=2))
    else:
        click.echo(f"{counted(before['reencoded'], 'new vector')} of {printable(collection)} removed.")


def _status(collection: str) -> dict[str, Any]:
    from facesearch.bootstrap.reencoding import reencoding_progress  # noqa: PLC0415

    return reencoding_progress(load_settings(), collection)


def _tell(told: dict[str, Any]) -> None:
    name = printable(told["collection"])
    if told["next_model"] is None:
        model = told["model"] or "no model yet"
        click.echo(f"{name} is of {model}, with {counted(told['faces'], 'face')}; no other is being made.")
        return
    click.echo(
        f"{name} is of {told['model']}; {told['reencoded']:,} of {counted(told['faces'], 'face')} have a "
        f"vector of {told['next_model']}."
    )
    if told["missing"]:
        why = f"; `jobs report {told['job']}` tells why" if told["job"] else ""
        click.echo(f"{counted(told['missing'], 'face')} without one{why}.")


def _compared(told: dict[str, Any]) -> list[str]:
    now = f"{told['tolerance']:g} of {told['model']}"
    then = f"{told['next_tolerance']:g} of {told['next_model']}"
    probes = counted(told["probes"], "face")
    lines = [f"{probes} searched for among {told['faces']:,}, within {now} and {then}:"]
    lines += [f"  {told['counts'][change]:,} {words}" for change, words in _CHANGES.items()]
    if told["known"]:
        lines.append(
            f"Of {told['known']:,} whose person has other faces, the nearest is that person's for "
            f"{told['right_now']:,} now and {told['right_next']:,} then."
        )
    if told["examples"]:
        rows = [
            [_named(one), one["change"], _matched(one["now"]), _matched(one["next"])]
            for one in told["examples"]
        ]
        lines += ["", *table(["face", "change", "now", "then"], rows, shrinks=0)]
    return lines


def _named(one: dict[str, Any]) -> str:
    return f"{one['face_id']} {one['person_name']}".rstrip()


def _matched(match: dict[str, Any] | None) -> str:
    return "none" if match is None else f"{_named(match)} {match['distance']:.3f}"
