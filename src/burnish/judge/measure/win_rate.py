"""Win rates of a model against a baseline: plain, and with the length of the answers taken out.

Length control follows AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475; the code's `length_controlled_v1`): for each
model, by logistic regression without intercept,

    logit P(model wins on x) = theta + phi tanh(delta_x / sd(delta)) + psi gamma_x

with delta_x = characters of the model's answer less those of the baseline's and gamma_x the difficulty of instruction
x; coefficients with an L1 penalty whose strength is one of ten from 1e-4 to 1e4, chosen by log loss in five folds; the
win rate is the mean over x of the prediction at delta = 0.

ASSUMED, since the tables that the published numbers rest on are not among the annotations: gamma is estimated here,
from the duels given, by one ridge regression over all models (penalty 1 on each gamma, next to none on theta and phi;
the paper has a joint fit too, over its whole leaderboard). Rows of the baseline's own verbose and concise twins
(weight 0.2 in all, theta off) are used where `gamed` gives them; theirs are not in AlpacaEval's repository, and their
deltas are divided by their own sd. Fold = place of the row modulo 5. The paper gives no interval that holds the fit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np

from burnish.errors import DataError
from burnish.judge.measure.calibration import mean_of
from burnish.judge.measure.estimate import DRAWS, Estimate, bootstrapped, drawn
from burnish.judge.measure.logistic import fit_lasso, fit_ridge, log_loss, sigmoid

STRENGTHS = np.logspace(-4, 4, 10)
FOLDS, GAMED_WEIGHT, DIFFICULTY_RIDGE = 5, 0.2, 1.0
LC_DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """One judged comparison of a model with the baseline.

    Args:
        item: the instruction; comparisons of one item are one cluster.
        win: 0 (lost) to 1 (won), a tie 0.5, or the judge's probability; None where there is no verdict.
        answer, baseline: the two texts; only controlled win rates look at them.
        weight: how often it counts (Arena-Hard counts a clear verdict three times).
    """

    item: Hashable
    model: str
    win: float | None
    answer: str = ""
    baseline: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.win is not None and not 0 <= self.win <= 1:
            raise DataError(f"a win is 0 to 1, not {self.win!r} (item {self.item!r})")
        if not self.weight > 0:
            raise DataError(f"a weight is above 0, not {self.weight!r} (item {self.item!r})")


def win_rate(duels: Sequence[Duel], *, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Mean of `win`, weighted; the interval is a bootstrap over items, all duels of an item drawn together."""
    known, missing = _known(duels)
    wins = np.array([duel.win for duel in known], dtype=float)
    weights = np.array([duel.weight for duel in known], dtype=float)
    if len(known) and (weights == 1).all():
        items = [duel.item for duel in known]
        clusters = items if len(set(items)) < len(items) else None
        return mean_of(wins, clusters=clusters, unscored=missing, seed=seed, draws=draws, bounds=(0, 1))
    return _weighted(known, wins, weights, missing, seed, draws)


def _weighted(
    known: Sequence[Duel], wins: np.ndarray, weights: np.ndarray, missing: int, seed: int, draws: int
) -> Estimate:
    def rate(places: np.ndarray) -> float:
        return float(weights[places] @ wins[places] / weights[places].sum())

    clusters = [duel.item for duel in known]
    return bootstrapped(rate, len(known), clusters=clusters, unscored=missing, seed=seed, draws=draws, bounds=(0, 1))


def standard_error(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> float | None:
    """Standard error of a mean, as AlpacaEval's: sd / sqrt(n) with n - 1; None below two items.

    With clusters: sqrt(G / (G - 1) sum over clusters of (sum of deviations)^2) / n (Miller 2024, arXiv:2411.00640,
    section 2.2, with the correction for few clusters).
    """
    n = len(values)
    names = range(n) if clusters is None else clusters
    sums: dict[Hashable, list[float]] = {}
    middle = fsum(values) / n if n else 0.0
    for name, value in zip(names, values, strict=True):
        sums.setdefault(name, []).append(value - middle)
    groups = len(sums)
    if groups < 2:
        return None
    return sqrt(groups / (groups - 1) * fsum(fsum(group) ** 2 for group in sums.values())) / n


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControlled:
    """A length-controlled win rate and the coefficients behind it.

    Args:
        rate: the win rate at equal length.
        length: phi: positive when the judge prefers longer answers of this model.
        difficulty, quality: psi and theta.
        strength: the chosen inverse strength of the L1 penalty.
    """

    rate: Estimate
    length: float | None = None
    difficulty: float | None = None
    quality: float | None = None
    strength: float | None = None


def length_controlled(
    duels: Sequence[Duel],
    *,
    difficulty: dict[Hashable, float] | None = None,
    gamed: Sequence[Duel] = (),
    seed: int = 0,
    draws: int = LC_DRAWS,
) -> dict[str, LengthControlled]:
    """The length-controlled win rate of each model among the duels; the module says what is followed.

    Args:
        duels: of one or several models against one baseline.
        difficulty: gamma of each item; estimated from all duels where it is not given.
        gamed: duels of the baseline's verbose and concise twins against the baseline.
        draws: bootstrap draws over items for the interval; each refits with the strength chosen on all items.

    Raises:
        DataError: `difficulty` lacks an item.
    """
    gammas = estimate_difficulty(duels) if difficulty is None else difficulty
    if missing := {duel.item for duel in (*duels, *gamed)} - set(gammas):
        raise DataError(f"the difficulty of {len(missing)} items is missing, such as {min(map(repr, missing))}")
    models = dict.fromkeys(duel.model for duel in duels)
    return {
        model: _controlled([duel for duel in duels if duel.model == model], gammas, gamed, seed, draws)
        for model in models
    }


def estimate_difficulty(duels: Sequence[Duel]) -> dict[Hashable, float]:
    """gamma of each item: higher where models win more often than their lengths and other items say."""
    known, _ = _known(duels)
    items = {item: place for place, item in enumerate(dict.fromkeys(duel.item for duel in duels))}
    models = {model: place for place, model in enumerate(dict.fromkeys(duel.model for duel in known))}
    if not known:
        return dict.fromkeys(items, 0.0)
    features = np.zeros((len(known), 2 * len(models) + len(items)))
    rows, owner = np.arange(len(known)), np.array([models[duel.model] for duel in known])
    lengths = np.empty(len(known))
    for place in models.values():
        mine = owner == place
        lengths[mine] = length_term([duel for duel, chosen in zip(known, mine, strict=True) if chosen])
    features[rows, 2 * owner], features[rows, 2 * owner + 1] = 1.0, lengths
    features[rows, 2 * len(models) + np.array([items[duel.item] for duel in known])] = 1.0
    # A little on theta and phi too, or a model that wins or loses everything would have none.
    ridge = np.array([1e-3] * (2 * len(models)) + [DIFFICULTY_RIDGE] * len(items))
    found = fit_ridge(features, np.array([duel.win for duel in known]), ridge=ridge)
    assert not isinstance(found, str)  # a penalty on every column: there is a finite minimum
    return {item: float(found[2 * len(models) + place]) for item, place in items.items()}


def length_term(duels: Sequence[Duel]) -> np.ndarray:
    """tanh(delta / sd(delta)), delta in characters, sd with n - 1 below; zeros where all deltas are equal."""
    delta = np.array([len(duel.answer) - len(duel.baseline) for duel in duels], dtype=float)
    spread = delta.std(ddof=1) if len(delta) > 1 else 0.0
    return np.tanh(delta / spread) if spread > 0 else np.zeros(len(delta))


def _controlled(
    duels: Sequence[Duel], gammas: dict[Hashable, float], gamed: Sequence[Duel], seed: int, draws: int
) -> LengthControlled:
    known, missing = _known(duels)
    if len(known) < FOLDS:
        why = f"fewer than {FOLDS} judged items"
        return LengthControlled(rate=Estimate(value=None, n=len(known), unscored=missing, why=why))
    twins = [duel for duel in gamed if duel.win is not None]
    names = list(dict.fromkeys(duel.model for duel in twins))
    lengths = [length_term([duel for duel in twins if duel.model == name]) for name in names]
    twins = [duel for name in names for duel in twins if duel.model == name]
    rows = [*twins, *known]
    own = np.arange(len(rows)) >= len(twins)
    # Of the whole set, as published: an answer without a verdict has a length too.
    measured = length_term(duels)[[duel.win is not None for duel in duels]]
    gamma = np.array([gammas[duel.item] for duel in rows])
    features = np.stack([np.concatenate([*lengths, measured]), gamma, own.astype(float)], axis=1)
    shares = np.array([duel.win for duel in rows])
    weights = np.where(own, [duel.weight for duel in rows], GAMED_WEIGHT / max(len(names), 1))
    strength = _choose(features, shares, weights)
    even = np.stack([np.array([gammas[d.item] for d in duels]), np.ones(len(duels))], axis=1)

    def rate(coefficients: np.ndarray, places: np.ndarray) -> float:
        return float(sigmoid(even[places] @ coefficients[1:]).mean())

    found = fit_lasso(features, shares, weights=weights, strength=strength)
    spread: list[float] = []
    alike = len({duel.win for duel in known}) == 1  # all won: refits only say so again
    judged = np.flatnonzero([duel.win is not None for duel in duels])
    for places in [] if alike else drawn(len(known), seed=seed, draws=draws):
        sample = np.concatenate([np.arange(len(twins)), len(twins) + places])
        again = fit_lasso(features[sample], shares[sample], weights=weights[sample], strength=strength)
        spread.append(rate(again, judged[places]))
    low, high = (float(x) for x in np.quantile(spread, [0.025, 0.975])) if spread else (None, None)
    estimate = Estimate(
        value=rate(found, np.arange(len(duels))),
        low=low,
        high=high,
        n=len(known),
        unscored=missing,
        why="" if spread else f"no interval: {'all verdicts are equal' if alike else 'no draws were asked for'}",
    )
    phi, psi, theta = (float(c) for c in found)
    return LengthControlled(rate=estimate, length=phi, difficulty=psi, quality=theta, strength=strength)


def _choose(features: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> float:
    """The strength with the lowest mean log loss on rows left out; the smallest of equals."""
    fold = np.arange(len(shares)) % FOLDS
    losses = []
    for strength in STRENGTHS:
        total = 0.0
        for out in range(FOLDS):
            kept = fold != out
            found = fit_lasso(features[kept], shares[kept], weights=weights[kept], strength=strength)
            total += log_loss(shares[~kept], features[~kept] @ found, weights[~kept]) / (~kept).sum()
        losses.append(total)
    return float(STRENGTHS[int(np.argmin(losses))])


def _known(duels: Sequence[Duel]) -> tuple[list[Duel], int]:
    known = [duel for duel in duels if duel.win is not None]
    return known, len(duels) - len(known)
