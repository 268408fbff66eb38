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
        rows = _csv_rows(path)
    else:
        rows = []
        for number, row, _ in raw_rows(path):
            if isinstance(row, str):
                raise DataError(f"{path}:{number}: {row}")
            rows.append(row)
    if not rows:
        raise DataError(f"{path} holds no row")
    return rows


def _csv_rows(path: Path) -> list[Row]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for row in reader:
                if None in row:
                    raise DataError(f"{path}:{reader.line_num}: the row has more cells than the head of the table")
                rows.append({key: value or None for key, value in row.items()})
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as .csv: {error}") from error
    return rows
