"""Several reward models at once, each measured on pairs it was not trained on, as rewards for fresh answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish import curate, judge
from burnish.records import Weights
from burnish.runs import Call, Rows, Run
from burnish.train.methods import train_rows
from burnish.train.on_policy import JudgeReward

FORMS = {"pair": "reward", "point": "reward-pointwise"}


def train_rewarders(
    run: Run, start: Weights, tables: Mapping[str, tuple[Rows, Rows]], *, form: str, **settings: Any
) -> dict[str, JudgeReward]:
    """Steps `rm-NAME` and `rm-accuracy-NAME`: a reward model for each table, from the same weights.

    Args:
        start: a causal model, which gets a new head.
        tables: name -> (preferences to train on, preferences held out).
        form: `pair` (Bradley-Terry) or `point` (binary cross-entropy on the best and the worst answer of a row, which
            the step `NAME-labels` takes apart).
        settings: of the training, as `train_rows`.

    Returns:
        name -> rewarder, without those that had no row to train on: their step is recorded as skipped.
    """
    calls = []
    for name, (rows, _) in tables.items():
        if form == "point":
            rows = run.step(f"{name}-labels", curate.labelled, rows)
        how = {"method": FORMS[form], **settings}
        calls.append(Call(name=f"rm-{name}", function=train_rows, inputs=(start, rows), settings=how, otherwise=start))
    made = dict(zip(tables, run.together(*calls), strict=True))
    found = {name: weights for name, weights in made.items() if weights.kind == "reward"}
    for name, weights in found.items():
        run.step(f"rm-accuracy-{name}", judge.pair_accuracy, tables[name][1], reward=weights)
    return {name: JudgeReward(judge=judge.RewardModel(weights), name=name) for name, weights in found.items()}
