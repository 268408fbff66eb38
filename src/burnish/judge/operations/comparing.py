"""Two things side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from burnish.judge.operations.records import (
    Comparison,
    Decided,
    Levels,
    Preferred,
    PrincipleComparison,
    Same,
    TwoPrompts,
    asked,
    said,
)
from burnish.llm.operations import Form, Operation, Truth, Words, one_of
from burnish.records import STRENGTHS, Attribute

TEMPLATES = Path(__file__).parent / "templates"
WHY = "Two to four sentences that name what decides, before you decide."
_BY_WORD = {word: level for level, word in STRENGTHS.items()}
_SUM = asked("What is 7 + 8? Show the steps.")
_RIGHT, _WRONG = said(_SUM, "7 + 8 = 15."), said(_SUM, "It is 16.", 1)
SIDES = ("clarity", "practicality", "complexity", "novelty")  # spec B15
LEVELS = {"better": 1.0, "same": 0.5, "worse": 0.0}


class PairForm(Form):
    why: Words = Field(description=WHY)
    winner: one_of("A", "B", "tie") = Field(description="The better answer, or tie when neither is.")
    strength: one_of("significantly better", "better", "slightly better", "marginally better", "equal") = Field(
        description="By how much the winner is better; equal for a tie, and only then."
    )


class BetterForm(Form):
    why: Words = Field(description=WHY)
    winner: one_of("A", "B") = Field(description="The better answer. There is no tie.")
    strength: one_of("significantly better", "better", "slightly better", "marginally better") = Field(
        description="By how much the winner is better."
    )


class PickForm(Form):
    why: Words = Field(description=WHY)
    winner: one_of("A", "B", "tie") = Field(description="The answer that keeps to the principle better, or tie.")


class SameForm(Form):
    why: Words = Field(description="Name the steps and the result of each answer in a few words.")
    same_method: Truth = Field(description="Do both take essentially the same steps?")
    same_result: Truth = Field(description="Do both end at the same result?")


class EqualForm(Form):
    why: Words = Field(description="One or two sentences.")
    equal: Truth = Field(description="Do both ask for the same thing, as deeply and as broadly?")


class SidesForm(Form):
    why: Words = Field(description=WHY)
    clarity: one_of(*LEVELS) = Field(description="How clear A is, against B.")
    practicality: one_of(*LEVELS) = Field(description="How near A is to what people need, against B.")
    complexity: one_of(*LEVELS) = Field(description="How much A demands of whoever answers, against B.")
    novelty: one_of(*LEVELS) = Field(description="How unusual A is, against B.")


def _winner(word: str) -> int:
    return {"A": 0, "B": 1}.get(word, -1)


def _preferred(record: Comparison, form: PairForm) -> Preferred:
    if (form.winner == "tie") != (form.strength == "equal"):
        raise ValueError(f"the winner {form.winner!r} and the strength {form.strength!r} contradict each other")
    return Preferred(winner=_winner(form.winner), strength=_BY_WORD.get(form.strength), why=form.why)


def _better(record: Comparison, form: BetterForm) -> Preferred:
    return Preferred(winner=_winner(form.winner), strength=_BY_WORD[form.strength], why=form.why)


def _picked(record: PrincipleComparison, form: PickForm) -> Preferred:
    winner = _winner(form.winner)
    return Preferred(winner=winner, strength=None if winner < 0 else 3, why=form.why)


def _same(record: Comparison, form: SameForm) -> Same:
    return Same(method=form.same_method, result=form.same_result, why=form.why)


def _equal(record: TwoPrompts, form: EqualForm) -> Decided:
    return Decided(yes=form.equal, why=form.why)


def _sides(record: TwoPrompts, form: SidesForm) -> Levels:
    found = tuple(Attribute(name=side, value=LEVELS[getattr(form, side)]) for side in SIDES)
    return Levels(levels=found, why=form.why)


PAIRWISE: Operation[Comparison, Preferred] = Operation(
    id="judge/pairwise",
    purpose="Which of two answers is better, and by how much (four strengths, or a tie).",
    source="Llama 3 §3.7 (strengths), Nemotron-4 A.12 (both orders)",
    template=TEMPLATES / "pairwise.jinja", record=Comparison, form=PairForm, build=_preferred,
    example=Comparison(prompt=_SUM, first=_RIGHT, second=_WRONG),
    example_reply={"why": "A adds correctly and shows it; B is off by one.", "winner": "A",
                   "strength": "significantly better"},
)  # fmt: skip

PAIRWISE_NO_TIE: Operation[Comparison, Preferred] = Operation(
    id="judge/pairwise_no_tie",
    purpose="Which of two answers is better, and by how much; one must be named.",
    source="RewardBench's generative judge, spec C.2",
    template=TEMPLATES / "pairwise_no_tie.jinja", record=Comparison, form=BetterForm, build=_better,
    example=Comparison(prompt=_SUM, first=_RIGHT, second=_WRONG),
    example_reply={"why": "A adds correctly and shows it; B is off by one.", "winner": "A",
                   "strength": "significantly better"},
)  # fmt: skip

PRINCIPLE: Operation[PrincipleComparison, Preferred] = Operation(
    id="judge/principle",
    purpose="Which of two answers keeps to one principle better.",
    source="Qwen2 §4.9",
    template=TEMPLATES / "principle.jinja", record=PrincipleComparison, form=PickForm, build=_picked,
    example=PrincipleComparison(prompt=_SUM, first=_RIGHT, second=_WRONG, principle="Show how you found the result."),
    example_reply={"why": "Only A shows the sum.", "winner": "A"},
)  # fmt: skip

SAME: Operation[Comparison, Same] = Operation(
    id="judge/same_or_different",
    purpose="Do two answers share their method and their result?",
    source="Baichuan B22, mode 2",
    template=TEMPLATES / "same_or_different.jinja", record=Comparison, form=SameForm, build=_same,
    example=Comparison(prompt=_SUM, first=_RIGHT, second=said(_SUM, "8 + 7 is fifteen.", 1)),
    example_reply={"why": "Both add the two numbers and get 15.", "same_method": True, "same_result": True},
)  # fmt: skip

EQUALITY: Operation[TwoPrompts, Decided] = Operation(
    id="judge/equality",
    purpose="Do two instructions ask for the same thing (an evolved one that gained nothing)?",
    source="WizardLM elimination, llama3_qwen2 §5.3",
    template=TEMPLATES / "equality.jinja", record=TwoPrompts, form=EqualForm, build=_equal,
    example=TwoPrompts(first=asked("Name a prime."), second=asked("Name a prime above 100.")),
    example_reply={"why": "The second narrows the choice.", "equal": False},
)  # fmt: skip

PROMPT_QUALITY: Operation[TwoPrompts, Levels] = Operation(
    id="judge/prompt_quality",
    purpose="Two prompts compared for clarity, practicality, complexity and novelty.",
    source="Baichuan B15",
    template=TEMPLATES / "prompt_quality.jinja", record=TwoPrompts, form=SidesForm, build=_sides,
    example=TwoPrompts(first=asked("Plan a week of meals for two on 40 pounds."), second=asked("Food?")),
    example_reply={"why": "A says who, how long and for how much; B asks nothing.", "clarity": "better",
                   "practicality": "better", "complexity": "better", "novelty": "same"},
)  # fmt: skip

COMPARING: tuple[Operation[Any, Any], ...] = (
    PAIRWISE, PAIRWISE_NO_TIE, PRINCIPLE, SAME, EQUALITY, PROMPT_QUALITY,
)  # fmt: skip
