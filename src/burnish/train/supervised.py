"""One loop for every method over fixed rows: supervised fine-tuning, reward modelling, DPO.

rows -> tokens -> optimiser batches -> packs -> loss -> AdamW;  a kill anywhere resumes to the same bits on a CPU.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from burnish.chat import Chat, audit, load_chat
from burnish.errors import ChatError, ModelError, SettingsError
from burnish.models import load_causal, load_reward, new_reward, prepare, save_model
from burnish.protocols import Work
from burnish.records import Demonstration, Dropped, Preference, Weights
from burnish.runs import Outcome, compute
from burnish.train.batch import Example, encode_all, optimiser_batches, packs
from burnish.train.checkpoint import Progress, finite
from burnish.train.objectives import Contrast, Imitation, Method, Place, Ranking
from burnish.train.optim import Optimiser, check_schedule, learning_rate
from burnish.train.prepare_chat import padding_id

# ASSUMED: a reward head that starts small, so that the first steps learn an order instead of unlearning a random one.
HEAD_SPREAD = 0.01


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


def train_sft(base: Weights, rows: Sequence[Demonstration], *, work: Work | None = None, **loop: Any) -> Outcome:
    """Supervised fine-tuning of `base` on demonstrations. `loop`: the fields of `Loop`; see `fit`."""
    return fit(base, rows, method=Imitation(), loop=Loop.of(loop), work=work)


def train_reward(
    base: Weights, rows: Sequence[Preference], *, isolate: bool = True, work: Work | None = None, **loop: Any
) -> Outcome:
    """A reward model from a causal base (which gets a new head) or from a reward model, on ranked rows.

    Args:
        isolate: each answer of a row sees the prompt and itself alone (ASSUMED); False reads a row as one plain causal
            run, where an answer sees those before it (spec §3.3: the report does not say which).
        loop: the fields of `Loop`; see `fit`.
    """
    return fit(base, rows, method=Ranking(isolate=isolate), loop=Loop.of(loop), work=work)


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
    """DPO with masked formatting tokens and NLL on ranked rows, best against worst.

    Args:
        policy: where training starts.
        beta: 0.1 in Llama 3 (spec §3.5).
        nll_weight: 0.2 in Llama 3 (spec §3.5).
        reference: the frozen reference; the starting policy unless given (ASSUMED, spec §3.5).
        loop: the fields of `Loop`; see `fit`.
    """
    method = Contrast(beta=beta, nll_weight=nll_weight, reference=reference)
    return fit(policy, rows, method=method, loop=Loop.of(loop), work=work)


def fit(
    base: Weights,
    rows: Sequence[Demonstration] | Sequence[Preference],
    *,
    method: Method,
    loop: Loop,
    work: Work | None = None,
) -> Outcome:
    """Train `base` on rows and write the weights, with `metrics.jsonl`, into `work.folder`.

    Args:
        base: the starting weights; they are not changed.
        rows: what to train on; rows that do not fit are dropped with a reason.
        work: what a step lends; without it nothing is written and only the numbers come back.

    Returns:
        No rows; `kept` counts the rows trained on, `dropped` holds the others, `metrics` numbers of the run.

    Raises:
        DataError: no row is left, too many were dropped, or a row has nothing to train.
        ModelError: the loss or the gradient is not finite (naming step and rows; the state before it is saved), or
            the trained model has not learned to stop.
    """
    session = _open(base, rows, method, loop, work)
    try:
        _train(session, method, loop, work)
    except KeyboardInterrupt:
        session.save_if_whole()
        raise
    with torch.no_grad():
        learned = method.after(session.model, session.examples, session.place)
    weights = None
    if work is not None:
        weights = save_model(session.model, Path(work.folder), tokenizer_from=Path(base.path))
        session.progress.publish(Path(work.folder))
    numbers = {**_summary(session), **learned, "notices": session.notices}
    kept = len(session.examples)
    return Outcome(dropped=session.lost, taken=kept + len(session.lost), kept=kept, metrics=numbers, weights=weights)


@dataclass(slots=True, kw_only=True)
class _Session:
    """What one training holds in memory."""

    model: torch.nn.Module
    examples: list[Example]
    lost: list[Dropped]
    batches: list[list[int]]
    optimiser: Optimiser
    progress: Progress
    place: Place
    totals: dict[str, int]
    notices: list[str]
    step: int = 0
    updating: bool = False

    def save(self) -> None:
        """Write a checkpoint of the state after `step` updates."""
        self.progress.save(self.step, self.optimiser.state(), self.totals)

    def save_if_whole(self) -> None:
        """Write a checkpoint unless an update was interrupted in its middle."""
        if not self.updating:
            self.save()


def _train(session: _Session, method: Method, loop: Loop, work: Work | None) -> None:
    """Go on from `session.step` to the last step."""
    steps, progress = len(session.batches), session.progress
    while session.step < steps:
        batch = [session.examples[index] for index in session.batches[session.step]]
        rate = learning_rate(session.step, steps=steps, peak=loop.lr, warmup=loop.warmup, schedule=loop.schedule)
        told = _gradient(session, method, loop, batch)
        session.updating = True
        session.optimiser.step(rate, told["grad_norm"])
        session.step += 1
        session.totals["tokens"] += told["tokens"]
        session.totals["computed_tokens"] += sum(e.tokens for e in batch)
        progress.record({"step": session.step, "lr": rate, **told})
        session.updating = False
        if session.step < steps and progress.due(session.step):
            session.save()
        if work is not None:
            work.progress(session.step, steps, f"loss {told['loss']:.4g}")


def _load(base: Weights, kind: str, seed: int, chat: Chat) -> torch.nn.Module:
    where = {"dtype": compute().dtype, "device": compute().device}
    if kind == "causal":
        return load_causal(base, **where)
    model = (
        load_reward(base, **where)
        if base.kind == "reward"
        else new_reward(base, seed=seed, spread=HEAD_SPREAD, **where)
    )
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = padding_id(chat, model)
    return model


def _audited(chat: Chat) -> list[str]:
    """Warnings about the chat template.

    Raises:
        ChatError: the template would spoil training.
    """
    found = audit(chat, after_training=True)
    if found and found[0].severity == "error":
        raise ChatError(f"the chat template of {chat.folder}: {found[0].what}; {found[0].fix}")
    return [f"the chat template: {finding.what}; {finding.fix}" for finding in found]


def _dropout(model: torch.nn.Module) -> str:
    """Models train in eval mode, so that no random number decides; say so where a config asks for dropout."""
    asked = {k: v for k, v in model.config.get_text_config().to_dict().items() if "drop" in k and v not in (0, None)}
    told = ", ".join(f"{name} {value}" for name, value in sorted(asked.items()) if isinstance(value, (int, float)))
    return f"DEVIATION: the model's dropout ({told}) is off in training" if told else ""


def _own_memory(model: torch.nn.Module) -> None:
    """Copy parameters out of the mapped file they were loaded from: aligned memory is faster and has one rounding."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


def _open(base: Weights, rows: Sequence[Any], method: Method, loop: Loop, work: Work | None) -> _Session:
    """Load, tokenise, measure beforehand, and go back to the last checkpoint if there is one."""
    chat = load_chat(Path(base.path), format=loop.format)
    notices = _audited(chat)
    model = _load(base, method.kind, loop.seed, chat)
    _own_memory(model)
    notices += [notice for notice in (prepare(model), _dropout(model)) if notice]
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = min(n for n in (loop.max_length, context, 1 << 62) if n is not None)
    limits = {"max_length": longest, "refuse_above": loop.refuse_above, "isolate": method.isolate}
    examples, lost = encode_all(method.encode, chat, rows, **limits)
    scratch = Path(work.scratch) if work is not None else None
    place = Place(
        base=base,
        stop_ids=tuple(chat.stop_ids),
        pack_tokens=loop.pack_tokens,
        seed=loop.seed,
        dtype=compute().dtype,
        device=compute().device,
        scratch=scratch,
    )
    method.before(model, examples, place)
    session = _Session(
        model=model,
        examples=examples,
        lost=lost,
        batches=optimiser_batches(examples, batch_rows=loop.batch_rows, epochs=loop.epochs, seed=loop.seed),
        optimiser=Optimiser(model, weight_decay=loop.weight_decay, clip=loop.clip),
        progress=Progress(scratch, checkpoint_steps=loop.checkpoint_steps),
        place=place,
        totals={"tokens": 0, "computed_tokens": 0},
        notices=notices,
    )
    saved = session.progress.resume()
    if saved is not None:
        state, note = saved
        session.optimiser.load(state)
        session.step, session.totals = note["step"], note["totals"]
    return session


def _gradient(session: _Session, method: Method, loop: Loop, batch: list[Example]) -> dict[str, Any]:
    """Gradient of one optimiser batch, pack by pack, and what the step has to tell.

    Raises:
        ModelError: loss or gradient is not finite; nothing has been updated, and the state is saved.
    """
    units = method.units(batch)
    total, sums = 0.0, {}
    for part in packs(batch, budget=loop.pack_tokens):
        loss, counted = method.part(session.model, part, units)
        loss.backward()
        session.optimiser.gather()
        total = total + loss.detach()
        for name, value in counted.items():
            sums[name] = sums[name] + value if name in sums else value
    values = torch.stack([v.double() for v in (total, session.optimiser.gradient_norm(), *sums.values())]).tolist()
    loss, norm, *rest = values
    read = dict(zip(sums, rest, strict=True))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        session.optimiser.forget()
        session.save()
        raise ModelError(_not_finite(session, batch, loss, norm))
    tokens = sum(e.trained_tokens for e in batch)
    return {"loss": loss, "grad_norm": norm, "rows": len(batch), "tokens": tokens, **method.metrics(read, units)}


def _not_finite(session: _Session, batch: list[Example], loss: float, norm: float) -> str:
    ids = ", ".join(e.id for e in batch[:8]) + (f" and {len(batch) - 8} more" if len(batch) > 8 else "")
    broken = finite(session.model)
    cause = (
        f"tensor {broken} of {session.place.base.path} holds values that are not finite: give other weights"
        if broken
        else "lower lr, set clip, or look at these rows"
    )
    return (
        f"training step {session.step + 1} of {len(session.batches)} has loss {loss} and gradient norm {norm} on rows "
        f"{ids}; {cause}. This step updated nothing, and the same command goes on from before it"
    )


def _summary(session: _Session) -> dict[str, Any]:
    """First and last loss, the last step's other numbers, and totals."""
    first, last = (json.loads(session.progress.lines[place]) for place in (0, -1))
    told = {name: value for name, value in last.items() if name not in ("step", "lr", "rows", "tokens")}
    return {"steps": session.step, "first_loss": first["loss"], **told, **session.totals}
