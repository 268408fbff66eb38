"""Whether choosing helped: the chosen answers against all that were drawn; and which model goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.evaluate.accuracy import grade
from burnish.evaluate.stats import mean, paired_difference, wilson
from burnish.protocols import Checker, Work
from burnish.records import Demonstration, Prompt, Response, Score, dropped
from burnish.runs import Outcome


def best_of_accuracy(
    prompts: Sequence[Prompt],
    samples: Sequence[Response],
    best: Sequence[Demonstration],
    *,
    checkers: Mapping[str, Checker],
    work: Work | None = None,
) -> Outcome:
    """Step: accuracy of the chosen answers, beside the mean and the best possible of all that were drawn.

    A chosen row points to its response by id among its parents, else by the same messages to the same prompt. Rows are
    scores for `best of K`, `mean of K` and `pass@K` (any of them right), over the prompts whose chosen answer and at
    least one sample are scored; other chosen rows are dropped, unscored.
    """
    best = list(best)
    values = {v.responses[0]: v.score for v in grade(prompts, samples, checkers)}
    drawn: dict[str, list[Response]] = {}
    for sample in samples:
        drawn.setdefault(sample.prompt, []).append(sample)
    chosen, average, possible, drops = [], [], [], []
    for row in best:
        mine = drawn.get(row.prompt, [])
        response = next((r for r in mine if r.id in row.parents), None)
        response = response or next((r for r in mine if r.messages == row.response), None)
        scored = [values[r.id] for r in mine if values[r.id] is not None]
        if response is None or values[response.id] is None:
            why = "its response is not among the samples" if response is None else "no verdict"
            drops.append(dropped(row, why, unscored=True))
            continue
        chosen.append(values[response.id])
        average.append(sum(scored) / len(scored))
        possible.append(max(scored))
    model = best[0].model if best else ""
    named = (("best of K", chosen), ("mean of K", average), ("pass@K", possible))
    rows = [_share(model, task, found, len(drops)) for task, found in named]
    gain, low, high = paired_difference(average, chosen)
    metrics = {
        "best": mean(chosen),
        "mean": mean(average),
        "possible": mean(possible),
        "gain": gain,
        "gain_low": low,
        "gain_high": high,
        "n": len(chosen),
        "unscored": len(drops),
    }
    return Outcome(rows=rows, dropped=drops, taken=len(best), kept=len(chosen), metrics=metrics)


best_of_accuracy.noun = Score


def _share(model: str, task: str, values: Sequence[float], unscored: int) -> Score:
    low, high = wilson(sum(values), len(values))
    return Score(
        model=model,
        task=task,
        metric="accuracy",
        value=mean(values),
        low=low,
        high=high,
        n=len(values),
        unscored=unscored,
    )


def promoted(scores: Sequence[Score], *, name: str, second: str = "", work: Work | None = None) -> Outcome:
    """Step: write down which model goes on (`name`), with its scores, and which one answers beside it (`second`)."""
    rows = list(scores)
    whole = next((row for row in rows if row.task == "all"), None)
    metrics = {"promoted": name, "second": second, "accuracy": whole.value if whole else None}
    return Outcome(rows=rows, taken=len(rows), metrics=metrics)


promoted.noun = Score
