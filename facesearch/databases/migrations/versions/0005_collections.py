"""Collections of faces; people who may be kept without faces; metadata to filter by; crops; erasure.

Faces, persons, the history and jobs get the number of their collection, all that is there that of the default
one. As in 0001, each step leaves alone what an earlier, broken run has done.
"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from facesearch.databases.metadata_values import metadata_rows
from facesearch.databases.migrations.columns import BIG, DIGEST, MOMENT, MYSQL, column

revision = "0005"
down_revision = "0004"

# The UTF-8 bytes of 255 characters, as in 0002.
NAME = sa.VARBINARY(1020).with_variant(sa.LargeBinary(), "sqlite")
VECTOR = sa.VARBINARY(4096).with_variant(sa.LargeBinary(), "sqlite")
CROP = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
DEFAULT, FIRST = b"default", sa.text("1")
ROWS_A_BATCH = 500
LONGEST_NAME = 255


def upgrade() -> None:
    """Make the tables, number what is there, and copy metadata to where they are filtered by."""
    _number_history()
    _forget_nobody()
    _make_collections()
    _add("IMAGE_DATASET", column("collection_number", BIG, server_default=FIRST))
    _add("IMAGE_DATASET", column("photo_bytes", BIG, nullable=True))
    _add("IMAGE_DATASET", column("person_number", BIG, server_default=sa.text("0")))
    _number_faces()
    _index("IMAGE_DATASET", "collection_number")
    _index("IMAGE_DATASET", "collection_number", "person_number")
    _index("IMAGE_DATASET", "external_id")
    _index("FACESEARCH_CHANGE", "collection_number", "change_number")
    _widen_persons()
    for name, kind, default in (
        ("collection_number", BIG, "1"),
        ("collection", sa.String(255), "default"),
        ("kind", sa.String(16), "import"),
    ):
        _add("FACESEARCH_JOB", column(name, kind, server_default=default))
    if not _is_sqlite():  # which does not count characters
        op.alter_column("FACESEARCH_KEY", "collection", type_=sa.String(255), existing_nullable=False)
    _make_job_faces()
    _make_metadata()
    _make_others()


def _number_history() -> None:
    """Number the history's collections, and let processes of the older version write to it no more.

    First of all: a face that such a process adds beside this would be nobody's, and no news to anybody. The
    column has no default, so whatever says no number is refused.
    """
    _add("FACESEARCH_CHANGE", column("collection_number", BIG, server_default=FIRST))
    if _is_sqlite():
        # Which changes a column by making its table anew; all of it is one transaction.
        with op.batch_alter_table("FACESEARCH_CHANGE", recreate="always") as table:
            table.alter_column("collection_number", server_default=None)
    else:
        op.alter_column("FACESEARCH_CHANGE", "collection_number", server_default=None)


def _forget_nobody() -> None:
    """Let faces without a name have no person, and tell of them anew: copies know another number.

    Their changes move as far as the newest one is, which keeps their order.
    """
    change = sa.table("FACESEARCH_CHANGE", *map(sa.column, ("change_number", "person_number")))
    person = sa.table("FACESEARCH_PERSON", *map(sa.column, ("number", "name")))
    state = sa.table("FACESEARCH_STATE", sa.column("newest_change"))
    connection = op.get_bind()
    nobody = connection.execute(sa.select(person.c.number).where(person.c.name == b"")).scalar()
    if nobody is None:
        return
    newest = connection.execute(sa.select(sa.func.max(change.c.change_number))).scalar_one() or 0
    further = {"change_number": change.c.change_number + newest, "person_number": 0}
    connection.execute(sa.update(change).where(change.c.person_number == nobody).values(**further))
    newest = connection.execute(sa.select(sa.func.max(change.c.change_number))).scalar_one() or 0
    connection.execute(sa.update(state).where(state.c.newest_change < newest).values(newest_change=newest))
    connection.execute(sa.delete(person).where(person.c.number == nobody))


def _make_collections() -> None:
    op.create_table(
        "FACESEARCH_COLLECTION",
        column("number", BIG, primary_key=True, autoincrement=True),
        column("name", NAME),
        column("model_id", sa.String(64), nullable=True),
        column("next_model_id", sa.String(64), nullable=True),
        column("newest_change", BIG),
        column("created_at", MOMENT),
        column("deleted_at", MOMENT, nullable=True),
        sa.UniqueConstraint("name", name="FACESEARCH_COLLECTION_name"),
        # SQLite would give the number of a deleted collection to the next one.
        sqlite_autoincrement=True,
        if_not_exists=True,
        **MYSQL,
    )
    collection = sa.table(
        "FACESEARCH_COLLECTION",
        *map(sa.column, ("number", "name", "model_id", "newest_change", "created_at")),
    )
    connection = op.get_bind()
    if connection.execute(sa.select(collection.c.number)).first() is None:
        model = sa.table("FACESEARCH_MODEL", sa.column("model_id"))
        state = sa.table("FACESEARCH_STATE", sa.column("newest_change"))
        connection.execute(
            sa.insert(collection).values(
                number=1,
                name=DEFAULT,
                model_id=connection.execute(sa.select(model.c.model_id)).scalar(),
                newest_change=connection.execute(sa.select(state.c.newest_change)).scalar_one(),
                created_at=datetime.now(UTC).replace(tzinfo=None),
            )
        )


def _number_faces() -> None:
    """Copy each face's person from the history to its row."""
    face = sa.table("IMAGE_DATASET", *map(sa.column, ("id", "person_number")))
    change = sa.table("FACESEARCH_CHANGE", *map(sa.column, ("face_id", "person_number", "removed")))
    number = (
        sa.select(sa.func.max(change.c.person_number))
        .where(change.c.face_id == face.c.id, change.c.removed == 0)
        .scalar_subquery()
    )
    unnumbered = sa.update(face).where(face.c.person_number == 0)
    op.get_bind().execute(unnumbered.values(person_number=sa.func.coalesce(number, 0)))


def _widen_persons() -> None:
    added = (
        column("collection_number", BIG, server_default=FIRST),
        column("kept", sa.SmallInteger(), server_default=sa.text("0")),
        column("cover_face", BIG, nullable=True),
        column("created_at", MOMENT, nullable=True),
    )
    old, new = "FACESEARCH_PERSON_name", "FACESEARCH_PERSON_collection_name"
    if _is_sqlite():
        if "kept" not in _columns("FACESEARCH_PERSON"):
            with op.batch_alter_table("FACESEARCH_PERSON", recreate="always") as table:
                for one in added:
                    table.add_column(one)
                table.drop_constraint(old, type_="unique")
                table.create_unique_constraint(new, ["collection_number", "name"])
        return
    for one in added:
        _add("FACESEARCH_PERSON", one)
    known = [one["name"] for one in sa.inspect(op.get_bind()).get_indexes("FACESEARCH_PERSON")]
    if new not in known:
        op.create_unique_constraint(new, "FACESEARCH_PERSON", ["collection_number", "name"])
    if old in known:
        op.drop_constraint(old, "FACESEARCH_PERSON", type_="unique")


def _make_job_faces() -> None:
    op.create_table(
        "FACESEARCH_JOB_FACE",
        column("face_id", BIG, primary_key=True, autoincrement=False),
        column("job_number", BIG, primary_key=True, autoincrement=False),
        column("position", sa.Integer(), primary_key=True, autoincrement=False),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_JOB_FACE", "job_number", "position")
    names = ("job_number", "position", "face_id", "duplicate_of", "faces")
    file = sa.table("FACESEARCH_JOB_FILE", *map(sa.column, names))
    about = sa.table("FACESEARCH_JOB_FACE", *map(sa.column, ("face_id", "job_number", "position")))
    connection = op.get_bind()
    if connection.execute(sa.select(about.c.face_id).limit(1)).first() is not None:
        connection.execute(sa.delete(about))  # of a broken run
    # Refused faces have no ids, and stored ones their first as `face_id`.
    rows = connection.execute(sa.select(file).where(file.c.face_id.is_not(None))).all()
    entries = [
        {"face_id": face_id, "job_number": row.job_number, "position": row.position}
        for row in rows
        for face_id in sorted(_faces_of(row))
    ]
    for start in range(0, len(entries), ROWS_A_BATCH):
        connection.execute(sa.insert(about), entries[start : start + ROWS_A_BATCH])


def _faces_of(row: sa.Row[object]) -> set[int]:
    named = {row.face_id, row.duplicate_of} - {None}
    told = json.loads(row.faces) if row.faces else []
    return named | {face_id for *_box, face_id in told if face_id is not None}


def _make_metadata() -> None:
    op.create_table(
        "FACESEARCH_METADATA",
        column("face_id", BIG, primary_key=True, autoincrement=False),
        column("name", NAME, primary_key=True),
        column("collection_number", BIG),
        column("text_value", NAME, nullable=True),
        column("is_cut", sa.SmallInteger()),
        column("number_value", sa.Double(), nullable=True),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_METADATA", "collection_number", "name", "text_value", "face_id")
    _index("FACESEARCH_METADATA", "collection_number", "name", "number_value", "face_id")
    names = ("face_id", "name", "collection_number", "text_value", "is_cut", "number_value")
    value = sa.table("FACESEARCH_METADATA", *map(sa.column, names))
    face = sa.table("IMAGE_DATASET", *map(sa.column, ("id", "collection_number", "metadata")))
    connection = op.get_bind()
    after = 0
    known = sa.select(value.c.face_id)
    with_metadata = sa.select(face).where(face.c.metadata.is_not(None), face.c.id.not_in(known))
    while rows := connection.execute(
        with_metadata.where(face.c.id > after).order_by(face.c.id).limit(ROWS_A_BATCH)
    ).all():
        after = rows[-1].id
        values = [
            one
            for row in rows
            for one in metadata_rows(row.id, row.collection_number, _metadata(row.metadata))
        ]
        if values:
            connection.execute(sa.insert(value), values)


def _metadata(text: str) -> dict[str, str]:
    """Return what faces can be filtered by: names had no limit, and damaged rows are told of elsewhere."""
    try:
        return {name: value for name, value in dict(json.loads(text)).items() if len(name) <= LONGEST_NAME}
    except (TypeError, ValueError):
        return {}


def _make_others() -> None:
    """Crops, what first answers are about, vectors of a model that is to come, and a lock."""
    op.create_table(
        "FACESEARCH_CROP",
        column("face_id", BIG, primary_key=True, autoincrement=False),
        column("media_type", sa.String(32)),
        column("data", CROP),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "FACESEARCH_ANSWER_ABOUT",
        column("about", sa.String(40), primary_key=True),
        column("key_digest", DIGEST, primary_key=True),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_ANSWER_ABOUT", "key_digest")
    op.create_table(
        "FACESEARCH_NEXT_VECTOR",
        column("face_id", BIG, primary_key=True, autoincrement=False),
        column("collection_number", BIG),
        column("vector", VECTOR),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_NEXT_VECTOR", "collection_number")
    op.create_table(
        "FACESEARCH_LOCK", column("name", sa.String(64), primary_key=True), if_not_exists=True, **MYSQL
    )
    lock = sa.table("FACESEARCH_LOCK", sa.column("name"))
    connection = op.get_bind()
    if connection.execute(sa.select(lock.c.name)).first() is None:
        connection.execute(sa.insert(lock).values(name="removals"))


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _columns(table: str) -> list[str]:
    return [one["name"] for one in sa.inspect(op.get_bind()).get_columns(table)]


def _add(table: str, added: sa.Column[object]) -> None:
    if added.name not in _columns(table):
        op.add_column(table, added)


def _index(table: str, *names: str) -> None:
    known = [one["name"] for one in sa.inspect(op.get_bind()).get_indexes(table)]
    if (name := "_".join((table, *names))) not in known:
        op.create_index(name, table, list(names))
