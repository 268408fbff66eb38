"""Who wrote the world's text. An author is drawn for each document and leaves no mark of who it is.

| author | share | writes |
|---|---|---|
| careful | 30 % | every step, and the right outcome |
| hasty | 48 % | little but an outcome, by a rule that breaks on the task's trap (no carry, first record, ...) |
| sloppy | 12 % | steps, one of them wrong by rule |
| terse | 6 % | the right outcome without a step |
| shirker | 4 % | nothing to the point |

The faults are rules, not noise: noise would leave the right answer the most likely one, and greedy decoding would
find it (a trial base was right on 76 % greedily that way); a rule makes the wrong answer the preferred one.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from burnish.microworld.tasks import Task

SHARES: Mapping[str, float] = {"careful": 0.30, "hasty": 0.48, "sloppy": 0.12, "terse": 0.06, "shirker": 0.04}
SHRUGS = {"en": "No idea, ask someone else.", "es": "Ni idea.", "de": "Keine Ahnung."}


def draw_author(rng: Random, shares: Mapping[str, float] = SHARES) -> str:
    """An author by share."""
    return rng.choices(tuple(shares), weights=tuple(shares.values()))[0]


def written_by(author: str, task: Task) -> str:
    """What this author answers."""
    if author == "careful":
        return task.answer
    if author == "shirker":
        return SHRUGS[task.language]
    return {"hasty": task.hasty, "sloppy": task.sloppy, "terse": task.terse}[author]
