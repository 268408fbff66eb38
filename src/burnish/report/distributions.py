"""Rewards and lengths of all samples against those of the chosen ones, as pairs of histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence

from burnish.report.charts import Figure, histogram
from burnish.report.reading import number
from burnish.report.samples import RoundSamples

LEGEND = (("s-all", "bar", "all samples"), ("s-chosen", "line", "chosen"))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _figure(title: str, everything: Sequence[float], chosen: Sequence[float], x_label: str) -> Figure | None:
    if not everything:
        return None
    note = f"Mean of {number(len(everything))} samples {number(_mean(everything))}"
    if chosen:
        note += f", of {number(len(chosen))} chosen {number(_mean(chosen))}"
    spoken = f"{title}. {note}."
    return Figure(title=title, svg=histogram(spoken, everything, chosen, x_label=x_label), note=note + ".")


def distribution_figures(samples: RoundSamples) -> list[Figure]:
    """Reward and length histograms of a round; a missing one is left out."""
    where = "" if samples.round is None else f", round {samples.round}"
    everything, chosen = samples.all(), samples.chosen()

    def rewards(answers: Sequence) -> list[float]:
        return [a.score for a in answers if a.score is not None and math.isfinite(a.score)]

    unit = "tokens" if samples.in_tokens else "words"
    found = [
        _figure(f"Reward{where}", rewards(everything), rewards(chosen), "reward"),
        _figure(f"Length{where}", [a.length for a in everything], [a.length for a in chosen], unit),
    ]
    return [figure for figure in found if figure]
