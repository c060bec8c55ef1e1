"""How the migrations spell what all tables have in common. Only to be added to: a migration never changes."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.sql import quoted_name

MYSQL = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
DIGEST = sa.LargeBinary().with_variant(mysql.BINARY(32), "mysql", "mariadb")


def column(name: str, *arguments: object, nullable: bool = False, **options: object) -> sa.Column[object]:
    """Return a column that is always quoted and, unless told, never NULL."""
    return sa.Column(quoted_name(name, quote=True), *arguments, nullable=nullable, **options)  # type: ignore[arg-type]
