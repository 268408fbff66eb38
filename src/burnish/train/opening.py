"""What the trainings of recipes have in common: their settings by stage, and how a base learns its chat format."""

from __future__ import annotations

from typing import Any

from burnish import curate, llm
from burnish.records import Sampling, Weights
from burnish.runs import Rows, Run
from burnish.train.supervised import train_sft


def tuning(settings: Any, stage: str, **own: Any) -> dict[str, Any]:
    """The settings of a training on fixed rows: those of its stage, and those that all stages share.

    Args:
        settings: of a recipe: `STAGE_lr`, `STAGE_epochs`, `STAGE_batch`, `schedule`, `warmup`, `weight_decay`, `clip`
            and `batch_tokens`.
        own: further ones, of this training alone.
    """
    staged = {"lr": f"{stage}_lr", "epochs": f"{stage}_epochs", "batch_rows": f"{stage}_batch"}
    shared = {name: getattr(settings, name) for name in ("schedule", "warmup", "weight_decay", "clip")}
    return {k: getattr(settings, n) for k, n in staged.items()} | shared | {"pack_tokens": settings.batch_tokens} | own


def teach_format(
    run: Run, base: Weights, prompts: Rows, *, client: Any, sampling: Sampling, seed: int, **sft: Any
) -> Weights:
    """Steps `format-answers`, `format-rows`, `format`: a short SFT on the base's own raw answers, which teaches it the
    chat format and nothing else.

    Args:
        client: the base in the prompt style that it answers best in.
        sft: the settings of the training.
    """
    answers = run.step("format-answers", llm.sample_responses, prompts, client=client, n=1, sampling=sampling)
    rows = run.step("format-rows", curate.imitate, prompts, answers, source="own answers", round=0)
    return run.step("format", train_sft, base, rows, otherwise=base, seed=seed, **sft)
