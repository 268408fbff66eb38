"""Model-based pruning (Llama 3 §4.2.3; specification §3.10): keep what the reward model OR the judge calls good.

The topic is a function of the row (its declared ability by default; a trained classifier later). High quality is the
top quartile of reward inside a topic (ASSUMED to be per topic), or the judge's greatest grade. The two disagree often,
and their union had the best recall on the report's internal test.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

from burnish.errors import DataError
from burnish.protocols import Judge, Work
from burnish.records import Demonstration, Dropped, Prompt, Response, content_id, dropped
from burnish.runs import Outcome


class Grader(Protocol):
    """Grades an answer in points, one for each criterion that it meets; None when it cannot tell."""

    def quality(self, prompt: Prompt, response: Response) -> float | None: ...


def declared_topic(row: Demonstration) -> str:
    """The ability the prompt was made for."""
    return row.ability


def top_of(scores: Mapping[str, float], share: float) -> set[str]:
    """The ids in the top `share` of the scores: ceil(share * n) of them, and all that tie with the last one."""
    if not scores:
        return set()
    count = math.ceil(Fraction(repr(float(share))) * len(scores))
    if count == 0:
        return set()
    bound = sorted(scores.values(), reverse=True)[count - 1]
    return {id for id, score in scores.items() if score >= bound}


def _grades(
    rows: Sequence[Demonstration], prompts: Sequence[Prompt], judge: Judge | Grader | None, work: Work | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Row id -> points, and row id -> why there are none. A missing grade is never a zero."""
    if judge is None:
        return {}, {}
    asked = {prompt.id: prompt for prompt in prompts}
    missing = next((row.prompt for row in rows if row.prompt not in asked), None)
    if missing:
        raise DataError(f"the prompt {missing} of a demonstration is not among the prompts; give the judge all of them")
    # The answer as a response of its own: a cleaned row is no longer the one that was sampled.
    answers = {row.id: Response(prompt=row.prompt, messages=row.response, model=row.model) for row in rows}
    if hasattr(judge, "quality"):
        said: dict[str, Any] = {id: judge.quality(asked[answers[id].prompt], answers[id]) for id in answers}
        points = {id: float(value) for id, value in said.items() if value is not None}
        return points, {id: "the judge cannot tell" for id, value in said.items() if value is None}
    distinct = {answer.id: answer for answer in answers.values()}
    needed = {answer.prompt: asked[answer.prompt] for answer in distinct.values()}
    found = {j.responses[0]: j for j in judge.judge(list(needed.values()), list(distinct.values()), work=work)}
    points, without = {}, {}
    for id, answer in answers.items():
        judgement = found.get(answer.id)
        if judgement is None or judgement.score is None:
            without[id] = judgement.unscored if judgement else "the judge gave no judgement"
        else:
            points[id] = float(judgement.score)
    return points, without


def _random_like(good: set[str], topics: Mapping[str, list[Demonstration]], seed: int) -> set[str]:
    """As many rows of each topic as are good, drawn from the topic and the seed: the control of a selection."""
    drawn: set[str] = set()
    for topic, rows in topics.items():
        ids = sorted(row.id for row in rows)
        count = sum(id in good for id in ids)
        drawn |= set(random.Random(int(content_id(["random prune", seed, topic]), 16)).sample(ids, count))
    return drawn


def prune(
    demonstrations: Sequence[Demonstration],
    prompts: Sequence[Prompt],
    *,
    share: float,
    judge: Judge | Grader | None = None,
    maximum: float = 3,
    topic: Callable[[Demonstration], str] = declared_topic,
    selection: str = "reward",
    seed: int = 0,
    work: Work | None = None,
) -> Outcome:
    """Keep a row when its reward is in the top `share` of its topic, or when the judge gives it the maximum.

    Args:
        share: of the best rewards (`Demonstration.score`) of a topic that count as high quality; §3.10: a quarter.
        judge: has `quality(prompt, response)` in points, or is a `protocols.Judge`; None leaves the reward alone.
        maximum: the judge's greatest grade; §3.10: 3 criteria for general English, 2 for code.
        selection: `reward`, or `random`: the control that keeps as many rows of each topic by lot.
        seed: of the control.

    A row with neither reward nor grade is *unscored*; one whose grade is missing is kept or dropped by its reward.
    Metrics count both signals and their overlap, by topic.
    """
    topics: dict[str, list[Demonstration]] = {}
    for row in demonstrations:
        topics.setdefault(topic(row), []).append(row)
    rewarded: set[str] = set()
    for rows in topics.values():
        rewarded |= top_of({row.id: row.score for row in rows if row.score is not None}, share)
    grades, missing = _grades(demonstrations, prompts, judge, work)
    graded = {id for id, points in grades.items() if points >= maximum}
    good = rewarded | graded
    keep = good if selection == "reward" else _random_like(good, topics, seed)
    left: list[Dropped] = []
    for row in demonstrations:
        if row.id in keep:
            continue
        if selection == "reward" and row.score is None and row.id not in grades:
            detail = missing.get(row.id, "no reward, and no judge was asked")
            left.append(dropped(row, "no quality signal", detail, unscored=True))
        elif selection == "reward":
            left.append(dropped(row, "low quality", _found_wanting(row, grades, missing)))
        else:
            left.append(dropped(row, "not drawn"))
    kept = [row for row in demonstrations if row.id in keep]
    by_topic = {name: _counts(rows, rewarded, graded, keep) for name, rows in sorted(topics.items())}
    metrics = {**_counts(demonstrations, rewarded, graded, keep), "topics": by_topic}
    metrics["judge_unscored"] = len(missing)
    metrics["reward_unscored"] = sum(row.score is None for row in demonstrations)
    return Outcome(rows=kept, dropped=left, taken=len(demonstrations), metrics=metrics)


def _found_wanting(row: Demonstration, grades: Mapping[str, float], missing: Mapping[str, str]) -> str:
    reward = "no reward" if row.score is None else f"reward {row.score:.6g}"
    if row.id in grades:
        return f"{reward}, grade {grades[row.id]:g}"
    return f"{reward}, unscored by the judge" if row.id in missing else reward


def _counts(rows: Sequence[Demonstration], rewarded: set[str], graded: set[str], keep: set[str]) -> dict[str, Any]:
    """How many rows each signal calls good, how many both, and their overlap (both / either)."""
    ids = {row.id for row in rows}
    either, both = len(ids & (rewarded | graded)), len(ids & rewarded & graded)
    return {
        "rows": len(rows),
        "reward_high": len(ids & rewarded),
        "judge_high": len(ids & graded),
        "both": both,
        "either": either,
        "overlap": both / either if either else None,
        "kept": len(ids & keep),
    }
