"""The K answers to each prompt of a round: their rewards, their lengths, and what happened to each afterwards.

An answer's fate is followed through every later step of its round by ids: a row belongs to an answer when it is the
answer, a judgement of it alone, or descends from one of these; a demonstration without such parents belongs to the
answer with its prompt and its words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.records import Demonstration, Dropped, Judgement, Prompt, Response
from burnish.report.charts import Figure, histogram
from burnish.report.reading import Evidence, noun_of, number, short_name
from burnish.runs import StepView

LEGEND = (("s-all", "bar", "all samples"), ("s-chosen", "line", "chosen"))


@dataclass(slots=True, kw_only=True)
class Answer:
    """One sampled answer and what became of it. `at` is the short name of the step that decided."""

    row: Response
    score: float | None = None
    unscored: str = ""
    state: str = ""
    at: str = ""
    reason: str = ""
    detail: str = ""
    passed: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens that were drawn; words where an endpoint gave no ids."""
        return len(self.row.token_ids) or len(self.row.text.split())


@dataclass(slots=True, kw_only=True)
class RoundSamples:
    """The samples of one round (None: a run without rounds). `choice` is the first step that chose among them."""

    round: int | None
    step: str
    choice: str
    prompts: dict[str, Prompt]
    answers: dict[str, list[Answer]]
    in_tokens: bool

    def all(self) -> list[Answer]:
        return [answer for group in self.answers.values() for answer in group]

    def chosen(self) -> list[Answer]:
        """The answers that the first choosing step kept (best of K)."""
        return [answer for answer in self.all() if self.choice and self.choice in answer.passed]


def _sampling_step(steps: Sequence[StepView]) -> StepView | None:
    """The step named `samples`; else, for recipes with other names, the largest whose answers were judged or chosen."""
    sampled = [s for s in steps if s.kind == "rows" and s.note["artifact"].get("rows") and noun_of(s) == "Response"]
    named = [step for step in sampled if short_name(step) == "samples"]
    if named:
        return named[-1]
    used = {
        parent.get("id")
        for step in steps
        if step.kind == "rows" and noun_of(step) in ("Judgement", "Demonstration")
        for parent in step.note.get("parents") or []
    }
    judged = [step for step in sampled if step.id in used]
    return max(judged, key=lambda step: step.note["artifact"]["rows"], default=None)


class _Fates:
    """Which answer a later row belongs to."""

    def __init__(self, answers: dict[str, list[Answer]]) -> None:
        self.answers = answers
        self.of: dict[str, Answer] = {a.row.id: a for group in answers.values() for a in group}
        self.words: dict[tuple[str, str], Answer] = {}
        for group in answers.values():
            for answer in group:
                self.words.setdefault((answer.row.prompt, answer.row.text), answer)

    def find(self, row_id: str, parents: Sequence[str], prompt: str = "", text: str | None = None) -> Answer | None:
        """The answer of a row; what is found is remembered under the row's id."""
        if row_id not in self.of:
            owner = next((self.of[parent] for parent in parents if parent in self.of), None)
            owner = owner or (self.words.get((prompt, text)) if text is not None else None)
            if owner is None:
                return None
            self.of[row_id] = owner
        return self.of[row_id]

    def keep(self, rows: Sequence[Any], at: str) -> None:
        """Rows of a step that go on."""
        for row in rows:
            if isinstance(row, Judgement):
                self._judged(row)
            elif isinstance(row, Demonstration):
                text = next((m.content for m in reversed(row.response) if m.role == "assistant"), "")
                owner = self.find(row.id, row.parents, row.prompt, text)
                if owner is not None and at not in owner.passed:
                    owner.passed.append(at)
                    owner.state, owner.at, owner.reason, owner.detail = "kept", at, "", ""

    def _judged(self, row: Judgement) -> None:
        owner = self.of.get(row.responses[0]) if len(row.responses) == 1 else None
        if owner is not None:
            self.of[row.id] = owner
            owner.score = row.score if owner.score is None else owner.score
            owner.unscored = row.unscored or owner.unscored

    def drop(self, rows: Sequence[Dropped], at: str) -> None:
        """Rows of a step that do not go on. A dropped prompt takes its answers with it."""
        for row in rows:
            for owner in self._owners(row):
                owner.state = "unscored" if row.unscored else "dropped"
                owner.at, owner.reason, owner.detail = at, row.reason, row.detail

    def _owners(self, row: Dropped) -> list[Answer]:
        known = next((self.of[parent] for parent in row.parents if parent in self.of), None)
        if known is not None:
            return [known]
        data = json.loads(row.row)
        if row.noun == "Prompt":
            return self.answers.get(data.get("id", ""), [])
        if row.noun not in ("Demonstration", "Judgement"):
            return []
        parents = [*data.get("parents", []), *data.get("responses", [])]
        said = [m["content"] for m in data.get("response") or [] if m.get("role") == "assistant"]
        owner = self.find(data.get("id", ""), parents, data.get("prompt", ""), said[-1] if said else None)
        return [owner] if owner else []


def _prompts(evidence: Evidence, round_number: int | None, wanted: set[str]) -> dict[str, Prompt]:
    """The prompts of these ids, from this round's prompt steps and, if need be, from all others."""
    found: dict[str, Prompt] = {}
    here = [step.name for step in evidence.steps_of(round_number)]
    for step in sorted(evidence.view.steps, key=lambda step: step.name not in here):
        if wanted <= found.keys():
            break
        if step.kind == "rows" and noun_of(step) == "Prompt":
            found |= {row.id: row for row in step.rows() if row.id in wanted}
    return found


def read_samples(evidence: Evidence, round_number: int | None) -> RoundSamples | None:
    """The samples of a round with scores and fates; None when the round has sampled nothing yet."""
    steps = evidence.steps_of(round_number)
    sampling = _sampling_step(steps)
    if sampling is None:
        return None
    answers: dict[str, list[Answer]] = {}
    for row in sampling.rows():
        answers.setdefault(row.prompt, []).append(Answer(row=row))
    for group in answers.values():
        group.sort(key=lambda answer: answer.row.index)
    fates, choice, last = _Fates(answers), "", ""
    for step in steps[steps.index(sampling) + 1 :]:
        noun = noun_of(step) if step.kind == "rows" else ""
        if noun == "Response" and short_name(step) != short_name(sampling):
            continue  # other answers, as a rule to other prompts
        if noun in ("Demonstration", "Judgement"):
            fates.keep(step.rows(), short_name(step))
        if noun in ("Demonstration", "Judgement", "Dropped", "Prompt"):
            fates.drop(step.dropped(), short_name(step))
        if noun == "Demonstration":
            choice, last = choice or short_name(step), short_name(step)
    for answer in fates.of.values():
        if answer.state == "kept" and answer.at != last:
            answer.state, answer.reason = "left", f"not among the rows of {last}"
    prompts = _prompts(evidence, round_number, set(answers))
    in_tokens = any(answer.row.token_ids for group in answers.values() for answer in group)
    return RoundSamples(
        round=round_number, step=sampling.name, choice=choice, prompts=prompts, answers=answers, in_tokens=in_tokens
    )


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
