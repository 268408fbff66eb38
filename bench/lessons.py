"""Rows of the microworld for every method of `burnish train`; part of `learns.py`.

A row is a task with a careful author's answer (chosen, label 1) and a careless one's (rejected, label 0). Scores,
strengths, grades and attributes come from the oracle without error, which is simulated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from burnish.microworld import Oracle
from burnish.microworld.corpus import completion_text
from burnish.microworld.oracle import CORRECT, pieces
from burnish.microworld.prompting import as_prompt, tasks
from burnish.microworld.tasks import Dials, Task
from burnish.records import Attribute, Candidate, Demonstration, Document, Message, Preference, Response, Sampling, Step

FAMILIES = ("arithmetic", "ordering", "records")
NAMES = ("correctness", "length")
COLUMN = re.compile(
    r"(?P<top>\d+)(?P<sign>[+-])(?P<borrowed>(?<=-)1-)?(?P<low>\d)(?P<carried>\+1)?=(?P<value>\d+)(?P<end>\.?)"
)
LONG = 120  # characters at which the attribute `length` ends
SHORT = 0.7  # ASSUMED: an answer below this share of the careful one's length is graded `too short`
WRITTEN = Sampling(temperature=0.0, max_new_tokens=256)  # what a response row must tell; nothing is sampled


@dataclass(kw_only=True)
class Lessons:
    """What the methods read.

    Args:
        careful: tasks with the careful answer.
        rated: both answers of each task, with label and attributes.
        pairs: the careful answer over the careless one, with strength, scores and grades.
        steps: sums with right steps alone and the same with one wrong step, in turn, labelled step by step.
        documents: functions by the careful author, as the corpus writes them: without a chat format.
    """

    careful: list[Demonstration] = field(default_factory=list)
    rated: list[Demonstration] = field(default_factory=list)
    pairs: list[Preference] = field(default_factory=list)
    steps: list[Demonstration] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)


def material(split: str, count: int, seed: int) -> Lessons:
    """Lessons of so many tasks; equal for equal arguments."""
    rng, oracle, found = Random(f"burnish/learns/{split}/{seed}"), Oracle(seed=seed), Lessons()
    streams = [tasks(split, family, seed=seed) for family in FAMILIES]
    while len(found.pairs) < count:
        task = next(streams[len(found.pairs) % len(streams)])
        bad = rng.choice((task.hasty, task.sloppy))
        prompt = as_prompt(task, "bench")
        said = [_said(text) for text in (task.answer, bad)]
        answers = [
            Response(prompt=prompt.id, messages=m, model="author", sampling=WRITTEN, index=i)
            for i, m in enumerate(said)
        ]
        worth = [oracle.utility(prompt, answer) for answer in answers]
        verdict = oracle.rank(prompt, answers)
        if worth[0] <= worth[1] or verdict.winner != 0:
            continue
        rows = [_rated(task, prompt.id, *both, label=float(not i)) for i, both in enumerate(zip(said, worth))]
        found.careful.append(rows[0])
        found.rated += reversed(rows)
        both = zip(("chosen", "rejected"), said, worth, strict=True)
        candidates = tuple(
            Candidate(role=role, messages=m, score=value, grades=_grades(task, m[0].content, value))
            for role, m, value in both
        )
        how: dict[str, Any] = {"prompt": prompt.id, "context": task.messages}
        found.pairs.append(Preference(**how, strength=verdict.strength, candidates=candidates))
    found.steps = stepwise(split, count, seed)
    for task in islice(tasks(split, "code", seed=seed), count):
        found.documents.append(Document(text=f"{completion_text(task.messages)} {task.answer}", corpus="code"))
    return found


def _said(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)


def _rated(task: Task, prompt: str, said: tuple[Message, ...], worth: float, *, label: float) -> Demonstration:
    length = float(min(len(said[0].content), LONG)) / LONG
    graded = zip(NAMES, (float(worth >= CORRECT), length), strict=True)
    attributes = tuple(Attribute(name=n, value=v) for n, v in graded)
    return Demonstration(prompt=prompt, context=task.messages, response=said, attributes=attributes, score=label)


def _grades(task: Task, text: str, worth: float) -> tuple[Attribute, ...]:
    """Classes of `burnish.records.GRADES`: false or true, too short or just right; the other two are missing."""
    short = len(text) < SHORT * len(task.answer)
    return (
        Attribute(name="truthfulness", value=2.0 if worth >= CORRECT else 0.0),
        Attribute(name="verbosity", value=1.0 if short else 2.0),
    )


def stepwise(split: str, count: int, seed: int) -> list[Demonstration]:
    """Careful sums, all of whose steps are right, each with its twin that has one wrong step; so many twins.

    Steps are the oracle's pieces. In the wrong one a carry or a borrow is forgotten or, where there is none, invented:
    half and half, so that only the column before it tells. What comes after it has no label.
    """
    rng, found = Random(f"burnish/learns/steps/{split}/{seed}"), []
    for task in tasks(split, "arithmetic", seed=seed, dials=Dials(traps=0.5)):
        if len(found) == 2 * count:
            break
        given, gaps = pieces(task.answer)
        places = [place for place, piece in enumerate(given) if place and miscarried(piece)]
        place = rng.choice(places)
        spoiled = [*given[:place], miscarried(given[place]), *given[place + 1 :]]
        for texts, wrong in ((given, len(given)), (spoiled, place)):
            text, steps = _joined(texts, gaps, wrong)
            how = {"prompt": as_prompt(task, "bench").id, "context": task.messages, "response": _said(text)}
            found.append(Demonstration(**how, steps=steps))
    return found


def miscarried(step: str) -> str:
    """A column of a sum with its carry or borrow taken out, or with one put in; "" for another step.

    6+1+1=8. -> 6+1=7.   6+1=7 -> 6+1+1=8   14-1-9=4 -> 14-9=5   4-3=1 -> 4-1-3=0   3-3=0 -> 13-1-3=9
    """
    told = COLUMN.fullmatch(step)
    if told is None:
        return ""
    top, sign, borrowed, low, carried, end = told.group("top", "sign", "borrowed", "low", "carried", "end")
    value, had = int(told["value"]), bool(borrowed or carried)
    value += 1 if (sign == "+") != had else -1
    if sign == "+":
        return f"{top}+{low}{'' if had else '+1'}={value}{end}"
    if value < 0:
        top, value = f"1{top}", value + 10
    return f"{top}{'' if had else '-1'}-{low}={value}{end}"


def _joined(given: Sequence[str], gaps: Sequence[str], wrong: int) -> tuple[str, tuple[Step, ...]]:
    """The text of an answer and its steps, of which number `wrong` is."""
    text, steps = "", []
    for place, piece in enumerate(given):
        text += piece
        steps.append(Step(end=len(text), label=None if place > wrong else float(place < wrong)))
        text += gaps[place] if place < len(gaps) else ""
    return text, tuple(steps)
