"""A run as the page sees it: steps by round and short name, rows read when they are needed, texts made fit to show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from burnish.records import Score
from burnish.runs import RunView, StepView

NARROW = "\u202f"  # narrow no-break space, between a number and its unit and between thousands
MINUS = "\u2212"

# Steps whose content comes from a simulated role. The names are those of the recipes (`docs/report.md`).
SIMULATED_STEPS = {
    "annotator": ("judgements", "preferences", "heldout-judgements", "heldout-preferences"),
    "judge": ("pruned",),
    "teacher": (),
}
_STAND_INS = re.compile(r"oracle|simulat", re.I)
# An absolute path in running text: a slash at the start of a word, and at least one more slash.
_PATH = re.compile(r"(?<![\w.:/\-~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\:'\",;=]+[/\\])+([^\s/\\:'\",;=]*)")
_ROOTED = re.compile(r"(?:~|[A-Za-z]:)?[/\\]\S")


def number(value: float, digits: int = 3) -> str:
    """A number for people: thousands apart, `digits` significant digits for fractions, a real minus."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: MINUS + "∞"}.get(value, "not a number")
    if float(value).is_integer() and abs(value) < 1e15:
        text = f"{int(value):,}".replace(",", NARROW)
    else:
        text = f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
        text = re.sub(r"e([+-])0*(\d)", lambda m: "e" + m[1].replace("+", "") + m[2], text)
    return text.replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as `34.2 %`; an absent one as a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.{digits}f}".replace("-", MINUS) + f"{NARROW}%"


def points(difference: float) -> str:
    """A difference of two shares as signed percentage points."""
    sign = "+" if difference >= 0 else MINUS
    return f"{sign}{abs(100 * difference):.1f}{NARROW}points"


def seconds(value: float | None) -> str:
    """A duration: `0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 10 min`."""
    if value is None:
        return "–"
    if value < 60:
        return f"{value:.2f}{NARROW}s" if value < 1 else f"{value:.1f}{NARROW}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60:02d}{NARROW}s"
    return f"{whole // 3600}{NARROW}h {whole % 3600 // 60:02d}{NARROW}min"


def bare(text: str) -> str:
    """A text without absolute paths: each becomes its last part, for a page may be shown to others."""

    def last(match: re.Match[str]) -> str:
        whole = match[0].rstrip("/\\")
        return re.split(r"[/\\]", whole)[-1]

    return _PATH.sub(last, text)


def bare_token(token: str) -> str:
    """A word of a command line without absolute paths: `--out=/a/b` becomes `--out=b`, `/tmp` becomes `tmp`."""
    option, sign, value = token.partition("=")
    head, tail = (option + sign, value) if sign and option.startswith("-") else ("", token)
    if _ROOTED.match(tail) and not re.search(r"\s", tail):
        return head + (re.split(r"[/\\]", tail.rstrip("/\\"))[-1] or "/")
    return head + bare(tail)


def short_name(view: StepView) -> str:
    """`r2/07-dpo-a` -> `dpo-a`."""
    return re.sub(r"^\d\d-", "", view.name.split("/")[-1])


def round_of(view: StepView) -> int | None:
    """The round a step belongs to; None outside rounds."""
    match = re.match(r"r(\d+)/", view.name)
    return int(match[1]) if match else None


class Evidence:
    """A `RunView` with its steps grouped by round. Rows are not kept: whoever reads a step's rows reads them once."""

    def __init__(self, view: RunView) -> None:
        self.view = view
        self.about: dict[str, Any] = view.about if isinstance(view.about, dict) else {}

    @cached_property
    def groups(self) -> list[tuple[int | None, list[StepView]]]:
        """Steps before the rounds (None) first, then each round; in the order of the recipe's calls."""
        found: dict[int | None, list[StepView]] = {}
        for step in self.view.steps:
            found.setdefault(round_of(step), []).append(step)
        return sorted(found.items(), key=lambda item: -1 if item[0] is None else item[0])

    @property
    def rounds(self) -> list[int]:
        return [number for number, _ in self.groups if number is not None]

    @property
    def word(self) -> str:
        """What the run calls a round: `round`, or `stage`."""
        return str(self.about.get("rounds") or "round")

    def title(self, number: int | None) -> str:
        """What a group of steps is called; a run without rounds has one group."""
        if number is not None:
            return f"{self.word.capitalize()} {number}"
        return f"Before the {self.word}s" if self.rounds else "All steps"

    def steps_of(self, number: int | None) -> list[StepView]:
        return next((steps for found, steps in self.groups if found == number), [])

    def find(self, name: str, number: int | None) -> StepView | None:
        """The finished step of this short name in a round; None when absent or skipped."""
        matches = [s for s in self.steps_of(number) if short_name(s) == name and s.kind != "skipped"]
        return matches[-1] if matches else None

    @cached_property
    def scores(self) -> dict[str, list[Score]]:
        """Step name -> its rows, for every step whose rows are scores."""
        found = {}
        for step in self.view.steps:
            count = step.note.get("artifact", {}).get("rows", 0)
            if step.kind == "rows" and count > 0 and noun_of(step) == "Score":
                found[step.name] = step.rows()
        return found

    @cached_property
    def simulated_roles(self) -> list[str]:
        roles = self.about.get("simulated") or []
        return [str(role) for role in roles] if isinstance(roles, (list, tuple)) else [str(roles)]

    def simulated(self, step: StepView) -> str:
        """The role that a stand-in played in this step (annotator, judge, ...), empty if real or none.

        By the run's own word and the recipe's step names, or because the step took a worker whose type says that it is
        an oracle or simulated.
        """
        for role in self.simulated_roles:
            if short_name(step) in SIMULATED_STEPS.get(role, ()):
                return role
        parts = step.note.get("identity", {})
        if any(_STAND_INS.search(kind) for kind in _types([parts.get("inputs", []), parts.get("settings", {})])):
            return next((r for r, names in SIMULATED_STEPS.items() if short_name(step) in names), "worker")
        return ""

    def unfinished(self) -> str:
        """A sentence when the run has visibly not come to its end, else empty."""
        under_way = sorted(p.parent.name for p in (self.view.folder / ".work").glob("*/work.json"))
        settings = self.about.get("settings")
        entry = settings.get("rounds") if isinstance(settings, dict) else None
        wanted = entry.get("value") if isinstance(entry, dict) else entry
        last = self.view.steps[-1].name if self.view.steps else ""
        promoted = len([n for n in self.rounds if self.find("promoted", n)])
        if not last:
            return "No step of this run is finished yet."
        if under_way:
            return f"This run is not finished: {', '.join(under_way)} was under way. The last finished step is {last}."
        if (
            not (self.view.folder / "final").exists()
            and isinstance(wanted, int)
            and (promoted or len(self.rounds)) < wanted
        ):
            done = promoted or max(len(self.rounds) - 1, 0)
            return f"This run is not finished: {done} of {wanted} rounds are complete; the last step is {last}."
        return ""


def noun_of(step: StepView) -> str:
    """The noun of a step's rows, from the file's own metadata (the rows are not read)."""
    import pyarrow.parquet as pq

    path = step.folder / "rows.parquet"
    if not path.exists():
        return ""
    return (pq.read_schema(path).metadata or {}).get(b"burnish.noun", b"").decode()


def _types(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, item in node.items():
            if key in ("type", "function") and isinstance(item, str):
                yield item
            else:
                yield from _types(item)
    elif isinstance(node, list):
        for item in node:
            yield from _types(item)
