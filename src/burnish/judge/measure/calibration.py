"""A judge against people: how often it says what they say, and what the order of the answers does to it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from burnish.errors import DataError
from burnish.judge.measure.agreement import (
    accuracy,
    cohen_kappa,
    krippendorff_alpha,
    paired,
    pearson,
    quadratic_kappa,
    spearman,
)
from burnish.judge.measure.estimate import DRAWS, Estimate, bootstrapped, proportion

TIE = -1
ONE_ORDER = "judged in one order only: no row has a verdict in both; judge the answers in both orders"
ORDER_RATES = ("consistent", "ties", "first both times", "second both times", "position bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a table of (verdict of the judge, label of a person) says.

    Args:
        measures: name -> estimate.
        table: (verdict, label) -> number of items.
        by_verdict: verdict -> what people said of those items: the share that agree (choices), their mean label
            (scale).
    """

    measures: dict[str, Estimate]
    table: dict[tuple[Hashable, Hashable], int]
    by_verdict: dict[Hashable, Estimate] = field(default_factory=dict)


def calibrate_choices(
    verdicts: Sequence[Hashable | None],
    labels: Sequence[Hashable | None],
    *,
    tie: Hashable | None = TIE,
    seed: int = 0,
    draws: int = DRAWS,
) -> Calibration:
    """A judge that chooses (first, second, a tie), against people who chose.

    Measures: accuracy; accuracy without ties (items that both decided); Cohen's kappa; Krippendorff's alpha (nominal);
    the tie rate of either. An item without a verdict or a label is left out and counted.

    Args:
        tie: the verdict that is a tie; None where there is none, and no measure of ties.
    """
    pairs, missing = paired(verdicts, labels)
    measures = {
        "accuracy": accuracy(verdicts, labels),
        "Cohen's kappa": cohen_kappa(verdicts, labels, seed=seed, draws=draws),
        "Krippendorff's alpha": krippendorff_alpha(list(zip(verdicts, labels)), seed=seed, draws=draws),
    }
    if tie is not None:
        decided = [(v, h) for v, h in pairs if tie not in (v, h)]
        right = sum(v == h for v, h in decided)
        measures |= {
            "accuracy without ties": proportion(right, len(decided), unscored=missing),
            "tie rate of the judge": proportion(sum(v == tie for v, _ in pairs), len(pairs), unscored=missing),
            "tie rate of people": proportion(sum(h == tie for _, h in pairs), len(pairs), unscored=missing),
        }
    by = {
        verdict: proportion(sum(v == h == verdict for v, h in pairs), sum(v == verdict for v, _ in pairs))
        for verdict in _sorted({v for v, _ in pairs})
    }
    return Calibration(measures=measures, table=_table(pairs), by_verdict=by)


def calibrate_scale(
    verdicts: Sequence[float | None],
    labels: Sequence[float | None],
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Calibration:
    """A judge that rates, against people who rated on the same scale.

    Measures: exact agreement; quadratic kappa; Krippendorff's alpha (ordinal, interval); Spearman; Pearson; bias, the
    mean of verdict - label, in points of the scale; mean absolute error. `by_verdict` gives the mean label of the items
    with each verdict: a calibrated judge's lies on the verdict.
    """
    pairs, missing = paired(verdicts, labels)
    both, options = list(zip(verdicts, labels)), {"seed": seed, "draws": draws}
    kappa = quadratic_kappa(verdicts, labels, **options)  # refuses what is no number
    measures = {
        "exact agreement": accuracy(verdicts, labels),
        "quadratic kappa": kappa,
        "alpha, ordinal": krippendorff_alpha(both, "ordinal", **options),
        "alpha, interval": krippendorff_alpha(both, "interval", **options),
        "Spearman": spearman(verdicts, labels, **options),
        "Pearson": pearson(verdicts, labels, **options),
        "bias": mean_of([v - h for v, h in pairs], unscored=missing, **options),
        "mean absolute error": mean_of([abs(v - h) for v, h in pairs], unscored=missing, **options),
    }
    by = {
        verdict: mean_of([h for v, h in pairs if v == verdict], **options) for verdict in sorted({v for v, _ in pairs})
    }
    return Calibration(measures=measures, table=_table(pairs), by_verdict=by)


def order_rates(
    forward: Sequence[int | None], backward: Sequence[int | None], *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Estimate]:
    """What a judge does when the same two answers are shown in both orders (MT-Bench, arXiv:2306.05685, section 3.4).

    Args:
        forward: the choice with the answers in order: 0 the answer shown first, 1 the one shown second, -1 a tie.
        backward: the choice with the answers swapped, again by the place shown.

    Returns:
        `consistent`: the same answer, or a tie, both times; `ties`: of all single verdicts; `first both times`,
        `second both times`: the place decided; `position bias`: the first rate minus the second, in -1 to 1. A pair
        with a missing verdict is left out of all of them and counted; without any other, each says why there is none.
    """
    pairs, missing = paired(forward, backward)
    for choice in (c for pair in pairs for c in pair):
        if choice not in (0, 1, TIE):
            raise DataError(f"a choice is 0, 1 or {TIE}, not {choice!r}")
    n = len(pairs)
    if not n and any(choice is not None for choice in (*forward, *backward)):
        alone = Estimate(value=None, unscored=missing, why=ONE_ORDER)
        return dict.fromkeys(ORDER_RATES, alone)
    first, second = (sum(pair == (place, place) for pair in pairs) for place in (0, 1))
    ties = sum((f == TIE) + (b == TIE) for f, b in pairs) / 2
    lean = [(pair == (0, 0)) - (pair == (1, 1)) for pair in pairs]
    return {
        "consistent": proportion(sum(pair in ((0, 1), (1, 0), (TIE, TIE)) for pair in pairs), n, unscored=missing),
        "ties": proportion(ties, n, unscored=missing),
        "first both times": proportion(first, n, unscored=missing),
        "second both times": proportion(second, n, unscored=missing),
        "position bias": mean_of(lean, unscored=missing, seed=seed, draws=draws, bounds=(-1, 1)),
    }


def mean_of(
    values: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    unscored: int = 0,
    seed: int = 0,
    draws: int = DRAWS,
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """A mean with its bootstrap interval, over items or over whole clusters of them (`bounds`: see `bootstrapped`)."""
    array = np.array(values, dtype=float)
    found = {"clusters": clusters, "unscored": unscored, "seed": seed, "draws": draws, "bounds": bounds}
    return bootstrapped(lambda places: float(array[places].mean()), len(array), **found)


def _table(pairs: Sequence[tuple[Hashable, Hashable]]) -> dict[tuple[Hashable, Hashable], int]:
    table: dict[tuple[Hashable, Hashable], int] = {}
    for pair in pairs:
        table[pair] = table.get(pair, 0) + 1
    return {pair: table[pair] for pair in _sorted(table)}


def _sorted(values: object) -> list:
    return sorted(values, key=lambda value: (str(type(value)), value))
