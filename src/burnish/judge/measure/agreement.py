"""How far raters agree: accuracy, Cohen's kappa, quadratic kappa, Krippendorff's alpha. None where undefined.

A missing label is None; an item with a missing label is left out and counted as unscored, never taken as a label.
Intervals are Wilson's for shares and a seeded percentile bootstrap over items for the rest (ASSUMED for alpha, for
which Krippendorff 2011 draws deviations in place of items).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

from burnish.errors import DataError
from burnish.judge.measure.estimate import DRAWS, Estimate, bootstrapped, proportion

FEW = "there are fewer than two items"
LEVELS = ("nominal", "ordinal", "interval")


def accuracy(first: Sequence[Hashable | None], second: Sequence[Hashable | None]) -> Estimate:
    """Share of items with equal labels, with Wilson's interval."""
    pairs, missing = paired(first, second)
    return proportion(sum(a == b for a, b in pairs), len(pairs), unscored=missing)


def cohen_kappa(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None], *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Agreement above chance of two raters, labels without order (Cohen 1960).

        kappa = (p_o - p_e) / (1 - p_e),   p_o = share of equal labels,   p_e = sum over labels of p_first p_second

    Undefined when both raters gave one and the same label throughout. A rater with one label against one with several
    has kappa 0: that is what chance gives.
    """
    pairs, missing = paired(first, second)
    codes: dict[Hashable, int] = {}
    table = np.array([[codes.setdefault(label, len(codes)) for label in pair] for pair in pairs], dtype=int)

    def kappa(places: np.ndarray) -> float | str:
        if len(places) < 2:
            return FEW
        a, b = table[places].T
        size = len(a)
        observed = int((a == b).sum())
        expected = int(np.bincount(a, minlength=len(codes)) @ np.bincount(b, minlength=len(codes)))
        if expected == size * size:
            return "both raters gave one and the same label to all items"
        return (observed * size - expected) / (size * size - expected)

    return bootstrapped(kappa, len(pairs), unscored=missing, seed=seed, draws=draws)


def quadratic_kappa(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Cohen's weighted kappa with squared distances, labels are numbers on a scale (Cohen 1968; Fleiss, Cohen 1973).

        kappa = 1 - mean (x - y)^2 / (var x + var y + (mean x - mean y)^2),   variances with n in the denominator

    the denominator being the mean squared distance of labels paired at random. Undefined when all labels are equal.
    """
    table, missing = numbers(first, second)

    def kappa(places: np.ndarray) -> float | str:
        if len(places) < 2:
            return FEW
        x, y = table[places].T
        if x.min() == x.max() == y.min() == y.max():
            return "all labels of both raters are equal"
        expected = x.var() + y.var() + (x.mean() - y.mean()) ** 2
        return float(1 - ((x - y) ** 2).mean() / expected)

    return bootstrapped(kappa, len(table), unscored=missing, seed=seed, draws=draws)


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable | None]], level: str = "nominal", *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Agreement above chance of any number of raters, with missing ratings (Krippendorff 2011, Computing alpha).

        alpha = 1 - D_o / D_e;   D_o = 1/n sum over items u of 1/(m_u - 1) sum over ordered pairs in u of d^2
                                 D_e = 1/(n (n - 1)) sum over ordered pairs of all n pairable values of d^2

    d^2 is 0 or 1 (nominal), (x - y)^2 (interval), and for ordinal labels the square of the number of values between
    two labels, each end counted half, which is the interval form on mid-ranks. An item with fewer than two ratings has
    no pair: it is left out and counted as unscored. Undefined when all pairable values are equal.

    Args:
        ratings: one row an item, one column a rater; None is missing. Numbers for `ordinal` and `interval`.

    Raises:
        DataError: an unknown level; a label that is no finite number where it must be.
    """
    if level not in LEVELS:
        raise DataError(f"there is no level {level!r}; choose one of {', '.join(LEVELS)}")
    rows = [[label for label in row if label is not None] for row in ratings]
    rows = [row for row in rows if len(row) >= 2]
    flat = [label for row in rows for label in row]
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    if level == "nominal":
        names: dict[Hashable, int] = {}
        codes, values = np.array([names.setdefault(label, len(names)) for label in flat], dtype=int), None
    else:
        scale, codes = np.unique(np.array([_number(label) for label in flat]), return_inverse=True)
        values = scale if level == "interval" else None
    sizes = np.bincount(owner, minlength=len(rows))
    cells, often = np.unique(np.stack([owner, codes]), axis=1, return_counts=True)
    same = np.bincount(cells[0], weights=often.astype(float) ** 2, minlength=len(rows))  # ordered pairs alike, an item

    def alpha(places: np.ndarray) -> float | str:
        times = np.bincount(places, minlength=len(rows)).astype(float)
        weights = times[owner]
        counts = np.bincount(codes, weights=weights)
        if (counts > 0).sum() < 2:
            return "all values are equal"
        n = counts.sum()
        if level == "nominal":
            within, between = sizes**2 - same, n * n - (counts**2).sum()
        else:
            points = np.cumsum(counts) - counts / 2 if values is None else values.astype(float)
            points = points - (counts @ points) / n
            sums = np.bincount(owner, weights=points[codes], minlength=len(rows))
            squares = np.bincount(owner, weights=points[codes] ** 2, minlength=len(rows))
            within, between = 2 * (sizes * squares - sums**2), 2 * n * (counts @ points**2)
        return float(1 - (times @ (within / (sizes - 1))) * (n - 1) / between)

    return bootstrapped(alpha, len(rows), unscored=len(ratings) - len(rows), seed=seed, draws=draws)


def pearson(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Pearson's correlation; undefined when a rater gave one value throughout."""
    return _correlation(first, second, seed, draws, ranked=False)


def spearman(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Spearman's rank correlation: Pearson's of mid-ranks, so that ties share their mean rank."""
    return _correlation(first, second, seed, draws, ranked=True)


def _correlation(
    first: Sequence[float | None], second: Sequence[float | None], seed: int, draws: int, *, ranked: bool
) -> Estimate:
    table, missing = numbers(first, second)

    def correlation(places: np.ndarray) -> float | str:
        if len(places) < 2:
            return FEW
        x, y = table[places].T
        if x.min() == x.max() or y.min() == y.max():
            return "a rater gave one value to all items"
        if ranked:
            x, y = midranks(x), midranks(y)
        x, y = x - x.mean(), y - y.mean()
        x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny differences must not vanish
        return float(np.clip((x @ y) / math.sqrt((x @ x) * (y @ y)), -1, 1))

    return bootstrapped(correlation, len(table), unscored=missing, seed=seed, draws=draws)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[codes]


def paired(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> tuple[list[tuple[Hashable, Hashable]], int]:
    """(pairs without a missing label, number of pairs with one)."""
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} labels are not pairs")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return pairs, len(first) - len(pairs)


def numbers(first: Sequence[float | None], second: Sequence[float | None]) -> tuple[np.ndarray, int]:
    """(array [items, 2] without missing labels, number of items with one)."""
    pairs, missing = paired(first, second)
    return np.array([[_number(a), _number(b)] for a, b in pairs], dtype=float).reshape(-1, 2), missing


def _number(label: object) -> float:
    if isinstance(label, (int, float, np.number)) and not isinstance(label, bool) and math.isfinite(label):
        return float(label)
    raise DataError(f"the label {label!r} is no finite number; this measure needs numbers on a scale")
