"""A number with its interval, or the reason why there is none. What every measure of this folder returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from burnish.errors import DataError
from burnish.judge.intervals import wilson

DRAWS = 1000
ALIKE = "the value is the same in every draw, so the items cannot tell how far off it may be"
DEFINED = 0.95  # ASSUMED: share of the bootstrap's draws that must have a value for there to be an interval

Statistic = Callable[[np.ndarray], "float | str"]  # places of items, with repeats -> a number, or why there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One measured number.

    Args:
        value: None where it is undefined; never 0 or NaN in its place.
        low, high: the 95 % interval; None where it is undefined.
        n: items that the value is made of.
        unscored: items left out because a verdict or a label is missing.
        why: what is undefined and the reason; empty when nothing is.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unscored: int = 0
    why: str = ""


def proportion(successes: float, n: int, *, unscored: int = 0) -> Estimate:
    """A share with Wilson's interval."""
    if n == 0:
        return Estimate(value=None, unscored=unscored, why="there is no item")
    low, high = wilson(successes, n)
    return Estimate(value=successes / n, low=low, high=high, n=n, unscored=unscored)


def bootstrapped(
    statistic: Statistic,
    n: int,
    *,
    clusters: Sequence[Hashable] | None = None,
    unscored: int = 0,
    seed: int = 0,
    draws: int = DRAWS,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """A statistic of n items with its percentile bootstrap interval (Efron, Tibshirani 1993, chapter 13).

    Draws in which the statistic is undefined are left out; when they are more than 5 % there is no interval. Where all
    draws are equal (30 wins of 30) they say nothing of what was not seen: the interval is then Wilson's for a mean
    between `bounds`, and there is none for other statistics.

    Args:
        statistic: takes places of items (repeats allowed) and gives a number, or the reason why it is undefined.
        clusters: name of each item's cluster; whole clusters are drawn, so that items of one need not be independent.
        seed: equal seeds give equal intervals.
        bounds: the least and the greatest value of an item, where the statistic is a mean of such.
    """
    value = statistic(np.arange(n)) if n else "there is no item"
    if isinstance(value, str):
        return Estimate(value=None, n=n, unscored=unscored, why=value)
    found = [statistic(places) for places in drawn(n, clusters=clusters, seed=seed, draws=draws)]
    known = np.sort([number for number in found if not isinstance(number, str)])
    groups = n if clusters is None else len(set(clusters))
    why = ""
    if groups < 2:
        why = "no interval: there are fewer than two items" if clusters is None else "no interval: there is one cluster"
    elif len(known) < DEFINED * draws:
        why = f"no interval: undefined in {draws - len(known)} of {draws} draws"
    elif known[0] == known[-1]:
        if bounds is not None:
            return _certain(float(value), n, groups, bounds, unscored)
        why = f"no interval: {ALIKE}"
    if why:
        return Estimate(value=float(value), n=n, unscored=unscored, why=why)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(value=float(value), low=float(low), high=float(high), n=n, unscored=unscored)


def _certain(value: float, n: int, groups: int, bounds: tuple[float, float], unscored: int) -> Estimate:
    """Wilson's interval of a mean of equal values: that of a share, with a cluster counted as one item."""
    least, most = bounds
    share = min(1.0, max(0.0, (value - least) / (most - least)))
    low, high = (least + (most - least) * (end or 0.0) for end in wilson(share * groups, groups))
    return Estimate(value=value, low=low, high=high, n=n, unscored=unscored)


def drawn(n: int, *, clusters: Sequence[Hashable] | None = None, seed: int = 0, draws: int = DRAWS) -> list[np.ndarray]:
    """Places of resampled items, one array a draw; with clusters, all items of each cluster drawn."""
    rng = np.random.default_rng([0x6A75, seed])
    if clusters is None:
        return [rng.integers(0, n, n) for _ in range(draws)]
    if len(clusters) != n:
        raise DataError(f"{n} items but {len(clusters)} names of clusters")
    members: dict[Hashable, list[int]] = {}
    for place, name in enumerate(clusters):
        members.setdefault(name, []).append(place)
    places = [np.array(group) for group in members.values()]
    return [np.concatenate([places[i] for i in rng.integers(0, len(places), len(places))]) for _ in range(draws)]
