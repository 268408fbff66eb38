"""What a person may set in a training, by method.

The comment of a line is the source of its default: a report's section, ASSUMED where the report is silent, or plumbing.
"""

from __future__ import annotations

from dataclasses import dataclass

from burnish.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Descent:
    """What every method has, on fixed rows or on fresh answers."""

    lr: float = 1e-5  # Llama 3 §4.1.3, §4.1.4: SFT and DPO
    epochs: int = 1  # ASSUMED: reports give steps
    schedule: str = "cosine"  # ASSUMED: to the floor; or linear, constant
    floor: float = 0.1  # ASSUMED: share of the peak that the cosine ends at
    warmup: float = 0.03  # ASSUMED: share of the steps
    weight_decay: float = 0.1  # ASSUMED: on matrices only
    beta2: float = 0.999  # ASSUMED: AdamW's decay of the second moment; pre-training often takes 0.95
    clip: float | None = 1.0  # ASSUMED: largest gradient norm; none does not clip
    seed: int = 0  # ASSUMED: order of the rows, and a new head
    max_length: int | None = None  # plumbing: tokens of a prompt and an answer, or of a text; none is the context
    refuse_above: float = 0.01  # plumbing: share of rows that may be too long or malformed before training is refused
    pack_tokens: int = 8192  # plumbing: tokens of a pack
    lora_rank: int = 0  # arXiv:2106.09685: rank of the adapters; 0 trains all weights
    lora_alpha: float | None = None  # ASSUMED: none is twice the rank
    ema: float = 0.0  # off; the decay of an average of the weights, then the result (WARP, arXiv:2406.16768: 0.99)
    recompute: int = 0  # Baichuan (arXiv:2410.14940): layers computed again as one; less memory; 0 keeps all
    merging: str = "none"  # off; Qwen2 §4.3 (arXiv:2405.17931): dare,keep=0.01,alpha=1e-7 or ties; with --merge-base


@dataclass(frozen=True, kw_only=True)
class Optimisation(Descent):
    """What every method on fixed rows has."""

    batch_rows: int = 128  # ASSUMED: not reported
    batch_of: str = "rows"  # or prompts: all rows of 128 prompts a batch (Self-Contrast, arXiv:2404.00604)
    length_group: int = 0  # LongAlign (arXiv:2401.18058), GLM-4: rows of like length together; 0 shuffles all
    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)

    def __post_init__(self) -> None:
        if not getattr(self, "beta", 1.0) > 0:
            raise SettingsError(f"beta is {self.beta}; it must be above 0")
        if not 0 <= getattr(self, "label_smoothing", 0.0) <= 1:
            raise SettingsError(f"label_smoothing is {self.label_smoothing}; it is a share of labels, from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Sft(Optimisation):
    """Supervised fine-tuning on the last answer of each dialogue, or on every answer (`train_on=all`)."""

    epochs: int = 3  # ASSUMED: Llama 3 §4.1.3 gives 8,500 to 9,000 steps
    weighting: str = "token"  # Llama 3 §4.1.3: token; sequence is LongAlign's (arXiv:2401.18058), GLM-4
    noise: float = 0.0  # NEFTune's alpha (arXiv:2310.05914); Yi: 45 for 34B, 5 for 6B
    train_on: str = "last"  # ASSUMED: the last answer of a dialogue; all trains every assistant message that is on


@dataclass(frozen=True, kw_only=True)
class Pretrain(Optimisation):
    """Continued pre-training on raw text (column text): every token but a document's first."""

    lr: float = 8e-5  # Llama 3 §3.4.1, the 405B; Table 3: 1.5e-4 for 70B, 3e-4 for 8B
    mix: tuple[float, ...] = ()  # ASSUMED: shares of the tokens in the order of --data; Llama 3 §4.3.1: 0.85 code
    batch_tokens: int = 0  # ASSUMED: trained tokens of a batch in place of batch_rows; 0 counts rows


@dataclass(frozen=True, kw_only=True)
class Reward(Optimisation):
    """Bradley-Terry on chosen over rejected, and on edited over chosen over rejected."""

    margin: bool = False  # Llama 3 §4.1.2 drops it; true reads the column margin (Llama 2, arXiv:2307.09288 eq. 2)
    penalty: float = 0.0  # ASSUMED: weight of the squared scores (ChatGLM-RLHF, arXiv:2404.00934, gives the form only)
    isolate: bool = True  # ASSUMED: each answer of a row sees the prompt and itself alone
    balance: int = 0  # ChatGLM-RLHF: in buckets this wide (ASSUMED, in tokens) the longer wins as often; 0 does not


@dataclass(frozen=True, kw_only=True)
class SoftReward(Optimisation):
    """Bradley-Terry with a soft label by strength, 0.95, 0.85, 0.75, 0.65, and graded heads (AFM, arXiv:2407.21075)."""

    grade_weight: float = 0.1  # ASSUMED: undisclosed; weight of the loss of the graded heads; 0 trains none


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
class StepReward(Optimisation):
    """Binary cross-entropy on labelled reasoning steps (Llama 3 §4.3.3; Math-Shepherd, arXiv:2312.08935)."""


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
    train_on: str = "last"  # ASSUMED: the last answer of a dialogue; all trains every assistant message that is on
