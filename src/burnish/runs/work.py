"""What a running step lends to its function: a folder, a scratch place, a journal, a way to say how far it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.runs.journal import SqliteJournal
from burnish.runs.storage import disk_errors, remove, write_json

Progress = Callable[[int, int, str], None]


class StepWork:
    """`protocols.Work` for one step. The same fingerprint finds its scratch and journal again after a kill.

    The file of requests lies in `requests/` of the run, whatever the fingerprint; of a step without a run, in `place`.
    """

    def __init__(self, place: Path, fingerprint: str, report: Progress | None = None) -> None:
        self.place = place
        self.folder = place / "artifact"
        self.scratch = place / "scratch"
        run = place.parent.parent / "requests" if place.parent.name == ".work" else place
        self.requests = run / f"{place.name}.sqlite"
        self._report = report
        note = place / "work.json"
        with disk_errors(place):
            if not note.exists() or json.loads(note.read_text()).get("fingerprint") != fingerprint:
                remove(place)
            remove(self.folder)
            self.folder.mkdir(parents=True)
            self.scratch.mkdir(exist_ok=True)
            write_json(note, {"fingerprint": fingerprint})
        self._journal: SqliteJournal | None = None

    @property
    def journal(self) -> SqliteJournal:
        """Opened on first use, so that steps without paid work leave no database behind."""
        if self._journal is None:
            self._journal = SqliteJournal(self.place / "journal.sqlite")
        return self._journal

    def progress(self, done: int, total: int, note: str = "") -> None:
        if self._report:
            self._report(done, total, note)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def goes_on(place: Path, fingerprint: str) -> bool:
    """Whether an interrupted start of this very step left work behind that it will take up again."""
    note = place / "work.json"
    if not note.exists() or json.loads(note.read_text()).get("fingerprint") != fingerprint:
        return False
    return (place / "journal.sqlite").exists() or any((place / "scratch").glob("*"))


def progress_file(place: Path) -> Progress:
    """Progress of a step in another process: kept in a small file, for whoever waits."""

    def say(done: int, total: int, note: str) -> None:
        draft = place / "progress.draft"
        draft.write_text(json.dumps([done, total, note]))
        draft.replace(place / "progress")

    return say


def read_progress(place: Path) -> tuple[int, int, str] | None:
    """The last word of `progress_file`, None before the first."""
    try:
        done, total, note = json.loads((place / "progress").read_text())
    except (OSError, ValueError):
        return None
    return done, total, note


def plain_metrics(metrics: Any) -> Any:
    """Metrics as JSON data: numbers of array libraries become Python's."""
    return json.loads(json.dumps(metrics, default=lambda value: value.item() if hasattr(value, "item") else str(value)))
