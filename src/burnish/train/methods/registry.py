"""The methods that `burnish train` knows: which rows each reads, and how it is built from its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from burnish.curate import BALANCED, balance_lengths
from burnish.errors import DataError, ModelError, SettingsError
from burnish.losses import DISTANCES, critique_dpo_loss, dpo_loss, ipo_loss, rpo_loss
from burnish.protocols import Work
from burnish.records import Demonstration, Document, Preference, Weights
from burnish.runs import Outcome, Run, Runtime, nearest
from burnish.train.methods.settings import (
    AnchoredReward,
    AttributeReward,
    CritiqueDpo,
    Distil,
    Dpo,
    Ipo,
    KtoSettings,
    Optimisation,
    PointwiseReward,
    Pretrain,
    Reward,
    Rpo,
    Sft,
    SoftReward,
    StepReward,
)
from burnish.train.objectives import (
    AnchoredRanking,
    Attributes,
    Contrast,
    Distillation,
    Imitation,
    Kto,
    Method,
    Pointwise,
    Pretraining,
    Ranking,
    RewardAware,
    SoftRanking,
    Steps,
)
from burnish.train.session import Loop
from burnish.train.supervised import fit
from burnish.train.tracking import Track


@dataclass(frozen=True)
class Known:
    """A method by name.

    Args:
        noun: what it reads.
        settings: the class of its settings.
        build: makes it from them.
        teacher: whether it needs one.
        iterations: how often a report runs it, each time from the result of the time before and against it.
    """

    noun: type
    settings: type[Any]
    build: Callable[..., Method]
    teacher: bool = False
    iterations: int = 1


def _dpo(s: Dpo) -> Method:
    how = {"beta": s.beta, "nll_weight": s.nll_weight, "sft_weight": s.sft_weight, "sft_sum": s.sft_sum}
    loss = partial(dpo_loss, **how, label_smoothing=s.label_smoothing, normalise=s.normalise)
    return Contrast(loss=loss, mask_formatting=s.mask_formatting)


def _ipo(s: Ipo) -> Method:
    loss = partial(ipo_loss, beta=s.beta, normalise=s.normalise)
    return Contrast(loss=loss, mask_formatting=s.mask_formatting)


def _critique(s: CritiqueDpo) -> Method:
    loss = partial(critique_dpo_loss, beta=s.beta, dpo_weight=s.dpo_weight, ce_weight=s.ce_weight)
    return Contrast(loss=loss, mask_formatting=s.mask_formatting)


def _rpo(s: Rpo) -> Method:
    if s.distance not in DISTANCES:
        raise SettingsError(f"distance is {s.distance!r}; choose one of {', '.join(DISTANCES)}")
    loss = partial(rpo_loss, beta=s.beta, eta=s.eta, distance=s.distance, sft_weight=s.sft_weight)
    return RewardAware(loss=loss, mask_formatting=s.mask_formatting)


def _anchored(s: AnchoredReward) -> Method:
    if s.low is None or s.high is None:
        raise SettingsError("the scores need a scale: --set low=0 --set high=10, or what they were given on")
    return AnchoredRanking(alpha=s.alpha, low=s.low, high=s.high)


METHODS: dict[str, Known] = {
    "distill": Known(
        Demonstration,
        Distil,
        lambda s, teacher: Distillation(teacher=teacher, top_k=s.top_k, train_on=s.train_on),
        teacher=True,
    ),
    "pretrain": Known(
        Document,
        Pretrain,
        lambda s: Pretraining(mix=s.mix, batch_tokens=s.batch_tokens, epochs=s.epochs, seed=s.seed),
    ),
    "sft": Known(
        Demonstration,
        Sft,
        lambda s: Imitation(weighting=s.weighting, noise=s.noise, seed=s.seed, train_on=s.train_on),
    ),
    "reward": Known(Preference, Reward, lambda s: Ranking(margin=s.margin, penalty=s.penalty, isolate=s.isolate)),
    "reward-soft": Known(Preference, SoftReward, lambda s: SoftRanking(grade_weight=s.grade_weight)),
    "reward-anchored": Known(Preference, AnchoredReward, _anchored),
    "reward-attributes": Known(Demonstration, AttributeReward, lambda s: Attributes(names=s.names)),
    "reward-pointwise": Known(Demonstration, PointwiseReward, lambda s: Pointwise()),
    "reward-steps": Known(Demonstration, StepReward, lambda s: Steps()),
    "dpo": Known(Preference, Dpo, _dpo),
    "ipo": Known(Preference, Ipo, _ipo),
    "critique-dpo": Known(Preference, CritiqueDpo, _critique),
    "rpo": Known(Preference, Rpo, _rpo, iterations=3),  # Nemotron-4 §3.3.2
    "kto": Known(
        Demonstration,
        KtoSettings,
        lambda s: Kto(
            beta=s.beta,
            desirable_weight=s.desirable_weight,
            undesirable_weight=s.undesirable_weight,
            mask_formatting=s.mask_formatting,
        ),
    ),
}


def train_iterations(
    run: Run,
    base: Weights,
    rows: Sequence[Any],
    *,
    method: str,
    iterations: int | None = None,
    track: Track | None = None,
    **how: Any,
) -> Weights:
    """Train with a method several times, each a step of `run`: `METHOD-1`, `METHOD-2`, ..., or `METHOD` if it is one.

    Each starts from the result of the one before, which is also its frozen reference (Nemotron-4 §3.3.2, spec A.19),
    with a fresh optimiser and schedule (ASSUMED), on the same rows in the same order (ASSUMED).

    Args:
        iterations: None is what the method's report has: 3 for `rpo`, 1 for the others.
        track: told of every step, numbered on through the iterations.
        how: teacher and settings, as `train_rows`.

    Returns:
        The weights of the last.

    Raises:
        SettingsError: less than one iteration, or as `train_rows`.
    """
    count, done = METHODS[method].iterations if iterations is None else iterations, 0
    if count < 1:
        raise SettingsError(f"iterations is {count}; a method runs at least once")
    for number in range(1, count + 1):
        name = method if count == 1 else f"{method}-{number}"
        told = track and _numbered_on(track, done)
        base = run.step(name, train_rows, base, rows, method=method, track=Runtime(told), **how)
        done += len((Path(base.path) / "metrics.jsonl").read_text("utf-8").splitlines())
    return base


def _numbered_on(track: Track, done: int) -> Track:
    return lambda told: track({**told, "step": told["step"] + done})


def train_rows(
    base: Weights,
    rows: Sequence[Any],
    *,
    method: str,
    teacher: Weights | None = None,
    merge_base: Weights | None = None,
    work: Work | None = None,
    track: Track | None = None,
    **settings: Any,
) -> Outcome:
    """Step: train `base` on rows with a method of `METHODS`.

    Args:
        method: a name of `METHODS`.
        teacher: the weights that `distill` learns from; no other method takes one.
        merge_base: with the setting `merging`, the weights that `base` was tuned from.
        track: told of every step.
        settings: fields of its settings class; what is not given has the default.

    Raises:
        SettingsError: an unknown method or setting, or a value out of range.
        ModelError: a reward model where a causal one is needed.
    """
    if method not in METHODS:
        raise SettingsError(f"there is no method {method!r}; there are {', '.join(METHODS)}")
    known = METHODS[method]
    for name in settings:
        if name not in (names := [f.name for f in fields(known.settings)]):
            raise SettingsError(f"{method} has no setting {name!r}; {nearest(name, names)}")
    chosen = known.settings(**settings)
    built, loop = planned(method, chosen, teacher=teacher, merge_base=merge_base)
    if built.kind == "causal" and base.kind != "causal":
        raise ModelError(f"{base.path} is a {base.kind} model; {method} trains a causal one")
    left = balance_rows(base, rows, width=chosen.balance, seed=chosen.seed) if getattr(chosen, "balance", 0) else None
    taken = rows if left is None else left.rows
    done = fit(base, taken, method=built, loop=loop, work=work, track=track)
    return done if left is None else merged(left, done)


def planned(method: str, chosen: Any, *, teacher: Any = None, merge_base: Any = None) -> tuple[Method, Loop]:
    """The method and the loop that settings make; every value out of range is refused here, before anything is read.

    Args:
        chosen: an instance of the method's settings class.
        teacher: the weights of one, for a method that needs it.
        merge_base: the weights that online merging needs.

    Raises:
        SettingsError: naming the setting.
    """
    known = METHODS[method]
    if known.teacher != (teacher is not None):
        raise SettingsError(f"{method} {'needs' if known.teacher else 'takes no'} teacher: --teacher DIR_OR_HUB_ID")
    built = known.build(chosen, *([teacher] if known.teacher else []))
    return built, Loop(**{f.name: getattr(chosen, f.name) for f in fields(Optimisation)}, merge_base=merge_base)


def balance_rows(base: Weights, rows: Sequence[Preference], *, width: int, seed: int) -> Outcome:
    """`curate.balance_lengths` in tokens of `base`; rows that it cannot read stay, for the loop to drop and count.

    Raises:
        DataError: no row is left.
    """
    found = balance_lengths(rows, width=width, seed=seed, tokenizer=base)
    lost = [one for one in found.dropped if one.reason == BALANCED]
    gone = Counter(one.parents[0] for one in lost)
    kept = []
    for row in rows:
        if gone[row.id]:
            gone[row.id] -= 1
        else:
            kept.append(row)
    if not kept:
        raise DataError(
            f"no pair is left of {len(rows)}: the longer answer always wins, or never; set balance=0 or wider"
        )
    return Outcome(rows=kept, dropped=lost, taken=len(rows), metrics=found.metrics)


def merged(first: Outcome, then: Outcome) -> Outcome:
    """The books of two passes over rows as one."""
    lost = [*first.dropped, *then.dropped]
    return replace(then, dropped=lost, taken=len(lost) + (then.kept or 0), metrics={**then.metrics, **first.metrics})
