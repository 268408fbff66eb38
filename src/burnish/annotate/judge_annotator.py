"""A judge that scores single answers, in the place of an annotator who compares two."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from burnish.errors import WorkerError
from burnish.protocols import Judge, Work
from burnish.records import Judgement, Prompt, Response

Pair = tuple[Prompt, Sequence[Response]]


def quartiles(margins: Sequence[float]) -> tuple[float, float, float]:
    """The three quartiles of the margins (inclusive method); of a single margin, that margin three times."""
    if len(margins) < 2:
        return (margins[0],) * 3 if margins else (0.0, 0.0, 0.0)
    low, middle, high = statistics.quantiles(margins, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAnnotator:
    """The higher score wins, equal scores tie; the strength is the quartile of the margin (ASSUMED).

    The quartiles are those of the batch that `prepared` is given, so that "significantly better" is the clearest
    quarter of the comparisons, whatever the judge's scale. `compare_pairs` prepares by itself.

    Args:
        judge: gives one judgement with a score for each response.
        cuts: the three margins at which the strength rises; set by `prepared`, or by hand.
        scored: response id -> judgement, filled by `prepared` in one call of the judge.
    """

    instant: ClassVar[bool] = True  # the judge keeps its own journal
    judge: Judge
    cuts: tuple[float, float, float] | None = None
    scored: Mapping[str, Judgement] = field(default_factory=dict, repr=False)
    name: str = "judge"  # what judgements are signed with

    def _scores(self, pairs: Sequence[Pair], work: Work | None) -> dict[str, Judgement]:
        prompts = {prompt.id: prompt for prompt, _ in pairs}
        responses = {response.id: response for _, answers in pairs for response in answers}
        found = self.judge.judge(list(prompts.values()), list(responses.values()), work=work)
        scored = {judgement.responses[0]: judgement for judgement in found if len(judgement.responses) == 1}
        missing = next((key for key in responses if key not in scored), None)
        if missing:
            raise WorkerError(f"the judge gave no judgement on response {missing}; it must give one for each response")
        return scored

    def prepared(self, pairs: Sequence[Pair], work: Work | None = None) -> JudgeAnnotator:
        """Score all pairs in one call, and take the quartiles of their margins unless `cuts` are set."""
        scored = self._scores(pairs, work) if pairs else {}
        margins = []
        for _, (first, second) in pairs:
            one, two = scored[first.id].score, scored[second.id].score
            if one is not None and two is not None and one != two:
                margins.append(abs(one - two))
        return JudgeAnnotator(
            judge=self.judge, cuts=self.cuts or quartiles(sorted(margins)), scored=scored, name=self.name
        )

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        if self.cuts is None:
            raise WorkerError(
                "a judge as annotator needs the quartiles of a batch first: call prepared(pairs), or set cuts"
            )
        first, second = responses
        known = first.id in self.scored and second.id in self.scored
        scored = self.scored if known else self._scores([(prompt, responses)], None)
        one, two = scored[first.id], scored[second.id]
        told = {"prompt": prompt.id, "responses": (first.id, second.id), "judge": self.name}
        told["parents"] = (first.id, second.id)
        if one.score is None or two.score is None:
            unscored = next(judgement.unscored or "no score" for judgement in (one, two) if judgement.score is None)
            return Judgement(unscored=unscored, **told)
        margin = one.score - two.score
        told["transcript"] = f"{one.score:.6g} against {two.score:.6g}"
        if margin == 0:
            return Judgement(winner=-1, **told)
        return Judgement(winner=0 if margin > 0 else 1, strength=1 + bisect_right(self.cuts, abs(margin)), **told)
