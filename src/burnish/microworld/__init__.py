"""The microworld: a small, honest laboratory. Seeded tasks with exact verifiers, an oracle, and a trained base model.

In: a split, a count, a seed. Out: prompts whose answers can be checked exactly, the checkers, an oracle that ranks and
edits answers, and the weights of a base that does some of it some of the time and knows no chat format. Called by
the command line, tests, benchmarks and scripts; no other room needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from burnish.microworld.exporting import file_rows
from burnish.microworld.families import FAMILIES
from burnish.microworld.judging import scripted_judge
from burnish.microworld.oracle import Oracle
from burnish.microworld.prompting import checkers, checks_known_truth, export_gsm8k, few_shot, prompts
from burnish.microworld.tasks import Dials

if TYPE_CHECKING:
    from burnish.records import Weights

BASE = Path(__file__).parent / "base"


def base_weights() -> Weights:
    """The shipped base model (Llama architecture, about 2 million parameters, no chat format)."""
    from burnish.models import weights_of

    return weights_of(BASE)


__all__ = [
    "BASE",
    "FAMILIES",
    "Dials",
    "Oracle",
    "base_weights",
    "checkers",
    "checks_known_truth",
    "export_gsm8k",
    "few_shot",
    "file_rows",
    "prompts",
    "scripted_judge",
]
