"""A reward of plain rules, without a model and without a gold answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.protocols import Work
from burnish.records import Prompt, Response
from burnish.train.on_policy.rewards.reward import Reward
from burnish.verify.language import is_language
from burnish.verify.repetition import loops


@dataclass(frozen=True, kw_only=True)
class RuleReward:
    """The share of the rules that an answer keeps, 0 to 1 (DeepSeek-V2 §4.2, spec D7).

    The report names a rule-based reward and none of its rules, so all of them are ASSUMED: the answer is not blank and
    ends by itself; it does not end in a loop; it is in the language of its prompt, where that can be told; it holds
    none of the banned strings; it is not too long.

    Args:
        banned: strings that no answer may hold, in whatever case; none leaves the rule out.
        most: characters of the longest answer; 0 leaves the rule out.
    """

    banned: tuple[str, ...] = ()
    most: int = 0
    name: str = "rules"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        return [self._one(prompts[response.prompt], response) for response in responses]

    def _one(self, prompt: Prompt, response: Response) -> Reward:
        text = response.text
        kept = [bool(text.strip()) and response.finish == "stop", not loops(text), _in_language(text, prompt.language)]
        if self.banned:
            kept.append(not any(word.lower() in text.lower() for word in self.banned))
        if self.most:
            kept.append(len(text) <= self.most)
        told = [rule for rule in kept if rule is not None]
        return Reward(value=sum(told) / len(told))


def _in_language(text: str, language: str) -> bool | None:
    """Whether the text is in the language; None where that cannot be told, or the language is not known."""
    try:
        return is_language(text, language) if language else None
    except DataError:
        return None
