"""What a step takes and gives: handles to rows on disk, and the outcome a step function returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import RunError
from burnish.records import Dropped, Weights, nouns, read_parquet


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of one noun in a finished step. `id` is the hash of the rows' ids in order; `path` is not identity."""

    path: str
    id: str
    count: int
    step: str
    metrics: Mapping[str, Any] = field(default_factory=dict, metadata={"runtime": True})

    def load(self) -> list[Any]:
        """Read the rows from disk."""
        return read_parquet(Path(self.path) / "rows.parquet")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.load())

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step function returns.

    Args:
        rows: what goes on; empty for a step that leaves weights.
        dropped: what does not, each row with its reason (and whether it is *unscored*).
        taken: how many input units the accounting covers; None when the step makes rows out of nothing.
        kept: how many of them went on; `len(rows)` unless given.
        metrics: numbers of the step, JSON-ready.
        weights: the weights written to `work.folder`, when the step leaves weights.
    """

    rows: Sequence[Any] = ()
    dropped: Sequence[Dropped] = ()
    taken: int | None = None
    kept: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None

    def counts(self) -> dict[str, Any]:
        """in = kept + dropped by reason + unscored.

        Raises:
            RunError: the equation does not hold, so a row has vanished.
        """
        reasons = Counter(row.reason for row in self.dropped if not row.unscored)
        unscored = Counter(row.reason for row in self.dropped if row.unscored)
        kept = len(self.rows) if self.kept is None else self.kept
        taken = kept + len(self.dropped) if self.taken is None else self.taken
        if taken != kept + len(self.dropped):
            raise RunError(
                f"{taken} rows came in, but {kept} were kept and {len(self.dropped)} dropped: "
                f"{taken - kept - len(self.dropped)} have no fate; this is a bug in the step function"
            )
        return {
            "taken": taken,
            "kept": kept,
            "dropped": dict(sorted(reasons.items())),
            "unscored": dict(sorted(unscored.items())),
        }


_KEPT = "Nothing is written; what was asked of models and journaled is kept, and the same step goes on from there"


def outcome_of(returned: Any, who: str) -> Outcome:
    """What a step function returned, as an outcome whose rows can be written.

    Args:
        who: the step and its function, for an error.

    Raises:
        RunError: it is neither an outcome nor a list; a row is no noun; there are nouns of several kinds.
    """
    if isinstance(returned, Outcome):
        outcome = returned
    elif isinstance(returned, Iterable) and not isinstance(returned, (str, bytes, Mapping)):
        outcome = Outcome(rows=list(returned))
    else:
        what = type(returned).__name__
        raise RunError(f"{who} returned a {what}; it must return an Outcome, or a list of rows. {_KEPT}")
    kinds = sorted({type(row).__name__ for row in outcome.rows})
    strange = next((row for row in outcome.rows if getattr(nouns, type(row).__name__, None) is not type(row)), None)
    if strange is None and len(kinds) < 2:
        return outcome
    what = f"a row that is a {type(strange).__name__}" if strange is not None else f"rows of kinds {', '.join(kinds)}"
    raise RunError(
        f"{who} returned {what}; rows are records of one kind (Prompt, Response, Judgement, ...: see burnish.records). "
        f"{_KEPT}"
    )
