"""A stage of training seen from both its ends: where it starts, what its rewards gained, what it cost elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.evaluate.accuracy import ALL, METRIC, grade, score_model
from burnish.evaluate.selection import promoted
from burnish.evaluate.stats import bootstrap, mean, paired_difference
from burnish.protocols import Checker, Client, Work
from burnish.records import Prompt, Sampling, Score
from burnish.runs import Outcome, Rows, Run

REWARD = "reward"
RIGHT = "right"  # what checkers say of the same answers: the truth beside the reward
DRAWN = 4  # ASSUMED: answers a prompt that rewards are compared on


def best_start(
    run: Run, heldout: Rows, clients: Sequence[Any], *, checkers: Mapping[str, Checker], sampling: Sampling
) -> tuple[Any, Rows]:
    """Steps `start-STYLE`: the client that answers held-out prompts best, the first of equals, with its scores.

    Args:
        clients: the same weights in several prompt styles (`style` names the step).
    """
    how = {"checkers": checkers, "sampling": sampling}
    scores = [run.step(f"start-{c.style}", score_model, heldout, client=c, **how) for c in clients]
    best = max(range(len(clients)), key=lambda i: (scores[i].metrics["accuracy"] or 0.0, -i))
    return clients[best], scores[best]


def weigh_stage(
    run: Run,
    name: str,
    *,
    heldout: Rows,
    own: Rows,
    before: Any,
    after: Any,
    was: Rows,
    rewarder: Any,
    drawn: Sampling,
    tolerance: float,
    checkers: Mapping[str, Checker],
    sampling: Sampling,
) -> Rows:
    """Steps `scores-NAME`, `reward-gain`, `tax` and `promoted` of a stage that trained under a reward.

    Args:
        heldout: all held-out prompts, for the scores.
        own: those of the abilities that the stage trained; the others must not fall.
        before, after: clients of the policy on either side of the stage.
        was: the scores before it.
        drawn: how the answers are drawn that the rewarder sees.
        checkers, sampling: of the scores.

    Returns:
        The scores after it.
    """
    how = {"checkers": checkers, "sampling": sampling}
    scores = run.step(f"scores-{name}", score_model, heldout, client=after, **how)
    sides = {"before": before, "after": after, "rewarder": rewarder, "checkers": checkers}
    run.step("reward-gain", reward_gain, own, sampling=drawn, n=DRAWN, **sides)
    others = sorted(set(scores.metrics["by_ability"]) - {prompt.ability for prompt in own})
    run.step("tax", tax, was, scores, abilities=others, tolerance=tolerance)
    run.step("promoted", promoted, scores, name=name)
    return scores


def tax(before: Sequence[Score], after: Sequence[Score], *, abilities: Sequence[str], tolerance: float) -> Outcome:
    """Step: what a stage cost in abilities it did not train (DeepSeek-V2 §4.2 calls it the alignment tax; spec D6).

    Args:
        before, after: rows of `score_model` on the same prompts.
        abilities: what must not fall; `all` is left out. None that both have: nothing is checked, and it says so.
        tolerance: how far the mean of their accuracies may fall, as a share (0.03 is 3 points).

    Rows are those of `after` in these abilities. Metrics: `before` and `after` (means over the abilities), `change`,
    `by_ability` (the change of each), `within` (None where nothing was checked).
    """
    known = [
        {row.task: row for row in rows if row.metric == METRIC and row.task in abilities and row.task != ALL}
        for rows in (before, after)
    ]
    both = [n for n in known[0] if n in known[1] and None not in (known[0][n].value, known[1][n].value)]
    values = [[side[name].value for name in both] for side in known]
    old, new = mean(values[0]), mean(values[1])
    change = None if old is None or new is None else new - old
    metrics = {
        "before": old,
        "after": new,
        "change": change,
        "by_ability": {name: known[1][name].value - known[0][name].value for name in both},
        "tolerance": tolerance,
        "within": None if change is None else change >= -tolerance,
    }
    return Outcome(rows=[known[1][name] for name in both], metrics=metrics)


tax.noun = Score


def reward_gain(
    prompts: Sequence[Prompt],
    *,
    before: Client,
    after: Client,
    rewarder: Any,
    sampling: Sampling,
    n: int = 1,
    checkers: Mapping[str, Checker] | None = None,
    work: Work | None = None,
) -> Outcome:
    """Step: rewards of a stage's answers on prompts it was not trained on, before it and after.

    A prompt's value is the mean reward of its answers; the change is paired over the prompts that have a value on both
    sides, with its 95 % interval.

    Args:
        before, after: who answers.
        rewarder: `train.on_policy.Rewarder`; the parts of a weighted sum are told one by one, unscaled.
        checkers: say of the same answers whether they are right: the part `right`, and `right ABILITY` for each
            ability. A reward that rises while these fall is being cheated.

    Rows are scores of metric `reward`: `PART before` and `PART after`. Metrics: {part: {before, after, gain, low, high,
    n, missing}}, where `missing` counts the answers of both sides that have no reward.
    """
    prompts = list(prompts)
    how = {"rewarder": rewarder, "checkers": checkers, "sampling": sampling, "n": n}
    sides = [_valued(prompts, client, **how, work=work) for client in (before, after)]
    rows, metrics = [], {}
    for part in sides[0][0]:
        old, new = sides[0][0][part], sides[1][0].get(part, {})
        both = [prompt.id for prompt in prompts if prompt.id in old and prompt.id in new]
        pairs = [old[id] for id in both], [new[id] for id in both]
        gain, low, high = paired_difference(*pairs)
        missing = sum(side[1].get(part, 0) for side in sides)
        for name, values, model in zip(("before", "after"), pairs, (sides[0][2], sides[1][2]), strict=True):
            under, over = bootstrap(values)
            known = {"value": mean(values), "low": under, "high": over, "n": len(values), "unscored": missing}
            rows.append(Score(model=model, task=f"{part} {name}", metric=REWARD, **known))
        told = {"before": mean(pairs[0]), "after": mean(pairs[1]), "gain": gain, "low": low, "high": high}
        metrics[part] = {**told, "n": len(both), "missing": missing}
    return Outcome(rows=rows, metrics=metrics)


reward_gain.noun = Score


def _valued(
    prompts: Sequence[Prompt],
    client: Client,
    *,
    rewarder: Any,
    checkers: Mapping[str, Checker] | None,
    sampling: Sampling,
    n: int,
    work: Work | None,
) -> tuple[dict[str, dict[str, float]], dict[str, int], str]:
    """(part -> prompt id -> mean reward, part -> answers without one, who answered)."""
    responses, known = client.answer(prompts, n=n, sampling=sampling, work=work), {p.id: p for p in prompts}
    found: dict[str, dict[str, list[float]]] = {}
    missing: dict[str, int] = {}

    def put(part: str, id: str, value: float | None) -> None:
        values = found.setdefault(part, {})
        if value is None:
            missing[part] = missing.get(part, 0) + 1
        else:
            values.setdefault(id, []).append(value)

    for response, reward in zip(responses, rewarder.rewards(known, responses, work=work), strict=True):
        for part, value in (reward.parts or {rewarder.name: reward.value}).items():
            put(part, response.prompt, value)
    for verdict in grade(prompts, responses, checkers) if checkers else ():
        ability = known[verdict.prompt].ability
        for part in (RIGHT, f"{RIGHT} {ability}")[: 1 + bool(ability)]:
            put(part, verdict.prompt, verdict.score)
    means = {part: {id: sum(v) / len(v) for id, v in values.items()} for part, values in found.items()}
    return means, missing, next((response.model for response in responses), getattr(client, "name", ""))
