"""Faces, their models, the counter of their changes, and the database's own id.

MySQL commits each statement of a migration by itself, so one that was cut short is run again: every
step here is one statement and leaves alone what is there.
"""

import uuid

import sqlalchemy as sa
from alembic import op

from facesearch.databases.migrations.columns import BIG, MOMENT, MYSQL, column

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of faces, models and state, and the row of state."""
    op.create_table(
        "IMAGE_DATASET",
        column("id", BIG, primary_key=True, autoincrement=True),
        column("person_name", sa.String(255)),
        column("version", sa.String(255)),
        column("file_name", sa.String(1024)),
        column("photo_width", sa.Integer()),
        column("photo_height", sa.Integer()),
        column("box_top", sa.Integer()),
        column("box_right", sa.Integer()),
        column("box_bottom", sa.Integer()),
        column("box_left", sa.Integer()),
        column("taken_at", sa.String(40), nullable=True),
        column("latitude", sa.Double(), nullable=True),
        column("longitude", sa.Double(), nullable=True),
        column("model_id", sa.String(64)),
        column("dimension", sa.Integer()),
        column("vector", sa.VARBINARY(4096).with_variant(sa.LargeBinary(), "sqlite")),
        column("quality", sa.String(512), nullable=True),
        column("change_number", BIG),
        column("added_at", MOMENT),
        sa.UniqueConstraint("change_number", name="IMAGE_DATASET_change"),
        # SQLite would give the id of a deleted face to the next one.
        sqlite_autoincrement=True,
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "FACESEARCH_MODEL",
        column("model_id", sa.String(64), primary_key=True),
        column("dimension", sa.Integer()),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "FACESEARCH_STATE",
        column("id", sa.Integer(), primary_key=True, autoincrement=False),
        column("database_id", sa.String(36)),
        column("newest_change", BIG),
        if_not_exists=True,
        **MYSQL,
    )
    state = sa.table(
        "FACESEARCH_STATE", *(sa.column(name) for name in ("id", "database_id", "newest_change"))
    )
    connection = op.get_bind()
    if connection.execute(sa.select(state.c.id)).first() is None:
        connection.execute(sa.insert(state).values(id=1, database_id=str(uuid.uuid4()), newest_change=0))
