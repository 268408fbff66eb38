"""The methods on fresh answers by name, and the step that trains with one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from burnish.errors import ModelError, SettingsError
from burnish.losses.on_policy import Clip
from burnish.protocols import Work
from burnish.records import Demonstration, Prompt, Weights
from burnish.runs import Outcome, nearest
from burnish.train.methods.settings import Descent
from burnish.train.on_policy.exploring import Exploring
from burnish.train.on_policy.loop import fit_fresh
from burnish.train.on_policy.objectives import (
    Adapting,
    Following,
    Fresh,
    Grpo,
    Mdloo,
    OnlineDistillation,
    OnlineDpo,
    RewardKl,
    Rloo,
)
from burnish.train.on_policy.rewards import Rewarder
from burnish.train.on_policy.rollouts import Served, Tools
from burnish.train.on_policy.settings import (
    Asking,
    DistilOnline,
    GrpoSettings,
    MdlooSettings,
    OnlineDpoSettings,
    RewardKlSettings,
    RlooSettings,
    Rounds,
    WarpSettings,
)
from burnish.train.session import Loop
from burnish.train.tracking import Track

WORDS = {
    "level": ("token", "sequence", "sequence_mean"),
    "over": ("responses", "tokens"),
    "std": ("population", "sample"),
}


@dataclass(frozen=True)
class Known:
    """A method by name.

    Args:
        settings: the class of its settings.
        build: makes it from them, and from the teacher if it has one.
        rewards: whether it compares answers by rewards.
        teacher: whether it learns from a teacher.
    """

    settings: type[Asking]
    build: Callable[..., Fresh]
    rewards: bool = True
    teacher: bool = False

    def noun(self, chosen: Asking) -> type:
        """What it reads: prompts, or prompts with an answer each where given answers are learned from."""
        return Demonstration if getattr(chosen, "share", 1.0) < 1 else Prompt


def _moves(s: Rounds) -> dict[str, Any]:
    """What becomes of the reference and of its weight."""
    return {"beta": s.beta, "following": Following.of(s.reference), "adapting": Adapting.of(s.adapt)}


def _rloo(s: RlooSettings) -> Fresh:
    return Rloo(clip=s.ratio_clip, **_moves(s))


def _grpo(s: GrpoSettings) -> Fresh:
    how = {"level": s.level, "over": s.over, "std": s.std, "clip_low": s.clip_low, "clip_high": s.clip_high}
    return Grpo(**how, by_steps=s.process, **_moves(s))


def _reward_kl(s: RewardKlSettings) -> Fresh:
    if s.through_kl is None:
        raise SettingsError(
            "through_kl must be given, as the report does not say: false gives a token the credit for the divergence "
            "after it, true also draws the policy to the reference (--set through_kl=true)"
        )
    how = {"over": s.over, "clip": s.ratio_clip}
    keep = {"keep_weight": s.keep_weight, "keep_rows": s.keep_rows}
    return RewardKl(top_k=s.top_k, through_kl=s.through_kl, **how, **keep, **_moves(s))


def _distil(s: DistilOnline, teacher: Weights) -> Fresh:
    how = {"share": s.share, "mix": s.beta, "softening": s.softening, "over": s.over, "objective": s.objective}
    return OnlineDistillation(teacher=teacher, **how)


FRESH: dict[str, Known] = {
    "grpo": Known(GrpoSettings, _grpo),
    "grpo-reward-kl": Known(RewardKlSettings, _reward_kl),
    "rloo": Known(RlooSettings, _rloo),
    "mdloo": Known(MdlooSettings, lambda s: Mdloo(gamma=s.gamma, **_moves(s))),
    "warp": Known(WarpSettings, _rloo),
    "online-dpo": Known(OnlineDpoSettings, lambda s: OnlineDpo(least_spread=s.least_spread, **_moves(s))),
    "distill-online": Known(DistilOnline, _distil, rewards=False, teacher=True),
}


def planned_fresh(
    chosen: Asking, name: str, *, teacher: Any = None, merge_base: Any = None
) -> tuple[Fresh, Loop, Exploring]:
    """The method, the loop and the rounds that settings make; every value out of range is refused here.

    Args:
        teacher: the weights of one, for a method that learns from it.
        merge_base: the weights that online merging needs.

    Raises:
        SettingsError: naming the setting.
    """
    known = FRESH[name]
    if known.teacher != (teacher is not None):
        raise SettingsError(f"{name} {'needs' if known.teacher else 'takes no'} teacher: --teacher DIR_OR_HUB_ID")
    for setting, words in WORDS.items():
        if getattr(chosen, setting, words[0]) not in words:
            raise SettingsError(f"{setting} is {getattr(chosen, setting)!r}; choose one of {', '.join(words)}")
    built = known.build(chosen, *([teacher] if known.teacher else []))
    _check(chosen, name, built)
    there = [f.name for f in fields(Exploring) if hasattr(chosen, f.name)]
    exploring = Exploring(**{setting: getattr(chosen, setting) for setting in there})
    exploring.check(built)
    descent = {f.name: getattr(chosen, f.name) for f in fields(Descent)}
    shared = getattr(chosen, "sequence_parallel", 1)
    loop = Loop(batch_rows=chosen.prompts, **descent, sequence_parallel=shared, merge_base=merge_base)
    return built, loop, exploring


def _check(chosen: Asking, name: str, built: Fresh) -> None:
    """Raises SettingsError for a value out of range, or one that would do nothing."""
    if isinstance(chosen, MdlooSettings) and not chosen.gamma > chosen.beta / 2:
        raise SettingsError(
            f"gamma is {chosen.gamma}; above beta / 2 ({chosen.beta / 2:g}) the rounds converge, below not"
        )
    if isinstance(chosen, RlooSettings | RewardKlSettings) and not 0 <= chosen.ratio_clip <= 1:
        raise SettingsError(f"ratio_clip is {chosen.ratio_clip}; it is how far a ratio counts from 1, from 0 to 1")
    if isinstance(chosen, RewardKlSettings):
        _check_reward_kl(chosen)
    if isinstance(chosen, GrpoSettings):
        Clip(low=chosen.clip_low, high=chosen.clip_high)  # refuses what bounds nothing
    if getattr(chosen, "process", False) and chosen.level != "token":
        raise SettingsError(f"level is {chosen.level!r}; process=true has advantages of tokens: level=token")
    if isinstance(chosen, OnlineDpoSettings):
        if not chosen.beta > 0:
            raise SettingsError(f"beta is {chosen.beta}; the loss of {name} needs one above 0")
        if not (chosen.least_spread >= 0 and math.isfinite(chosen.least_spread)):
            raise SettingsError(f"least_spread is {chosen.least_spread}; it is a difference of rewards, 0 or more")
    if built.following.moves and chosen.lora_rank:
        raise SettingsError("a reference that moves takes in all weights; set reference=fixed or lora_rank=0")
    idle = [s for s, given in (("reference", built.following.moves), ("adapt", built.adapting)) if given]
    if idle and not built.beta:
        raise SettingsError(f"{idle[0]} is set and beta is 0, so that nothing looks at the reference; raise beta")


def _check_reward_kl(chosen: RewardKlSettings) -> None:
    if chosen.top_k < 2:
        raise SettingsError(f"top_k is {chosen.top_k}; a divergence over fewer than two tokens is always 0")
    if not (chosen.keep_weight >= 0 and math.isfinite(chosen.keep_weight)):
        raise SettingsError(f"keep_weight is {chosen.keep_weight}; below 0 it would reward leaving the original model")
    if chosen.keep_rows < 1:
        raise SettingsError(f"keep_rows is {chosen.keep_rows}; it must be at least 1 (keep_weight=0 uses none)")


def train_fresh(
    base: Weights,
    rows: Sequence[Prompt] | Sequence[Demonstration],
    *,
    method: str,
    rewarder: Rewarder | None = None,
    sampler: Served | None = None,
    tools: Tools | None = None,
    teacher: Weights | None = None,
    merge_base: Weights | None = None,
    keep: Sequence[Demonstration] = (),
    work: Work | None = None,
    track: Track | None = None,
    **settings: Any,
) -> Outcome:
    """Step: train `base` on its own answers with a method of `FRESH`.

    Args:
        rows: the prompts; for `distill-online` with a share below 1, demonstrations.
        rewarder: what an answer is worth, for a method that compares answers by it.
        sampler: a server that draws the answers; None draws them in this process.
        tools: what the answers may call.
        teacher: the weights that `distill-online` learns from; no other method takes one.
        merge_base: with the setting `merging`, the weights that `base` was tuned from.
        keep: for `grpo-reward-kl` with a `keep_weight`, supervised rows on which the policy stays near its start.
        settings: fields of the method's settings class; what is not given has the default.

    Raises:
        SettingsError: an unknown method or setting, a value out of range, or rows to keep, a rewarder or a teacher too
            many or missing.
        ModelError: a reward model where a causal one is needed, or a teacher with other tokens.
    """
    if method not in FRESH:
        raise SettingsError(f"there is no method {method!r}; there are {', '.join(FRESH)}")
    known = FRESH[method]
    names = [f.name for f in fields(known.settings)]
    for name in settings:
        if name not in names:
            raise SettingsError(f"{method} has no setting {name!r}; {nearest(name, names)}")
    if known.rewards != (rewarder is not None):
        raise SettingsError(f"{method} {'needs' if known.rewards else 'takes no'} rewarder")
    for weights in filter(None, (base, teacher)):
        if weights.kind != "causal":
            raise ModelError(f"{weights.path} is a {weights.kind} model; {method} trains a causal one")
    built, loop, exploring = planned_fresh(known.settings(**settings), method, teacher=teacher, merge_base=merge_base)
    if isinstance(built, OnlineDistillation):
        rows, given = with_answers(rows)
        built = replace(built, given=given)
    check_keep(settings.get("keep_weight", 0.0), rows=bool(keep))
    if isinstance(built, RewardKl):
        built = replace(built, keep=keep)
    how = {"method": built, "loop": loop, "exploring": exploring, "rewarder": rewarder}
    return fit_fresh(base, rows, **how, sampler=sampler, tools=tools, work=work, track=track)


def check_keep(weight: float, *, rows: bool) -> None:
    """Raises SettingsError unless rows to stay close on come with a weight, and a weight with rows."""
    if bool(weight) != rows:
        raise SettingsError(
            f"keep_weight is {weight}, and there are no rows to stay close on: --keep FILE"
            if weight
            else "--keep is for grpo-reward-kl with --set keep_weight=0.1 or so"
        )


def with_answers(
    rows: Sequence[Prompt] | Sequence[Demonstration],
) -> tuple[list[Prompt], dict[str, list[Demonstration]]]:
    """The prompts of rows, each once, and what is given to each by id."""
    prompts: dict[str, Prompt] = {}
    given: dict[str, list[Demonstration]] = {}
    for row in rows:
        one = row if isinstance(row, Prompt) else Prompt(messages=row.context)
        prompts.setdefault(one.id, one)
        if isinstance(row, Demonstration):
            given.setdefault(one.id, []).append(row)
    return list(prompts.values()), given
