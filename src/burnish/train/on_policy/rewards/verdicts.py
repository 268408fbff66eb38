"""Rewards by a verdict on each answer: of a checker, of a judge, of a reward model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.llm.requests import Endpoint
from burnish.protocols import Checker, Judge, Work
from burnish.records import Prompt, Response
from burnish.train.on_policy.rewards.limits import ALL_LATE, MOST_LATE, SECONDS, held
from burnish.train.on_policy.rewards.reward import Reward, missing


@dataclass(frozen=True, kw_only=True)
class CheckerReward:
    """1 for an answer that its checker finds right, 0 for a wrong one; missing where it cannot tell.

    Args:
        checkers: by name; each prompt names its own.
        default: the name for prompts that name none.
        seconds: for one answer. A checker that is late several times in a row (`limits.MOST_LATE`, `limits.ALL_LATE`)
            is not asked again, of this prompt or in this call.
    """

    checkers: Mapping[str, Checker]
    default: str = ""
    name: str = "checker"
    seconds: float = field(default=SECONDS, metadata={"runtime": True})

    def within(self, seconds: float) -> CheckerReward:
        return replace(self, seconds=seconds)

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        late: Counter[Any] = Counter()
        return [self._one(prompts[response.prompt], response, late) for response in responses]

    def _one(self, prompt: Prompt, response: Response, late: Counter[Any]) -> Reward:
        name = prompt.checker or self.default
        if name not in self.checkers:
            return Reward(value=None, why=f"there is no checker {name!r}" if name else "the prompt names no checker")
        of_prompt = (name, prompt.id)
        if late[of_prompt] >= MOST_LATE or late[name] >= ALL_LATE:
            return Reward(value=None, why=f"{name} was late too often in a row and was not asked")
        verdict, why = held(lambda: self.checkers[name].check(prompt, response), self.seconds)
        for counted in (name, of_prompt):
            late[counted] = late[counted] + 1 if why.startswith("took") else 0
        if why:
            return Reward(value=None, why=f"{name} {why}")
        if verdict.correct is None:
            return Reward(value=None, why=verdict.reason or "unscored")
        return Reward(value=float(verdict.correct))


@dataclass(frozen=True, kw_only=True)
class JudgeReward:
    """The score of a judge or of a reward model; missing where it is unscored.

    Args:
        seconds: for all answers of a call. A judge at a server has it for each try of a question instead, and what
            comes in time counts.
    """

    judge: Judge
    name: str = "judge"
    seconds: float = field(default=SECONDS, metadata={"runtime": True})

    def within(self, seconds: float) -> JudgeReward:
        judge: Any = self.judge
        asker = getattr(judge, "asker", None)
        if isinstance(asker, Endpoint):
            limits = replace(asker.limits, total=seconds, silence=min(asker.limits.silence, seconds))
            judge = replace(judge, asker=replace(asker, limits=limits))
        return replace(self, judge=judge, seconds=seconds)

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        def judged() -> list[Reward]:
            found = self.judge.judge(list(prompts.values()), responses, work=work)
            return [Reward(value=one.score, why=one.unscored if one.score is None else "") for one in found]

        if isinstance(getattr(self.judge, "asker", None), Endpoint):
            return judged()  # each question has its own limit, and Ctrl-C ends the asking
        given, why = held(judged, self.seconds)
        return missing(f"{self.name} {why}", len(responses)) if why else given
