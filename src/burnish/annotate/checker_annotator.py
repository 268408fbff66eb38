"""A checker that stands in for an annotator: it knows right from wrong, and no shades between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from burnish.protocols import Checker, Verdict
from burnish.records import Judgement, Prompt, Response

# A verified answer against a wrong one is as clear as a comparison can be (ASSUMED: the reports use people here).
RIGHT_BEATS_WRONG = 4
FULL_POINTS = 3.0  # of a right answer on the report's three-point scale (ASSUMED); a wrong one has none


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerAnnotator:
    """Right beats wrong with the greatest strength, equal verdicts are a tie, and it never edits.

    A comparison is unscored when a verdict cannot be told, or when no checker fits the prompt.

    Args:
        checker: asked about prompts that name it, and about those that name none.
        checkers: more of them by name, asked about the prompts that name them (`Prompt.checker`).
        name: what judgements are signed with.
    """

    instant: ClassVar[bool] = True
    checker: Checker | None = None
    checkers: Mapping[str, Checker] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        known = {**self.checkers, **({self.checker.name: self.checker} if self.checker else {})}
        if not known:
            raise ValueError("a checker annotator needs at least one checker")
        object.__setattr__(self, "checkers", known)
        if not self.name:
            object.__setattr__(self, "name", self.checker.name if self.checker else "checkers")

    def verdict(self, prompt: Prompt, response: Response) -> Verdict:
        """What the prompt's checker says of one response."""
        name = prompt.checker or (self.checker.name if self.checker else "")
        if name not in self.checkers:
            known = ", ".join(sorted(self.checkers))
            return Verdict(correct=None, reason=f"no checker {name!r} at hand (there is: {known})")
        return self.checkers[name].check(prompt, response)

    def quality(self, prompt: Prompt, response: Response) -> float | None:
        """Points for pruning: all or none; None where there is no verdict."""
        correct = self.verdict(prompt, response).correct
        return None if correct is None else FULL_POINTS * correct

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        first, second = responses
        verdicts = [self.verdict(prompt, first), self.verdict(prompt, second)]
        told = {
            "prompt": prompt.id,
            "responses": (first.id, second.id),
            "judge": self.name,
            "transcript": "\n".join(verdict.reason for verdict in verdicts),
            "parents": (first.id, second.id),
        }
        missing = [verdict.reason or "no verdict" for verdict in verdicts if verdict.correct is None]
        if missing:
            return Judgement(unscored=missing[0], **told)
        if verdicts[0].correct == verdicts[1].correct:
            return Judgement(winner=-1, **told)
        return Judgement(winner=0 if verdicts[0].correct else 1, strength=RIGHT_BEATS_WRONG, **told)
