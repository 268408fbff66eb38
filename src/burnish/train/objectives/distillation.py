"""Distillation on fixed rows: the student learns the teacher's distribution at every trained token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from burnish.chat import Chat
from burnish.errors import ModelError, SettingsError
from burnish.losses import token_distill_loss, top_k_distill_loss
from burnish.models import build_pack, load_causal, prepare, token_logits
from burnish.records import Demonstration, Weights
from burnish.train.batch import Example, encode_demonstration
from burnish.train.objectives.imitation import check_train_on
from burnish.train.objectives.method import Method, Part, Place, selection


@dataclass(slots=True, kw_only=True)
class Distillation(Method):
    """Token-level distillation (Gemma 2, spec M2). Unit: the trained tokens of the batch.

    The teacher stays in memory and answers each pack when the student does, so nothing is kept on disk.

    Args:
        teacher: causal weights with the student's vocabulary.
        top_k: how many of the teacher's likeliest tokens are used; 0 uses the whole distribution.
        train_on: as in `Imitation`.
    """

    teacher: Weights
    train_on: str = "last"
    top_k: int = 0
    model: nn.Module | None = None

    def __post_init__(self) -> None:
        check_train_on(self.train_on)
        if self.top_k < 0:
            raise SettingsError(f"top_k is {self.top_k}; it must be 0 (the whole distribution) or more")

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        return encode_demonstration(chat, row, train_on=self.train_on)

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.model = load_causal(self.teacher, dtype=place.dtype, device=place.device)
        prepare(self.model)
        sizes = [m.get_output_embeddings().weight.shape[0] for m in (model, self.model)]
        if sizes[0] != sizes[1]:
            raise ModelError(
                f"the teacher {self.teacher.path} has a vocabulary of {sizes[1]} and the student one of {sizes[0]}; "
                "distillation by token needs one tokenizer"
            )

    def units(self, examples: Sequence[Example]) -> int:
        return sum(e.trained_tokens for e in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        pack, chosen = build_pack([e.row for e in examples]), selection(examples)
        with torch.no_grad():
            teacher = token_logits(self.model, pack, select=chosen)
        student = token_logits(model, pack, select=chosen)
        if not self.top_k or self.top_k >= teacher.shape[1]:
            return token_distill_loss(student, teacher, tokens=units)
        wide = teacher.to(torch.promote_types(teacher.dtype, torch.float32))
        probabilities, ids = wide.softmax(-1).topk(self.top_k, dim=-1)
        return top_k_distill_loss(student, ids, probabilities, tokens=units)

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {name: sums[name] / units for name in ("kl", "agreement")}
