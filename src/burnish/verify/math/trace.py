"""The equations of a worked solution, each side evaluated: which step is wrong, and the key that removes duplicates.

Rejection-sampling fine-tuning (Yuan et al. 2023, arXiv 2308.01825 §3.3) keeps a sampled solution only when every
annotated equation `<<lhs=rhs>>` holds within 1e-3, and keeps one solution for each ordered list of equations. Here the
equations of plain text and LaTeX are found as well. Nothing is evaluated as code: the sides are parsed, and the
arithmetic is exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise

from burnish.verify.math.equality.exact import Beyond, as_rational, exact
from burnish.verify.math.equality.values import real
from burnish.verify.math.reading.parse import parse
from burnish.verify.math.reading.tokens import Unreadable, tokens

TOLERANCE = 1e-3  # §3.3: of an annotated equation
MAX_SIDE = 300  # ASSUMED: characters of one side
MAX_STEPS = 400  # ASSUMED: equations of one solution

_ANNOTATED = re.compile(r"<<([^<>\n]{1,600}+)>>")
# A run of arithmetic: numbers, operators, brackets and the LaTeX that writes them.
_PIECE = (
    r"(?:[0-9]++(?:,[0-9]{3}(?![0-9]))*+(?:\.[0-9]++)?|\.[0-9]++|[-+*/^()×÷·−–%$€£]|\\(?:times|cdot|div|left|right|[,;!%$])"
    r"|\\[dt]?frac|\\sqrt|[{}]|(?<=[0-9)\s])[xX](?=\s?[0-9($])|[^\S\n])"
)
# Always consumes what it looks at, so that the search is linear; runs without a sign are dropped afterwards.
_RUN = re.compile(rf"(?:{_PIECE}|=|\\approx|≈)++")
_TIMES = re.compile(r"(?<=[0-9)\s])[xX](?=\s?[0-9($])")
_COMPUTED = re.compile(r"[0-9)}%]\s*+(?:[-+*/^×÷·−–xX]|\\(?:times|cdot|div))|frac|sqrt|[0-9)]\s*+\(")
_SIGN = re.compile(r"=|\\approx|≈")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One equation of a solution.

    Args:
        left, right: its sides as written, without white space.
        start, end: where it stands in the text, in characters.
        annotated: written `<<lhs=rhs>>`.
        holds: whether both sides have one value; None when a side cannot be evaluated.
        why: what is wrong, empty when nothing is.
    """

    left: str
    right: str
    start: int
    end: int
    annotated: bool
    holds: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The steps of a solution in order.

    `wrong` are those whose sides differ, `unread` those with a side that cannot be evaluated.
    """

    steps: tuple[Step, ...]

    @property
    def wrong(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.holds is False)

    @property
    def unread(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.holds is None)

    @property
    def key(self) -> tuple[str, ...]:
        """The ordered equations without white space: solutions with one key are duplicates (§3.3)."""
        return tuple(f"{step.left}={step.right}" for step in self.steps)


def value_of(text: str) -> Fraction | None:
    """The value of an arithmetic expression, or None when it is none or beyond the bounds. Never raises."""
    if not text.strip() or len(text) > MAX_SIDE:
        return None
    try:
        written = _TIMES.sub("*", text).replace("//", "/")
        found = [token for token in tokens(written) if token.kind != "word"]
        if any(token.kind not in ("num", "op", "open", "close") for token in found):
            return None
        tree = parse(found)
        value = as_rational(exact(tree))
        if "//" in text:  # whole division, where it leaves nothing
            return value if value is not None and value.denominator == 1 else None
        return value if value is not None else real(tree)
    except (Unreadable, Beyond, RecursionError):
        return None


def check_trace(text: str, *, annotated: bool | None = None, tolerance: float = TOLERANCE) -> Trace:
    """The equations of a solution, each with the verdict on it.

    Args:
        text: the solution.
        annotated: only those in `<<...>>` (True), all others (False), or (None) the annotated ones where the
            solution has any, else all others. In plain text only a computation counts ("12 * 3 = 36", not "x = 3"),
            and units are not known ("$1 / 2 = 50 cents"): its verdicts are hints.
        tolerance: by which the sides may differ.

    Never raises, whatever the text; linear in its length up to 400 equations.
    """
    found = islice(_ANNOTATED.finditer(text), MAX_STEPS)
    marked = [_steps(match.group(1), match.start(1), True, tolerance) for match in found]
    steps = [step for chain in marked for step in chain]
    if annotated is False or (annotated is None and not steps):
        plain = _ANNOTATED.sub(lambda match: "\n" * len(match.group()), text)
        runs = [
            _steps(match.group(), match.start(), False, tolerance)
            for match in islice((run for run in _RUN.finditer(plain) if _whole(plain, run)), MAX_STEPS)
        ]
        steps = [step for chain in runs for step in chain]
    return Trace(steps=tuple(steps[:MAX_STEPS]))


def _whole(text: str, match: re.Match[str]) -> bool:
    """Whether a run of arithmetic is an equation by itself, not the rest of one with symbols or of a time of day."""
    inside = match.group().strip()
    if not _SIGN.search(inside):
        return False
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    if inside[0] in "+*/^)×÷·=" or (
        inside[0] in "-−–" and text[max(0, match.start() - 8) : match.start()].rstrip()[-1:].isalnum()
    ):
        return False
    joined = match.group()[0] == inside[0] and before and (before.isalnum() or before in ":.,_%\\")
    return not joined and not (after.isalpha() and match.group()[-1] == inside[-1])


def _steps(text: str, start: int, annotated: bool, tolerance: float) -> list[Step]:
    """The equations of a chain `a = b = c`: a = b, then b = c."""
    sides: list[tuple[str, int, int]] = []
    at = 0
    for match in [*islice(_SIGN.finditer(text), MAX_STEPS), None]:
        end = match.start() if match else len(text)
        sides.append((text[at:end], start + at, start + end))
        at = match.end() if match else end
    out: list[Step] = []
    for (left, begin, _), (right, _, end) in pairwise(sides):
        if len(out) > MAX_STEPS:
            break
        step = _step(left, right, (begin, end), annotated, tolerance)
        if annotated or (step.holds is not None and _COMPUTED.search(left if not out else left + right)):
            out.append(step)
    return out


def _step(left: str, right: str, place: tuple[int, int], annotated: bool, tolerance: float) -> Step:
    a, b = value_of(left), value_of(right)
    holds: bool | None = None
    why = ""
    if a is None or b is None:
        why = f"{(left if a is None else right).strip()[:40]!r} has no value"
    else:
        holds = abs(a - b) <= Fraction(tolerance)
        if not holds:
            why = f"{left.strip()[:40]} is {_shown(a)}, not {right.strip()[:40]}"
    sides = ("".join(side.split()) for side in (left, right))
    return Step(
        left=next(sides), right=next(sides), start=place[0], end=place[1], annotated=annotated, holds=holds, why=why
    )


def _shown(value: Fraction) -> str:
    return str(value) if value.denominator == 1 and abs(value) < 10**12 else f"{float(value):.6g}"
