"""The tables: one for each kind of record, plain SQL that SQLite and PostgreSQL both understand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
    update,
)
from sqlalchemy.types import TypeEngine

from supervisor.core.model import RECORDS, AuditEntry, Incident, Record
from supervisor.store.codec import is_optional, nested_fields, scalar_type

VERSION = 1
"""Rises with every change that older code can't read."""

metadata = MetaData()


def _column_type(kind: type, name: str) -> TypeEngine[Any]:  # Any: SQLAlchemy's own typing
    if name in nested_fields(kind):
        return JSON(none_as_null=True)
    python = scalar_type(kind, name)
    if issubclass(python, bool):
        return Boolean()
    return BigInteger().with_variant(Integer(), "sqlite") if issubclass(python, int) else Text()


def _table(kind: type[Record]) -> Table:
    columns: list[Column[Any]] = []  # Any: SQLAlchemy's own typing
    plain: type = kind
    for field in fields(kind):
        nullable = field.name in nested_fields(plain) or is_optional(kind, field.name)
        columns.append(
            Column(
                field.name,
                _column_type(kind, field.name),
                primary_key=field.name in kind.KEY,
                nullable=nullable,
                autoincrement=False,
            )
        )
    if kind is AuditEntry:
        columns += [Column("prev_hash", Text(), nullable=False), Column("hash", Text(), nullable=False)]
    return Table(kind.TABLE, metadata, *columns)


TABLES: dict[type[Record], Table] = {kind: _table(kind) for kind in RECORDS}

OLD_INDEX = "one_open_incident"  # of files from before shared incidents: stricter, and dropped
Index(
    "one_open_incident_each",
    TABLES[Incident].c.fleet,
    TABLES[Incident].c.instance,
    TABLES[Incident].c.about,
    unique=True,
    sqlite_where=text("state <> 'closed'"),
    postgresql_where=text("state <> 'closed'"),
)

META = Table("schema_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False))


def grow(connection: Connection) -> None:
    """Add the tables, columns and indexes that an older file lacks. What is there stays; older code still reads it."""
    there = inspect(connection)
    for table in TABLES.values():
        if there.has_table(table.name):
            _add_columns(connection, table, {column["name"] for column in there.get_columns(table.name)})
    connection.exec_driver_sql(f"DROP INDEX IF EXISTS {OLD_INDEX}")
    metadata.create_all(connection)


def _add_columns(connection: Connection, table: Table, known: set[str]) -> None:
    for column in table.columns:
        if column.name in known:
            continue
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {kind}')
        if column is TABLES[Incident].c.about:  # an index tells two unknowns apart, and two empty texts not
            connection.execute(update(table).values(about=""))
