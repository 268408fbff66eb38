"""Do two answers go the same way and end at the same result (Baichuan B22, mode 2)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from burnish.judge.asking import Asking, How, prompts_of
from burnish.judge.operations import SAME
from burnish.judge.operations.records import Comparison, Same
from burnish.judge.pairwise import INCONSISTENT, Pair
from burnish.judge.pointwise import NO_REFERENCE, gold_text
from burnish.llm.operations import Answered
from burnish.llm.requests import Asker
from burnish.protocols import Work
from burnish.records import Judgement, Message, Prompt, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class SameOrDifferent(Asking):
    """1 where two answers are the same, 0 where they differ. Asks in both orders: a verdict must be symmetric.

    Args:
        asker: who is asked.
        method: the method must be the same, too; without it the result alone counts.
    """

    asker: Asker
    method: bool = True
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"same or different: {self.asker.identity}"

    def compare(self, pairs: Sequence[Pair], *, work: Work | None = None) -> list[Judgement]:
        """A judgement for each pair, with a score of 1 or 0 and no winner."""
        ordered = [(prompt, sorted(responses, key=lambda response: response.id)) for prompt, responses in pairs]
        records = [
            Comparison(prompt=prompt, first=first, second=second)
            for prompt, (one, two) in ordered
            for first, second in ((one, two), (two, one))
        ]
        answers = iter(self.how.ask(SAME, records, self.asker, work))
        return [self._joined(prompt, responses, (next(answers), next(answers))) for prompt, responses in pairs]

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        """Each response against its prompt's golden answer, taken as a response; without one, unscored."""
        asked = list(zip(prompts_of(prompts, responses), responses, strict=True))
        golden = [
            Response(prompt=prompt.id, messages=(Message(role="assistant", content=gold_text(prompt)),), model="golden")
            for prompt, _ in asked
        ]
        able = [number for number, (prompt, _) in enumerate(asked) if gold_text(prompt)]
        found = self.compare([(asked[n][0], (asked[n][1], golden[n])) for n in able], work=work)
        scored = dict(zip(able, found, strict=True))
        rows = []
        for number, (prompt, response) in enumerate(asked):
            ids = (response.id,)
            row = scored.get(number)
            if row is None:
                rows.append(
                    Judgement(prompt=prompt.id, responses=ids, judge=self.name, unscored=NO_REFERENCE, parents=ids)
                )
            else:
                rows.append(replace(row, responses=ids, parents=ids, id=""))
        return rows

    def _joined(self, prompt: Prompt, responses: Sequence[Response], answers: tuple[Answered[Same], ...]) -> Judgement:
        ids = tuple(response.id for response in responses)
        lost = next((got.unscored for got in answers if got.record is None), "")
        flags = {self._same(got.record) for got in answers if got.record is not None}
        if not lost and len(flags) > 1:
            lost = f"{INCONSISTENT}: the same in one order, different in the other"
        return Judgement(
            prompt=prompt.id, responses=ids, judge=self.name, parents=ids, unscored=lost,
            score=None if lost else float(flags.pop()), transcript="\n".join(got.transcript for got in answers),
        )  # fmt: skip

    def _same(self, result: Same) -> bool:
        return result.result and (result.method or not self.method)


def autorater_mode(prompt: Prompt) -> str:
    """Which of AutoRater's three modes fits a prompt: `golden` with a reference; without one `same` for mathematics,
    code and reasoning, and `absolute` for the rest (B22; the names of the abilities are ASSUMED).
    """
    if prompt.reference:
        return "golden"
    exact = ("math", "arithmetic", "reason", "code", "logic")
    return "same" if any(word in prompt.ability.casefold() for word in exact) else "absolute"
