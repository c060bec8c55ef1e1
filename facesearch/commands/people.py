"""The commands of `python3 -m facesearch people`: who is in a collection, and whose faces are whose."""

import json
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
from facesearch.commands.text_arguments import ID, NAME
from facesearch.errors import InvalidParameter, NameTaken

_INDENT = 11

person_argument = click.argument("person", metavar="PERSON", type=NAME)


@click.group(short_help="List, name, merge and delete people.")
def people() -> None:
    """People of a collection: list, name, merge and delete them, and say whose a face is.

    PERSON is an id or a name. What is all digits is an id; =7 is the name 7.
    """


@people.command("list", short_help="List people by their ids.")
@limit_option
@all_option
@source_options
@as_object
def list_people(
    limit: int, every: bool, collection: str | None, url: str | None, key: str | None, as_json: bool
) -> None:
    """List people by their ids."""
    most = None if every else limit
    with collection_at(url, key, collection) as source:
        print_list(
            source.people(most),
            ["id", "name", "faces", "cover", "made"],
            _row,
            right={0, 2, 3},
            shrinks=1,
            as_json=as_json,
            empty="There are no people.",
            most=most,
        )


@people.command(short_help="Tell about a person.")
@person_argument
@source_options
@as_object
def show(person: str, collection: str | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Tell about PERSON, an id or a name; `faces list --person` lists the faces."""
    with collection_at(url, key, collection) as source:
        _print(source.person(person_of(person)), as_json)


@people.command(short_help="Make a person without faces.")
@click.argument("name", type=NAME)
@source_options
@as_object
def create(name: str, collection: str | None, url: str | None, key: str | None, as_json: bool) -> None:
    """Make a person called NAME, without faces."""
    with collection_at(url, key, collection) as source:
        _print(source.add_person(name), as_json)


@people.command(short_help="Give a person another name.")
@person_argument
@click.argument("name", type=NAME)
@source_options
@as_object
def rename(
    person: str, name: str, collection: str | None, url: str | None, key: str | None, as_json: bool
) -> None:
    """Give PERSON the name NAME. Where there is another one of that name, `people merge` joins the two."""
    with collection_at(url, key, collection) as source:
        who = source.person(person_of(person))
        try:
            renamed = source.rename_person(_id(who), name)
        except NameTaken as error:
            raise NameTaken(f"{error.message} `facesearch people merge` joins the two.") from None
        _print(renamed, as_json)


@people.command(short_help="Join people who are one.")
@person_argument
@click.argument("others", metavar="OTHER...", type=NAME, nargs=-1, required=True)
@yes_option
@source_options
@as_object
def merge(
    person: str,
    others: tuple[str, ...],
    yes: bool,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Give PERSON all faces of each OTHER, who is gone then. Nothing tells them apart afterwards."""
    with collection_at(url, key, collection) as source:
        kept = source.person(person_of(person))
        gone = [source.person(person_of(other)) for other in dict.fromkeys(others)]
        if any(_id(one) == _id(kept) for one in gone):
            raise InvalidParameter("A person cannot be merged with itself.")
        names = ", ".join(_called(one) for one in gone[:5]) + (", ..." if len(gone) > 5 else "")
        faces = counted(sum(one["faces"] for one in gone), "face")
        confirm(f"Give {_called(kept)} the {faces} of {names}, for good?", yes)
        joined = source.merge_people(_id(kept), list(dict.fromkeys(_id(one) for one in gone)))
        _print(joined, as_json)


@people.command(short_help="Say whose faces these are.")
@person_argument
@click.argument("face_ids", metavar="FACE...", type=ID, nargs=-1, required=True)
@source_options
@as_object
def assign(
    person: str,
    face_ids: tuple[int, ...],
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Say that the faces FACE... are PERSON's; `faces unassign` lets them be nobody's."""
    ids = list(dict.fromkeys(face_ids))
    with collection_at(url, key, collection) as source:
        whose = source.person(person_of(person))
        done = source.assign(_id(whose), ids)
    if as_json:
        click.echo(json.dumps({"person": whose["id"], "assigned": done}, indent=2))
    else:
        click.echo(f"{counted(len(done), 'face')} of {_called(whose)} now.{not_there(ids, done)}")


@people.command(short_help="Choose the face that stands for a person.")
@person_argument
@click.argument("face_id", metavar="[FACE]", type=ID, required=False)
@source_options
@as_object
def cover(
    person: str,
    face_id: int | None,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Let FACE stand for PERSON; without one, the first face does."""
    with collection_at(url, key, collection) as source:
        _print(source.set_cover(_id(source.person(person_of(person))), face_id), as_json)


@people.command(short_help="Delete a person for good.")
@person_argument
@click.option(
    "--faces",
    type=click.Choice(["keep", "delete"]),
    required=True,
    help="keep: the faces stay, and are nobody's; delete: nothing of them stays either.",
)
@yes_option
@source_options
@as_object
def delete(
    person: str,
    faces: str,
    yes: bool,
    collection: str | None,
    url: str | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Delete PERSON for good, with the faces or without them."""
    with collection_at(url, key, collection) as source:
        who = source.person(person_of(person))
        number = counted(who["faces"], "face")
        fate = "and all of the" if faces == "delete" else "but not the"
        confirm(f"Delete {_called(who)}, {fate} {number}, for good?", yes)
        gone = source.delete_person(_id(who), with_faces=faces == "delete")
    if as_json:
        click.echo(json.dumps({"person": who["id"], "deleted": gone}, indent=2))
    elif faces == "delete":
        click.echo(f"Deleted {_called(who)} and {counted(len(gone), 'face')}.")
    else:
        fate = "stays, and is" if who["faces"] == 1 else "stay, and are"
        click.echo(f"Deleted {_called(who)}. The {number} {fate} nobody's.")


def _id(person: dict[str, Any]) -> int:
    return int(person["id"])


def _called(person: dict[str, Any]) -> str:
    return f"{printable(person['name'])} (id {person['id']})"


def _row(person: dict[str, Any]) -> list[str]:
    cover = "-" if person["cover_face"] is None else str(person["cover_face"])
    made = (person["created_at"] or "-")[:10]
    return [str(person["id"]), person["name"], f"{person['faces']:,}", cover, made]


def _print(person: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(person, indent=2))
        return
    fields = {
        "id": str(person["id"]),
        "faces": f"{person['faces']:,}",
        "cover": None if person["cover_face"] is None else f"face {person['cover_face']}",
        "made": moment(person["created_at"]),
    }
    print_fields(person["name"], fields, _INDENT)
