"""Rows of a file as they stand: tables of verdicts and labels, whose columns their owner names."""

from __future__ import annotations

import csv
from pathlib import Path

from burnish.errors import DataError
from burnish.records.conventions import raw_rows
from burnish.records.dialogues import Row


def read_rows(path: str | Path) -> list[Row]:
    """Rows of a file as they stand, whatever their columns: JSON lines, JSON, Parquet, plain or gzipped, or .csv.

    A cell of a .csv file is text, None where it is empty.

    Raises:
        DataError: no such file, no row, a malformed row (with its line), another ending.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = [{key: value or None for key, value in row.items()} for row in csv.DictReader(lines)]
    else:
        rows = []
        for number, row, _ in raw_rows(path):
            if isinstance(row, str):
                raise DataError(f"{path}:{number}: {row}")
            rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no row")
    return rows
