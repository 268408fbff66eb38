"""Whether two expressions are equal: by normal form, else by evaluation. True, False, or None when neither tells.

Rules that the literature leaves open, all ASSUMED and listed in docs/verify_math.md: a percent sign and a degree sign
are a unit when only one side has it, and a factor as well (50 % agrees with 50 and with 1/2); a gold decimal of three
or more significant digits also accepts what rounds to it; nothing else is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from burnish.verify.math.equality.evaluate import Undecided, at_point, with_digits
from burnish.verify.math.equality.exact import Beyond, Sum, as_rational, exact
from burnish.verify.math.reading.parse import Node, symbols_of
from burnish.verify.math.reading.shapes import Value
from burnish.verify.math.reading.tokens import Unreadable
from burnish.verify.math.reading.units import unit_of

TRIALS = 4  # ASSUMED: points at which expressions with symbols are compared
AGREE, DIFFER = 1e-9, 1e-6  # ASSUMED: relative; between the two nothing is decided
LEAST_DIGITS = 3  # ASSUMED: significant digits of a gold decimal that stands for what rounds to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How strict a comparison is.

    Args:
        rounding: a gold decimal accepts what rounds to it.
        relative: numbers within this share of the gold one are equal (Minerva's physics answers: 0.01); 0 for none.
    """

    rounding: bool = True
    relative: float = 0.0


_DEGREE = Fraction(355, 113 * 180)  # of a radian, to seven digits: the size of a last place, not a value
STRICT = Rules(rounding=False)


@lru_cache(maxsize=8192)
def normal(tree: Node) -> Sum | None:
    """The exact normal form, or None when it has none within bounds."""
    try:
        return exact(tree)
    except (Beyond, Unreadable, RecursionError):
        return None


def last_place(tree: Node) -> tuple[Fraction, int] | None:
    """Of a decimal: the unit of its last written place and its significant digits; None for anything else."""
    kind = tree[0]
    if kind == "num":
        if tree[2] is None or not tree[1]:
            return None
        return tree[2], len(str(abs(tree[1] / tree[2]).__floor__()))
    if kind in ("neg", "pct", "deg"):
        found = last_place(tree[1])
        scale = {"neg": Fraction(1), "pct": Fraction(1, 100), "deg": _DEGREE}[kind]
        return (found[0] * scale, found[1]) if found else None
    if kind == "mul" and tree[2][0] == "pow" and tree[2][1][:2] == ("num", Fraction(10)):
        found, scale = last_place(tree[1]), normal(tree[2])
        factor = as_rational(scale) if scale else None
        return (found[0] * factor, found[1]) if found and factor else None
    return None


def real(tree: Node) -> Fraction | None:
    """The value of a real constant: exact where it is rational, else as evaluated."""
    form = normal(tree)
    value = as_rational(form) if form is not None else None
    if value is not None:
        return value
    if symbols_of(tree):
        return None
    try:
        found = at_point(tree, 0)
    except (Undecided, RecursionError):
        return None
    return Fraction(found.real) if abs(found.imag) <= AGREE * max(abs(found), 1e-6) else None


def _close(given: Node, gold: Node, rules: Rules) -> bool:
    """Whether a gold decimal, or the share that is allowed, covers the given value."""
    place = last_place(gold) if rules.rounding else None
    if not rules.relative and (place is None or place[1] < LEAST_DIGITS):
        return False
    a, b = real(given), real(gold)
    if a is None or b is None:
        return False
    if place is not None and place[1] >= LEAST_DIGITS and abs(a - b) <= place[0] / 2:
        return True
    return abs(a - b) <= Fraction(rules.relative) * abs(b)


def _probed(given: Node, gold: Node, natural: bool) -> bool | None:
    free = symbols_of(given) | symbols_of(gold)
    agree = differ = 0
    for trial in range(TRIALS if free else 1):
        try:
            a, b = at_point(given, trial, natural=natural), at_point(gold, trial, natural=natural)
        except (Undecided, RecursionError):
            continue
        gap, size = abs(a - b), max(abs(a), abs(b))
        if gap <= AGREE * size or size < 1e-11:
            agree += 1
        elif gap > DIFFER * size and gap > 1e-9:
            differ += 1
    if free:
        return None if bool(agree) == bool(differ) else agree > 0
    if differ or not agree:
        return False if differ else _near(given, gold, natural)
    return _near(given, gold, natural)


def _near(given: Node, gold: Node, natural: bool) -> bool | None:
    """Two constants that floating point cannot tell apart, with forty digits."""
    try:
        at_point(given, 0, natural=natural), at_point(gold, 0, natural=natural)
        a, b = with_digits(given, natural=natural), with_digits(gold, natural=natural)
        size = max(abs(a), abs(b), 1e-6)
        return bool(abs(a - b) <= size * 1e-26)
    except (Undecided, RecursionError):
        return None


def same_tree(given: Node, gold: Node, rules: Rules = STRICT) -> bool | None:
    """Whether two expressions are equal."""
    if given == gold:
        return True
    if "inf" in (given[0], gold[0]) or ("neg", ("inf",)) in (given, gold):
        return False
    a, b = normal(given), normal(gold)
    if a is not None and a == b:
        return True
    if a is not None and b is not None and as_rational(a) is not None and as_rational(b) is not None:
        return _close(given, gold, rules)
    if _close(given, gold, rules):
        return True
    found = _probed(given, gold, True)
    if found is not True and ("'log'" in repr(given) or "'log'" in repr(gold)):
        second = _probed(given, gold, False)
        found = True if second else found
    return found


def spread(tree: Node) -> list[Node]:
    """The two expressions that one with ± stands for (all its signs together), or itself alone."""
    if "'pm'" not in repr(tree) and "'mp'" not in repr(tree):
        return [tree]
    return [_signed(tree, 1), _signed(tree, -1)]


def _signed(tree: Node, sign: int) -> Node:
    if not isinstance(tree, tuple) or not tree or tree[0] in ("num", "sym"):
        return tree
    if tree[0] in ("pm", "mp"):
        left, right = _signed(tree[1], sign), _signed(tree[2], sign)
        way = sign if tree[0] == "pm" else -sign
        return ("add", left, right if way > 0 else ("neg", right))
    return tuple(_signed(part, sign) if isinstance(part, tuple) else part for part in tree)


def _readings(tree: Node, other: Node) -> list[Node]:
    """A tree, and the same without a percent or degree sign that the other side does not have."""
    inner, wrap = (tree[1], True) if tree[0] == "neg" else (tree, False)
    if inner[0] in ("pct", "deg") and inner[0] not in repr(other):
        return [tree, ("neg", inner[1]) if wrap else inner[1]]
    return [tree]


def _scales(given: Value, gold: Value) -> tuple[Fraction, Fraction] | None:
    """Factors to a shared unit; None when the two units measure different things."""
    ours, theirs = unit_of(list(given.unit)), unit_of(list(gold.unit))
    if not given.unit or not gold.unit or ours is None or theirs is None or given.unit == gold.unit:
        return Fraction(1), Fraction(1)
    if ours[1] != theirs[1]:
        return None
    return ours[0], theirs[0]


def _scaled(tree: Node, factor: Fraction) -> Node:
    return tree if factor == 1 else ("mul", ("num", factor, None), tree)


def same_value(given: Value, gold: Value, rules: Rules = STRICT) -> bool | None:
    """Whether two values are equal, units and signs for a hundredth or a degree taken into account."""
    scales = _scales(given, gold)
    if scales is None:
        return False
    told: list[bool | None] = []
    golds = [gold.tree, *(other.tree for other in gold.others)]
    givens = [given.tree, *_consistent(given)]
    for ours in givens:
        for theirs in golds:
            for a in _readings(ours, theirs):
                for b in _readings(theirs, ours):
                    if scales[0] != scales[1]:
                        a, b = _scaled(a, scales[0] / scales[1]), b
                    found = same_tree(a, b, rules)
                    if found:
                        return True
                    told.append(found)
    return None if None in told else False


def _consistent(value: Value) -> list[Node]:
    """Earlier members of a chain that the last one at most rounds: "1/3 ≈ 0.33" may be matched by either."""
    found = []
    last = real(value.tree)
    for other in value.others:
        earlier = real(other.tree)
        if (last is not None and earlier is not None and abs(last - earlier) <= abs(last) / 100) or (
            last is None and same_tree(other.tree, value.tree)
        ):
            found.append(other.tree)
    return found
