"""Reading a run: its steps, where a row lies, what it came from, what was made of it, and why a step re-runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.errors import RunError
from burnish.records import Dropped, read_parquet
from burnish.runs.identity import differences
from burnish.runs.storage import read_json


@dataclass(frozen=True)
class StepView:
    """A finished step on disk. `note` is its step.json."""

    folder: Path
    note: dict[str, Any]

    @property
    def name(self) -> str:
        return self.note["name"]

    @property
    def kind(self) -> str:
        return "skipped" if "skipped" in self.note else self.note["artifact"]["kind"]

    @property
    def id(self) -> str:
        return self.note["artifact"]["id"]

    def rows(self) -> list[Any]:
        """The rows that went on; empty for weights."""
        path = self.folder / "rows.parquet"
        return read_parquet(path) if path.exists() and self.note["artifact"].get("rows") else []

    def dropped(self) -> list[Dropped]:
        """The rows that did not, with their reasons."""
        path = self.folder / "dropped.parquet"
        return read_parquet(path, Dropped) if path.exists() else []

    def curve(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; empty when there is none."""
        return self._lines("metrics.jsonl")

    def samples(self) -> list[dict[str, Any]]:
        """The lines of samples.jsonl: answers that a training on fresh ones left to be read; empty without any."""
        return self._lines("samples.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line] if path.exists() else []


@dataclass(frozen=True)
class Ancestor:
    """A row in a trace: where it lies, how it is related, and what it came from."""

    row: Any
    step: str
    depth: int
    fate: str = ""


@dataclass
class RunView:
    """A run folder, read only.

    Raises:
        RunError: the folder holds no run.
    """

    folder: Path
    _homes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        if not (self.folder / "run.json").exists():
            raise RunError(
                f"{self.folder} holds no run (there is no run.json); pass the folder that was given as --out"
            )

    @cached_property
    def about(self) -> dict[str, Any]:
        return read_json(self.folder / "run.json")

    @cached_property
    def steps(self) -> list[StepView]:
        """Finished steps in the order in which the recipe calls them."""
        notes = [*self.folder.glob("[0-9][0-9]-*/step.json"), *self.folder.glob("r[0-9]*/[0-9][0-9]-*/step.json")]
        views = [StepView(path.parent, read_json(path)) for path in notes]
        return sorted(views, key=lambda view: (view.note["sequence"], view.name))

    @cached_property
    def superseded(self) -> list[StepView]:
        """Steps that a changed setting replaced, oldest first."""
        notes = sorted((self.folder / "superseded").glob("**/step.json"), key=lambda path: path.stat().st_mtime)
        return [StepView(path.parent, read_json(path)) for path in notes]

    def step(self, name: str) -> StepView:
        """The last step of a name, given with or without number and round (`r2/07-dpo`, `r2/dpo`, `dpo`).

        Raises:
            RunError: there is none; the error lists what there is.
        """
        short = {view.name: re.sub(r"(^|/)\d\d-", r"\1", view.name) for view in self.steps}
        matches = [view for view in self.steps if name in (view.name, short[view.name])]
        matches = matches or [view for view in self.steps if name == short[view.name].split("/")[-1]]
        matches = matches or [view for view in self.steps if name in view.name]
        if not matches:
            raise RunError(
                f"no step of {self.folder} matches {name!r}; there are {', '.join(v.name for v in self.steps)}"
            )
        return matches[-1]

    @cached_property
    def _rows(self) -> dict[str, tuple[Any, str, str]]:
        found: dict[str, tuple[Any, str, str]] = {}
        for view in self.steps:
            for row in view.rows():
                found.setdefault(row.id, (row, view.name, ""))
            for row in view.dropped():
                fate = ("unscored: " if row.unscored else "dropped: ") + row.reason
                found.setdefault(row.id, (row, view.name, fate))
        return found

    def row(self, beginning: str) -> tuple[Any, str, str]:
        """(row, step, fate) of the row whose id begins so.

        Raises:
            RunError: none does, or several do.
        """
        if beginning in self._rows:
            return self._rows[beginning]
        ids = [name for name in self._rows if name.startswith(beginning)]
        if len(ids) != 1:
            what = "no row" if not ids else f"{len(ids)} rows ({', '.join(sorted(ids)[:4])}, ...)"
            raise RunError(
                f"{what} of {self.folder} begin with {beginning!r}; `burnish show` lists steps and sample ids"
            )
        return self._rows[ids[0]]

    def ancestry(self, beginning: str) -> list[Ancestor]:
        """A row and everything it came from, depth first; each row once."""
        row, step, fate = self.row(beginning)
        seen: set[str] = set()

        def walk(row: Any, step: str, fate: str, depth: int) -> Iterator[Ancestor]:
            if row.id in seen:
                return
            seen.add(row.id)
            yield Ancestor(row, step, depth, fate)
            for parent in row.parents:
                if parent in self._rows:
                    yield from walk(*self._rows[parent], depth + 1)

        return list(walk(row, step, fate, 0))

    def trained_on(self, beginning: str) -> list[StepView]:
        """Weight steps that took a table holding this row, and the steps that took those weights (averages)."""
        row, _, _ = self.row(beginning)
        tables = {view.name for view in self.steps if any(r.id == row.id for r in view.rows())}
        trained: list[StepView] = []
        for view in self.steps:
            parents = {parent["step"] for parent in view.note["parents"]}
            merged = view.name.split("/")[-1][3:].endswith("average") and parents & {v.name for v in trained}
            if view.kind in ("causal", "reward") and (parents & tables or merged):
                trained.append(view)
        return trained

    def origin(self, artifact_id: str) -> StepView | None:
        """The step that made an artifact (rows or weights) of this id."""
        return next((view for view in self.steps if view.id == artifact_id), None)

    def explain(self, name: str) -> tuple[StepView, StepView | None, list[tuple[str, Any, Any]]]:
        """A step, the nearest other step of the same function, and their field-level difference.

        A superseded step of the same name is nearest; else the step that differs in the fewest fields.
        """
        view = self.step(name)
        same = [v for v in self.superseded if v.note["name"] == view.name]
        others = [
            v
            for v in self.steps
            if v.name != view.name and v.note["identity"]["function"] == view.note["identity"]["function"]
        ]
        if same:
            return view, same[-1], differences(same[-1].note["identity"], view.note["identity"])
        if not others:
            return view, None, []
        ranked = [(differences(v.note["identity"], view.note["identity"]), v) for v in others]
        changed, nearest = min(ranked, key=lambda pair: len(pair[0]))
        return view, nearest, changed
