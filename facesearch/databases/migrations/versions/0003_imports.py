"""Imports as jobs with a report for each file, first answers, and what photos are known again by.

Faces get their photo's digest, and what an importer's list says of them; those that are there have none
of it. As in 0001, each step is one statement and leaves alone what an earlier, broken run has done.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from facesearch.databases.migrations.columns import BIG, DIGEST, MOMENT, MYSQL, column

revision = "0003"
down_revision = "0002"

LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
STATUSES = ("inserted", "no_face", "duplicate", "failed", "skipped")


def upgrade() -> None:
    """Widen the faces' table, and make those of jobs, their files, their places and first answers."""
    known = [one["name"] for one in sa.inspect(op.get_bind()).get_columns("IMAGE_DATASET")]
    for name, kind in (("photo_sha256", DIGEST), ("external_id", sa.String(255)), ("metadata", sa.Text())):
        if name not in known:
            op.add_column("IMAGE_DATASET", column(name, kind, nullable=True))
    _index("IMAGE_DATASET", "photo_sha256")
    _make_jobs()
    op.create_table(
        "FACESEARCH_ANSWER",
        column("key_digest", DIGEST, primary_key=True),
        column("fingerprint", sa.String(128)),
        column("content", LONG_TEXT),
        column("added_at", MOMENT),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_ANSWER", "added_at")


def _make_jobs() -> None:
    op.create_table(
        "FACESEARCH_JOB",
        column("number", BIG, primary_key=True, autoincrement=True),
        column("id", sa.String(36)),
        column("place", sa.String(64)),
        column("file_name", sa.String(1024)),
        column("faces", sa.String(16)),
        column("skip_duplicates", sa.SmallInteger()),
        column("waited_for", sa.SmallInteger()),
        column("state", sa.String(16)),
        column("total", sa.Integer()),
        *(
            column(status, sa.Integer())
            for status in ("inserted", "no_face", "duplicate", "failed", "skipped")
        ),
        column("worked_s", sa.Double()),
        column("attempts", sa.Integer()),
        column("owner", sa.String(128), nullable=True),
        column("lease_until", MOMENT, nullable=True),
        column("created_at", MOMENT),
        column("started_at", MOMENT, nullable=True),
        column("finished_at", MOMENT, nullable=True),
        column("error_code", sa.String(64), nullable=True),
        column("error", sa.String(1024), nullable=True),
        sa.UniqueConstraint("id", name="FACESEARCH_JOB_id"),
        # SQLite would give the number of a job that was forgotten to the next one.
        sqlite_autoincrement=True,
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_JOB", "place", "state")
    op.create_table(
        "FACESEARCH_JOB_FILE",
        column("job_number", BIG, primary_key=True, autoincrement=False),
        column("position", sa.Integer(), primary_key=True, autoincrement=False),
        column("path", sa.String(2048)),
        column("status", sa.String(16)),
        column("person_name", sa.String(255), nullable=True),
        column("reason", sa.String(1024), nullable=True),
        column("face_id", BIG, nullable=True),
        column("duplicate_of", BIG, nullable=True),
        column("faces", LONG_TEXT, nullable=True),
        if_not_exists=True,
        **MYSQL,
    )
    _index("FACESEARCH_JOB_FILE", "job_number", "status", "position")
    op.create_table(
        "FACESEARCH_PLACE", column("place", sa.String(64), primary_key=True), if_not_exists=True, **MYSQL
    )


def _index(table: str, *names: str) -> None:
    known = [one["name"] for one in sa.inspect(op.get_bind()).get_indexes(table)]
    if (name := "_".join((table, *names))) not in known:
        op.create_index(name, table, list(names))
