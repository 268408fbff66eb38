"""One answer, and points for it."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import Field, create_model

from burnish.judge.operations.comparing import TEMPLATES, WHY
from burnish.judge.operations.records import (
    Criterion,
    ExampledAnswer,
    Graded,
    OneAnswer,
    OnePrompt,
    ReferencedAnswer,
    RubricAnswer,
    RubricText,
    ScoredAnswer,
    asked,
    said,
)
from burnish.llm.operations import Form, Operation, Truth, Words, one_of, whole
from burnish.records import Attribute

_SUM = asked("What is 7 + 8? Show the steps.")
_RIGHT = said(_SUM, "7 + 8 = 15.")
_CODE = asked("Write a Python function that doubles a number.")
_CODED = said(_CODE, "def double(x):\n    return 2 * x")
# Critique bands (GLM-4, spec G6): score range of each.
BANDS = {
    "all wrong": (1, 2),
    "method partly right, result wrong": (3, 5),
    "result right, method partly flawed": (6, 8),
    "fully right": (9, 10),
}


class QualityForm(Form):
    why: Words = Field(description=WHY)
    accuracy: Truth = Field(description="Is everything it states true?")
    instruction: Truth = Field(description="Does it do what was asked, all of it?")
    presentation: Truth = Field(description="Are tone, form and length right for the request?")


class CodeQualityForm(Form):
    why: Words = Field(description=WHY)
    no_bugs: Truth = Field(description="Is the code free of bugs, as far as you can find?")
    intention: Truth = Field(description="Does it do what the user wants to reach?")


class CodeStyleForm(Form):
    why: Words = Field(description=WHY)
    correct: Truth = Field(description="Would the code do the right thing when run?")
    style: Truth = Field(description="Is it readable, well named and idiomatic?")


class TenForm(Form):
    why: Words = Field(description=WHY)
    score: whole(1, 10) = Field(description="1 is useless, 10 cannot be bettered.")


class RelevanceForm(Form):
    why: Words = Field(description="One sentence.")
    score: whole(0, 10) = Field(description="0 does not speak to the request, 10 answers it fully.")


class CritiqueForm(Form):
    why: Words = Field(description="The critique: go through the steps, name the first error, compare the results.")
    band: one_of(*BANDS) = Field(description="Which of the four cases it is.")
    score: whole(1, 10) = Field(
        description="Inside its band: 1 to 2 all wrong, 3 to 5 method partly right, 6 to 8 result right, 9 to 10 fully."
    )


class DifficultyForm(Form):
    why: Words = Field(description="One sentence.")
    difficulty: whole(1, 3) = Field(description="1 easy, 2 medium, 3 hard.")


class ComplexityForm(Form):
    why: Words = Field(description="One sentence.")
    complexity: whole(1, 5) = Field(description="1 a single plain demand, 5 many that depend on each other.")


def points(*names: str) -> Any:
    """A build function that adds up yes-or-no points."""

    def build(record: Any, form: Any) -> Graded:
        found = tuple(Attribute(name=name, value=float(getattr(form, name))) for name in names)
        return Graded(score=sum(point.value for point in found), points=found, why=form.why)

    return build


def single(name: str) -> Any:
    """A build function that takes one number as the score."""

    def build(record: Any, form: Any) -> Graded:
        return Graded(score=float(getattr(form, name)), why=form.why)

    return build


def _critique(record: ReferencedAnswer, form: CritiqueForm) -> Graded:
    low, high = BANDS[form.band]
    if not low <= form.score <= high:
        raise ValueError(f"the score {form.score} lies outside the band {form.band!r}, which is {low} to {high}")
    return Graded(score=float(form.score), points=(Attribute(name=form.band, value=1.0),), why=form.why)


@cache
def _rubric_form(rubric: RubricText) -> type[Form]:
    fields: dict[str, Any] = {
        criterion.field: (whole(criterion.low, criterion.high), Field(description=criterion.question))
        for criterion in rubric.criteria
    }
    return create_model("RubricForm", __base__=Form, why=(Words, Field(description=WHY)), **fields)


def _by_rubric(record: RubricAnswer, form: Any) -> Graded:
    rubric = record.rubric
    found = [float(getattr(form, name)) for name in rubric.fields]
    weights = [criterion.weight for criterion in rubric.criteria]
    score = sum(w * value for w, value in zip(weights, found, strict=True)) / sum(weights)
    named = tuple(Attribute(name=c.name, value=v) for c, v in zip(rubric.criteria, found, strict=True))
    return Graded(score=score, points=named, why=form.why)


QUALITY: Operation[OneAnswer, Graded] = Operation(
    id="judge/quality",
    purpose="Three points for an answer: accuracy, instruction following, presentation.",
    source="Llama 3 §3.10, general English",
    template=TEMPLATES / "quality.jinja", record=OneAnswer, form=QualityForm,
    build=points("accuracy", "instruction", "presentation"), example=OneAnswer(prompt=_SUM, response=_RIGHT),
    example_reply={"why": "The sum is right and shown.", "accuracy": True, "instruction": True, "presentation": True},
)  # fmt: skip

CODE_QUALITY: Operation[OneAnswer, Graded] = Operation(
    id="judge/code_quality",
    purpose="Two points for an answer with code: no bugs, the user's intention met.",
    source="Llama 3 §3.10, code",
    template=TEMPLATES / "code_quality.jinja", record=OneAnswer, form=CodeQualityForm,
    build=points("no_bugs", "intention"), example=OneAnswer(prompt=_CODE, response=_CODED),
    example_reply={"why": "It doubles any number.", "no_bugs": True, "intention": True},
)  # fmt: skip

CODE_STYLE: Operation[OneAnswer, Graded] = Operation(
    id="judge/code_style",
    purpose="Two points for code: correctness and style.",
    source="Llama 3 §3.11, the filter of rejection-sampled code",
    template=TEMPLATES / "code_style.jinja", record=OneAnswer, form=CodeStyleForm,
    build=points("correct", "style"), example=OneAnswer(prompt=_CODE, response=_CODED),
    example_reply={"why": "Right; but the argument could be named better.", "correct": True, "style": False},
)  # fmt: skip

ABSOLUTE: Operation[OneAnswer, Graded] = Operation(
    id="judge/absolute",
    purpose="An answer to an open task, 1 to 10.",
    source="Baichuan B22, mode 1",
    template=TEMPLATES / "absolute.jinja", record=OneAnswer, form=TenForm, build=single("score"),
    example=OneAnswer(prompt=_SUM, response=_RIGHT), example_reply={"why": "Right and shown.", "score": 9},
)  # fmt: skip

GOLDEN: Operation[ReferencedAnswer, Graded] = Operation(
    id="judge/golden",
    purpose="An answer against a golden one, 1 to 10.",
    source="Baichuan B22, mode 3",
    template=TEMPLATES / "golden.jinja", record=ReferencedAnswer, form=TenForm, build=single("score"),
    example=ReferencedAnswer(prompt=_SUM, response=_RIGHT, reference="15"),
    example_reply={"why": "The results agree.", "score": 10}, shows_reference=True,
)  # fmt: skip

CRITIQUE: Operation[ReferencedAnswer, Graded] = Operation(
    id="judge/critique",
    purpose="A critique of a solution, its band (of four), and a score inside the band, 1 to 10.",
    source="GLM-4 G6",
    template=TEMPLATES / "critique.jinja", record=ReferencedAnswer, form=CritiqueForm, build=_critique,
    example=ReferencedAnswer(prompt=_SUM, response=said(_SUM, "7 + 8: 7 + 3 = 10, and 6 more is 16."), reference="15"),
    example_reply={"why": "Going over ten is a sound way, but 5 are left and not 6.",
                   "band": "method partly right, result wrong", "score": 4}, shows_reference=True,
)  # fmt: skip

LONG_CONTEXT: Operation[ExampledAnswer, Graded] = Operation(
    id="judge/long_context",
    purpose="An answer about a long document, which the judge does not see, 1 to 10, by reference and scored examples.",
    source="GLM-4 G5 (LongBench-Chat)",
    template=TEMPLATES / "long_context.jinja", record=ExampledAnswer, form=TenForm, build=single("score"),
    example=ExampledAnswer(
        prompt=asked("In which year does the report say sales fell?"),
        response=said(_SUM, "In 2009."), reference="2009, by a tenth.",
        examples=(ScoredAnswer(text="In 2011.", score=1), ScoredAnswer(text="In 2009, by a tenth.", score=10)),
    ),
    example_reply={"why": "The year is right; the size of the fall is missing.", "score": 7}, shows_reference=True,
)  # fmt: skip

RUBRIC: Operation[RubricAnswer, Graded] = Operation(
    id="judge/rubric",
    purpose="An answer scored criterion by criterion, each on its own scale; the score is their weighted mean.",
    source="rubrics as data, after BiGGen-Bench and Prometheus",
    template=TEMPLATES / "rubric.jinja", record=RubricAnswer, form=lambda record: _rubric_form(record.rubric),
    build=_by_rubric, shows_reference=True,
    example=RubricAnswer(prompt=_SUM, response=_RIGHT, rubric=RubricText(name="sums", criteria=(
        Criterion(name="result", question="Is the result right?", levels=((0, "It is not."), (1, "It is."))),
        Criterion(name="steps", question="Are the steps shown?",
                  levels=((1, "None is."), (2, "Some are."), (3, "All are."))),
    ))),
    example_reply={"why": "Right, and the only step is there.", "score_result": 1, "score_steps": 3},
)  # fmt: skip

RELEVANCE: Operation[OneAnswer, Graded] = Operation(
    id="judge/relevance",
    purpose="How far an answer speaks to the request, 0 to 10, whatever its quality.",
    source="AutoIF, llama3_qwen2 §5.4",
    template=TEMPLATES / "relevance.jinja", record=OneAnswer, form=RelevanceForm, build=single("score"),
    example=OneAnswer(prompt=_SUM, response=_RIGHT), example_reply={"why": "It adds the two numbers.", "score": 10},
)  # fmt: skip

DIFFICULTY: Operation[OneAnswer, Graded] = Operation(
    id="judge/difficulty",
    purpose="How hard a dialogue is, 1 to 3.",
    source="Llama 3 §3.10",
    template=TEMPLATES / "difficulty.jinja", record=OneAnswer, form=DifficultyForm, build=single("difficulty"),
    example=OneAnswer(prompt=_SUM, response=_RIGHT), example_reply={"why": "A single sum.", "difficulty": 1},
)  # fmt: skip

COMPLEXITY: Operation[OnePrompt, Graded] = Operation(
    id="judge/complexity",
    purpose="How much a prompt demands, 1 to 5.",
    source="Nemotron-4 A.1",
    template=TEMPLATES / "complexity.jinja", record=OnePrompt, form=ComplexityForm, build=single("complexity"),
    example=OnePrompt(prompt=_SUM), example_reply={"why": "One plain demand.", "complexity": 1},
)  # fmt: skip

GRADING: tuple[Operation[Any, Any], ...] = (
    QUALITY, CODE_QUALITY, CODE_STYLE, ABSOLUTE, GOLDEN, CRITIQUE, LONG_CONTEXT, RUBRIC, RELEVANCE, DIFFICULTY,
    COMPLEXITY,
)  # fmt: skip
