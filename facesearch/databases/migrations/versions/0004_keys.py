"""Keys of clients, and a text that changes with them.

As in 0001, each step is one statement and leaves alone what an earlier, broken run has done.
"""

import sqlalchemy as sa
from alembic import op

from facesearch.databases.migrations.columns import BIG, DIGEST, MOMENT, MYSQL, column

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of the keys and of their version."""
    op.create_table(
        "FACESEARCH_KEY",
        column("number", BIG, primary_key=True, autoincrement=True),
        column("prefix", sa.String(16)),
        column("digest", DIGEST),
        column("scope", sa.String(16)),
        column("collection", sa.String(64)),
        column("name", sa.String(255)),
        column("created_at", MOMENT),
        column("expires_at", MOMENT, nullable=True),
        column("revoked_at", MOMENT, nullable=True),
        column("last_used_at", MOMENT, nullable=True),
        sa.UniqueConstraint("prefix", name="FACESEARCH_KEY_prefix"),
        # SQLite would give the number of a key that somebody deleted to the next one.
        sqlite_autoincrement=True,
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "FACESEARCH_KEYS",
        column("id", sa.Integer(), primary_key=True, autoincrement=False),
        column("version", sa.String(36)),
        if_not_exists=True,
        **MYSQL,
    )
    version = sa.table("FACESEARCH_KEYS", *(sa.column(name) for name in ("id", "version")))
    connection = op.get_bind()
    if connection.execute(sa.select(version.c.id)).first() is None:
        connection.execute(sa.insert(version).values(id=1, version=""))
