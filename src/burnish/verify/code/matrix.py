"""Solutions x tests: the pass matrix, its best row, clusters of agreement, and pass@k.

Apple's code set (arXiv:2407.21075 §4.3; spec B.5) keeps the solution that passes most tests; Qwen2 (arXiv:2407.10671
§4.1) makes demonstrations and preferences of passing and failing ones. Solutions and tests of one model agree in their
errors, so clusters of equal outcomes are counted too (dual execution agreement, Chen et al. 2022, arXiv:2207.10397 §3),
and tests that no solution or every solution passes are flagged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from burnish.errors import DataError
from burnish.protocols import Journal
from burnish.records import content_id, plain
from burnish.verify.code.outcome import UNSCORED, Outcome
from burnish.verify.code.suite import Suite

EXACT = 2000  # up to this many factors the estimate of pass@k is computed in whole numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Solutions with identical outcomes. `score` is solutions x tests passed, the agreement of arXiv:2207.10397."""

    solutions: tuple[int, ...]
    passed: int

    @property
    def score(self) -> int:
        return len(self.solutions) * self.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The outcomes of each solution on each test.

    Args:
        solutions: the programs.
        cells: a row for each solution: for each test `` (passed), a class of failure (a timeout is one), or
            `unscored`, where the fault is the test's.
    """

    solutions: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.solutions) or len({len(row) for row in self.cells}) > 1:
            raise DataError("a pass matrix needs a row for each solution, all of one length")

    @property
    def passes(self) -> tuple[tuple[bool, ...], ...]:
        return tuple(tuple(not cell for cell in row) for row in self.cells)

    @property
    def sums(self) -> tuple[int, ...]:
        """Tests passed by each solution."""
        return tuple(map(sum, self.passes))

    @property
    def tests(self) -> int:
        return len(self.cells[0]) if self.cells else 0

    @property
    def best(self) -> int | None:
        """The row with most passes; ties go to the shortest solution, then to the first. None without solutions."""
        order = range(len(self.solutions))
        return min(order, key=lambda i: (-self.sums[i], len(self.solutions[i]), i), default=None)

    @property
    def quality(self) -> float:
        """The best row's share of the tests, in [0, 1]."""
        return max(self.sums, default=0) / self.tests if self.tests else 0.0

    def flagged(self) -> dict[str, tuple[int, ...]]:
        """Tests that tell nothing: `none` passes them, `all` pass them; and those that are `unscored` for anyone."""
        columns = list(zip(*self.passes, strict=True))
        unscored = [j for j in range(self.tests) if any(row[j] == UNSCORED for row in self.cells)]
        return {
            "none": tuple(j for j, column in enumerate(columns) if not any(column)),
            "all": tuple(j for j, column in enumerate(columns) if all(column)),
            "unscored": tuple(unscored),
        }

    def clusters(self) -> list[Cluster]:
        """Groups of solutions with identical outcomes, the highest score first, then by their first solution."""
        groups: dict[tuple[bool, ...], list[int]] = {}
        for index, row in enumerate(self.passes):
            groups.setdefault(row, []).append(index)
        found = [Cluster(solutions=tuple(members), passed=sum(row)) for row, members in groups.items()]
        return sorted(found, key=lambda c: (-c.score, c.solutions))

    def demonstration(self, *, threshold: float) -> int | None:
        """The best solution, when its share of the tests reaches the threshold (which Apple does not tell)."""
        return self.best if self.tests and self.quality >= threshold else None

    def pair(self, *, threshold: float) -> tuple[int, int] | None:
        """Chosen and rejected: the demonstration, and the shortest solution of the lowest row.

        None when there is no demonstration or the two pass equally many tests.
        """
        chosen = self.demonstration(threshold=threshold)
        if chosen is None:
            return None
        order = range(len(self.solutions))
        rejected = min(order, key=lambda i: (self.sums[i], len(self.solutions[i]), i))
        return (chosen, rejected) if self.sums[rejected] < self.sums[chosen] else None

    def agreement(self, held_out: Sequence[bool], *, threshold: float = 1.0) -> float:
        """How often `passes threshold of these tests` is what held-out human tests say, in [0, 1].

        Raises:
            DataError: not one verdict for each solution.
        """
        if len(held_out) != len(self.solutions) or not held_out:
            raise DataError(f"{len(held_out)} held-out verdicts for {len(self.solutions)} solutions")
        said = [self.tests > 0 and total / self.tests >= threshold for total in self.sums]
        return sum(a == bool(b) for a, b in zip(said, held_out, strict=True)) / len(said)


def pass_matrix(
    solutions: Sequence[str],
    suite: Suite,
    check: Callable[[str, Suite], Outcome],
    *,
    journal: Journal | None = None,
) -> Matrix:
    """Run every solution on every test.

    Args:
        check: (program, suite) -> its outcome on all tests (`run_suite` with `every=True`).
        journal: rows that it holds are not run again.

    Raises:
        WorkerError: the sandbox failed; rows run so far are in the journal.
    """
    asked, rows = len(suite.tests) + len(suite.exchanges), []
    for solution in solutions:
        key = content_id(["pass_matrix", solution, plain(suite)])
        row = journal.get(key) if journal is not None else None
        if row is None:
            kinds = [result.kind for result in check(solution, suite).results]
            # What fails before the first test fails all of them.
            row = kinds + [kinds[-1] if kinds else UNSCORED] * (asked - len(kinds))
            if journal is not None:
                journal.put(key, row)
        rows.append(tuple(row))
    return Matrix(solutions=tuple(solutions), cells=tuple(rows))


def differences(one: Matrix, two: Matrix) -> list[tuple[int, int]]:
    """The cells (solution, test) in which two runs of the same matrix differ in passing."""
    pairs = zip(one.passes, two.passes, strict=True)
    return [(i, j) for i, (a, b) in enumerate(pairs) for j, (p, q) in enumerate(zip(a, b, strict=True)) if p != q]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) of Chen et al. 2021 (arXiv:2107.03374 §2.1, equation 1).

    Exact to the last bit where fewer than EXACT factors are multiplied; else summed in logarithms.

    Raises:
        DataError: not 0 <= correct <= n, or not 1 <= k <= n.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise DataError(f"pass@k needs 0 <= correct <= n and 1 <= k <= n, not n={n}, correct={correct}, k={k}")
    if n - correct < k:
        return 1.0
    # C(n-c, k) / C(n, k) is a product of min(c, k) factors, whichever is fewer.
    fewer, other = min(correct, k), max(correct, k)
    if fewer <= EXACT:
        top = math.prod(n - other - i for i in range(fewer))
        return float(1 - Fraction(top, math.prod(n - i for i in range(fewer))))
    return -math.expm1(math.fsum(math.log1p(-other / (n - i)) for i in range(fewer)))
