"""What a person may set in a training on fresh answers, by method.

The comment of a line is the source of its default: a report's section, ASSUMED where the report is silent, or plumbing.
"""

from __future__ import annotations

from dataclasses import dataclass

from burnish.errors import SettingsError
from burnish.train.methods.settings import Descent
from burnish.train.on_policy.rewards import SECONDS


@dataclass(frozen=True, kw_only=True)
class Asking(Descent):
    """What every method on fresh answers has."""

    lr: float = 1e-6  # DeepSeekMath (arXiv:2402.03300 §4.2); DeepSeek-V2 publishes none
    schedule: str = "constant"  # ASSUMED
    warmup: float = 0.0  # ASSUMED
    rounds: int = 0  # ASSUMED: 0 goes `epochs` times through the prompts
    prompts: int = 16  # DeepSeekMath §4.2: batches of 1,024 answers, 64 to a prompt
    samples: int = 64  # DeepSeekMath §4.2
    updates: int = 1  # DeepSeekMath §4.2: one a round
    temperature: float = 1.0  # ASSUMED
    top_p: float = 1.0  # ASSUMED
    max_new_tokens: int = 1024  # DeepSeekMath §4.2: the length of answers
    most_gap: float = 0.05  # plumbing: nats between sampler and trainer at which to stop

    def __post_init__(self) -> None:
        if not getattr(self, "beta", 0.0) >= 0:
            raise SettingsError(f"beta is {self.beta}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Rounds(Asking):
    """What every method that compares answers by their rewards has."""

    refills: int = 1  # ASSUMED: times that groups without a difference are replaced
    reward_seconds: float = SECONDS  # plumbing: a reward that takes longer is missing
    filter_after: int = 0  # off; groups of a prompt before it may go for its rewards' variance (ChatGLM-RLHF)
    filter_variance: float = 0.0  # ASSUMED: the variance up to which it goes
    reference: str = "fixed"  # DeepSeekMath §4.1.4: every:N rounds anew; WARP (arXiv:2406.16768): ema:MU follows
    adapt: tuple[float, ...] = ()  # off; Ziegler (arXiv:1909.08593 §2.2): target nats of an answer, horizon in answers


@dataclass(frozen=True, kw_only=True)
class GrpoSettings(Rounds):
    """Group relative policy optimisation (DeepSeekMath, arXiv:2402.03300; DeepSeek-V2, arXiv:2405.04434)."""

    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)
    beta: float = 0.04  # DeepSeekMath §4.2
    level: str = "token"  # DeepSeekMath; sequence is DeepSeek-V2's print, sequence_mean GSPO
    over: str = "responses"  # DeepSeekMath: the mean of each answer's tokens; tokens is the mean of all
    std: str = "population"  # ASSUMED: not stated; or sample
    clip_low: float = 0.2  # ASSUMED: no value is published
    clip_high: float = 0.2  # ASSUMED: no value is published
    process: bool = False  # DeepSeekMath §4.1.3: true compares the rewards of steps, the lines of an answer
    same_engine: bool = False  # plumbing: the trainer's log-probabilities of the answers in place of the sampler's


@dataclass(frozen=True, kw_only=True)
class RewardKlSettings(Rounds):
    """GRPO with the divergence inside the rewards of tokens (Baichuan, arXiv:2410.14940)."""

    samples: int = 3  # Baichuan
    beta: float = 0.04  # ASSUMED: not published; GRPO's
    top_k: int = 500  # Baichuan: of the reference's likeliest tokens
    through_kl: bool | None = None  # not published, and must be given: whether the divergence has its own gradient
    over: str = "responses"  # ASSUMED: as GRPO; tokens is the mean of all
    ratio_clip: float = 0.2  # ASSUMED: no value is published; on either side of 1
    keep_weight: float = 0.0  # ASSUMED: gamma, not published; of the divergence on the rows of --keep
    keep_rows: int = 16  # ASSUMED: such rows beside each batch


@dataclass(frozen=True, kw_only=True)
class RlooSettings(Rounds):
    """REINFORCE against the other answers of the group (Ahmadian et al., arXiv:2402.14740)."""

    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)
    samples: int = 4  # the paper: 2 and 4
    beta: float = 0.05  # ASSUMED: inside the reward
    ratio_clip: float = 0.2  # ASSUMED: from the second update of a round on
    same_engine: bool = False  # plumbing: the trainer's log-probabilities of the answers in place of the sampler's


@dataclass(frozen=True, kw_only=True)
class WarpSettings(RlooSettings):
    """One run of WARP: REINFORCE against an anchor that follows the policy (arXiv:2406.16768; Gemma 2)."""

    warmup: float = 0.01  # WARP: 100 of 9,000 steps
    prompts: int = 64  # ASSUMED: WARP's batches of 128 answers, two to a prompt
    samples: int = 2  # ASSUMED: the fewest that have a baseline; WARP publishes none
    temperature: float = 0.9  # WARP
    reference: str = "ema:0.01"  # WARP: mu; the text of one figure says 0.1
    beta: float = 0.1  # WARP


@dataclass(frozen=True, kw_only=True)
class MdlooSettings(Rounds):
    """Mirror descent with leave-one-out advantages (AFM, arXiv:2407.21075)."""

    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)
    samples: int = 8  # ASSUMED: undisclosed
    updates: int = 4  # ASSUMED: undisclosed
    beta: float = 0.05  # ASSUMED: undisclosed; of the divergence from the reference, inside the reward
    gamma: float = 0.1  # ASSUMED: undisclosed; of the divergence from the start of the round, above beta / 2
    same_engine: bool = False  # plumbing: the trainer's log-probabilities of the answers in place of the sampler's


@dataclass(frozen=True, kw_only=True)
class OnlineDpoSettings(Rounds):
    """DPO on the best and the worst of the answers just given (Qwen2, arXiv:2407.10671 §4.3)."""

    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)
    lr: float = 5e-7  # ASSUMED: not published
    prompts: int = 256  # ASSUMED: not published
    samples: int = 8  # ASSUMED: not published
    updates: int = 2  # ASSUMED: not published; batches of 128 pairs
    beta: float = 0.1  # ASSUMED: not published; DPO's (arXiv:2305.18290)
    least_spread: float = 0.0  # ASSUMED: not published; rewards of a pair that differ by less teach nothing
    same_engine: bool = False  # plumbing: the trainer's log-probabilities of the answers in place of the sampler's


@dataclass(frozen=True, kw_only=True)
class DistilOnline(Asking):
    """Distillation from --teacher on the student's own answers (GKD, arXiv:2306.13649; Gemma 2, arXiv:2408.00118)."""

    sequence_parallel: int = 1  # Baichuan, arXiv:2309.14509: processes that share the tokens of a pack (torchrun)
    lr: float = 1e-5  # ASSUMED: Gemma 2 publishes none
    prompts: int = 128  # ASSUMED: of a batch; not published
    samples: int = 1  # GKD, Algorithm 1: one answer to a prompt
    temperature: float = 0.9  # ASSUMED: of the answers; public libraries'
    max_new_tokens: int = 128  # ASSUMED: public libraries'
    share: float = 0.5  # ASSUMED: lambda, rounds of own answers; Gemma 2 publishes none; GKD's best are above 0.25
    beta: float = 0.5  # ASSUMED: 0 the forward KL, 1 the reverse (GKD: best for instructions), else JSD(beta)
    softening: float = 1.0  # ASSUMED: temperature of both distributions in the divergence
    over: str = "responses"  # GKD eq. 1: the mean of each answer's tokens; tokens is the mean of all
    objective: str = "gkd"  # Gemma 2 cites both: minillm (arXiv:2306.08543) is the reverse KL of whole answers
