"""Numbers of persons, and a history of its own, in which removals are entries too.

A face's change number moves from its row to the history; its column becomes that of insert keys, which
are as unique. Faces that are there get their persons' numbers in the order in which the persons came. As
in 0001, each step leaves alone what an earlier, broken run has done.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from facesearch.databases.migrations.columns import BIG, MYSQL, column

revision = "0002"
down_revision = "0001"

BINARY = sa.LargeBinary().with_variant(mysql.BINARY(), "mysql", "mariadb")
# The UTF-8 bytes of 255 characters: as text, MySQL would take "Ana" and "Ana " for the same.
NAME = sa.VARBINARY(1020).with_variant(sa.LargeBinary(), "sqlite")


def upgrade() -> None:
    """Make the tables of persons and of the history, and move what the faces' rows hold of both."""
    op.create_table(
        "FACESEARCH_PERSON",
        column("number", BIG, primary_key=True, autoincrement=False),
        column("name", NAME),
        sa.UniqueConstraint("name", name="FACESEARCH_PERSON_name"),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "FACESEARCH_CHANGE",
        column("change_number", BIG, primary_key=True, autoincrement=False),
        column("face_id", BIG),
        column("model_id", sa.String(64)),
        column("person_number", BIG),
        column("removed", sa.SmallInteger()),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_CHANGE", "face_id")
    _index("FACESEARCH_CHANGE", "person_number")
    if "newest_person" not in _columns("FACESEARCH_STATE"):
        op.add_column("FACESEARCH_STATE", column("newest_person", BIG, server_default=sa.text("0")))
    if "change_number" in _columns("IMAGE_DATASET"):
        _number_persons()
        _copy_changes()
        op.alter_column(
            "IMAGE_DATASET",
            "change_number",
            new_column_name="insert_key",
            existing_type=sa.BigInteger(),
            existing_nullable=False,
        )


def _columns(table: str) -> list[str]:
    return [one["name"] for one in sa.inspect(op.get_bind()).get_columns(table)]


def _index(table: str, name: str) -> None:
    known = sa.inspect(op.get_bind()).get_indexes(table)
    if f"{table}_{name}" not in [one["name"] for one in known]:
        op.create_index(f"{table}_{name}", table, [name])


def _number_persons() -> None:
    connection = op.get_bind()
    face = sa.table("IMAGE_DATASET", *map(sa.column, ("id", "person_name")))
    person = sa.table("FACESEARCH_PERSON", *map(sa.column, ("number", "name")))
    state = sa.table("FACESEARCH_STATE", sa.column("newest_person"))
    name = sa.cast(face.c.person_name, BINARY)
    newest = connection.execute(sa.select(sa.func.max(person.c.number))).scalar_one() or 0
    number = sa.func.row_number().over(order_by=sa.func.min(face.c.id)) + newest
    names = sa.select(number, name).where(name.not_in(sa.select(person.c.name))).group_by(name)
    connection.execute(sa.insert(person).from_select(["number", "name"], names))
    last = connection.execute(sa.select(sa.func.max(person.c.number))).scalar_one() or 0
    connection.execute(sa.update(state).where(state.c.newest_person < last).values(newest_person=last))


def _copy_changes() -> None:
    columns = ("change_number", "face_id", "model_id", "person_number", "removed")
    face = sa.table("IMAGE_DATASET", *map(sa.column, ("id", "person_name", "model_id", "change_number")))
    person = sa.table("FACESEARCH_PERSON", *map(sa.column, ("number", "name")))
    change = sa.table("FACESEARCH_CHANGE", *map(sa.column, columns))
    entries = (
        sa.select(face.c.change_number, face.c.id, face.c.model_id, person.c.number, sa.literal(0))
        .join(person, person.c.name == sa.cast(face.c.person_name, BINARY))
        .where(face.c.change_number.not_in(sa.select(change.c.change_number)))
    )
    op.get_bind().execute(sa.insert(change).from_select(columns, entries))
