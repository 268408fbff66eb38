"""A method on fresh answers, as the loop sees it: what a round measures before its updates, and a pack's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.errors import ModelError
from burnish.losses.on_policy import SampledTokens, penalised, sequence_kl
from burnish.models import build_pack, load_causal, token_logprobs
from burnish.records import Prompt, Weights
from burnish.train.batch import Example, trained_each
from burnish.train.objectives.method import Method, Part, Place, selection, trained_logprobs
from burnish.train.on_policy.groups import Rewarded
from burnish.train.on_policy.objectives.reference import Adapting, Following, MovingReference
from burnish.train.optim import Optimiser
from burnish.train.ranks import ranks
from burnish.train.session import own_memory

BETA = "adapted/beta"  # what it is called in a checkpoint
# Upper ends of the bins that differences between sampler and trainer are counted in, nats; the first holds exact zeros.
GAP_BINS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
GAP_NAMES = tuple(f"gap_{place}" for place in range(len(GAP_BINS) + 1))


def gap_counts(gap: Tensor) -> dict[str, Tensor]:
    """How many of the differences [N], each 0 or more, lie in each bin, under `GAP_NAMES`; the last is all above."""
    bins = torch.tensor(GAP_BINS, dtype=gap.dtype, device=gap.device)
    counts = torch.bincount(torch.bucketize(gap, bins), minlength=len(GAP_NAMES))
    return dict(zip(GAP_NAMES, counts.double().unbind(), strict=True))


@dataclass(slots=True, kw_only=True)
class Fresh(Method):
    """What all of them share: the reference, the policy at the start of the round, advantages of its answers.

    Args:
        beta: of the divergence from the reference; 0 needs no reference.
        reference: the starting policy unless given (ASSUMED).
        following: how the reference follows the policy.
        adapting: how beta is adapted; None keeps it.
        known: of the round's groups, by id: `old`, `reference` and `sampler` [N] log-probabilities of the drawn tokens,
            `advantages` [K], `used` [K] bool.
    """

    beta: float = 0.0
    reference: Weights | None = None
    following: Following = field(default_factory=Following)
    adapting: Adapting | None = None
    known: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    frozen: nn.Module | None = None
    moving: MovingReference | None = None
    divergence: tuple[float, int] = (0.0, 0)  # of the last batch: nats of an answer, and how many there are

    penalises = False  # the divergence from the reference is in the reward
    rewarded = True  # answers are compared by what they are worth
    by_steps = False  # rewards of reasoning steps are compared, and not those of answers
    least_spread = 0.0  # between the best and the worst answer of a group; below it there is nothing to learn

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Load the reference beside the policy, where the method looks at it."""
        weights = self.reference or place.base
        if self.beta and self.frozen is None:
            self.frozen = load_causal(weights, dtype=place.dtype, device=place.device).requires_grad_(False)
            own_memory(self.frozen)  # as the policy's, so that equal weights have equal roundings
        if self.frozen is not None and self.following.moves:
            self.moving = MovingReference(self.frozen, self.following)

    def opened(self, chat: Chat, *, most: int, refuse_above: float) -> list[str]:
        """Read the rows that the method has beside the prompts; what a person should know of them."""
        return []

    def unfit(self, prompt: Prompt, chat: Chat, *, most: int) -> str:
        """Why what the method has to a prompt cannot be used; empty when it can.

        Raises:
            ChatError: the chat format cannot carry it.
        """
        return ""

    def picked(self, one: Rewarded) -> Rewarded:
        """The answers of a group that are learned from."""
        return one

    def noted(self, example: Example, one: Rewarded, chat: Chat) -> None:
        """Keep what the method reads of a group besides its `Example`, before it is measured."""

    def joined(self, batches: Sequence[list[Example]], number: int) -> list[list[Example]]:
        """The batches of round `number`, with the rows that the method adds to each."""
        return list(batches)

    def explored(
        self,
        model: nn.Module,
        batches: Sequence[Sequence[Example]],
        sampled: Mapping[str, Tensor],
        place: Place,
        *,
        number: int = 0,
    ) -> None:
        """Measure the answers of a round before its first update.

        Args:
            batches: of the updates to come. The policy is measured in the packs that it is updated in, so that the
                ratios of the first one are 1 and not almost 1.
            sampled: the sampler's log-probabilities by example; of an example that is not in it, they are measured here
                (the same engine).
            number: of the round.
        """
        every = self.following.every
        if self.moving is not None and every and number and number % every == 0:
            self.moving.reset(model)
        self.known = {e.id: {"sampler": sampled[e.id]} if e.id in sampled else {} for b in batches for e in b}
        for batch in batches:
            own = [e for e in batch if e.id not in sampled]
            if own or len(batches) > 1 or (self.penalises and self.beta):
                self._measure("old", model, batch, place)
            for example in own:
                self.known[example.id]["sampler"] = self.known[example.id]["old"]
            if self.frozen is not None:
                self._measure("reference", self.frozen, batch, place)
            for example in batch:
                self._compare(example)

    def _measure(self, name: str, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        together, pieces = ranks(), {}
        with torch.no_grad():
            for part, weight in together.packs(examples, budget=place.pack_tokens):
                found = token_logprobs(model, build_pack([e.row for e in part]), select=selection(part)).cpu()
                if weight:
                    each = found.split([e.trained_tokens for e in part])
                    pieces |= {e.id: piece for e, piece in zip(part, each, strict=True)}
        for number, piece in together.union(pieces).items():
            self.known[number][name] = piece

    def _compare(self, example: Example) -> None:
        """Advantages of one group."""
        known, rewards = self.known[example.id], torch.tensor([example.values], dtype=torch.float64)
        there = ~rewards.isnan()
        if self.penalises and self.beta:
            owner = torch.arange(len(example.row.responses)).repeat_interleave(torch.tensor(trained_each(example)))
            divergence = sequence_kl(known["old"], known["reference"], owner, responses_here=len(example.row.responses))
            rewards = penalised(rewards, divergence[None], beta=self.beta)
        found = self.advantages(torch.where(there, rewards, 0.0), there)
        known["advantages"], known["used"] = found.values[0], found.used[0]

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        """[1, K] rewards and which of them are there, as `Advantages`."""
        raise NotImplementedError

    def units(self, examples: Sequence[Example]) -> int:
        """The answers of the batch that have a reward."""
        return max(1, sum(int(self.known[e.id]["used"].sum()) for e in examples))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        logprobs, owner = trained_logprobs(model, examples)
        tokens = self._sampled(logprobs, owner, examples)
        reference = self._joined("reference", examples, logprobs.detach()) if self.frozen is not None else None
        loss, sums = self.loss(tokens, self._advantages(examples, owner.device), reference, units)
        told = {**sums, **self._told(tokens, reference, examples)}
        return loss, {name: value.double() for name, value in told.items()}

    def _sampled(self, logprobs: Tensor, owner: Tensor, examples: Sequence[Example]) -> SampledTokens:
        """The drawn tokens of a pack."""
        return SampledTokens(
            logprobs=logprobs,
            old=self._joined("old", examples, logprobs.detach()),
            response=owner,
            responses_here=sum(len(e.row.responses) for e in examples),
            used=torch.cat([self.known[e.id]["used"] for e in examples]).to(owner.device),
        )

    def _advantages(self, examples: Sequence[Example], device: torch.device) -> Tensor:
        return torch.cat([self.known[e.id]["advantages"] for e in examples]).to(device)

    def _told(self, tokens: SampledTokens, reference: Tensor | None, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Sums that every method tells."""
        here = tokens.logprobs.detach().double()
        # At the weights that drew them: what later updates of a round have changed is no disagreement.
        gap = (tokens.old.double() - self._joined("sampler", examples, here)).abs()
        told = {"sampler_gap": gap.sum(), "tokens_here": gap.new_tensor(float(gap.numel())), "logprob": here.sum()}
        told |= gap_counts(gap)
        if reference is not None:
            each = here - reference.double()
            told["reference_gap"] = each.sum()
            if self.adapting is not None:
                used = tokens.used_responses()
                told["answer_gap"] = torch.where(used, tokens.by_response(each), 0.0).sum()
                told["answers_here"] = used.double().sum()
        return told

    def _joined(self, name: str, examples: Sequence[Example], otherwise: Tensor) -> Tensor:
        pieces = [self.known[e.id].get(name) for e in examples]
        if any(piece is None for piece in pieces):
            return otherwise
        return torch.cat(pieces).to(otherwise)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        """The loss of a pack and its sums."""
        raise NotImplementedError

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, Any]:
        """Means: of the loss's terms over answers, of divergences over tokens; and the histogram of `gap_counts`."""
        tokens = max(1.0, sums["tokens_here"])
        counts = [round(sums[name]) for name in GAP_NAMES]
        told: dict[str, Any] = {"sampler_gap_bins": list(GAP_BINS), "sampler_gap_counts": counts}
        told |= {"sampler_gap": sums["sampler_gap"] / tokens, "entropy": -sums["logprob"] / tokens}
        if "reference_gap" in sums:
            told["reference_kl"] = sums["reference_gap"] / tokens
        if "answer_gap" in sums:
            self.divergence = (sums["answer_gap"] / max(1.0, sums["answers_here"]), int(sums["answers_here"]))
            told |= {"beta": self.beta, "answer_kl": self.divergence[0]}
        for name in ("clipped_low", "clipped_high", "ratio", "drift"):
            if name in sums:
                told[name] = sums[name] / max(1.0, sums.get("ratios", units))
        for name in ("kl", "kl_iterate"):
            if name in sums:
                told[name] = sums[name] / max(1, units)
        return told

    def stepped(self, optimiser: Optimiser) -> None:
        """After an update: the reference follows, and beta is adapted to the divergence that the update found."""
        if self.moving is not None and self.following.mu:
            self.moving.follow(optimiser.names, optimiser.masters)
        if self.adapting is not None and self.divergence[1]:
            self.beta = self.adapting.next(self.beta, *self.divergence)

    def state(self) -> dict[str, Tensor]:
        found = {} if self.moving is None else self.moving.state()
        return found if self.adapting is None else {**found, BETA: torch.tensor([self.beta], dtype=torch.float64)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit.

        Raises:
            ModelError: the checkpoint is of a training whose reference or beta stayed.
        """
        if self.moving is not None:
            self.moving.load(state)
        if self.adapting is not None:
            if BETA not in state:
                raise ModelError(
                    "the training checkpoint holds no adapted beta; remove the step's folder to start again"
                )
            self.beta = state[BETA].item()
