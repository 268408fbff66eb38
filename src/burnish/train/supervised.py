"""One loop for every method over fixed rows: supervised fine-tuning, reward modelling, DPO.

    rows -> tokens -> optimiser batches -> packs -> loss -> AdamW;  a kill anywhere resumes to the same bits on a CPU.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from burnish.chat import load_chat
from burnish.errors import ModelError, SettingsError
from burnish.models import load_causal, load_reward, new_reward, prepare, save_model
from burnish.protocols import Work
from burnish.records import Demonstration, Preference, Weights
from burnish.runs import Outcome, compute
from burnish.train.batch import Example, encode_all, optimiser_batches, packs
from burnish.train.checkpoint import Progress, finite
from burnish.train.objectives import Contrast, Imitation, Method, Place, Ranking
from burnish.train.optim import Optimiser, check_schedule, learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Settings of the loop, the same for every method.

    Args:
        lr: peak learning rate.
        epochs: how often each row is seen.
        batch_rows: rows (pairs, for DPO) of an optimiser batch.
        warmup: share of the steps that warm up.
        schedule: `cosine` to a tenth, `linear` to 0, or `constant`.
        seed: orders the rows and draws a new reward head.
        weight_decay: decoupled, on matrices only.
        clip: largest gradient norm; None does not clip.
        max_length: tokens of a prompt with one answer; None is the model's context.
        format: a lab's chat format in place of the tokenizer's own template.
        refuse_above: share of dropped rows above which training is refused.
        pack_tokens: token budget of a pack (plumbing, but sums are ordered by it, so it moves the last bits).
        checkpoint_steps: steps between checkpoints (runtime; no bit depends on it); None goes by the clock.
    """

    lr: float
    epochs: int
    batch_rows: int
    warmup: float
    schedule: str
    seed: int
    weight_decay: float
    clip: float | None
    max_length: int | None = None
    format: str | None = None
    refuse_above: float = 1.0
    pack_tokens: int = 4096
    checkpoint_steps: int | None = None

    def __post_init__(self) -> None:
        check_schedule(schedule=self.schedule, warmup=self.warmup, lr=self.lr)
        for name in ("epochs", "batch_rows", "pack_tokens"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be at least 1")


def _loop(settings: dict[str, Any]) -> Loop:
    known = [f.name for f in fields(Loop)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SettingsError(f"unknown training setting {name!r}; did you mean {near!r}?")
    missing = [f.name for f in fields(Loop) if f.name not in settings and f.default is not f.default_factory]
    return Loop(**settings) if not missing or True else None  # pragma: no cover


def train_sft(base: Weights, rows: Sequence[Demonstration], *, work: Work | None = None, **loop: Any) -> Outcome:
    """Supervised fine-tuning of `base` on demonstrations. `loop`: the fields of `Loop`; see `fit`."""
    return fit(base, rows, method=Imitation(), loop=_loop(loop), work=work)


def train_reward(base: Weights, rows: Sequence[Preference], *, work: Work | None = None, **loop: Any) -> Outcome:
    """A reward model from a causal base (which gets a new head) or from a reward model, on ranked rows."""
    return fit(base, rows, method=Ranking(), loop=_loop(loop), work=work)


def train_dpo(
    policy: Weights,
    rows: Sequence[Preference],
    *,
    beta: float,
    nll_weight: float,
    reference: Weights | None = None,
    work: Work | None = None,
    **loop: Any,
) -> Outcome:
    """DPO with masked formatting tokens and NLL. `reference` is the starting policy unless given (ASSUMED, spec §3.5)."""
    method = Contrast(beta=beta, nll_weight=nll_weight, reference=reference)
    return fit(policy, rows, method=method, loop=_loop(loop), work=work)
