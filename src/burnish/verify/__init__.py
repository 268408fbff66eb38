"""Rewards that need no model. In: a prompt with its reference and a response. Out: a verdict, or *unscored* and why.

math           final answers of any shape                    language       what an answer is written in
constraints    countable instructions, IFEval's among them   repetition     whether it repeats itself
code           unit tests, in the sandbox                    refusal        whether it declines
tools          function calls                                format         schemas, JSON, markdown

`sandbox` is the only place that starts foreign code; `expression` walks a small safe subset of Python in this process;
`step_rollouts` labels reasoning steps; `rewards` has a function for each checker, and the rows of a file.
Called by annotate, evaluate, curate and the recipes through `protocols.Checker`; imports nothing heavy.
"""

from __future__ import annotations

import difflib

from burnish.errors import SettingsError
from burnish.protocols import Checker
from burnish.verify import constraints, format, language, refusal, repetition
from burnish.verify.code import CodeChecker
from burnish.verify.constraints import CONSTRAINTS, Constraint, ConstraintsChecker, check_constraint
from burnish.verify.expression import ExpressionError, call_function, evaluate
from burnish.verify.math import MathChecker, final_number
from burnish.verify.tools import ToolsChecker

CHECKERS: dict[str, Checker] = {
    **{checker.name: checker for checker in (MathChecker(), CodeChecker(), ToolsChecker())},
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
    "CodeChecker",
    "Constraint",
    "ConstraintsChecker",
    "ExpressionError",
    "MathChecker",
    "ToolsChecker",
    "call_function",
    "check_constraint",
    "evaluate",
    "final_number",
    "get_checker",
]
