"""Win rates with the style of the answers taken out, as Arena-Hard's style control (arena-hard-auto `show_result.py`).

One Bradley-Terry regression over all models and the baseline, without intercept:

    logit P(model wins) = strength of the model - strength of the baseline + sum over features of beta_f z_f
    length              (l - l') / (l + l')                    l: length of the model's answer, l': of the baseline's
    headers lists bold  (d - d') / (d + d' + 1)                d = number of the element / length, outside code blocks

each feature standardised over the duels (sd with n - 1); the win rate is the sigmoid of the strength. As there, a clear
verdict (`Duel.weight` 3) counts three times and the interval is a bootstrap over verdicts; here whole items are drawn,
since the verdicts on one item share its prompt, and it is a 95 % interval (there 90 %).

DEVIATION: length is counted in words, not in tokens of GPT-4o's tokenizer, unless `length` is another counter. The
value is the fit on all duels, not the median of the draws. A model that won or lost everything has no finite strength
and gives None. Only some features may be chosen; there, choosing only length also drops the models' columns, which we
take for an oversight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from burnish.errors import SettingsError
from burnish.judge.measure.estimate import DEFINED, Estimate, drawn
from burnish.judge.measure.logistic import fit_ridge, sigmoid
from burnish.judge.measure.win_rate import Duel

STYLES = ("length", "headers", "lists", "bold")
DRAWS = 100  # as there
_CODE = re.compile(r"```[^`]*```")
_ELEMENTS = {
    "headers": (re.compile(r"^#{1,6}\s", re.M),),
    "lists": (re.compile(r"^\s*\d+\.\s", re.M), re.compile(r"^\s*[-*+]\s", re.M)),
    "bold": (re.compile(r"\*\*[^*\n]+\*\*"), re.compile(r"__[^_\n]+__")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleControlled:
    """Win rates at equal style, by model, and what the judge gives for each feature (log odds a standard deviation)."""

    rates: dict[str, Estimate]
    features: dict[str, float]


def words(text: str) -> int:
    """Length in words: stretches without white space."""
    return len(text.split())


def style_counts(text: str) -> dict[str, int]:
    """Headers, list items and bold stretches outside code blocks."""
    bare = _CODE.sub("", text)
    return {name: sum(len(form.findall(bare)) for form in forms) for name, forms in _ELEMENTS.items()}


def style_features(duel: Duel, length: Callable[[str], int] = words) -> dict[str, float]:
    """The four features of a duel before they are standardised; 0 is no difference."""
    sizes = [length(text) for text in (duel.answer, duel.baseline)]
    counts = [style_counts(text) for text in (duel.answer, duel.baseline)]
    found = {"length": (sizes[0] - sizes[1]) / sum(sizes) if sum(sizes) else 0.0}
    for name in _ELEMENTS:
        mine, theirs = (count[name] / size if size else 0.0 for count, size in zip(counts, sizes, strict=True))
        found[name] = (mine - theirs) / (mine + theirs + 1)
    return found


def style_controlled(
    duels: Sequence[Duel],
    *,
    features: Sequence[str] = STYLES,
    length: Callable[[str], int] = words,
    seed: int = 0,
    draws: int = DRAWS,
) -> StyleControlled:
    """Win rate of each model against the baseline at equal style.

    Raises:
        SettingsError: a feature that there is not.
    """
    if unknown := [name for name in features if name not in STYLES]:
        raise SettingsError(f"there is no style feature {unknown[0]!r}; choose among {', '.join(STYLES)}")
    known = [duel for duel in duels if duel.win is not None]
    names = list(dict.fromkeys(duel.model for duel in duels))
    owner = np.array([names.index(duel.model) for duel in known], dtype=int)
    described = [style_features(duel, length) for duel in known]
    style = np.array([[one[name] for name in features] for one in described]).reshape(len(known), len(features))
    weights = np.array([duel.weight for duel in known], dtype=float)
    style = _standardised(style, weights)
    design = np.concatenate([np.eye(len(names))[owner], style], axis=1)
    shares = np.array([duel.win for duel in known], dtype=float)
    found = _fit(design, shares, weights, len(names))
    items = [duel.item for duel in known]
    samples = drawn(len(known), clusters=items, seed=seed, draws=draws) if len(set(items)) > 1 else []
    spread_of = [_fit(design[rows], shares[rows], weights[rows], len(names)) for rows in samples]
    rates = {}
    for place, name in enumerate(names):
        mine = [duel for duel in duels if duel.model == name]
        judged = sum(duel.win is not None for duel in mine)
        rates[name] = _rate(found[place], [one[place] for one in spread_of], judged, len(mine) - judged)
    betas = {
        name: float(found[len(names) + j]) for j, name in enumerate(features) if np.isfinite(found[len(names) + j])
    }
    return StyleControlled(rates=rates, features=betas)


def _standardised(style: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean 0 and sd 1, a row of weight 3 counted as three rows; zeros where all rows are equal."""
    total = weights.sum()
    if total <= 1:
        return np.zeros_like(style)
    centred = style - (weights @ style) / total
    spread = np.sqrt((weights @ centred**2) / (total - 1))
    return np.where(spread > 1e-12, centred / np.where(spread > 1e-12, spread, 1.0), 0.0)


def _fit(design: np.ndarray, shares: np.ndarray, weights: np.ndarray, models: int) -> np.ndarray:
    """Coefficients [columns]; NaN for models that won or lost everything (their duels are left out) or are absent."""
    found = np.full(design.shape[1], np.nan)
    if not len(design):
        return found
    mixed = [0 < weights[rows] @ shares[rows] < weights[rows].sum() for rows in (design[:, :models] > 0).T]
    rows = design[:, :models] @ np.array(mixed, dtype=float) > 0
    columns = np.concatenate([mixed, np.ones(design.shape[1] - models, dtype=bool)])
    if not rows.any():
        return found
    answer = fit_ridge(design[rows][:, columns], shares[rows], weights=weights[rows])
    if not isinstance(answer, str):
        found[columns] = answer
    return found


def _rate(strength: float, again: Sequence[float], n: int, unscored: int) -> Estimate:
    if not np.isfinite(strength):
        why = "it won or lost everything, or its style decides alone: no finite strength" if n else "there is no item"
        return Estimate(value=None, n=n, unscored=unscored, why=why)
    value, known = float(sigmoid(strength)), sigmoid(np.array([x for x in again if np.isfinite(x)]))
    if len(again) == 0 or len(known) < DEFINED * len(again):
        why = f"no interval: undefined in {len(again) - len(known)} of {len(again)} draws"
        return Estimate(value=value, n=n, unscored=unscored, why=why)
    low, high = (float(x) for x in np.quantile(known, [0.025, 0.975]))
    return Estimate(value=value, low=low, high=high, n=n, unscored=unscored)
