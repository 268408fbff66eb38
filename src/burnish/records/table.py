"""Nouns on disk: one Arrow schema per noun, Parquet for runs, JSONL for people and other programs."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from burnish.errors import DataError
from burnish.records import nouns
from burnish.records.nouns import later_fields, plain

Noun = TypeVar("Noun")

_SCALARS = {str: "string", int: "int64", float: "float64", bool: "bool_"}


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, vars(nouns))


def _optional(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        (inner,) = [a for a in typing.get_args(kind) if a is not type(None)]
        return inner
    return kind


def _arrow_type(kind: Any) -> Any:
    import pyarrow as pa

    kind = _optional(kind)
    if kind in _SCALARS:
        return getattr(pa, _SCALARS[kind])()
    if typing.get_origin(kind) is tuple:
        return pa.list_(_arrow_type(typing.get_args(kind)[0]))
    if is_dataclass(kind):
        return pa.struct([pa.field(f.name, _arrow_type(_hints(kind)[f.name])) for f in fields(kind)])
    raise TypeError(f"no Arrow type for {kind!r}")


def schema(cls: type) -> Any:
    """The Arrow schema of a noun; its metadata names the noun, so that a file says what it holds."""
    import pyarrow as pa

    columns = [pa.field(f.name, _arrow_type(_hints(cls)[f.name])) for f in fields(cls)]
    return pa.schema(columns, metadata={"burnish.noun": cls.__name__})


@cache
def _builder(kind: Any) -> Callable[[Any], Any] | None:
    """What makes a value of `kind` from its plain form; None where the plain form is the value. Built once a kind."""
    kind = _optional(kind)
    if kind is float:
        return lambda value: None if value is None else float(value)
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        item = None if inner in _SCALARS else _builder(inner)
        if item is None:
            return lambda value: None if value is None else tuple(value)
        return lambda value: None if value is None else tuple(map(item, value))
    if not is_dataclass(kind):
        return None
    makers = {name: _builder(hint) for name, hint in _hints(kind).items()}
    later = later_fields(kind)

    def build(value: Any) -> Any:
        if value is None:
            return None
        if later:  # a column that is null where the plain form lacks it
            value = {n: item for n, item in value.items() if item is not None or n not in later}
        return kind(**{n: item if (maker := makers[n]) is None else maker(item) for n, item in value.items()})

    return build


def from_plain(cls: type[Noun], data: dict[str, Any]) -> Noun:
    """The noun from its plain form; the stored id is kept as it is.

    Raises:
        DataError: a field is unknown or missing.
    """
    hints = _hints(cls)
    unknown = [name for name in data if name not in hints]
    if unknown:
        raise DataError(f"a {cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(hints)}")
    try:
        return _builder(cls)(data)
    except TypeError as error:
        raise DataError(f"a {cls.__name__} row is incomplete: {error}") from error


def write_parquet(rows: Sequence[Any], path: Path, cls: type | None = None) -> None:
    """Write rows of one noun. Equal rows give equal bytes (for one pyarrow version)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cls = cls or type(rows[0])
    table = pa.Table.from_pylist([plain(row) for row in rows], schema=schema(cls))
    pq.write_table(table, path, compression="zstd", store_schema=True)


def read_parquet(path: Path, cls: type[Noun] | None = None) -> list[Noun]:
    """Read rows back as nouns; without `cls` the file's own metadata names the noun.

    Raises:
        DataError: the file is no Parquet file, or holds no noun.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    if cls is None:
        name = (table.schema.metadata or {}).get(b"burnish.noun", b"").decode()
        if not hasattr(nouns, name or "-"):
            raise DataError(f"{path} does not say which noun it holds; was it written by another program?")
        cls = getattr(nouns, name)
    return list(map(_builder(cls), table.to_pylist()))


def write_jsonl(rows: Iterable[Any], path: Path) -> None:
    """One JSON object a line, UTF-8."""
    with open(path, "wb") as out:
        for row in rows:
            held = plain(row)
            try:
                line = json.dumps(held, ensure_ascii=False).encode()
            except UnicodeEncodeError:  # half of a surrogate pair is no text in UTF-8, and can be written as an escape
                line = json.dumps(held).encode()
            out.write(line + b"\n")
