"""Turns records into rows and back, at the edge: plain columns for scalars, JSON for what is nested.

A field that a newer record has and an older row lacks takes the field's default; so adding a field with a default needs
no migration of the data.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from supervisor.core.model import Record

Row = dict[str, Any]  # Any: SQL values


@cache
def adapter(kind: type) -> TypeAdapter[Record]:
    """Return the validator of one kind of record."""
    return TypeAdapter(kind)


@cache
def nested_fields(kind: type) -> frozenset[str]:
    """Return the fields that are kept as JSON."""
    hints = get_type_hints(kind)
    return frozenset(f.name for f in fields(kind) if not _is_scalar(hints[f.name]))


def scalar_type(kind: type, name: str) -> type:
    """Return the Python type of a scalar field, `None` left aside."""
    hint = get_type_hints(kind)[name]
    members = [m for m in _members(hint) if m is not NoneType]
    return cast(type, members[0])


def is_optional(kind: type, name: str) -> bool:
    """Return whether a field may be NULL."""
    return NoneType in _members(get_type_hints(kind)[name])


def _members(hint: object) -> tuple[object, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _is_scalar(hint: object) -> bool:
    members = [m for m in _members(hint) if m is not NoneType]
    return (
        len(members) == 1
        and isinstance(members[0], type)
        and issubclass(members[0], str | int | bool | float | datetime | StrEnum)
    )


def to_row(record: Record) -> Row:
    """Return the record's columns; times as ISO 8601 in UTC."""
    kind: type = type(record)
    return cast(Row, adapter(kind).dump_python(record, mode="json"))


def from_row(kind: type, row: Row) -> Record:
    """Return the record of a row. Raises `pydantic.ValidationError` when the row is not one."""
    known = {k: v for k, v in row.items() if k in _names(kind)}
    for name in _moments(kind):
        if known.get(name) is not None:
            known[name] = datetime.fromisoformat(known[name])  # in the one UTC there is: others bring one for each
    return adapter(kind).validate_python({k: v for k, v in known.items() if v is not None or k in _nullable(kind)})


@cache
def _nullable(kind: type) -> frozenset[str]:
    """Return the fields that may be None; a NULL elsewhere comes from a file older than the field."""
    return frozenset(f.name for f in fields(kind) if is_optional(kind, f.name))


@cache
def _moments(kind: type) -> tuple[str, ...]:
    """Return the fields that are times."""
    return tuple(f.name for f in fields(kind) if scalar_type(kind, f.name) is datetime)


@cache
def _names(kind: type) -> frozenset[str]:
    return frozenset(f.name for f in fields(kind))
