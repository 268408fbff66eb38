"""Prompts, rewarders and settings of the tests of rounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.records import Prompt, Response
from burnish.train.on_policy import Reward, train_fresh
from tests.train.material import Folders, said

FAST: dict[str, Any] = {"rounds": 3, "prompts": 4, "samples": 3, "max_new_tokens": 6, "lr": 1e-2, "seed": 3}
NEEDED: dict[str, dict[str, Any]] = {"grpo-reward-kl": {"through_kl": True}}
METHODS: dict[str, dict[str, Any]] = {
    "grpo": {"method": "grpo"},
    "grpo, updates": {"method": "grpo", "updates": 3},
    "rloo": {"method": "rloo"},
    "rloo, updates": {"method": "rloo", "updates": 2},
    "mdloo": {"method": "mdloo", "updates": 2},
    "warp": {"method": "warp"},
    "online-dpo": {"method": "online-dpo", "updates": 2},
}


def prompts(count: int = 6) -> list[Prompt]:
    return [Prompt(messages=(said("user", f"{i}?" + "!" * (i % 3)),), source=f"s:{i}") for i in range(count)]


def share(response: Response) -> float:
    """Of an answer's tokens, those in the lower half of the alphabet."""
    return sum(token < 128 for token in response.token_ids) / len(response.token_ids)


def coin(response: Response) -> float:
    """A number that says nothing of the answer."""
    return hashlib.blake2b(repr(response.token_ids).encode(), digest_size=1).digest()[0] / 255


@dataclass
class Recorder:
    """Rewards by a function of the answer; remembers what it was asked, and raises `stop` at the call `at`."""

    worth: Callable[[Response], float | None] = share
    stop: BaseException | None = None
    at: int = 0
    asked: list[list[str]] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    name: str = "share"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Any = None
    ) -> list[Reward]:
        self.asked.append([prompts[r.prompt].source for r in responses if r.index == 0])
        if self.stop is not None and len(self.asked) == self.at:
            raise self.stop
        self.answers += responses
        values = [self.worth(r) for r in responses]
        return [Reward(value=v, why="" if v is not None else "nobody looked") for v in values]


def train(base: Any, work: Folders | None = None, *, rewarder: Any = None, rows: Any = None, **how: Any) -> Any:
    """`train_fresh` in a few seconds."""
    asked = prompts() if rows is None else rows
    return train_fresh(base, asked, rewarder=rewarder or Recorder(), work=work, **{"method": "grpo", **FAST, **how})


def stirred(model: torch.nn.Module, seed: int) -> None:
    """Move every weight a little, so that policy, old policy and reference are three models."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, dtype=torch.float64))


def agree(mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    """Tensors by name, equal to 1e-6 of their norm in float64."""
    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        assert (mine[key] - value).norm() <= 1e-6 * value.norm(), key


def gradients_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def lines_of(work: Folders) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
