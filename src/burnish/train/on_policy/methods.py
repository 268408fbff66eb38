"""The methods on fresh answers by name, what a person may set in each, and the step that trains with one.

The comment of a line is the source of its default: a report's section, ASSUMED where the report is silent, or plumbing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from burnish.errors import ModelError, SettingsError
from burnish.losses.on_policy import Clip
from burnish.protocols import Work
from burnish.records import Prompt, Weights
from burnish.runs import Outcome, nearest
from burnish.train.methods.settings import Descent
from burnish.train.on_policy.loop import Exploring, fit_fresh
from burnish.train.on_policy.objective import Fresh, Grpo, Mdloo, Rloo
from burnish.train.on_policy.rewards import Rewarder
from burnish.train.session import Loop
from burnish.train.tracking import Track


@dataclass(frozen=True, kw_only=True)
class Rounds(Descent):
    """What every method on fresh answers has."""

    lr: float = 1e-6  # DeepSeekMath (arXiv:2402.03300 §4.2); DeepSeek-V2 publishes none
    schedule: str = "constant"  # ASSUMED
    warmup: float = 0.0  # ASSUMED
    rounds: int = 0  # ASSUMED: 0 goes `epochs` times through the prompts
    prompts: int = 16  # DeepSeekMath §4.2: batches of 1,024 answers, 64 to a prompt
    samples: int = 64  # DeepSeekMath §4.2
    updates: int = 1  # DeepSeekMath §4.2: one a round
    refills: int = 1  # ASSUMED: times that groups without a difference are replaced
    temperature: float = 1.0  # ASSUMED
    top_p: float = 1.0  # ASSUMED
    max_new_tokens: int = 1024  # DeepSeekMath §4.2: the length of answers
    most_gap: float = 0.05  # plumbing: nats between sampler and trainer at which to stop

    def __post_init__(self) -> None:
        if not getattr(self, "beta", 0.0) >= 0:
            raise SettingsError(f"beta is {self.beta}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class GrpoSettings(Rounds):
    """Group relative policy optimisation (DeepSeekMath, arXiv:2402.03300; DeepSeek-V2, arXiv:2405.04434)."""

    beta: float = 0.04  # DeepSeekMath §4.2
    level: str = "token"  # DeepSeekMath; sequence is DeepSeek-V2's print, sequence_mean GSPO
    over: str = "responses"  # DeepSeekMath: the mean of each answer's tokens; tokens is the mean of all
    std: str = "population"  # ASSUMED: not stated; or sample
    clip_low: float = 0.2  # ASSUMED: no value is published
    clip_high: float = 0.2  # ASSUMED: no value is published


@dataclass(frozen=True, kw_only=True)
class RlooSettings(Rounds):
    """REINFORCE against the other answers of the group (Ahmadian et al., arXiv:2402.14740)."""

    samples: int = 4  # the paper: 2 and 4
    beta: float = 0.05  # ASSUMED: inside the reward
    ratio_clip: float = 0.2  # ASSUMED: from the second update of a round on


@dataclass(frozen=True, kw_only=True)
class MdlooSettings(Rounds):
    """Mirror descent with leave-one-out advantages (AFM, arXiv:2407.21075)."""

    samples: int = 8  # ASSUMED: undisclosed
    updates: int = 4  # ASSUMED: undisclosed
    beta: float = 0.05  # ASSUMED: undisclosed; of the divergence from the reference, inside the reward
    gamma: float = 0.1  # ASSUMED: undisclosed; of the divergence from the start of the round, above beta / 2


@dataclass(frozen=True)
class Known:
    """A method by name: the class of its settings, and what makes it from them."""

    settings: type[Rounds]
    build: Callable[..., Fresh]


FRESH: dict[str, Known] = {
    "grpo": Known(
        GrpoSettings,
        lambda s: Grpo(beta=s.beta, level=s.level, over=s.over, std=s.std, clip_low=s.clip_low, clip_high=s.clip_high),
    ),
    "rloo": Known(RlooSettings, lambda s: Rloo(beta=s.beta, clip=s.ratio_clip)),
    "mdloo": Known(MdlooSettings, lambda s: Mdloo(beta=s.beta, gamma=s.gamma)),
}


def planned_fresh(chosen: Rounds, name: str) -> tuple[Fresh, Loop, Exploring]:
    """The method, the loop and the rounds that settings make; every value out of range is refused here.

    Raises:
        SettingsError: naming the setting.
    """
    built = FRESH[name].build(chosen)
    told = {
        "level": ("token", "sequence", "sequence_mean"),
        "over": ("responses", "tokens"),
        "std": ("population", "sample"),
    }
    for setting, words in told.items():
        if getattr(chosen, setting, words[0]) not in words:
            raise SettingsError(f"{setting} is {getattr(chosen, setting)!r}; choose one of {', '.join(words)}")
    gamma = getattr(chosen, "gamma", math.inf)
    if not gamma > chosen.beta / 2:
        raise SettingsError(f"gamma is {gamma}; above beta / 2 ({chosen.beta / 2:g}) the rounds converge, below not")
    if name == "rloo" and not 0 <= chosen.ratio_clip <= 1:
        raise SettingsError(f"ratio_clip is {chosen.ratio_clip}; it is how far a ratio counts from 1, from 0 to 1")
    if name == "grpo":
        Clip(low=chosen.clip_low, high=chosen.clip_high)  # refuses what bounds nothing
    exploring = Exploring(**{f.name: getattr(chosen, f.name) for f in fields(Exploring)})
    loop = Loop(batch_rows=chosen.prompts, **{f.name: getattr(chosen, f.name) for f in fields(Descent)})
    return built, loop, exploring


def train_fresh(
    base: Weights,
    rows: Sequence[Prompt],
    *,
    method: str,
    rewarder: Rewarder,
    work: Work | None = None,
    track: Track | None = None,
    **settings: Any,
) -> Outcome:
    """Step: train `base` on its own answers with a method of `FRESH`.

    Args:
        rows: the prompts.
        rewarder: what an answer is worth.
        settings: fields of the method's settings class; what is not given has the default.

    Raises:
        SettingsError: an unknown method or setting, or a value out of range.
        ModelError: a reward model where a causal one is needed.
    """
    if method not in FRESH:
        raise SettingsError(f"there is no method {method!r}; there are {', '.join(FRESH)}")
    names = [f.name for f in fields(FRESH[method].settings)]
    for name in settings:
        if name not in names:
            raise SettingsError(f"{method} has no setting {name!r}; {nearest(name, names)}")
    if base.kind != "causal":
        raise ModelError(f"{base.path} is a {base.kind} model; {method} trains a causal one")
    built, loop, exploring = planned_fresh(FRESH[method].settings(**settings), method)
    how = {"method": built, "loop": loop, "exploring": exploring, "rewarder": rewarder}
    return fit_fresh(base, rows, **how, work=work, track=track)
