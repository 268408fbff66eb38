"""Rejection sampling's choice (Llama 3 §4.2.2; specification §3.8): of K answers to a prompt, the best one.

A steering system prompt ("be formal") may be put before the dialogue while sampling; it is taken out of the stored row
again by default (ASSUMED: the report does not say).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb

from burnish.errors import DataError
from burnish.protocols import Work
from burnish.records import Demonstration, Dropped, Judgement, Message, Prompt, Response, content_id, dropped
from burnish.runs import Outcome

STEERED = "steered"
NOT_BEST = "not the best of K"


def steer(prompts: Sequence[Prompt], *, system: str) -> Outcome:
    """Put a steering system message before each dialogue; the tag `steered` marks the row, so that it can be undone."""
    message = Message(role="system", content=system)
    rows = [
        replace(prompt, messages=(message, *prompt.messages), tags=(*prompt.tags, STEERED), parents=(prompt.id,), id="")
        for prompt in prompts
    ]
    return Outcome(rows=rows, taken=len(prompts))


def expected_best(rewards: Sequence[float], k: int) -> float:
    """E[max of k rewards drawn without replacement], exactly: the i-th smallest of n is the best of k in
    C(i - 1, k - 1) of C(n, k) draws."""
    ranked = sorted(rewards)
    ways = comb(len(ranked), k)
    return sum(reward * (comb(i, k - 1) / ways) for i, reward in enumerate(ranked))


def _scores(judgements: Sequence[Judgement], known: set[str]) -> dict[str, Judgement]:
    found: dict[str, Judgement] = {}
    for judgement in judgements:
        if len(judgement.responses) != 1:
            raise DataError(f"judgement {judgement.id} compares responses; the best of K needs one score each")
        id = judgement.responses[0]
        if id not in known:
            raise DataError(f"judgement {judgement.id} is about response {id}, which is not among the responses")
        if id in found:
            raise DataError(f"response {id} has two judgements; give those of one judge")
        found[id] = judgement
    return found


def _grouped(prompts: Sequence[Prompt], responses: Sequence[Response]) -> dict[str, list[Response]]:
    groups: dict[str, list[Response]] = {prompt.id: [] for prompt in prompts}
    for response in responses:
        if response.prompt not in groups:
            raise DataError(f"response {response.id} answers prompt {response.prompt}, which is not among the prompts")
        groups[response.prompt].append(response)
    return groups


def _unusable(response: Response, judgement: Judgement | None, keep_cut: bool) -> Dropped | None:
    """Why a response cannot be chosen at all; unscored is never a low score."""
    if not response.text.strip():
        return dropped(response, "blank response")
    if not keep_cut and response.finish == "length":
        return dropped(response, "cut at the length limit")
    if judgement is None:
        return dropped(response, "not judged", unscored=True)
    if judgement.score is None:
        return dropped(response, "unscored response", judgement.unscored, unscored=True)
    return None


def _choose(prompt: Prompt, usable: Sequence[Response], scores: Mapping[str, float], selection: str, seed: int) -> int:
    """The index of the chosen response: the highest score, ties by id; or one drawn from prompt id and seed."""
    by_id = sorted(range(len(usable)), key=lambda i: usable[i].id)
    if selection == "random":
        return random.Random(int(content_id(["random of K", seed, prompt.id]), 16)).choice(by_id)
    return max(by_id, key=lambda i: scores[usable[i].id])


def _demonstration(
    prompt: Prompt, best: Response, judgement: Judgement, source: str, round: int, strip: bool
) -> Demonstration:
    context = prompt.messages
    if strip and STEERED in prompt.tags and context[0].role == "system":
        context = context[1:]
    return Demonstration(
        prompt=prompt.id,
        context=context,
        response=best.messages,
        ability=prompt.ability,
        source=source,
        model=best.model,
        score=judgement.score,
        difficulty=prompt.difficulty,
        round=round,
        parents=(best.id, judgement.id, prompt.id),
    )


def best_of_k(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    judgements: Sequence[Judgement],
    *,
    round: int,
    selection: str = "reward",
    seed: int = 0,
    minimum: float | None = None,
    keep_cut: bool = True,
    strip_steering: bool = True,
    work: Work | None = None,
) -> Outcome:
    """For each prompt one demonstration: the response with the greatest reward, ties by response id.

    The accounting is in responses: each is chosen, "not the best of K", blank, below the minimum, or *unscored*.

    Args:
        round: written into the rows.
        selection: `reward`, or `random`: the control that draws one of the same scored responses instead.
        seed: of the random control.
        minimum: a prompt whose choice has a lower reward gives no row.
        keep_cut: whether an answer that hit the length limit may be chosen.
        strip_steering: take a steering system prompt (`steer`) out of the stored context.

    Metrics: `expected_best` maps k to E[max of k] over the prompts that have all K scores, and is non-decreasing;
    `gain` is E[max] - E[r] over all prompts with a choice; `chosen` the mean reward of the chosen ones.
    """
    if selection not in ("reward", "random"):
        raise ValueError("selection is 'reward' or 'random'")
    groups = _grouped(prompts, responses)
    verdicts = _scores(judgements, {response.id for response in responses})
    source = "rejection sampling" if selection == "reward" else "random selection"
    rows: list[Demonstration] = []
    left: list[Dropped] = []
    scored: list[list[float]] = []
    for prompt in prompts:
        usable = []
        for response in groups[prompt.id]:
            reason = _unusable(response, verdicts.get(response.id), keep_cut)
            (left if reason else usable).append(reason or response)
        if not usable:
            continue
        scores = {response.id: float(verdicts[response.id].score) for response in usable}
        best = usable[_choose(prompt, usable, scores, selection, seed)]
        left += [dropped(r, NOT_BEST, f"reward {scores[r.id]:.6g}") for r in usable if r is not best]
        scored.append(list(scores.values()))
        if minimum is not None and scores[best.id] < minimum:
            left.append(dropped(best, "below the minimum reward", f"reward {scores[best.id]:.6g}"))
            continue
        rows.append(_demonstration(prompt, best, verdicts[best.id], source, round, strip_steering))
    metrics = _gain(scored, [row.score for row in rows], len(prompts))
    return Outcome(rows=rows, dropped=left, taken=len(responses), metrics=metrics)


def _gain(scored: Sequence[Sequence[float]], chosen: Sequence[float], prompts: int) -> dict[str, object]:
    if not scored:
        return {"prompts": prompts, "prompts_scored": 0}
    full = max(len(rewards) for rewards in scored)
    whole = [rewards for rewards in scored if len(rewards) == full]
    curve = {k: sum(expected_best(rewards, k) for rewards in whole) / len(whole) for k in range(1, full + 1)}
    best = sum(max(rewards) for rewards in scored) / len(scored)
    mean = sum(sum(rewards) / len(rewards) for rewards in scored) / len(scored)
    return {
        "prompts": prompts,
        "prompts_scored": len(scored),
        "k": full,
        "best": best,
        "mean": mean,
        "gain": best - mean,
        "chosen": sum(chosen) / len(chosen) if chosen else None,
        "expected_best": {str(k): value for k, value in curve.items()},
    }


def imitate(
    prompts: Sequence[Prompt], responses: Sequence[Response], *, source: str, round: int, work: Work | None = None
) -> Outcome:
    """Every response as a demonstration, unjudged; blank ones and those cut at the length limit are dropped.

    The accounting is in responses.
    """
    groups = _grouped(prompts, responses)
    rows: list[Demonstration] = []
    left: list[Dropped] = []
    for prompt in prompts:
        for response in groups[prompt.id]:
            if not response.text.strip() or response.finish == "length":
                left.append(dropped(response, "cut short" if response.text.strip() else "blank"))
                continue
            rows.append(
                Demonstration(
                    prompt=prompt.id,
                    context=prompt.messages,
                    response=response.messages,
                    ability=prompt.ability,
                    source=source,
                    model=response.model,
                    difficulty=prompt.difficulty,
                    round=round,
                    parents=(response.id, prompt.id),
                )
            )
    return Outcome(rows=rows, dropped=left, taken=len(responses), metrics={"demonstrations": len(rows)})


for _step in (best_of_k, imitate):
    _step.noun = Demonstration
