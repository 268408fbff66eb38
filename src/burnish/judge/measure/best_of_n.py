"""Best of n: how good are the samples that a reward model picks, by a judge's preference for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.judge.measure.calibration import mean_of
from burnish.judge.measure.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """What the picks of one reward model reach.

    Args:
        picked: mean preference of its picks, over the items where the pick has a preference.
        chance: mean preference of all samples of the same items: what a random pick reaches.
        best: mean of the highest preference of the same items: what no picker exceeds.
        gain: mean of picked - chance, item by item.
    """

    picked: Estimate
    chance: Estimate
    best: Estimate
    gain: Estimate


def best_of_n(
    preferences: Sequence[Sequence[float | None]], picks: Sequence[Mapping[str, int]], *, seed: int = 0
) -> dict[str, Picks]:
    """The mean preference of each picker's picks; an item whose pick has no preference is left out and counted.

    Args:
        preferences: one row an item, one preference a sample; None where the judge saw no such sample.
        picks: one row an item: picker -> place of its sample, which may lie outside the judged ones.
    """
    if len(preferences) != len(picks):
        raise DataError(f"{len(preferences)} rows of preferences but {len(picks)} of picks")
    return {
        name: _reached(preferences, [row.get(name) for row in picks], seed)
        for name in dict.fromkeys(name for row in picks for name in row)
    }


def _reached(preferences: Sequence[Sequence[float | None]], places: Sequence[int | None], seed: int) -> Picks:
    picked, chance, best = [], [], []
    for row, place in zip(preferences, places, strict=True):
        if place is None or not 0 <= place < len(row) or row[place] is None:
            continue
        known = [value for value in row if value is not None]
        picked.append(row[place])
        chance.append(sum(known) / len(known))
        best.append(max(known))
    out = len(places) - len(picked)
    gain = [p - c for p, c in zip(picked, chance, strict=True)]
    found = {"picked": picked, "chance": chance, "best": best, "gain": gain}
    return Picks(**{name: mean_of(values, unscored=out, seed=seed) for name, values in found.items()})
