"""Supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import nn

from burnish.chat import Chat
from burnish.errors import SettingsError
from burnish.losses import sequence_sft_loss, sft_loss
from burnish.models.attention import splitting
from burnish.records import Demonstration
from burnish.train.batch import Example, encode_demonstration
from burnish.train.objectives.method import Method, Part, Place, stopping, trained_logprobs
from burnish.train.optim.noise import noisy_embeddings
from burnish.train.prepare_chat import check_stop_trained

WEIGHTINGS = ("token", "sequence")
TRAIN_ON = ("last", "all")


def check_train_on(train_on: str) -> None:
    """Raises SettingsError unless it is one of `TRAIN_ON`."""
    if train_on not in TRAIN_ON:
        raise SettingsError(f"train_on is {train_on!r}; choose one of {', '.join(TRAIN_ON)}")


@dataclass(slots=True, kw_only=True)
class Imitation(Method):
    """SFT. Unit: the trained tokens of the batch, or its rows where each row weighs the same.

    Args:
        weighting: `token` (each trained token weighs the same) or `sequence` (each row; LongAlign, spec G3).
        noise: alpha of NEFTune's embedding noise (spec Y13); 0 adds none.
        seed: of the noise.
        train_on: `last` (the answer that a dialogue ends in) or `all` (each assistant message whose switch is on).
    """

    weighting: str = "token"
    train_on: str = "last"
    noise: float = 0.0
    seed: int = 0
    share_prefix: bool = True
    stop_before: float = 0.0
    step: int = 0

    def __post_init__(self) -> None:
        check_train_on(self.train_on)
        if self.weighting not in WEIGHTINGS:
            raise SettingsError(f"weighting is {self.weighting!r}; choose one of {', '.join(WEIGHTINGS)}")
        if self.noise < 0:
            raise SettingsError(f"noise is {self.noise}; it must be 0 or more")

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        return encode_demonstration(chat, row, train_on=self.train_on)

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        if self.noise and splitting() is not None:
            raise SettingsError(
                "noise is drawn over whole sequences, and processes share them; set sequence_parallel=1"
            )
        self.stop_before = stopping(model, examples, place)

    def begin(self, model: nn.Module, batch: Sequence[Example], step: int) -> None:
        self.step = step

    def units(self, examples: Sequence[Example]) -> int:
        return len(examples) if self.weighting == "sequence" else sum(e.trained_tokens for e in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        noisy = (
            noisy_embeddings(model, alpha=self.noise, seed=self.seed, step=self.step) if self.noise else nullcontext()
        )
        with noisy:
            logprobs, owner = trained_logprobs(model, examples, share_prefix=self.share_prefix)
        if self.weighting == "sequence":
            return sequence_sft_loss(logprobs, owner, sequences_here=len(examples), sequences=units)
        return sft_loss(logprobs, tokens=units)

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {}

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        after = stopping(model, examples, place)
        check_stop_trained(before=self.stop_before, after=after, base=place.base)
        return {"stop_probability_before": self.stop_before, "stop_probability_after": after}
