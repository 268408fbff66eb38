"""What judging operations take, and what they give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from burnish.errors import SettingsError
from burnish.llm.operations import Checked
from burnish.records import Attribute, Message, Prompt, Response


def asked(text: str, *, system: str = "", reference: str = "") -> Prompt:
    """A prompt of one user message, for examples and tests."""
    first = (Message(role="system", content=system),) if system else ()
    return Prompt(messages=(*first, Message(role="user", content=text)), reference=reference)


def said(prompt: Prompt, text: str, index: int = 0) -> Response:
    """An answer of one message to it."""
    return Response(
        prompt=prompt.id, messages=(Message(role="assistant", content=text),), index=index, parents=(prompt.id,)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Checked):
    """Two answers in the order in which they are shown.

    Args:
        prompt: the dialogue that both answer.
        first: the answer shown first, as A.
        second: the answer shown second, as B.
    """

    prompt: Prompt
    first: Response
    second: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipleComparison(Checked):
    """Two answers in the order shown, and the one principle to compare them by.

    Args:
        prompt: the dialogue that both answer.
        first: the answer shown first, as A.
        second: the answer shown second, as B.
        principle: what counts, in words.
    """

    prompt: Prompt
    first: Response
    second: Response
    principle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPrompts(Checked):
    """Two prompts in the order shown.

    Args:
        first: the prompt shown first.
        second: the prompt shown second.
    """

    first: Prompt
    second: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAnswer(Checked):
    """A dialogue and an answer to it.

    Args:
        prompt: the dialogue.
        response: the answer.
    """

    prompt: Prompt
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencedAnswer(Checked):
    """An answer, and what is known to be right.

    Args:
        prompt: the dialogue.
        response: the answer.
        reference: a gold answer, a solution or a passage, in words; shown to the judge.
    """

    prompt: Prompt
    response: Response
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer(Checked):
    """An answer that people have scored, to show the scale by.

    Args:
        text: the answer.
        score: what people gave it, on the operation's scale.
    """

    text: str
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampledAnswer(Checked):
    """An answer to a question on a long document, a reference, and scored answers in the order shown.

    Args:
        prompt: the question; the document is not shown.
        response: the answer.
        reference: the gold answer, in words.
        examples: answers with their scores, in the order shown.
    """

    prompt: Prompt
    response: Response
    reference: str
    examples: tuple[ScoredAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePrompt(Checked):
    """A prompt without an answer.

    Args:
        prompt: the prompt.
    """

    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedPrompt(Checked):
    """A prompt, and one tag that may or may not describe it.

    Args:
        prompt: the prompt.
        tag: the tag, a word or a few.
    """

    prompt: Prompt
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints(Checked):
    """Demands on an answer.

    Args:
        constraints: one demand each, numbered from 1 when they are shown.
    """

    constraints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstrainedAnswer(Checked):
    """An answer, and one demand on it.

    Args:
        prompt: the dialogue.
        response: the answer.
        constraint: the demand, in words.
    """

    prompt: Prompt
    response: Response
    constraint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPrograms(Checked):
    """A program, and one written again from a description of it alone.

    Args:
        original: source text of the first.
        rebuilt: source text of the second.
    """

    original: str
    rebuilt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One side of an answer, and what each score for it means.

    Args:
        name: a short name; it becomes a field of the reply.
        question: what is asked.
        levels: score -> meaning, from the lowest to the highest without a gap.
        weight: its part in the mean over criteria.
    """

    name: str
    question: str
    levels: tuple[tuple[int, str], ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        scores = [score for score, _ in self.levels]
        if len(scores) < 2 or scores != list(range(scores[0], scores[0] + len(scores))):
            raise SettingsError(f"criterion {self.name!r} has the scores {scores}; they must go up by one, two or more")
        if not self.weight > 0:
            raise SettingsError(f"criterion {self.name!r} has the weight {self.weight}; it must be above 0")

    @property
    def field(self) -> str:
        """The name as a field of a reply: letters, digits and underscores."""
        return "score_" + re.sub(r"\W+", "_", self.name.casefold(), flags=re.A).strip("_")

    @property
    def low(self) -> int:
        return self.levels[0][0]

    @property
    def high(self) -> int:
        return self.levels[-1][0]


@dataclass(frozen=True, kw_only=True)
class RubricText:
    """Criteria with their scales, as data.

    Args:
        name: for the judge's name and errors.
        criteria: one or more; each becomes a field of the reply.

    Raises:
        SettingsError: there is none, or two have the same name.
    """

    name: str
    criteria: tuple[Criterion, ...]

    def __post_init__(self) -> None:
        if not self.criteria:
            raise SettingsError(f"rubric {self.name!r} has no criterion")
        if len(set(self.fields)) != len(self.criteria):
            raise SettingsError(f"two criteria of rubric {self.name!r} have the same name")

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The reply's field of each criterion."""
        return tuple(criterion.field for criterion in self.criteria)


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricAnswer(Checked):
    """An answer, the rubric to score it by, and a reference if there is one.

    Args:
        prompt: the dialogue.
        response: the answer.
        rubric: the criteria with their scales.
        reference: the gold answer, in words; empty shows none.
    """

    prompt: Prompt
    response: Response
    rubric: RubricText
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferred:
    """Which of two was preferred.

    Args:
        winner: 0 the first shown, 1 the second, -1 neither.
        strength: 1 marginally better to 4 significantly better; None for neither, and where it was not asked.
        why: the judge's reasons.
    """

    winner: int
    strength: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """A score, and the points it is made of.

    Args:
        score: on the operation's scale.
        points: the parts of the score by name, where it has such.
        why: the judge's reasons.
    """

    score: float
    points: tuple[Attribute, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Yes or no.

    Args:
        yes: True for yes.
        why: the judge's reasons.
    """

    yes: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Same:
    """Whether two answers go the same way, and end at the same result.

    Args:
        method: True when the methods are the same.
        result: True when the results are.
        why: the judge's reasons.
    """

    method: bool
    result: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """The first of two against the second, side by side.

    Args:
        levels: name of the side, and 1 better, 0.5 the same, 0 worse.
        why: the judge's reasons.
    """

    levels: tuple[Attribute, ...]
    why: str = ""
