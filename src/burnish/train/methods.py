"""The methods that `burnish train` knows: which rows each reads, its settings with their sources, how it is built.

A settings class lists what a person may set. The comment of a line is the source of its default: a report's section,
ASSUMED where the report is silent, or plumbing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from burnish.errors import ModelError, SettingsError
from burnish.losses import critique_dpo_loss, dpo_loss, ipo_loss
from burnish.protocols import Work
from burnish.records import Demonstration, Preference, Weights
from burnish.runs import Outcome, nearest
from burnish.train.objectives import (
    AnchoredRanking,
    Attributes,
    Contrast,
    Distillation,
    Imitation,
    Kto,
    Method,
    Pointwise,
    Ranking,
    RewardAware,
    SoftRanking,
)
from burnish.train.session import Loop
from burnish.train.supervised import fit
from burnish.train.tracking import Track


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """What every method has."""

    lr: float = 1e-5  # Llama 3 §4.1.3, §4.1.4: SFT and DPO
    epochs: int = 1  # ASSUMED: reports give steps
    batch_rows: int = 128  # ASSUMED: not reported
    schedule: str = "cosine"  # ASSUMED: to a tenth of the peak; or linear, constant
    warmup: float = 0.03  # ASSUMED: share of the steps
    weight_decay: float = 0.1  # ASSUMED: on matrices only
    clip: float | None = 1.0  # ASSUMED: largest gradient norm; none does not clip
    seed: int = 0  # ASSUMED: order of the rows, and a new head
    max_length: int | None = None  # plumbing: tokens of a prompt and an answer; none is the model's context
    refuse_above: float = 0.01  # plumbing: share of rows that may be too long or malformed before training is refused
    pack_tokens: int = 8192  # plumbing: tokens of a pack
    lora_rank: int = 0  # arXiv:2106.09685: rank of the adapters; 0 trains all weights
    lora_alpha: float | None = None  # ASSUMED: none is twice the rank

    def __post_init__(self) -> None:
        if not getattr(self, "beta", 1.0) > 0:
            raise SettingsError(f"beta is {self.beta}; it must be above 0")
        if not 0 <= getattr(self, "label_smoothing", 0.0) <= 1:
            raise SettingsError(f"label_smoothing is {self.label_smoothing}; it is a share of labels, from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Sft(Optimisation):
    """Supervised fine-tuning on the last answer of each dialogue."""

    epochs: int = 3  # ASSUMED: Llama 3 §4.1.3 gives 8,500 to 9,000 steps
    weighting: str = "token"  # Llama 3 §4.1.3: token; sequence is LongAlign's (arXiv:2401.18058), GLM-4
    noise: float = 0.0  # NEFTune's alpha (arXiv:2310.05914); Yi: 45 for 34B, 5 for 6B


@dataclass(frozen=True, kw_only=True)
class Reward(Optimisation):
    """Bradley-Terry on chosen over rejected, and on edited over chosen over rejected."""

    margin: bool = False  # Llama 3 §4.1.2 drops it; true reads the column margin (Llama 2, arXiv:2307.09288 eq. 2)
    penalty: float = 0.0  # ASSUMED: weight of the squared scores (ChatGLM-RLHF, arXiv:2404.00934, gives the form only)
    isolate: bool = True  # ASSUMED: each answer of a row sees the prompt and itself alone


@dataclass(frozen=True, kw_only=True)
class SoftReward(Optimisation):
    """Bradley-Terry with a soft label by strength: 0.95, 0.85, 0.75, 0.65 (AFM, arXiv:2407.21075)."""


@dataclass(frozen=True, kw_only=True)
class AnchoredReward(Optimisation):
    """Bradley-Terry and squared errors to chosen_score and rejected_score (Baichuan, arXiv:2410.14940)."""

    alpha: float = 0.1  # ASSUMED: not published
    low: float | None = None  # the scale of the scores; must be given
    high: float | None = None  # the scale of the scores; must be given


@dataclass(frozen=True, kw_only=True)
class AttributeReward(Optimisation):
    """Regression on graded attributes (HelpSteer2, arXiv:2406.08673; Nemotron-4)."""

    names: tuple[str, ...] = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")  # HelpSteer2


@dataclass(frozen=True, kw_only=True)
class PointwiseReward(Optimisation):
    """Binary cross-entropy on answers labelled good or bad (DeepSeek-V2, arXiv:2405.04434; the form is ASSUMED)."""


@dataclass(frozen=True, kw_only=True)
class Dpo(Optimisation):
    """Direct preference optimisation (arXiv:2305.18290), as Llama 3 has it by default."""

    beta: float = 0.1  # Llama 3 §4.1.4
    nll_weight: float = 0.2  # Llama 3 §4.1.4: on the chosen answer, a token mean (ASSUMED)
    sft_weight: float = 0.0  # Nemotron-4 §3.3.2: 1e-5 to 1e-3, on the chosen answer
    sft_sum: bool = True  # ASSUMED: the SFT term sums over tokens; false takes their mean
    label_smoothing: float = 0.0  # cDPO: share of labels taken to be wrong
    normalise: bool = False  # ASSUMED: token means instead of sums in the log-ratios
    mask_formatting: bool = True  # Llama 3 §4.1.4: headers and terminators are left out of the log-ratios


@dataclass(frozen=True, kw_only=True)
class Ipo(Optimisation):
    """IPO (arXiv:2310.12036)."""

    beta: float = 0.1  # tau of the paper's eq. 17
    normalise: bool = True  # the paper's results, after TRL's authors; false is eq. 17 as printed
    mask_formatting: bool = False  # not in the paper


@dataclass(frozen=True, kw_only=True)
class CritiqueDpo(Optimisation):
    """DPO and cross-entropy with lambda on either side (ChatGLM-Math, arXiv:2404.02893)."""

    beta: float = 0.1  # ASSUMED: not published
    dpo_weight: float = 1.0  # lambda of the paper's formula stands here
    ce_weight: float = 1.0  # lambda of the paper's text stands here
    mask_formatting: bool = False  # not in the paper


@dataclass(frozen=True, kw_only=True)
class Rpo(Optimisation):
    """Reward-aware preference optimisation (Nemotron-4, arXiv:2406.11704); needs chosen_score and rejected_score."""

    lr: float = 3e-7  # Nemotron-4 §3.3.2
    schedule: str = "constant"  # ASSUMED
    beta: float = 0.1  # Nemotron-4 §3.3.2: searched in 1e-3 to 1
    eta: float = 1.0  # Nemotron-4 §3.3.2
    distance: str = "backward"  # Nemotron-4 §3.3.2; or forward, squared
    sft_weight: float = 1e-5  # Nemotron-4 §3.3.2
    mask_formatting: bool = False  # not in the report


@dataclass(frozen=True, kw_only=True)
class KtoSettings(Optimisation):
    """KTO (arXiv:2402.01306) on answers with a label, true or false."""

    beta: float = 0.1  # the paper's experiments
    desirable_weight: float = 1.0  # the paper: balance the two kinds
    undesirable_weight: float = 1.0  # the paper: balance the two kinds
    mask_formatting: bool = False  # not in the paper


@dataclass(frozen=True, kw_only=True)
class Distil(Optimisation):
    """Distillation by token from --teacher (Gemma 2, arXiv:2408.00118)."""

    top_k: int = 0  # ASSUMED: the teacher's likeliest tokens; 0 uses the whole distribution


@dataclass(frozen=True)
class Known:
    """A method by name: the noun it reads, its settings, how it is built from them, and whether it needs a teacher."""

    noun: type
    settings: type[Any]
    build: Callable[..., Method]
    teacher: bool = False


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


def _anchored(s: AnchoredReward) -> Method:
    if s.low is None or s.high is None:
        raise SettingsError("the scores need a scale: --set low=0 --set high=10, or what they were given on")
    return AnchoredRanking(alpha=s.alpha, low=s.low, high=s.high)


METHODS: dict[str, Known] = {
    "distill": Known(
        Demonstration, Distil, lambda s, teacher: Distillation(teacher=teacher, top_k=s.top_k), teacher=True
    ),
    "sft": Known(Demonstration, Sft, lambda s: Imitation(weighting=s.weighting, noise=s.noise, seed=s.seed)),
    "reward": Known(Preference, Reward, lambda s: Ranking(margin=s.margin, penalty=s.penalty, isolate=s.isolate)),
    "reward-soft": Known(Preference, SoftReward, lambda s: SoftRanking()),
    "reward-anchored": Known(Preference, AnchoredReward, _anchored),
    "reward-attributes": Known(Demonstration, AttributeReward, lambda s: Attributes(names=s.names)),
    "reward-pointwise": Known(Demonstration, PointwiseReward, lambda s: Pointwise()),
    "dpo": Known(Preference, Dpo, _dpo),
    "ipo": Known(Preference, Ipo, _ipo),
    "critique-dpo": Known(Preference, CritiqueDpo, _critique),
    "rpo": Known(
        Preference,
        Rpo,
        lambda s: RewardAware(
            beta=s.beta, eta=s.eta, distance=s.distance, sft_weight=s.sft_weight, mask_formatting=s.mask_formatting
        ),
    ),
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


def train_rows(
    base: Weights,
    rows: Sequence[Any],
    *,
    method: str,
    teacher: Weights | None = None,
    work: Work | None = None,
    track: Track | None = None,
    **settings: Any,
) -> Outcome:
    """Step: train `base` on rows with a method of `METHODS`.

    Args:
        method: a name of `METHODS`.
        teacher: the weights that `distill` learns from; no other method takes one.
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
    if known.teacher != (teacher is not None):
        raise SettingsError(f"{method} {'needs' if known.teacher else 'takes no'} teacher: --teacher DIR_OR_HUB_ID")
    built = known.build(chosen, *([teacher] if known.teacher else []))
    if built.kind == "causal" and base.kind != "causal":
        raise ModelError(f"{base.path} is a {base.kind} model; {method} trains a causal one")
    shared = {f.name: getattr(chosen, f.name) for f in fields(Optimisation)}
    return fit(base, rows, method=built, loop=Loop(**shared), work=work, track=track)
