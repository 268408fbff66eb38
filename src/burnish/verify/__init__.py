"""Rewards that need no model. In: a prompt with its reference and a response. Out: a verdict, or *unscored* and why.

`math` compares final numbers, `constraints` counts, `expression` runs a small safe subset of Python within limits;
`language`, `repetition`, `refusal` and `format` look at what an answer is written in, whether it repeats, declines or
fits a schema.
Called by annotate, evaluate, curate and the recipes through `protocols.Checker`; imports nothing heavy.
"""

from __future__ import annotations

import difflib

from burnish.errors import SettingsError
from burnish.protocols import Checker
from burnish.verify import constraints, format, language, refusal, repetition
from burnish.verify.constraints import CONSTRAINTS, Constraint, ConstraintsChecker, check_constraint
from burnish.verify.expression import ExpressionError, call_function, evaluate
from burnish.verify.math import MathChecker, final_number

CHECKERS: dict[str, Checker] = {
    MathChecker().name: MathChecker(),
    **constraints.CHECKERS,
    **format.CHECKERS,
    **language.CHECKERS,
    **refusal.CHECKERS,
    **repetition.CHECKERS,
}


def get_checker(name: str) -> Checker:
    """The checker of this name.

    Raises:
        SettingsError: there is none; the message names the nearest one.
    """
    if name in CHECKERS:
        return CHECKERS[name]
    near = difflib.get_close_matches(name, CHECKERS, n=1, cutoff=0.0)
    raise SettingsError(f"there is no checker {name!r}; did you mean {near[0]!r}? All: {', '.join(CHECKERS)}")


__all__ = [
    "CHECKERS",
    "CONSTRAINTS",
    "Constraint",
    "ConstraintsChecker",
    "ExpressionError",
    "MathChecker",
    "call_function",
    "check_constraint",
    "evaluate",
    "final_number",
    "get_checker",
]
