"""Online DPO: the best and the worst of the answers that the policy has just given, against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from burnish.losses import response_sums
from burnish.losses.on_policy import SampledTokens, best_and_worst, online_dpo_loss
from burnish.train.batch import Example
from burnish.train.objectives.method import Part
from burnish.train.on_policy.groups import Rewarded
from burnish.train.on_policy.objectives.fresh import Fresh


@dataclass(slots=True, kw_only=True)
class OnlineDpo(Fresh):
    """Online DPO (Qwen2, arXiv:2407.10671 §4.3; spec llama3_qwen2.md §4.12). Unit: the pairs of the batch.

    Of each group only the pair is computed: argmax and argmin of the rewards.

    Args:
        least_spread: of the two rewards; a group below it is left out as flat.
    """

    least_spread: float = 0.0

    def picked(self, one: Rewarded) -> Rewarded:
        values = torch.tensor([[r.value if r.value is not None else 0.0 for r in one.rewards]], dtype=torch.float64)
        known = torch.tensor([[r.value is not None for r in one.rewards]])
        pair = best_and_worst(values, known, least_spread=self.least_spread)
        places = (int(pair.chosen), int(pair.rejected))
        responses = tuple(one.group.responses[place] for place in places)
        drawn = tuple(one.group.drawn[place] for place in places) if one.group.drawn else ()
        rewards = tuple(one.rewards[place] for place in places)
        return Rewarded(group=replace(one.group, responses=responses, drawn=drawn), rewards=rewards)

    def _compare(self, example: Example) -> None:
        spread = torch.tensor(example.values[0] - example.values[1], dtype=torch.float64)
        self.known[example.id] |= {
            "used": torch.ones(2, dtype=torch.bool),
            "advantages": torch.stack([spread, -spread]),
        }

    def units(self, examples: list[Example]) -> int:
        return len(examples)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        assert reference is not None  # beta is above 0
        count, device = tokens.responses_here, tokens.logprobs.device
        plain = torch.zeros_like(tokens.response, dtype=torch.bool)
        sums = response_sums(tokens.logprobs, reference, tokens.response, plain, responses_here=count)
        chosen = torch.arange(0, count, 2, device=device)
        loss, told = online_dpo_loss(sums, chosen, chosen + 1, pairs=units, beta=self.beta)
        return loss, {**told, "spread": advantages[chosen].sum()}

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """With means over pairs: DPO's, and `spread`, the reward of the chosen less that of the rejected."""
        pairs = {name: sums[name] / units for name in ("dpo", "margin", "accuracy", "chosen", "rejected", "spread")}
        return {**Fresh.metrics(self, sums, units), **pairs}
