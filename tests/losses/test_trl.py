"""TRL's own loss code on the same numbers: DPO, IPO, KTO and Bradley-Terry, value and gradient, float32 to 1e-5.

The trainers' loss methods are called unbound, with a stand-in for the model that returns given log-probabilities, so
that nothing but the loss is compared. What differs on purpose is in the last tests.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from burnish.losses import (
    dpo_loss,
    ipo_loss,
    kto_loss,
    ordered_pairs,
    pair_sums,
    penalised_reward_loss,
    response_sums,
    reward_loss,
)

trl = pytest.importorskip("trl", reason="pip install 'burnish[bench]' for the comparison with TRL")

PROMPT = 3  # tokens of every prompt
CLOSE = {"rel": 1e-5, "abs": 1e-6}


def answers(lengths: list[int], seed: int) -> list[Tensor]:
    """Log-probabilities of the tokens of each answer, float32."""
    generator = torch.Generator().manual_seed(seed)
    return [-3 * torch.rand(length, generator=generator) for length in lengths]


def padded(values: list[Tensor]) -> Tensor:
    """As TRL's model gives them: [answers, longest - 1], with 0 on the prompt and on the padding."""
    return torch.stack([torch.cat([torch.zeros(PROMPT - 1), row]) for row in pad_sequence(values, batch_first=True)])


def stand_in(log_probs: Tensor) -> Any:
    """A model that knows its answer."""
    zeros = torch.zeros_like(log_probs)
    found = {"log_probs": log_probs, "entropy": zeros, "mean_logits": zeros, "is_top1": zeros.bool()}
    return lambda **_: SimpleNamespace(**found)


def trainer(**more: Any) -> SimpleNamespace:
    """What a loss method asks of its trainer."""
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
    usual = {"aux_loss_enabled": False, "precompute_ref_logps": True, "_total_train_tokens": 0, "_tp_size": 1}
    metrics = defaultdict(lambda: defaultdict(list))
    model = SimpleNamespace(training=True)
    return SimpleNamespace(accelerator=accelerator, model=model, _metrics=metrics, **usual, **more)


def masks(values: list[Tensor]) -> dict[str, Tensor]:
    """Inputs whose ids say nothing; where there is a completion."""
    mask = torch.stack(
        [
            torch.cat([torch.zeros(PROMPT, dtype=torch.int64), row])
            for row in pad_sequence([torch.ones(len(v), dtype=torch.int64) for v in values], batch_first=True)
        ]
    )
    return {"input_ids": torch.zeros_like(mask), "attention_mask": torch.ones_like(mask), "completion_mask": mask}


def flat(values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Our form: all tokens end to end, and the number of each one's answer."""
    owner = torch.repeat_interleave(torch.arange(len(values)), torch.tensor([len(v) for v in values]))
    return torch.cat(values), owner


CHOSEN, REJECTED = [4, 9, 1, 6], [7, 2, 5, 6]


def theirs_on_pairs(policy: list[Tensor], reference: list[Tensor], losses: dict[str, float], beta: float) -> Tensor:
    """TRL's loss; the answers are all chosen ones, then all rejected ones."""
    sums = torch.stack([row.sum() for row in reference])
    given = dict(zip(("ref_chosen_logps", "ref_rejected_logps"), sums.chunk(2), strict=True))
    stub = trainer(
        beta=beta,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        label_smoothing=0.0,
        loss_types=list(losses),
        loss_weights=list(losses.values()),
        use_weighting=False,
    )
    return trl.DPOTrainer._compute_loss(stub, stand_in(padded(policy)), {**masks(policy), **given}, False)


def ours_on_pairs(policy: list[Tensor], reference: list[Tensor], loss: Any) -> Tensor:
    order = [place for pair in zip(range(len(policy) // 2), range(len(policy) // 2, len(policy)), strict=True)
             for place in pair]  # fmt: skip
    tokens, owner = flat([policy[place] for place in order])
    old, _ = flat([reference[place] for place in order])
    sums = pair_sums(tokens, old, owner, torch.zeros(len(tokens), dtype=torch.bool), pairs_here=len(order) // 2)
    return loss(sums, pairs=len(order) // 2)[0]


def agree(one: Tensor, other: Tensor, leaves: list[Tensor]) -> None:
    assert one.dtype == other.dtype == torch.float32
    assert one.item() == pytest.approx(other.item(), **CLOSE)
    for mine, theirs in zip(torch.autograd.grad(one, leaves), torch.autograd.grad(other, leaves), strict=True):
        assert theirs.norm() > 0 and (mine - theirs).norm() <= 1e-5 * theirs.norm()


PAIR_LOSSES = {
    "dpo": ({"sigmoid": 1.0}, lambda beta: lambda s, pairs: dpo_loss(s, pairs=pairs, beta=beta)),
    "dpo of token means": (
        {"sigmoid_norm": 1.0},
        lambda beta: lambda s, pairs: dpo_loss(s, pairs=pairs, beta=beta, normalise=True),
    ),
    "ipo": ({"ipo": 1.0}, lambda beta: lambda s, pairs: ipo_loss(s, pairs=pairs, beta=beta, normalise=True)),
}


@pytest.mark.parametrize("beta", [0.05, 0.5])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pairs_cost_what_they_cost_in_trl(name: str, beta: float) -> None:
    losses, ours = PAIR_LOSSES[name]
    policy = [v.requires_grad_() for v in answers(CHOSEN + REJECTED, 1)]
    reference = answers(CHOSEN + REJECTED, 2)
    agree(ours_on_pairs(policy, reference, ours(beta)), theirs_on_pairs(policy, reference, losses, beta), policy)


def test_the_likelihood_term_is_trls_where_a_batch_is_one_pair() -> None:
    """TRL takes the mean over the tokens of the batch, we over a response's and then over pairs: equal for one pair."""
    policy, reference = [v.requires_grad_() for v in answers([5, 3], 3)], answers([5, 3], 4)

    def loss(sums: Any, pairs: int) -> Any:
        return dpo_loss(sums, pairs=pairs, beta=0.1, nll_weight=0.2)

    theirs = theirs_on_pairs(policy, reference, {"sigmoid": 1.0, "sft": 0.2}, 0.1)
    agree(ours_on_pairs(policy, reference, loss), theirs, policy)


@pytest.mark.parametrize("apart", [0.4, -0.4], ids=["above its reference", "below its reference"])
@pytest.mark.parametrize("labels", [[1, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], ids=str)
def test_kto_costs_what_it_costs_in_trl(labels: list[int], apart: float) -> None:
    lengths = [4, 7, 2, 5, 3]
    policy, reference = [v.requires_grad_() for v in answers(lengths, 5)], answers(lengths, 6)
    # the reference point: mean log-ratio of answers to other prompts, clamped at 0 in both
    ratios = apart + 0.2 * torch.tensor([1.0, -0.3, 0.5, 0.1, -0.2])
    stub = trainer(
        beta=0.2,
        calculate_KL=True,
        loss_type="kto",
        desirable_weight=1.3,
        undesirable_weight=0.7,
        _compute_kl_logps=lambda model, batch: ratios,
    )
    given = {
        "label": torch.tensor(labels, dtype=torch.bool),
        "ref_logps": torch.stack([row.sum() for row in reference]),
        "ref_KL_logps": torch.zeros(len(labels)),
    }
    theirs = trl.KTOTrainer._compute_loss(stub, stand_in(padded(policy)), {**masks(policy), **given}, False)
    tokens, owner = flat(policy)
    plain = torch.zeros(len(tokens), dtype=torch.bool)
    sums = response_sums(tokens, flat(reference)[0], owner, plain, responses_here=len(labels))
    how = {"beta": 0.2, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    agree(kto_loss(sums, given["label"], ratios.mean(), responses=len(labels), **how)[0], theirs, policy)


def theirs_on_scores(scores: Tensor, *, centre: float | None = None, **more: Tensor) -> Tensor:
    """`scores` holds all chosen ones, then all rejected ones."""
    stub = trainer(args=SimpleNamespace(center_rewards_coefficient=centre))
    inputs = {"attention_mask": torch.ones(len(scores), 1), **more}
    return trl.RewardTrainer.compute_loss(stub, lambda **_: SimpleNamespace(logits=scores[:, None]), inputs)


def in_rows(scores: Tensor) -> tuple[Tensor, ...]:
    """Our form: chosen and rejected next to each other, and their pairs."""
    return scores.view(2, -1).T.flatten(), *ordered_pairs([[0, 1]] * (len(scores) // 2))


@pytest.mark.parametrize("margin", [None, [0.0, 0.5, 1.0, 3.0]], ids=["without margin", "with margin"])
def test_a_reward_model_costs_what_it_costs_in_trl(margin: list[float] | None) -> None:
    scores = torch.tensor([1.5, -0.2, 0.0, 9.0, 0.3, 0.4, 0.0, -8.0], requires_grad=True)
    given = {} if margin is None else {"margin": torch.tensor(margin)}
    ours, _ = reward_loss(*in_rows(scores), rows=4, margin=given.get("margin"))
    agree(ours, theirs_on_scores(scores, **given), [scores])


def test_the_score_penalty_is_another_one_than_trls_centring() -> None:
    """Ours squares each score (ChatGLM-RLHF), TRL's the sum of the two; they agree where one of the two is 0."""
    scores = torch.tensor([1.5, -0.2, 0.0, 0.0], requires_grad=True)
    ours, _ = penalised_reward_loss(*in_rows(scores), rows=2, penalty=0.1)
    assert ours.item() == pytest.approx(theirs_on_scores(scores, centre=0.1).item(), **CLOSE)
    both = torch.tensor([1.5, -0.2, 1.0, 2.0])
    ours, _ = penalised_reward_loss(*in_rows(both), rows=2, penalty=0.1)
    assert abs(ours.item() - theirs_on_scores(both, centre=0.1).item()) > 1e-2
