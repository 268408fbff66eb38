"""On-policy distillation: the student learns the teacher's distribution at the tokens of its own answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from burnish.chat import Chat, load_tokens
from burnish.errors import ModelError, SettingsError
from burnish.losses.on_policy import gkd_loss, log_probabilities, minillm_loss, on_policy_turn
from burnish.models import Row, build_pack, load_causal, token_logits
from burnish.records import Demonstration, Prompt, Weights
from burnish.train.batch import Example, Untrained, encode_demonstration
from burnish.train.objectives.method import Part, Place, selection
from burnish.train.on_policy.objectives.fresh import Fresh
from burnish.train.session import own_memory

OBJECTIVES = ("gkd", "minillm")


@dataclass(slots=True, kw_only=True)
class OnlineDistillation(Fresh):
    """GKD (Agarwal et al., arXiv:2306.13649; spec M3), or MiniLLM (arXiv:2306.08543; spec M4). No reward is asked.

    A round is the student's own answers with probability lambda, and the given ones otherwise; a prompt with several
    given answers learns from all. Unit: the answers of the batch, each the mean over its tokens (`over=responses`;
    MiniLLM's, the sum), or the tokens of the batch (`over=tokens`).

    Args:
        teacher: causal weights with the student's tokenizer.
        given: answers by the id of their prompt; none are read at lambda = 1.
        share: lambda.
        mix: of the divergence, `beta` of `gkd_loss`: 0 the forward KL, 1 the reverse one, between them the
            generalised Jensen-Shannon divergence.
        softening: temperature of both distributions in the divergence.
        objective: `gkd` or `minillm`.
    """

    teacher: Weights
    given: Mapping[str, Sequence[Demonstration]] = field(default_factory=dict)
    share: float = 0.5
    mix: float = 0.5
    softening: float = 1.0
    over: str = "responses"
    objective: str = "gkd"
    encoded: dict[str, Example] = field(default_factory=dict)
    width: int = 0
    again: bool = False

    rewarded = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise SettingsError(f"share is {self.share}; give 0 (given answers only) to 1 (own answers only)")
        if not 0 <= self.mix <= 1:
            raise SettingsError(f"beta is {self.mix}; give 0 (forward KL), 1 (reverse KL) or a number in between")
        if not (self.softening > 0 and math.isfinite(self.softening)):
            raise SettingsError(f"softening is {self.softening}; it divides the logits of both models, so above 0")
        if self.objective not in OBJECTIVES:
            raise SettingsError(f"objective is {self.objective!r}; choose one of {', '.join(OBJECTIVES)}")
        if self.objective == "minillm" and self.share < 1:
            raise SettingsError(f"share is {self.share}; minillm is about the student's own answers: share=1")
        if self.objective == "minillm" and self.over != "responses":
            raise SettingsError(f"over is {self.over!r}; minillm is a mean over answers: over=responses")

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Load the teacher.

        Raises:
            ModelError: its tokens are not the student's.
        """
        self.frozen = load_causal(self.teacher, dtype=place.dtype, device=place.device).requires_grad_(False)
        own_memory(self.frozen)
        self.width = shared_width(place.base, model, self.teacher, self.frozen)

    def unfit(self, prompt: Prompt, chat: Chat, *, most: int) -> str:
        if self.share == 1:
            return ""
        rows = self.given.get(prompt.id, ())
        if not rows:
            return "no answer is given to it, and share is below 1"
        try:
            examples = [encode_demonstration(chat, row) for row in rows]
        except Untrained as untrained:
            return str(untrained)
        longest = max(len(e.row.prompt) + len(e.row.responses[0]) for e in examples)
        if longest > most:
            return f"with its given answer {longest} tokens, and {most} fit"
        self.encoded[prompt.id] = together(prompt.id, examples)
        return ""

    def own_turn(self, number: int, seed: int) -> bool:
        """Whether round `number` is of the student's own answers."""
        return on_policy_turn(seed, number, share=self.share)

    def taught(self, prompts: Sequence[Prompt]) -> list[Example]:
        """The given answers to these prompts."""
        return [self.encoded[prompt.id] for prompt in prompts]

    def explored(
        self,
        model: nn.Module,
        batches: Sequence[Sequence[Example]],
        sampled: Mapping[str, Tensor],
        place: Place,
        *,
        number: int = 0,
    ) -> None:
        """Keep what the answers were drawn with; given ones were not drawn."""
        self.again = len(batches) > 1
        self.known = {name: {"sampler": values} for name, values in sampled.items()}
        if self.known and self.again:  # of each round's later updates, to compare what drew with what is trained
            for batch in batches:
                self._measure("old", model, batch, place)

    def units(self, examples: Sequence[Example]) -> int:
        if self.over == "tokens":
            return sum(e.trained_tokens for e in examples)
        return sum(len(e.row.responses) for e in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        pack, chosen = build_pack([e.row for e in examples]), selection(examples)
        if (beyond := int(pack.ids.max())) >= self.width:
            raise ModelError(
                f"the student drew the token {beyond}, which its tokenizer does not have, and {self.teacher.path} "
                f"knows {self.width}; resize the student's embeddings to its tokenizer"
            )
        with torch.no_grad():
            theirs = token_logits(self.frozen, pack, select=chosen)[:, : self.width]
        logits = token_logits(model, pack, select=chosen)[:, : self.width]
        owner, ids = pack.token_response[chosen].to(logits.device), pack.targets[chosen].to(logits.device)
        student, teacher = (log_probabilities(z, temperature=self.softening) for z in (logits, theirs))
        how = {"responses_here": sum(len(e.row.responses) for e in examples), "units": units}
        with torch.no_grad():
            plain = student.detach() if self.softening == 1 else log_probabilities(logits.detach())
            here = plain.gather(-1, ids[:, None])[:, 0].double()
        if self.objective == "minillm":
            drawn = self._joined("old", examples, here) if self.again else None
            loss, sums = minillm_loss(student, teacher, ids, owner, sampler=drawn, **how)
        else:
            loss, sums = gkd_loss(student, teacher, owner, beta=self.mix, over=self.over, **how)
        told = {"tokens_here": here.new_tensor(float(len(here))), "logprob": here.sum()}
        if all(e.id in self.known for e in examples):
            gap = self._joined("old", examples, here) - self._joined("sampler", examples, here)
            told["sampler_gap"] = gap.abs().sum()
        return loss, {name: value.double() for name, value in {**sums, **told}.items()}

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """Means over tokens: of the divergence and its two ends, the share of equal likeliest tokens, entropy."""
        tokens = max(1.0, sums["tokens_here"])
        told = {"entropy": -sums["logprob"] / tokens}
        for name in ("sampler_gap", "divergence", "forward", "reverse", "agreement", "reward", "weight"):
            if name in sums:
                told["teacher_gain" if name == "reward" else name] = sums[name] / tokens
        return told


def together(name: str, examples: Sequence[Example]) -> Example:
    """Answers that are given to one prompt, as one row that computes the prompt once."""
    prompt = examples[0].row.prompt
    responses = tuple(e.row.responses[0] for e in examples)
    return Example(
        id=name,
        row=Row(prompt=prompt, responses=responses),
        trained=np.concatenate([e.trained for e in examples]),
        formatting=np.concatenate([e.formatting for e in examples]),
        ranks=tuple(range(len(responses))),
        tokens=len(prompt) + sum(map(len, responses)),
    )


def shared_width(base: Weights, student: nn.Module, teacher: Weights, frozen: nn.Module) -> int:
    """How many tokens both models know, by number.

    Models of one family have one tokenizer and tables of different sizes, padded to a round number: rows beyond the
    tokenizer stand for no token, and are left out on both sides.

    Raises:
        ModelError: a token is not the same in both tokenizers.
    """
    mine, theirs = (load_tokens(weights.path).table for weights in (base, teacher))
    odd = sorted({*mine.items()} ^ {*theirs.items()}, key=lambda token: (token[1], token[0]))
    if odd:
        text, number = odd[0]
        raise ModelError(
            f"the teacher {teacher.path} has a vocabulary of its own: {len(odd)} tokens are not the student's, the "
            f"first {text!r} ({number}); distillation by token needs one tokenizer: give a teacher of the same family"
        )
    width = min(m.get_output_embeddings().weight.shape[0] for m in (student, frozen))
    if width <= max(mine.values()):
        raise ModelError(
            f"{base.path} and the teacher {teacher.path} have {max(mine.values()) + 1} tokens, and a table of {width} "
            "rows; the tokenizer saved in one of them is not its own"
        )
    return width
