"""The matrix of solutions and tests, its guard against vacuous tests, pass@k."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.protocols import Executor
from burnish.verify.code import (
    KINDS,
    Matrix,
    Outcome,
    Result,
    Suite,
    differences,
    error_class,
    guard,
    mutants,
    pass_at_k,
    pass_matrix,
    run_suite,
)


class Kept(dict[str, Any]):
    """A journal in memory."""

    def put(self, key: str, value: Any) -> None:
        self[key] = value


TESTS = ("assert f(2) == 4", "assert f(3) == 9", "assert f(0) == 0", "assert f(1) == 2", "assert isinstance(f(1), int)")
SOLUTIONS = (
    "def f(x):\n    return x * x  # with a remark that makes it longer",
    "def f(x):\n    return x * x",
    "def f(x):\n    return x + x",
    "def f(x):\n    while True:\n        pass",
    "def f(x):\n    return x ** 2",
    "def f(x:\n",
)


@pytest.fixture(scope="module")
def matrix(executor: Executor) -> Matrix:
    suite = Suite(tests=TESTS, seconds=0.6)
    return pass_matrix(SOLUTIONS, suite, lambda code, s: run_suite(executor, code, s, every=True))


def test_the_matrix_is_what_the_tests_say(matrix: Matrix) -> None:
    assert matrix.sums == (4, 4, 4, 0, 4, 0)
    assert matrix.cells[3] == ("timeout",) * 5 and matrix.cells[5] == ("syntax",) * 5
    assert matrix.cells[0] == ("", "", "", "wrong_answer", "")
    assert matrix.best == 1 and matrix.quality == 0.8  # of four equal rows the shortest, of the shortest the first
    assert matrix.flagged() == {"none": (), "all": (), "unscored": ()}
    assert [c.solutions for c in matrix.clusters()] == [(0, 1, 4), (2,), (3, 5)]
    assert [c.score for c in matrix.clusters()] == [12, 4, 0]
    assert matrix.pair(threshold=0.8) == (1, 5) and matrix.demonstration(threshold=0.9) is None


def test_a_second_run_reproduces_it(executor: Executor, matrix: Matrix) -> None:
    suite, asked = Suite(tests=TESTS, seconds=0.6), []
    journal = Kept()

    def check(code: str, s: Suite) -> Outcome:
        asked.append(code)
        return run_suite(executor, code, s, every=True)

    again = pass_matrix(SOLUTIONS, suite, check, journal=journal)
    assert differences(matrix, again) == [] and len(asked) == 6
    assert pass_matrix(SOLUTIONS, suite, check, journal=journal) == again and len(asked) == 6
    other = Matrix(solutions=again.solutions, cells=(("timeout", *again.cells[0][1:]), *again.cells[1:]))
    assert differences(matrix, other) == [(0, 0)]


def made(rows: list[str], lengths: list[int] | None = None) -> Matrix:
    texts = tuple("x" * (lengths[i] if lengths else 1) for i in range(len(rows)))
    return Matrix(solutions=texts, cells=tuple(tuple("" if c == "1" else "wrong_answer" for c in row) for row in rows))


def test_tests_that_tell_nothing_are_flagged() -> None:
    assert made(["110", "100"]).flagged() == {"none": (2,), "all": (0,), "unscored": ()}
    cells = (("", "unscored"), ("", ""))
    assert Matrix(solutions=("a", "b"), cells=cells).flagged()["unscored"] == (1,)


def test_pairs_only_where_rows_differ() -> None:
    assert made(["11", "11"]).pair(threshold=0.5) is None and made(["11", "11"]).demonstration(threshold=1.0) == 0
    assert made(["00", "00"]).pair(threshold=0.5) is None and made(["00", "00"]).demonstration(threshold=0.5) is None
    assert made(["11", "01", "00"]).pair(threshold=0.5) == (0, 2)
    assert (
        made([]).best is None and made([]).demonstration(threshold=0.0) is None and made([]).pair(threshold=0.0) is None
    )


def test_agreement_with_held_out_tests() -> None:
    found = made(["11", "11", "01", "00"])
    assert found.agreement([True, False, False, False]) == 0.75
    with pytest.raises(DataError):
        found.agreement([True])


@given(st.lists(st.tuples(st.text("01", min_size=3, max_size=3), st.integers(1, 9)), min_size=1, max_size=8))
def test_best_row_by_brute_force(rows: list[tuple[str, int]]) -> None:
    found = made([row for row, _ in rows], [length for _, length in rows])
    best = found.best
    assert best is not None
    for index, (row, length) in enumerate(rows):
        mine = (rows[best][0].count("1"), -rows[best][1], -best)
        assert mine >= (row.count("1"), -length, -index)
    assert sorted(i for c in found.clusters() for i in c.solutions) == list(range(len(rows)))


def test_pass_at_k_is_the_share_of_samples_that_hold_a_right_one() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                drawn = list(itertools.combinations(range(n), k))
                share = Fraction(sum(any(i < c for i in sample) for sample in drawn), len(drawn))
                assert pass_at_k(n, c, k) == float(share), (n, c, k)


def test_pass_at_k_is_exact_for_large_numbers() -> None:
    assert pass_at_k(10**6, 1, 1) == 1e-6
    exact = float(1 - Fraction(math.comb(5000 - 300, 100), math.comb(5000, 100)))
    assert pass_at_k(5000, 300, 100) == exact
    for n, c, k in ((10**4, 4000, 3000), (10**5, 2500, 2500)):
        long = float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))
        assert pass_at_k(n, c, k) == pytest.approx(long, rel=1e-12)
    assert pass_at_k(200, 0, 100) == 0.0 and pass_at_k(200, 101, 100) == 1.0
    for bad in ((5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)):
        with pytest.raises(DataError, match="pass@k"):
            pass_at_k(*bad)


CODE = """def f(xs):
    total = 0
    for x in xs:
        if x > 0 and x % 2 == 0:
            total += x * 2
    return total
"""


def test_mutants_are_programs_with_one_fault() -> None:
    found = mutants(CODE)
    assert found == mutants(CODE) and 8 <= len(found) <= 12
    assert found[0].fault == "f() is empty" and len({m.code for m in found}) == len(found)
    for mutant in found:
        compile(mutant.code, "m", "exec")
    assert mutants("def f(:") == [] and mutants("") == [] and len(mutants(CODE, limit=3)) == 3


def test_the_guard_tells_vacuous_tests(executor: Executor) -> None:
    def check(code: str, suite: Suite) -> Outcome:
        return run_suite(executor, code, suite)

    good = guard(CODE, Suite(tests=("assert f([2, 4, -2, 3]) == 12", "assert f([2, 2]) == 8"), seconds=1.0), check)
    assert not good.vacuous and good.killed >= good.tried - 2, good
    weak = guard(CODE, Suite(tests=("f([1, 2])\nassert True",), seconds=1.0), check)
    assert weak.vacuous and weak.killed == 0 and "all" in weak.reason and len(weak.survivors) == weak.tried > 5
    quick = guard(CODE, Suite(tests=("assert f([2]) == 4",), seconds=1.0), check, enough=1)
    assert quick.tried == quick.killed == 1
    assert guard("x = y", Suite(tests=("assert x",)), check).vacuous


def test_an_unscored_mutant_is_no_kill() -> None:
    unscored = Outcome(results=(Result(kind="unscored", message="?"),), asked=1)
    assert guard(CODE, Suite(tests=("assert f([2])",)), lambda *_: unscored).vacuous


@pytest.mark.parametrize(
    ("classes", "text", "kind"),
    [
        (["IndentationError", "SyntaxError"], "", "syntax"),
        (["ModuleNotFoundError", "ImportError"], "No module named 'numpy.foo'", "environment"),
        (["ModuleNotFoundError", "ImportError"], "No module named 'json.foo'", "import"),
        (["ImportError"], "cannot import name 'x'", "import"),
        (["UnboundLocalError", "NameError"], "", "name"),
        (["AttributeError"], "", "type"),
        (["AssertionError"], "", "wrong_answer"),
        (["MemoryError"], "", "memory"),
        (["ConnectionRefusedError", "ConnectionError", "OSError"], "", "environment"),
        (["PermissionError", "OSError"], "", "environment"),
        (["OSError"], "[Errno 101] Network is unreachable", "environment"),
        (["FileNotFoundError", "OSError"], "", "exception"),
        (["ZeroDivisionError"], "", "exception"),
        (["Mine"], "", "exception"),
        ([], "", "exception"),
    ],
)
def test_error_classes(classes: list[str], text: str, kind: str) -> None:
    assert error_class(classes, text) == kind in KINDS


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_mutants_of_changed_programs_never_raise(seed: int) -> None:
    random_ = random.Random(seed)
    text = list(CODE)
    for _ in range(random_.randrange(12)):
        text[random_.randrange(len(text))] = random_.choice("()[]:=+-*/ \n\tifxreturn0")
    for mutant in mutants("".join(text)):
        compile(mutant.code, "m", "exec")
