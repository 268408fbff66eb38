"""Whether two answers of any shape are equal: True, False, or None when this room cannot tell."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from burnish.verify.math.equality.evaluate import Undecided, at_point
from burnish.verify.math.equality.values import AGREE, DIFFER, TRIALS, Rules, real, same_tree, same_value, spread
from burnish.verify.math.reading.parse import Node, symbols_of
from burnish.verify.math.reading.shapes import (
    Either,
    Equation,
    Form,
    Inequality,
    Many,
    Matrix,
    Ratio,
    Sequence,
    Text,
    Union,
    Value,
)

INFINITE: tuple[Node, ...] = (("inf",), ("neg", ("inf",)))
_FLIP = {"<": ">", ">": "<", "leq": "geq", "geq": "leq", "neq": "neq"}
# Left end, whether it belongs, right end, whether it belongs.
Interval = tuple[Node, bool, Node, bool]


def same(given: Form, gold: Form, rules: Rules) -> bool | None:
    """Compare two answers; `gold` decides which rounding is allowed."""
    if isinstance(given, Either) or isinstance(gold, Either):
        ours = given.forms if isinstance(given, Either) else (given,)
        theirs = gold.forms if isinstance(gold, Either) else (gold,)
        return _any([same(a, b, rules) for a in ours for b in theirs])
    if isinstance(given, Text) or isinstance(gold, Text):
        return _texts(given, gold)
    if isinstance(given, Value) and isinstance(gold, Value):
        found = _single(given, gold, rules)
        if found is not None:
            return found
        return _as_lists(given, gold, rules)
    for kind, compare in _PAIRS:
        if isinstance(given, kind) and isinstance(gold, kind):
            return compare(given, gold, rules)
    return _mixed(given, gold, rules)


def _any(told: list[bool | None]) -> bool | None:
    return True if True in told else None if None in told else False


def _all(told: list[bool | None]) -> bool | None:
    return False if False in told else None if None in told else True


def _texts(given: Form, gold: Form) -> bool | None:
    if isinstance(given, Text) and isinstance(gold, Text):
        if given.words == gold.words:
            return True
        return None if given.math or gold.math else False
    text = given if isinstance(given, Text) else gold
    assert isinstance(text, Text)
    return None if text.math or text.phrase else False


def _single(given: Value, gold: Value, rules: Rules) -> bool | None:
    if len(spread(given.tree)) > 1 or len(spread(gold.tree)) > 1:
        return None
    return same_value(given, gold, rules)


def listed(form: Form) -> list[Form]:
    """The answers that a form gives, ± written out; a form that is one answer alone."""
    if isinstance(form, Many):
        return [item for part in form.items for item in listed(part)]
    if isinstance(form, Sequence) and form.left == "{":
        return [item for part in form.items for item in listed(part)]
    if isinstance(form, Value):
        trees = spread(form.tree)
        if len(trees) > 1:
            return [Value(tree, form.unit, form.name) for tree in trees]
    return [form]


def _as_lists(given: Form, gold: Form, rules: Rules) -> bool | None:
    ours, theirs = listed(given), listed(gold)
    if len(ours) == len(theirs) == 1 and isinstance(ours[0], Value) and isinstance(theirs[0], Value):
        return same_value(ours[0], theirs[0], rules)
    found = _matching(ours, theirs, rules)
    if found is False and len(ours) != len(theirs):  # "1, 1, 2" and {1, 2}
        return _matching(_distinct(ours), _distinct(theirs), rules)
    return found


def _distinct(items: list[Form]) -> list[Form]:
    kept: list[Form] = []
    for item in items[:30]:
        if not any(same(item, other, Rules(rounding=False)) for other in kept):
            kept.append(item)
    return kept


def _names(items: list[Form]) -> list[str]:
    return [item.name if isinstance(item, Value) else "" for item in items]


def _matching(ours: list[Form], theirs: list[Form], rules: Rules) -> bool | None:
    """Whether the items agree in some order; by name when both sides name the same different things."""
    if len(ours) != len(theirs):
        return False
    names = _names(ours)
    if all(names) and len(set(names)) == len(names) and sorted(names) == sorted(_names(theirs)):
        gold = dict(zip(_names(theirs), theirs))
        return _all([same(item, gold[name], rules) for item, name in zip(ours, names)])
    left, unsure = list(theirs), False
    for item in ours:
        told = [same(item, other, rules) for other in left]
        if True in told:
            del left[told.index(True)]
        elif None in told:
            unsure = True
        else:
            return False
    return None if unsure else True


def _ordered(ours: tuple[Form, ...], theirs: tuple[Form, ...], rules: Rules) -> bool | None:
    if len(ours) != len(theirs):
        return False
    return _all([same(a, b, rules) for a, b in zip(ours, theirs)])


def _sequences(given: Sequence, gold: Sequence, rules: Rules) -> bool | None:
    if given.left == gold.left == "{":
        return _as_lists(given, gold, rules)
    if (given.left, given.right) != (gold.left, gold.right):
        return False
    if all(_names(list(given.items))) and all(_names(list(gold.items))):
        return _matching(list(given.items), list(gold.items), rules)
    return _ordered(given.items, gold.items, rules)


def _matrices(given: Matrix, gold: Matrix, rules: Rules) -> bool | None:
    if [len(row) for row in given.rows] != [len(row) for row in gold.rows]:
        return False
    return _all(
        [
            same_value(Value(a), Value(b), rules)
            for left, right in zip(given.rows, gold.rows)
            for a, b in zip(left, right)
        ]
    )


def _difference(equation: Equation) -> Node:
    return ("add", equation.left, ("neg", equation.right))


def _equations(given: Equation, gold: Equation, rules: Rules) -> bool | None:
    """Two equations are one when the differences of their sides are proportional."""
    a, b = _difference(given), _difference(gold)
    if symbols_of(a) != symbols_of(b):
        return False
    ratios: list[complex] = []
    for trial in range(TRIALS):
        try:
            over, under = at_point(a, trial), at_point(b, trial)
        except (Undecided, RecursionError):
            continue
        if abs(under) > AGREE:
            ratios.append(over / under)
    if len(ratios) < 2:  # an identity says nothing by its zeros: its sides are the answer
        told = [same_tree(given.left, gold.left, rules), same_tree(given.right, gold.right, rules)]
        return True if told == [True, True] else None
    first, size = ratios[0], abs(ratios[0])
    if size < AGREE:
        return False
    gaps = [abs(ratio - first) / size for ratio in ratios[1:]]
    if max(gaps) <= AGREE:
        return True
    return False if max(gaps) > DIFFER else None


def _clock(parts: tuple[Fraction, ...], half: str) -> tuple[Fraction, ...]:
    """A time of day on the clock of 24 hours."""
    return (parts[0] % 12 + (12 if half == "pm" else 0), *parts[1:])


def _ratios(given: Ratio, gold: Ratio, rules: Rules) -> bool | None:
    ours, theirs = ("".join(form.words).replace(".", "") for form in (given, gold))
    halves = [half for half in (ours, theirs) if half in ("am", "pm")]
    if len(halves) == 1 and (not ours or not theirs):  # 17:30 is 5:30 PM
        timed, bare = (given, gold) if ours else (gold, given)
        if bare.parts == _clock(timed.parts, halves[0]):
            return True
    return given.parts == gold.parts and (ours == theirs or not ours or not theirs)


def intervals(form: Form) -> list[Interval] | None:
    """The part of the real line that a form describes, as intervals and points; None when it is something else."""
    if isinstance(form, Union):
        found = [intervals(item) for item in form.items]
        return None if None in found else [part for parts in found for part in parts or ()]
    if isinstance(form, Sequence):
        if form.left == "{":
            points = [item.tree for item in form.items if isinstance(item, Value)]
            return [(tree, True, tree, True) for tree in points] if len(points) == len(form.items) else None
        ends = [item.tree for item in form.items if isinstance(item, Value)]
        if len(ends) == len(form.items) == 2:
            return [(ends[0], form.left == "[", ends[1], form.right == "]")]
        return None
    if isinstance(form, Inequality):
        return _solved(form)
    return None


def _solved(form: Inequality) -> list[Interval] | None:
    sides, signs = form.sides, form.signs
    if len(sides) == 2:
        if sides[1][0] == "sym" and sides[0][0] != "sym":
            sides, signs = sides[::-1], (_FLIP[signs[0]],)
        if sides[0][0] != "sym":
            return None
        low, high = ("neg", ("inf",)), ("inf",)
        if signs[0] == "neq":
            return [
                part for tree in spread(sides[1]) for part in ((low, False, tree, False), (tree, False, high, False))
            ]
        closed = signs[0] in ("leq", "geq")
        if signs[0] in ("<", "leq"):
            return [(low, False, sides[1], closed)]
        return [(sides[1], closed, high, False)]
    if sides[1][0] != "sym":
        return None
    if set(signs) <= {"<", "leq"}:
        return [(sides[0], signs[0] == "leq", sides[2], signs[1] == "leq")]
    if set(signs) <= {">", "geq"}:
        return [(sides[2], signs[1] == "geq", sides[0], signs[0] == "geq")]
    return None


def _same_end(given: Node, gold: Node, rules: Rules) -> bool | None:
    if given in INFINITE or gold in INFINITE:
        return given == gold
    return same_value(Value(given), Value(gold), rules)


def _joined(parts: list[Interval]) -> list[Interval]:
    """In order and with overlapping or touching parts made one, where the ends are real numbers."""
    valued = []
    for left, open_left, right, open_right in parts:
        low = Fraction(-(10**30)) if left == INFINITE[1] else real(left)
        high = Fraction(10**30) if right == INFINITE[0] else real(right)
        if low is None or high is None:
            return parts
        valued.append((low, high, (left, open_left, right, open_right)))
    valued.sort(key=lambda row: row[:2])
    out: list[tuple[Fraction, Fraction, Interval]] = []
    for low, high, part in valued:
        if out and (low < out[-1][1] or (low == out[-1][1] and (part[1] or out[-1][2][3]))):
            before = out[-1]
            if high > before[1] or (high == before[1] and part[3]):
                out[-1] = (before[0], high, (*before[2][:2], *part[2:]))
            if low == before[0] and part[1]:
                out[-1] = (*out[-1][:2], (before[2][0], True, *out[-1][2][2:]))
        else:
            out.append((low, high, part))
    return [part for _, _, part in out]


def _same_sets(ours: list[Interval], theirs: list[Interval], rules: Rules) -> bool | None:
    left, unsure = _joined(theirs), False
    ours = _joined(ours)
    if len(left) != len(ours):
        return False
    for part in ours:
        told = [
            False
            if (part[1], part[3]) != (other[1], other[3])
            else _all([_same_end(part[0], other[0], rules), _same_end(part[2], other[2], rules)])
            for other in left
        ]
        if True in told:
            del left[told.index(True)]
        elif None in told:
            unsure = True
        else:
            return False
    return None if unsure else True


def _lines(given: Form, gold: Form, rules: Rules) -> bool | None:
    """Parts of the real line; inequalities that do not solve to one are compared side by side."""
    ours, theirs = intervals(given), intervals(gold)
    if ours is not None and theirs is not None:
        return _same_sets(ours, theirs, rules)
    if isinstance(given, Inequality) and isinstance(gold, Inequality):
        for sides, signs in ((given.sides, given.signs), (given.sides[::-1], tuple(map(_FLIP.get, given.signs[::-1])))):
            if signs == gold.signs and len(sides) == len(gold.sides):
                found = _all([same_tree(a, b, rules) for a, b in zip(sides, gold.sides)])
                if found is not False:
                    return found
        return False
    return None if ours is None and theirs is None else False


def _mixed(given: Form, gold: Form, rules: Rules) -> bool | None:
    """Two shapes that differ but may say one thing."""
    kinds = {type(given), type(gold)}
    if Inequality in kinds or Union in kinds:
        return _lines(given, gold, rules)
    if Equation in kinds and Value in kinds:
        equation, value = (given, gold) if isinstance(given, Equation) else (gold, given)
        assert isinstance(equation, Equation) and isinstance(value, Value)
        if not value.name.isalpha() and not value.name.replace("_", "").isalnum():
            return False
        other = Equation(("sym", value.name), value.tree)
        return _equations(equation, other, rules)
    if Ratio in kinds and Value in kinds:
        ratio, value = (given, gold) if isinstance(given, Ratio) else (gold, given)
        assert isinstance(ratio, Ratio) and isinstance(value, Value)
        if len(ratio.parts) != 2 or not ratio.parts[1] or value.tree[0] != "div":  # 3:4 is 3/4, but 5:1 is not 5
            return False
        return same_value(Value(("num", ratio.parts[0] / ratio.parts[1], None)), value, rules)
    if Matrix in kinds and Sequence in kinds:
        matrix, row = (given, gold) if isinstance(given, Matrix) else (gold, given)
        assert isinstance(matrix, Matrix) and isinstance(row, Sequence)
        if all(isinstance(item, Sequence) for item in row.items):  # [[1, 2], [3, 4]]
            lines = Sequence("[", "]", tuple(Sequence("[", "]", tuple(map(Value, line))) for line in matrix.rows))
            return _sequences(lines, row, rules) if row is gold else _sequences(row, lines, rules)
        entries = [entry for line in matrix.rows for entry in line]
        if row.left == "{" or 1 not in (len(matrix.rows), len(matrix.rows[0])):
            return False
        ours = tuple(Value(entry) for entry in entries)
        return _ordered(ours, row.items, rules) if row is gold else _ordered(row.items, ours, rules)
    if Sequence in kinds and Many in kinds:
        return _list_and_brackets(given, gold, rules)
    if kinds <= {Value, Many, Sequence} and (listed(given) != [given] or listed(gold) != [gold]):
        return _as_lists(given, gold, rules)
    return False


def _list_and_brackets(given: Form, gold: Form, rules: Rules) -> bool | None:
    """A bare list against a tuple in the same order, or against a set or named values in any order."""
    row = given if isinstance(given, Sequence) else gold
    assert isinstance(row, Sequence)
    if row.left == "{":
        return _as_lists(given, gold, rules)
    other = gold if row is given else given
    assert isinstance(other, Many)
    if row.left != row.right and (row.left, row.right) not in (("(", ")"), ("[", "]")):
        return False
    if all(_names(list(row.items))):
        ours, theirs = (row.items, other.items) if row is given else (other.items, row.items)
        return _matching(list(ours), list(theirs), rules)
    ours, theirs = (row.items, other.items) if row is given else (other.items, row.items)
    return _ordered(ours, theirs, rules)


_PAIRS: tuple[tuple[type, Callable[..., bool | None]], ...] = (
    (Many, _as_lists),
    (Sequence, _sequences),
    (Matrix, _matrices),
    (Equation, _equations),
    (Ratio, _ratios),
    (Inequality, _lines),
    (Union, _lines),
)
