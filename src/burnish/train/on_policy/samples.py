"""Some answers of some rounds, for people to read: the best, the worst, and those without a reward.

They lie in `samples.jsonl` beside `metrics.jsonl`, a JSON object an answer, and no bit of the training depends on them.
Each round writes a file of its own into the step's scratch folder; the artifact gets them end to end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from burnish.records import Message, Response
from burnish.train.on_policy.groups import Rewarded
from burnish.train.on_policy.rewards import Reward

NAME = "samples.jsonl"
EACH = 4  # of the best, of the worst, and of those without a reward
ROUNDS = 40  # that are told of, evenly spaced, and the last
LONGEST = 2000  # characters of one text


class Samples:
    """The samples of a training under way.

    Args:
        scratch: None keeps none.
        rounds: of the whole training, which decides which of them are told of.
    """

    def __init__(self, scratch: Path | None, *, rounds: int) -> None:
        self.folder = scratch / "samples" if scratch is not None else None
        self.rounds, self.every = rounds, -(-rounds // ROUNDS)

    def write(self, number: int, rewarded: Sequence[Rewarded]) -> None:
        """Those of round `number`, 0 the first; written over when the round is played again."""
        if self.folder is None or (number % self.every and number + 1 != self.rounds):
            return
        self.folder.mkdir(exist_ok=True)
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in picked(rewarded, number + 1)]
        (self.folder / f"{number:07d}.jsonl").write_text("".join(lines), encoding="utf-8", errors="replace")

    def publish(self, folder: Path) -> None:
        """Leave all of them in the artifact."""
        if self.folder is not None and self.folder.exists():
            texts = [path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.jsonl"))]
            (folder / NAME).write_text("".join(texts), encoding="utf-8")


def picked(rewarded: Sequence[Rewarded], number: int) -> list[dict[str, Any]]:
    """The best `EACH` answers of a round, the worst of the others, and one without a reward for each reason first."""
    answers = [
        (one, response, reward)
        for one in rewarded
        for response, reward in zip(one.group.responses, one.rewards, strict=True)
    ]
    there = sorted((a for a in answers if a[2].value is not None), key=lambda a: -a[2].value)  # type: ignore[operator]
    best, rest = there[:EACH], there[EACH:]
    worst = rest[::-1][:EACH]
    by_reason: dict[str, list[Any]] = {}
    for answer in answers:
        if answer[2].value is None:
            by_reason.setdefault(answer[2].why, []).append(answer)
    turns = [turn for group in by_reason.values() for turn in enumerate(group)]
    missing = [answer for _, answer in sorted(turns, key=lambda turn: turn[0])][:EACH]
    named = (("best", best), ("worst", worst), ("missing", missing))
    return [_row(number, name, *answer) for name, some in named for answer in some]


def _row(number: int, pick: str, one: Rewarded, response: Response, reward: Reward) -> dict[str, Any]:
    prompt = one.group.prompt
    return {
        "round": number,
        "pick": pick,
        "prompt": prompt.id,
        "source": prompt.source,
        "ability": prompt.ability,
        "route": prompt.route,
        "messages": _messages(prompt.messages),
        "reference": _cut(prompt.reference),
        "index": response.index,
        "answer": _messages(response.messages),
        "tokens": len(response.logprobs),
        "finish": response.finish,
        "reward": reward.value,
        "why": reward.why,
        "parts": dict(reward.parts),
        "left_out": one.left_out(),
    }


def _messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": _cut(message.content)} for message in messages]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... (cut; {len(text) - LONGEST} more characters)"
