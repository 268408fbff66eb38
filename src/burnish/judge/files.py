"""Judging the rows of a file: verdicts as columns beside the row's own, so that `burnish score` reads them.

comparing   winner (the answer's name, or tie), strength, win (of the first answer: 1, 0.5, 0), forward and
            backward (the place that won: A, B, tie, with the answers in the row's order and swapped)
scoring     answer (its name), score; a row for each answer
all         unscored (why there is no verdict; else empty), judge, transcript
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from burnish.errors import DataError, SettingsError
from burnish.judge.intervals import wilson
from burnish.judge.measure import PairScores, judge_pairs
from burnish.judge.operations.records import RubricText
from burnish.judge.operations.rubrics import rubric_in
from burnish.judge.pairwise import Compared, Pairwise, comparison_metrics
from burnish.judge.panel import Panel, agreement
from burnish.judge.pointwise import Absolute, Critique, Golden, Quality, Rubric
from burnish.llm.requests import Asker, Reply, Request
from burnish.protocols import Judge, Work
from burnish.records import AnsweredRow, Message, Preference, Prompt, Response

HOW: dict[str, Callable[..., Any]] = {
    "pairwise": Pairwise,
    "golden": Golden,
    "rubric": Rubric,
    "quality": Quality,
    "absolute": Absolute,
    "critique": Critique,
}
ALL = ("unscored", "judge", "transcript")
COMPARING = ("winner", "strength", "win", "forward", "backward", *ALL)
SCORING = ("answer", "score", *ALL)
PLACES = {0: "A", 1: "B", -1: "tie"}
Told = tuple[list[dict[str, Any]], dict[str, Any]]  # rows and metrics


class Listing:
    """Stands in for an asker and sends nothing: what a judge would ask first is in `requests`."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.requests: list[Request] = []

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(failure="nothing is sent")


def judge_asking(how: str, asker: Asker, *, rubric: RubricText | None = None, **settings: Any) -> Any:
    """A judge by its name (`HOW`).

    Raises:
        SettingsError: a rubric is missing, or given to a judge that has none.
    """
    if (how == "rubric") != (rubric is not None):
        raise SettingsError("--how rubric and --rubric FILE go together")
    if rubric is not None:
        settings["rubric"] = rubric
    return HOW[how](asker=asker, **settings)


def judge_rows(
    rows: Sequence[AnsweredRow], judge: Pairwise | Panel | Judge, *, prefix: str = "", work: Work | None = None
) -> Told:
    """Rows with verdicts, and metrics. A comparison takes rows of two answers; other judges score all answers.

    A panel compares or scores as its members do; `agreement` and `members` tell how they voted.

    Args:
        prefix: set before the names of the verdict's columns.

    Raises:
        DataError: a row has not two answers, or has a column of the verdict's already; no row has a golden answer.
    """
    members = judge.members if isinstance(judge, Panel) else (judge,)
    compares = all(isinstance(member, Pairwise) for member in members)
    names = COMPARING if compares else SCORING
    golden = next((member for member in members if isinstance(member, (Golden, Critique))), None)
    if golden and not any(row.prompt.reference for row in rows):
        name = "golden" if isinstance(golden, Golden) else "critique"
        raise DataError(
            f"a {name} judge compares with a golden answer, and none of the {len(rows)} rows has one; add a column "
            "reference, or judge in another way (--how absolute, say)"
        )
    for row in rows:
        if taken := next((prefix + name for name in names if prefix + name in row.columns), ""):
            raise DataError(f"the file has a column {taken!r} already; name the judge's columns otherwise (--prefix)")
    made, metrics = (_compared if compares else _scored)(rows, judge, work)
    return [{**row.columns, **{prefix + name: told[name] for name in names}} for row, told in made], metrics


def _compared(rows: Sequence[AnsweredRow], judge: Any, work: Work | None) -> tuple[list[Any], dict[str, Any]]:
    for place, row in enumerate(rows, 1):
        if len(row.answers) != 2:
            raise DataError(f"row {place} has {len(row.answers)} answers ({', '.join(row.answers)}); a comparison "
                            "takes two, and --how absolute, say, scores one by one")  # fmt: skip
    pairs = [(row.prompt, tuple(row.answers.values())) for row in rows]
    if isinstance(judge, Panel):
        panel = judge.prepared(pairs, work)
        found = [Compared(judgement=panel.rank(*pair), answers=(), shown=()) for pair in pairs]
        metrics = comparison_metrics(found) | panel.metrics()
    else:
        metrics = comparison_metrics(found := judge.compare(pairs, work=work))
    made = [(row, _comparison(row, got)) for row, got in zip(rows, found, strict=True)]
    firsts = {next(iter(row.answers)) for row in rows}
    metrics["first_answer"] = firsts.pop() if len(firsts) == 1 else "first answer"
    metrics["first_answer_won"] = sum(told["win"] == 1.0 for _, told in made)
    low, high = wilson(metrics["first_answer_won"], metrics["won"])
    metrics["first_answer_interval"] = [low, high]
    metrics["no_verdict"] = dict(Counter(_reason(told["unscored"]) for _, told in made if told["unscored"]))
    return made, metrics


def _comparison(row: AnsweredRow, got: Compared) -> dict[str, Any]:
    judgement, names = got.judgement, list(row.answers)
    ids = [response.id for response in row.answers.values()]
    by_id = sorted(ids)
    told: dict[str, Any] = {"winner": None, "strength": judgement.strength, "win": None}
    told |= {"forward": None, "backward": None, "unscored": judgement.unscored}
    transcript = judgement.transcript
    for number, name in enumerate(names, 1):
        transcript = transcript.replace(f"(answer {number} shown first)", f"({name} shown first)")
    told |= {"judge": judgement.judge, "transcript": transcript}
    if not judgement.unscored and judgement.winner is not None:
        told["winner"] = names[judgement.winner] if judgement.winner >= 0 else "tie"
        told["win"] = {0: 1.0, 1: 0.0}.get(judgement.winner, 0.5)
    for order, answer in zip(got.shown, got.answers, strict=True):
        way = "forward" if by_id[order[0]] == ids[0] else "backward"
        told[way] = None if answer.record is None else PLACES[answer.record.winner]
    return told


def _scored(rows: Sequence[AnsweredRow], judge: Any, work: Work | None) -> tuple[list[Any], dict[str, Any]]:
    answers = [(row, name, response) for row in rows for name, response in row.answers.items()]
    prompts = list({row.prompt.id: row.prompt for row in rows}.values())
    responses, agreed = [response for _, _, response in answers], {}
    if isinstance(judge, Panel):
        votes = judge.asked(prompts, responses, work=work)
        judged, agreed = judge.counted(responses, votes), {"agreement": agreement(votes)}
    else:
        judged = judge.judge(prompts, responses, work=work)
    made = [
        (row, {"answer": name, "score": j.score, "unscored": j.unscored, "judge": j.judge, "transcript": j.transcript})
        for (row, name, _), j in zip(answers, judged, strict=True)
    ]
    scores = [j.score for j in judged if j.score is not None]
    mean = math.fsum(scores) / len(scores) if scores else None
    lost = Counter(_reason(j.unscored) for j in judged if j.score is None)
    return made, {"answers": len(judged), "scored": len(scores), "mean": mean, "no_verdict": dict(lost), **agreed}


def _reason(unscored: str) -> str:
    return unscored.partition(": ")[0]


def judge_preferences(
    pairs: Sequence[Preference], judges: Sequence[Any], *, seed: int = 0, work: Work | None = None
) -> PairScores:
    """Pairs by RewardBench's rules (`judge_pairs`), decided by comparing judges, who are asked all pairs at once.

    Args:
        judges: an odd number of `Pairwise`; each draws the order by itself, so of one order asked it is each one's own.
    """
    shown: list[tuple[Prompt, tuple[Response, Response]]] = []

    def note(*texts: tuple[Message, ...]) -> None:
        shown.append(_pair(*texts))

    judge_pairs(pairs, [note], seed=seed, draws=2)  # which pairs a judge is shown at all
    ready = [judge.prepared(shown, work) for judge in judges]

    def decider(judge: Any) -> Callable[..., int | None]:
        return lambda *texts: judge.rank(*_pair(*texts)).winner

    return judge_pairs(pairs, [decider(judge) for judge in ready], seed=seed)


def _pair(
    context: tuple[Message, ...], first: tuple[Message, ...], second: tuple[Message, ...]
) -> tuple[Prompt, tuple[Response, Response]]:
    prompt = Prompt(messages=context)
    made = [Response(prompt=prompt.id, messages=said, parents=(prompt.id,)) for said in (first, second)]
    return prompt, (made[0], made[1])


def share_of(count: int, n: int) -> str:
    """A count as a share with Wilson's interval, in words."""
    if not n:
        return "- (there is none)"
    low, high = wilson(count, n)
    return f"{count / n:.3f} [{low:.3f}, {high:.3f}], {count:,} of {n:,}"


def read_rubric(path: Path) -> RubricText:
    """A rubric of a JSON file: BiGGen-Bench's and Prometheus' columns, or several criteria.

    {"name": "tone", "criteria": [{"name": "warm", "question": "How warm?", "levels": {"1": "cold", "2": "warm"}}]}

    Raises:
        DataError: no such file, or no JSON.
        SettingsError: it is no rubric, or has a field that no rubric has.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the rubric {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"the rubric {path} is no JSON: {error}") from error
    return rubric_in(held, where=str(path), name=path.stem)
