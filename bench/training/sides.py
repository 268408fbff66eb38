"""The two competitors of `bench/train.py`: Burnish's engine, and TRL's trainer without its loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish import train
from burnish.losses import dpo_loss
from burnish.models import load_causal, load_reward, prepare, weights_of
from burnish.records import Demonstration, Preference
from burnish.train import Example
from burnish.train.objectives import Contrast, Imitation, Ranking

BATCH, LONGEST, RATE, CLIP, BETA, PACK = 8, 512, 1e-4, 1.0, 0.1, 8192


@dataclass
class Side:
    """One competitor: `step` trains on one batch of rows and returns its loss; `before` belongs to a block."""

    step: Callable[[list[Example]], float]
    before: Callable[[list[Example]], None] = lambda rows: None


def ours(method: str, folder: Path, pairs: Sequence[Preference], *, inside: bool) -> tuple[Side, list[Example]]:
    """Burnish's engine and its rows. `inside`: the reference pass of DPO belongs to the block."""
    settings = {"lr": RATE, "epochs": 1, "batch_rows": BATCH, "warmup": 0.0, "schedule": "constant", "seed": 0}
    loop = train.Loop(**settings, weight_decay=0.0, clip=CLIP, pack_tokens=PACK, max_length=LONGEST)
    # Nothing is masked in DPO here, since TRL cannot.
    chosen = {
        "sft": Imitation(),
        "reward": Ranking(),
        "dpo": Contrast(loss=partial(dpo_loss, beta=BETA, nll_weight=0.0), mask_formatting=False),
    }[method]
    rows: list[Any] = list(pairs)
    if method == "sft":
        rows = [Demonstration(prompt=r.prompt, context=r.context, response=r.candidates[0].messages) for r in pairs]
    weights = weights_of(folder / ("reward" if method == "reward" else "base"))
    session = train.open_session(weights, rows, method=chosen, loop=loop)
    frozen = load_causal(weights) if method == "dpo" else None
    if frozen is not None:
        prepare(frozen)

    def before(rows: list[Example]) -> None:
        if method == "dpo" and inside:
            chosen.refer(lambda: frozen, rows, session.place)

    return Side(step=lambda rows: session.update(rows)["loss"], before=before), session.examples


class Theirs:
    """TRL's trainer of the method, its collator and its `training_step`, then clipping and the same AdamW."""

    def __init__(self, method: str, folder: Path, *, live: bool) -> None:
        """Args:
        live: DPO computes its reference in each step; else `before` computes it.
        """
        self.method, self.live = method, live
        self.trainer = _trainer(method, folder)
        self.trainer.current_gradient_accumulation_steps = 1
        self.model = self.trainer.model
        self.model.train()
        self.adam = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        self.known: dict[str, tuple[float, float]] = {}
        if not live:
            self.trainer.precompute_ref_logps = True

    def step(self, rows: list[Example]) -> float:
        inputs = self.trainer.data_collator(self._features(rows))
        count = (inputs["labels"] != -100).sum() if self.method == "sft" else None
        loss = self.trainer.training_step(self.model, inputs, count)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return loss.item()

    def before(self, rows: list[Example]) -> None:
        if self.method != "dpo" or self.live:
            return
        with torch.no_grad():
            inputs = self.trainer.data_collator(self._features(rows))
            found = self.trainer.compute_ref_log_probs(self.trainer.ref_model, inputs)
        for e, pair in zip(rows, zip(*found), strict=True):
            self.known[e.id] = (pair[0].item(), pair[1].item())

    def _features(self, rows: list[Example]) -> list[dict[str, Any]]:
        out = []
        for e in rows:
            prompt = list(e.row.prompt)
            # A ranked row's answers stand in a shuffled order.
            answers = [list(e.row.responses[e.ranks.index(rank)]) for rank in sorted(e.ranks)]
            if self.method == "sft":
                out.append({"input_ids": prompt + answers[0], "labels": [-100] * len(prompt) + _labels(e, 0)})
            elif self.method == "reward":
                out.append({"chosen_ids": prompt + answers[0], "rejected_ids": prompt + answers[1]})
            else:
                row = {"prompt_ids": prompt, "chosen_ids": _trained(e, 0), "rejected_ids": _trained(e, 1)}
                if e.id in self.known:
                    row |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), self.known[e.id], strict=True))
                out.append(row)
        return out


def _trainer(method: str, folder: Path) -> Any:
    """A trainer over one row that is never used: the benchmark brings its own batches."""
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer

    said = [{"role": "user", "content": "a"}]
    answer = [{"role": "assistant", "content": "b"}]
    other = [{"role": "assistant", "content": "c"}]
    dummy = {
        "sft": {"prompt": [said], "completion": [answer]},
        "reward": {"chosen": [said + answer], "rejected": [said + other]},
        "dpo": {"prompt": [said], "chosen": [answer], "rejected": [other]},
    }[method]
    shared = {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "max_length": LONGEST,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    }
    name, more = {"sft": ("SFT", {}), "reward": ("Reward", {}), "dpo": ("DPO", {"beta": BETA})}[method]
    extra = {"ref_model": load_causal(folder / "base")} if method == "dpo" else {}
    return getattr(trl, f"{name}Trainer")(
        model=load_reward(folder / "reward") if method == "reward" else load_causal(folder / "base"),
        args=getattr(trl, f"{name}Config")(**shared, **more),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        train_dataset=Dataset.from_dict(dummy),
        **extra,
    )


def grouped(examples: list[Example], *, seed: int = 0) -> list[Example]:
    """The rows in the order of the trainer's `train_sampling_strategy="group_by_length"`, its batches then shuffled.

    The sampler's own order goes from long to short within a stretch; shuffled, each part of it is like the whole. A
    rest that fills no batch is left out.
    """
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(seed)
    order = get_length_grouped_indices([e.tokens for e in examples], BATCH, generator=generator)
    batches = [order[at : at + BATCH] for at in range(0, len(order) - BATCH + 1, BATCH)]
    shuffled = torch.randperm(len(batches), generator=generator).tolist()
    return [examples[index] for number in shuffled for index in batches[number]]


def _parts(example: Example) -> list[np.ndarray]:
    return np.split(example.trained, np.cumsum([len(r) for r in example.row.responses])[:-1])


def _labels(example: Example, number: int) -> list[int]:
    mask = _parts(example)[number]
    return [t if m else -100 for t, m in zip(example.row.responses[number], mask, strict=True)]


def _trained(example: Example, number: int) -> list[int]:
    """A response up to its last trained token, so that TRL, which trains all of it, trains the same tokens."""
    mask = _parts(example)[number]
    return list(example.row.responses[number][: int(mask.nonzero()[0][-1]) + 1])
