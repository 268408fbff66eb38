"""Rows of any columns: every ending gives the same rows, and what is wrong is told by file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from burnish.errors import DataError
from burnish.records import read_rows

ROWS = [{"judge": "A", "human": "B"}, {"judge": None, "human": "A"}]


def test_every_ending_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "b.json").write_text(json.dumps(ROWS))
    (tmp_path / "c.csv").write_text("judge,human\nA,B\n,A\n")
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as file:
        file.write(lines)
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "e.parquet")
    for path in sorted(tmp_path.iterdir()):
        assert read_rows(path) == ROWS, path


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"x,y\n1,2,3\n", "a.csv:2: the row has more cells"),
        ("a.csv", b"x,y\n\xff,2\n", "UTF-8"),
        ("a.csv", b"x,y\n", "no row"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1"),
        ("a.jsonl", b"", "no row"),
        ("a.txt", b"x", "no known ending"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_rows(tmp_path / name)
