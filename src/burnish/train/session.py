"""One training under way: the model, the rows as tokens, the optimiser, and how far it is.

rows -> tokens -> optimiser batches -> packs -> loss -> AdamW;  `Session.update` is one turn of it
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from burnish.chat import Chat, audit, load_chat, load_tokens
from burnish.errors import ChatError, ModelError, SettingsError
from burnish.models import load_causal, load_reward, new_reward, prepare, save_model
from burnish.protocols import Work
from burnish.records import Dropped, Weights
from burnish.runs import compute
from burnish.train.batch import Example, prompt_batches
from burnish.train.checkpoint import Progress, finite
from burnish.train.objectives import HEAD_SPREAD, Method, Place
from burnish.train.optim import Optimiser, check_schedule, learning_rate
from burnish.train.optim.adamw import BETAS, FLOOR
from burnish.train.optim.adapters import FOLDER, add_lora, merge_lora, save_lora
from burnish.train.optim.average import check_decay, starting_share
from burnish.train.optim.merge_base import OFF, base_tensors, check_merging, read_merging
from burnish.train.optim.recompute import Recompute
from burnish.train.prepare_chat import padding_id
from burnish.train.ranks import Alone, ranks, weighted


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Settings of the loop, the same for every method.

    Args:
        lr: peak learning rate.
        epochs: how often each row is seen.
        batch_rows: rows (pairs, for DPO) of an optimiser batch; prompts with all their rows, if `batch_of` says so.
        warmup: share of the steps that warm up.
        schedule: `cosine` to the floor, `linear` to 0, or `constant`.
        seed: orders the rows and draws a new reward head.
        weight_decay: decoupled, on matrices only.
        clip: largest gradient norm; None does not clip.
        batch_of: `rows` or `prompts`: what `batch_rows` counts.
        max_length: tokens of a prompt with one answer; None is the model's context.
        format: a lab's chat format in place of the tokenizer's own template.
        refuse_above: share of dropped rows above which training is refused.
        pack_tokens: token budget of a pack (plumbing, but sums are ordered by it, so it moves the last bits).
        checkpoint_steps: steps between checkpoints (runtime; no bit depends on it); None goes by the clock.
        length_group: rows of like length that stand together in a batch; 0 orders rows one by one.
        lora_rank: rank of the adapters that are trained in place of the weights; 0 trains the weights.
        lora_alpha: scale of the adapters; None is twice the rank.
        floor: share of the peak that the cosine ends at.
        beta2: AdamW's decay of the second moment.
        ema: decay of an average of the weights, which is then the result; 0 keeps none.
        recompute: decoder layers of a group whose activations the backward pass computes again; 0 keeps them all.
        merging: online merging, as `optim.merge_base.read_merging` reads it; `none` is plain AdamW.
        merge_base: with merging, the weights that the starting ones were tuned from.
        sequence_parallel: processes that share the tokens of a pack, of all that train.
    """

    lr: float
    epochs: int
    batch_rows: int
    warmup: float
    schedule: str
    seed: int
    weight_decay: float
    clip: float | None
    batch_of: str = "rows"
    max_length: int | None = None
    format: str | None = None
    refuse_above: float = 1.0
    pack_tokens: int = 4096
    checkpoint_steps: int | None = None
    length_group: int = 0
    lora_rank: int = 0
    lora_alpha: float | None = None
    floor: float = FLOOR
    beta2: float = BETAS[1]
    ema: float = 0.0
    recompute: int = 0
    merging: str = OFF
    merge_base: Weights | None = None
    sequence_parallel: int = 1

    def __post_init__(self) -> None:
        check_schedule(schedule=self.schedule, warmup=self.warmup, lr=self.lr)
        check_decay(self.ema)
        check_merging(self.merging, base=self.merge_base, lora_rank=self.lora_rank)
        if self.batch_of not in ("rows", "prompts"):
            raise SettingsError(f"batch_of is {self.batch_of!r}; a batch is of rows or of prompts")
        for name in ("epochs", "batch_rows", "pack_tokens", "sequence_parallel"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not (0 <= self.floor <= 1 and 0 <= self.beta2 < 1):
            raise SettingsError(f"floor is {self.floor} (from 0 to 1) and beta2 {self.beta2} (from 0 to below 1)")
        for name, what in (("recompute", "layers"), ("lora_rank", "dimensions")):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; it is a number of {what}, or 0 (off)")
        for name in ("clip", "lora_alpha", "max_length"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise SettingsError(f"{name} is {value}; it must be above 0, or none")
        if not (self.weight_decay >= 0 and 0 <= self.refuse_above <= 1):
            raise SettingsError(
                f"weight_decay is {self.weight_decay} (0 or more) and refuse_above {self.refuse_above} (from 0 to 1)"
            )
        if self.length_group < 0 or (self.length_group and self.batch_rows % self.length_group):
            raise SettingsError(
                f"length_group is {self.length_group}; it divides batch_rows ({self.batch_rows}), or is 0"
            )
        if self.length_group and self.batch_of == "prompts":
            raise SettingsError("length_group sorts rows and batch_of=prompts keeps prompts together; choose one")

    @classmethod
    def of(cls, settings: dict[str, Any]) -> Loop:
        """From keyword arguments; an unknown or missing name is refused."""
        known = {f.name: f.default is MISSING for f in fields(cls)}
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise SettingsError(f"there is no training setting {name!r}; the nearest is {near!r}")
        missing = [name for name, needed in known.items() if needed and name not in settings]
        if missing:
            raise SettingsError(f"training needs the setting {missing[0]!r}; it has no default")
        return cls(**settings)


@dataclass(slots=True, kw_only=True)
class Session:
    """What one training holds in memory."""

    model: torch.nn.Module
    method: Method
    loop: Loop
    examples: list[Example]
    lost: list[Dropped]
    batches: list[list[int]]
    optimiser: Optimiser
    progress: Progress
    place: Place
    totals: dict[str, int]
    notices: list[str]
    ranks: Alone = field(default_factory=Alone)
    recompute: Recompute | None = None
    step: int = 0
    updating: bool = False
    round_steps: int = 1

    @property
    def in_round(self) -> bool:
        """Whether a round on fresh answers has been updated on and is not over (`totals` counts those that are)."""
        return "rounds" in self.totals and self.totals["rounds"] * self.round_steps != self.step

    def update(self, batch: list[Example], *, told: Mapping[str, float] | None = None) -> dict[str, Any]:
        """One optimiser step on a batch; what it has to tell, with what else is `told` of the batch.

        Raises:
            ModelError: loss or gradient is not finite; nothing has been updated, and the state is saved.
        """
        loop, steps = self.loop, len(self.batches)
        shape = {"warmup": loop.warmup, "schedule": loop.schedule, "floor": loop.floor}
        rate = learning_rate(self.step, steps=steps, peak=loop.lr, **shape)
        self.method.begin(self.model, batch, self.step)
        found = self._gradient(batch)
        self.updating = True
        self.optimiser.step(rate, found["grad_norm"])
        self.method.stepped(self.optimiser)
        self.step += 1
        self.totals["tokens"] += found["tokens"]
        self.totals["computed_tokens"] += sum(e.tokens for e in batch)
        line = {"step": self.step, "lr": rate, **found, **(told or {})}
        self.progress.record(line)
        self.updating = False
        return line

    def skip(self, told: Mapping[str, float]) -> dict[str, Any]:
        """A step without a batch: the schedule goes on and nothing is updated."""
        self.step += 1
        line = {"step": self.step, "lr": 0.0, "loss": 0.0, "grad_norm": 0.0, "rows": 0, "tokens": 0, **told}
        self.progress.record(line)
        return line

    def _gradient(self, batch: list[Example]) -> dict[str, Any]:
        """Gradient of one optimiser batch, pack by pack, and what the step has to tell.

        Raises:
            ModelError: loss or gradient is not finite; nothing has been updated, and the state is saved.
        """
        units = self.method.units(batch)
        total, sums = 0.0, {}
        shares = [self.ranks.packs(some, budget=self.loop.pack_tokens) for some in self.method.apart(batch)]
        for part, weight in (one for share in shares for one in share):
            with self.recompute.active() if self.recompute else nullcontext():
                loss, counted = weighted(*self.method.part(self.model, part, units), weight)
            loss.backward()
            self.optimiser.gather()
            total = total + loss.detach()
            for name, value in counted.items():
                sums[name] = sums[name] + value if name in sums else value
        summed = self.ranks.total(torch.stack([v.double() for v in (total, *sums.values())]))
        norm, loss, *rest = torch.cat([self.optimiser.gradient_norm().double()[None], summed]).tolist()
        read = dict(zip(sums, rest, strict=True))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimiser.forget()
            self.save()
            raise ModelError(_not_finite(self, batch, loss, norm))
        tokens = sum(e.trained_tokens for e in batch)
        return {
            "loss": loss,
            "grad_norm": norm,
            "rows": len(batch),
            "tokens": tokens,
            **self.method.metrics(read, units),
        }

    def save(self) -> None:
        """Write a checkpoint of the state after `step` updates, unless they are in the middle of a round.

        A round that is broken off begins again: its answers belong to the weights before its first update.
        """
        if not self.in_round:
            self.progress.save(self.step, {**self.optimiser.state(), **self.method.state()}, self.totals)

    def save_if_whole(self) -> None:
        """Write a checkpoint unless an update was interrupted in its middle.

        Several processes are interrupted at several places; they go on from the last checkpoint.
        """
        if not self.updating and self.ranks.world == 1:
            self.save()

    def publish(self, work: Work) -> Weights | None:
        """Write the trained weights (adapters too, then merged) and `metrics.jsonl` into `work.folder`.

        None in a process that does not write.
        """
        if not self.ranks.whole(self.model):
            return None
        folder, base = Path(work.folder), self.place.base
        if self.loop.lora_rank:
            save_lora(self.model, folder / FOLDER, base=base.id)
            merge_lora(self.model)
        weights = save_model(self.model, folder, tokenizer_from=Path(base.path))
        self.progress.publish(folder)
        return weights

    def summary(self) -> dict[str, Any]:
        """First and last loss, the last step's other numbers, and totals."""
        first, last = (json.loads(self.progress.lines[place]) for place in (0, -1))
        told = {name: value for name, value in last.items() if name not in ("step", "lr", "rows", "tokens")}
        return {"steps": self.step, "first_loss": first["loss"], **told, **self.totals}


def _load(base: Weights, method: Method, seed: int, chat: Chat) -> torch.nn.Module:
    where = {"dtype": compute().dtype, "device": compute().device}
    if method.kind == "causal":
        return load_causal(base, **where)
    model = (
        load_reward(base, **where)
        if base.kind == "reward"
        else new_reward(base, seed=seed, heads=method.heads, spread=HEAD_SPREAD, **where)
    )
    if (heads := model.config.num_labels) != method.heads:
        raise ModelError(
            f"{base.path} gives an answer {heads} scores, and this method trains {method.heads}; start from a reward "
            "model of the same kind, or from a causal model"
        )
    reads = getattr(model.config, "score_reads", "response")
    if base.kind == "reward" and reads != method.reads:
        raise ModelError(
            f"{base.path} scores each {reads} and this method trains the score of a {method.reads}; start from a "
            "reward model of the same kind, or from a causal model"
        )
    if method.reads != "response":
        model.config.score_reads = method.reads
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = padding_id(chat, model)
    return model


def check_template(chat: Chat) -> list[str]:
    """Warnings about the chat template.

    Raises:
        ChatError: the template would spoil training.
    """
    found = audit(chat, after_training=True)
    if found and found[0].severity == "error":
        raise ChatError(f"the chat template of {chat.folder}: {found[0].what}; {found[0].fix}")
    return [f"the chat template: {finding.what}; {finding.fix}" for finding in found]


def dropout_notice(model: torch.nn.Module) -> str:
    """Models train in eval mode, so that no random number decides; say so where a config asks for dropout."""
    asked = {k: v for k, v in model.config.get_text_config().to_dict().items() if "drop" in k and v not in (0, None)}
    told = ", ".join(f"{name} {value}" for name, value in sorted(asked.items()) if isinstance(value, (int, float)))
    return f"DEVIATION: the model's dropout ({told}) is off in training" if told else ""


def own_memory(model: torch.nn.Module) -> None:
    """Copy parameters out of the mapped file they were loaded from: aligned memory is faster and has one rounding."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _batches(method: Method, examples: Sequence[Example], loop: Loop) -> list[list[int]]:
    how = {"epochs": loop.epochs, "seed": loop.seed}
    if loop.batch_of == "prompts":
        if method.raw:
            raise SettingsError("raw text has no prompts; set batch_of=rows")
        return prompt_batches(examples, batch_prompts=loop.batch_rows, **how)
    return method.batches(examples, batch_rows=loop.batch_rows, length_group=loop.length_group, **how)


def new_optimiser(model: torch.nn.Module, loop: Loop, *, start: Weights) -> Optimiser:
    """The optimiser of a training that begins at `start`.

    Raises:
        ModelError: online merging away from weights of another shape, or from `start` itself.
    """
    how = {"weight_decay": loop.weight_decay, "clip": loop.clip, "beta2": loop.beta2, "ema": loop.ema}
    merging = read_merging(loop.merging, seed=loop.seed)
    base = base_tensors(loop.merge_base, start=start) if loop.merge_base is not None else None
    return ranks().optimiser(model, **how, merging=merging, base=base)


def open_session(
    base: Weights, rows: Sequence[Any], *, method: Method, loop: Loop, work: Work | None = None
) -> Session:
    """Load, tokenise, measure beforehand, and go back to the last checkpoint if there is one."""
    chat = load_tokens(base.path) if method.raw else load_chat(Path(base.path), format=loop.format)
    notices = [] if method.raw else check_template(chat)
    model = _load(base, method, loop.seed, chat)
    own_memory(model)
    if loop.lora_rank:
        add_lora(model, rank=loop.lora_rank, alpha=loop.lora_alpha, seed=loop.seed)
    notices += [notice for notice in (prepare(model), dropout_notice(model)) if notice]
    together = ranks()
    together.take(model, recompute=loop.recompute, sequence=loop.sequence_parallel)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = min(n for n in (loop.max_length, context, 1 << 62) if n is not None)
    examples, lost = method.read(chat, rows, max_length=longest, refuse_above=loop.refuse_above)
    notices += method.warnings(examples)
    scratch = Path(work.scratch) if work is not None else None
    place = Place(
        base=base,
        stop_ids=() if method.raw else tuple(chat.stop_ids),
        pack_tokens=loop.pack_tokens,
        seed=loop.seed,
        dtype=compute().dtype,
        device=compute().device,
        scratch=scratch,
    )
    method.before(model, examples, place)
    session = Session(
        model=model,
        method=method,
        loop=loop,
        examples=examples,
        lost=lost,
        batches=_batches(method, examples, loop),
        optimiser=new_optimiser(model, loop, start=base),
        progress=together.progress(scratch, checkpoint_steps=loop.checkpoint_steps, base=base),
        place=place,
        totals={"tokens": 0, "computed_tokens": 0},
        notices=notices,
        ranks=together,
        recompute=Recompute(model, group=loop.recompute) if loop.recompute else None,
    )
    if told := starting_share(loop.ema, len(session.batches)):
        notices.append(told)
    saved = session.progress.resume()
    if saved is not None:
        state, note = saved
        session.optimiser.load(state)
        session.method.load(state)
        session.step, session.totals = note["step"], note["totals"]
    return session


def _not_finite(session: Session, batch: list[Example], loss: float, norm: float) -> str:
    ids = ", ".join(e.id for e in batch[:8]) + (f" and {len(batch) - 8} more" if len(batch) > 8 else "")
    broken = finite(session.model)
    cause = (
        f"tensor {broken} of {session.place.base.path} holds values that are not finite: give other weights"
        if broken
        else "lower lr, set clip, or look at these rows"
    )
    before = "the last checkpoint, before this round" if session.in_round else "before it"
    return (
        f"training step {session.step + 1} of {len(session.batches)} has loss {loss} and gradient norm {norm} on rows "
        f"{ids}; {cause}. This step updated nothing, and the same command goes on from {before}"
    )
