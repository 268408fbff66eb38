"""What became of a candidate: passed, failed in one of twelve ways, or unscored.

The classes of failure are the ones that a feedback turn needs (arXiv:2407.21783 §4.3.1: parser, linter and tests; the
classes coding and environment of Baichuan-Nova, spec B38). Only a coding error is worth a repair by the model.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.protocols import Ran, Verdict

KINDS = (
    "syntax",
    "import",
    "name",
    "type",
    "wrong_answer",
    "exception",
    "timeout",
    "memory",
    "output",
    "processes",
    "exit",
    "environment",
)
_BY_CLASS = (
    ("SyntaxError", "syntax"),
    ("MemoryError", "memory"),
    ("NameError", "name"),
    ("ImportError", "import"),
    ("TypeError", "type"),
    ("AttributeError", "type"),
    ("AssertionError", "wrong_answer"),
    ("SystemExit", "exit"),
    ("KeyboardInterrupt", "exit"),
    ("ConnectionError", "environment"),
    ("gaierror", "environment"),
    ("PermissionError", "environment"),
    ("BlockingIOError", "processes"),
)
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
# What the sandbox does not let through, as the system words it.
_WALL = re.compile(
    r"Address family not supported|Network is (?:unreachable|down)|Name or service not known|name resolution|"
    r"Read-only file system|Operation not permitted|Permission denied"
)
_LIMITS = {"time": "timeout", "memory": "memory", "output": "output", "disk": "output", "processes": "processes"}
UNSCORED = "unscored"


def error_class(classes: Sequence[str], text: str = "") -> str:
    """The one of `KINDS` for an exception, from the names of its classes (its own first) and its message.

    A module outside the standard library that is not installed is the environment's fault, as a network that is
    not there is; a name that an existing module lacks is the code's.
    """
    missing = _NO_MODULE.search(text)
    if "ModuleNotFoundError" in classes and missing:
        return "import" if missing[1].partition(".")[0] in sys.stdlib_module_names else "environment"
    if "OSError" in classes and "No space left" in text:  # it filled the disk itself
        return "output"
    if "OSError" in classes and _WALL.search(text):
        return "environment"
    for name, kind in _BY_CLASS:
        if name in classes:
            return kind
    return "exception"


def ended_class(ran: Ran) -> str:
    """The one of `KINDS` for a program that ended before it answered."""
    if ran.limit:
        return _LIMITS.get(ran.limit, "exit")
    return "memory" if "MemoryError" in ran.stderr[-400:] else "exit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One test: `kind` is empty when it passed, one of `KINDS` when it failed, `unscored` when it cannot be told.

    `doubt` says why a failure may be the fault of the wall between two programs.
    """

    kind: str = ""
    message: str = ""
    doubt: str = ""

    @property
    def passed(self) -> bool:
        return not self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one candidate.

    Args:
        results: one for each test that was run, in their order.
        asked: how many tests there were; more than results when the run stopped at the first failure.
        mode: how candidate and tests were kept apart: `plain` (the host compares plain data), `apart` (two programs),
            `together` (one interpreter), `stdio` (the host compares stdout), `compiled` (one process, a secret word).
        printed: the first characters of the candidate's stdout, for feedback.
        seconds: by the clock.
    """

    results: tuple[Result, ...]
    asked: int
    mode: str = ""
    printed: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool | None:
        """True when every test passed, None when one is unscored, and a failed one does not decide before it.

        What the environment lacks (a package, the network) is unscored.
        """
        for result in self.results:
            if result.kind:
                return None if result.kind in (UNSCORED, "environment") else False
        return True if len(self.results) == self.asked and self.results else None

    @property
    def kind(self) -> str:
        """The class of the first failure; empty when all passed."""
        return next((result.kind for result in self.results if result.kind), "")

    @property
    def message(self) -> str:
        return next((result.message for result in self.results if result.kind), "")

    @property
    def fraction(self) -> float:
        """Passed tests of all that were asked, in [0, 1]."""
        return sum(result.passed for result in self.results) / max(self.asked, 1)

    def verdict(self) -> Verdict:
        """As a checker says it."""
        if self.passed:
            return Verdict(correct=True, reason=f"{self.asked} tests pass ({self.mode})")
        place = next((index for index, result in enumerate(self.results) if result.kind), 0)
        reason = f"{self.kind}: {self.message}" if self.passed is None else ""
        told = f"test {place + 1} of {self.asked}: {self.kind}: {self.message} ({self.mode})"
        return Verdict(correct=self.passed, reason=reason or told)


def failed(kind: str, message: str, *, asked: int, mode: str) -> Outcome:
    """A candidate that failed before its first test, or that cannot be told about (`kind` is `unscored`)."""
    return Outcome(results=(Result(kind=kind, message=message),), asked=asked, mode=mode)
