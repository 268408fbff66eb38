"""Work that is paid for and must survive a kill: a durable map in SQLite (write-ahead log), one per running step."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from burnish.runs.storage import disk_errors


class SqliteJournal:
    """`protocols.Journal` on disk. A `put` that returned outlives a kill; one that did not is absent, not half."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            # A reward under a time limit is found in a thread of its own, while the step waits for it.
            self.base = sqlite3.connect(path, isolation_level=None, timeout=60.0, check_same_thread=False)
            self.base.execute("pragma journal_mode=wal")
            self.base.execute("pragma synchronous=full")
            self.base.execute("create table if not exists entries (key text primary key, value text not null)")

    def get(self, key: str) -> Any | None:
        row = self.base.execute("select value from entries where key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False)
        with disk_errors(self.path):
            self.base.execute("insert or replace into entries values (?, ?)", (key, text))

    def __len__(self) -> int:
        return self.base.execute("select count(*) from entries").fetchone()[0]

    def close(self) -> None:
        self.base.close()
