"""Agreement: examples of the literature, a flat second implementation, properties, undefined cases."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.judge.measure import (
    accuracy,
    cohen_kappa,
    krippendorff_alpha,
    pearson,
    quadratic_kappa,
    spearman,
)

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section D: four observers, twelve units.
OBSERVERS = ("123321412***", "1233224125*3", "*3332342251*", "1233244125 1*".replace(" ", ""))
UNITS = [[None if c == "*" else int(c) for c in unit] for unit in zip(*OBSERVERS, strict=True)]


def flat_alpha(ratings: list[list[float | None]], level: str) -> float:
    """Straight from the coincidence matrix, with no shortcut."""
    rows = [[v for v in row if v is not None] for row in ratings]
    rows = [row for row in rows if len(row) > 1]
    labels = sorted({v for row in rows for v in row})
    cells = {(a, b): 0.0 for a in labels for b in labels}
    for row in rows:
        for a, b in permutations(range(len(row)), 2):
            cells[row[a], row[b]] += 1 / (len(row) - 1)
    margin = {a: sum(cells[a, b] for b in labels) for a in labels}
    n = sum(margin.values())

    def distance(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        return (sum(margin[g] for g in labels if low <= g <= high) - (margin[a] + margin[b]) / 2) ** 2

    observed = sum(cells[a, b] * distance(a, b) for a in labels for b in labels) / n
    expected = sum(margin[a] * margin[b] * distance(a, b) for a in labels for b in labels) / (n * (n - 1))
    return 1 - observed / expected


def flat_kappa(first: list, second: list, *, squared: bool) -> float:
    n, labels = len(first), sorted(set(first) | set(second))

    def weight(a: float, b: float) -> float:
        return (a - b) ** 2 if squared else float(a != b)

    seen = sum(weight(a, b) for a, b in zip(first, second, strict=True)) / n
    chance = sum(weight(a, b) * first.count(a) * second.count(b) for a in labels for b in labels) / n**2
    return 1 - seen / chance


def spread(table: list[list[int]]) -> tuple[list[int], list[int]]:
    rows = [(a, b) for a, row in enumerate(table) for b, times in enumerate(row) for _ in range(times)]
    return [a for a, _ in rows], [b for _, b in rows]


@pytest.mark.parametrize(("level", "told"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_own_example(level: str, told: float) -> None:
    found = krippendorff_alpha(UNITS, level)
    assert found.value == pytest.approx(told, abs=5e-4)
    assert (found.n, found.unscored) == (11, 1)
    assert found.low < found.value < found.high


def test_kappa_of_fleiss_table() -> None:
    """Fleiss 1981, table 13.1: 100 diagnoses, kappa 0.676; and the grant example, 20 5 / 10 15, kappa 0.4."""
    assert cohen_kappa(*spread([[75, 1, 4], [5, 4, 1], [0, 0, 10]])).value == pytest.approx(0.23 / 0.34, abs=1e-12)
    assert cohen_kappa(*spread([[20, 5], [10, 15]])).value == pytest.approx(0.4, abs=1e-12)
    assert quadratic_kappa(*spread([[20, 5], [10, 15]])).value == pytest.approx(0.4, abs=1e-12)


def test_spearman_by_hand() -> None:
    """1 - 6 sum d^2 / n (n^2 - 1) without ties: ranks 1 2 3 4 5 against 2 1 4 3 5 give 0.8."""
    assert spearman([10, 20, 30, 40, 50], [2, 1, 4, 3, 5]).value == pytest.approx(0.8)
    assert spearman([1, 2, 3], [1, 10, 1000]).value == pytest.approx(1.0)
    # Ranks 1.5 1.5 3 against 1 2 3: covariance 1.5, squares 1.5 and 2.
    assert spearman([5, 5, 9], [1, 2, 3]).value == pytest.approx(1.5 / math.sqrt(3))
    assert pearson([0, 1, 2], [1, 3, 5]).value == pytest.approx(1.0)


marks = st.integers(1, 5)
pairs = st.lists(st.tuples(marks, marks), min_size=2, max_size=30)


@settings(max_examples=40, deadline=None)
@given(pairs)
def test_two_raters_against_the_flat_form(rows: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in rows], [b for _, b in rows]
    for measure, squared in ((cohen_kappa, False), (quadratic_kappa, True)):
        found = measure(first, second, draws=2)
        if len({*first, *second}) == 1:
            assert found.value is None and found.why
            continue
        assert found.value == pytest.approx(flat_kappa(first, second, squared=squared), abs=1e-12)
        assert -1 - 1e-12 <= found.value <= 1
        assert measure(second, first, draws=2).value == pytest.approx(found.value, abs=1e-12)
        renamed = [6 - a for a in first], [6 - b for b in second]
        assert measure(*renamed, draws=2).value == pytest.approx(found.value, abs=1e-12)
        if first == second:
            assert found.value == 1
    share = accuracy(first, second)
    assert share.low <= share.value <= share.high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), marks), min_size=3, max_size=3), max_size=15))
def test_alpha_against_the_flat_form(rows: list[list[int | None]]) -> None:
    pairable = [[v for v in row if v is not None] for row in rows]
    values = {v for row in pairable if len(row) > 1 for v in row}
    for level in ("nominal", "ordinal", "interval"):
        found = krippendorff_alpha(rows, level, draws=2)
        if len(values) < 2:
            assert found.value is None and found.why and found.low is None
        else:
            assert found.value == pytest.approx(flat_alpha(rows, level), abs=1e-9)
            shuffled = [row[::-1] for row in rows[::-1]]
            assert krippendorff_alpha(shuffled, level, draws=2).value == pytest.approx(found.value, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=20))
def test_correlations_are_bounded_and_keep_their_sign(rows: list[tuple[float, float]]) -> None:
    x, y = [a for a, _ in rows], [b for _, b in rows]
    for measure in (pearson, spearman):
        found = measure(x, y, draws=2)
        if len(set(x)) == 1 or len(set(y)) == 1:
            assert found.value is None and found.why
        else:
            assert -1 <= found.value <= 1
            assert measure(x, [-b for b in y], draws=2).value == pytest.approx(-found.value, abs=1e-9)


@pytest.mark.parametrize("measure", [cohen_kappa, quadratic_kappa, pearson, spearman])
def test_undefined_is_none_and_says_why(measure: object) -> None:
    for first, second in (([], []), ([1], [2]), ([3, 3, 3], [3, 3, 3]), ([None, 1], [1, None])):
        found = measure(first, second)
        assert found.value is None and found.low is None and found.why
    assert measure([1, 2, 3, None], [1, 2, 3, 4]).unscored == 1
    with pytest.raises(DataError, match="not pairs"):
        measure([1], [1, 2])


def test_labels_that_are_no_numbers_are_refused_where_order_matters() -> None:
    assert cohen_kappa(["a", "b"], ["a", "b"]).value == 1
    for label in ("a", True, float("nan")):
        with pytest.raises(DataError, match="finite number"):
            quadratic_kappa([label, 1], [1, 2])
    with pytest.raises(DataError, match="level"):
        krippendorff_alpha(UNITS, "ratio")


def test_a_rater_with_one_label_is_at_chance() -> None:
    assert cohen_kappa([1, 1, 1, 1], [1, 2, 1, 2]).value == 0


def test_intervals_are_seeded_and_cover() -> None:
    first, second = spread([[20, 5], [10, 15]])
    assert cohen_kappa(first, second, seed=3) == cohen_kappa(first, second, seed=3)
    found = cohen_kappa(first, second, seed=3)
    # The standard error of this kappa is 0.127 (Fleiss, Cohen, Everitt 1969, equation 13).
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(0.127, abs=0.015)
