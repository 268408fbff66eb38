"""Intervals and estimators. Plain Python: a share without its interval is half a number."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, fsum, sqrt
from random import Random

from burnish.judge.intervals import Z95, wilson

__all__ = ["Z95", "bootstrap", "mean", "paired_difference", "pass_at_k", "wilson"]


def mean(values: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return fsum(values) / len(values) if values else None


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased chance that one of k answers is right, from `correct` of n: 1 - C(n-c, k) / C(n, k).

    Chen et al. 2021, Evaluating Large Language Models Trained on Code, arXiv:2107.03374, equation 1.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs 0 <= correct ({correct}) <= n ({n}) and 1 <= k <= n")
    return 1.0 - comb(n - correct, k) / comb(n, k)


def bootstrap(
    values: Sequence[float], *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean (Efron, Tibshirani 1993, chapter 13); (None, None) of nothing."""
    if not values:
        return None, None
    rng, size = Random(f"burnish/bootstrap/{seed}"), len(values)
    means = sorted(fsum(rng.choices(values, k=size)) / size for _ in range(draws))
    tail = (1 - level) / 2
    return means[round(tail * (draws - 1))], means[round((1 - tail) * (draws - 1))]


def paired_difference(
    first: Sequence[float], second: Sequence[float], z: float = Z95
) -> tuple[float | None, float | None, float | None]:
    """Mean of second - first over the same rows, with its normal interval from the spread of the differences.

    Two rows at least have an interval; pairing removes what rows have in common (Miller 2024, arXiv:2411.00640, §4.2).
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values are not pairs")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    middle, size = mean(differences), len(differences)
    if middle is None or size < 2:
        return middle, None, None
    half = z * sqrt(fsum((d - middle) ** 2 for d in differences) / (size - 1) / size)
    return middle, middle - half, middle + half
