"""TRL's own code on the same numbers: advantages, GRPO, RLOO and the generalised JSD, to 1e-5.

The trainers' methods are called unbound, with a stand-in for what they ask of their trainer, so that nothing but the
advantage or the loss is compared. What differs on purpose is said where it does.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from burnish.losses.on_policy import (
    Clip,
    SampledTokens,
    clipped_policy_loss,
    divergence,
    gkd_loss,
    grpo_loss,
    leave_one_out,
    log_probabilities,
    penalised,
    sequence_kl,
    standardised,
)

trl = pytest.importorskip("trl", reason="pip install 'burnish[bench]' for the comparison with TRL")

CLOSE = {"rel": 1e-5, "abs": 1e-6}
LENGTHS = [3, 6, 1, 4, 2, 5]
LONGEST = max(LENGTHS)
MASK = pad_sequence([torch.ones(n, dtype=torch.int64) for n in LENGTHS], batch_first=True)
RESPONSE = torch.repeat_interleave(torch.arange(6), torch.tensor(LENGTHS))


def logprobs(seed: int, scale: float = 0.4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return -1.5 + scale * torch.randn(sum(LENGTHS), generator=generator)


def padded(values: Tensor) -> Tensor:
    return pad_sequence(values.split(LENGTHS), batch_first=True)


POLICY, OLD, REFERENCE = logprobs(1), logprobs(2), logprobs(3)
ADVANTAGES = torch.tensor([1.2, -0.7, 0.3, -1.5, 0.9, -0.2])


def accelerator() -> SimpleNamespace:
    return SimpleNamespace(
        device=torch.device("cpu"),
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
        num_processes=1,
        process_index=0,
    )


def trainer(**more: Any) -> SimpleNamespace:
    usual = {
        "aux_loss_enabled": False,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": False,
        "_entropy_bonus_enabled": False,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": 16,
    }
    metrics = defaultdict(lambda: defaultdict(list))
    return SimpleNamespace(
        accelerator=accelerator(), model=SimpleNamespace(training=True), _metrics=metrics, **{**usual, **more}
    )


def inputs(**more: Tensor) -> dict[str, Tensor]:
    prompt = torch.zeros(6, 2, dtype=torch.int64)
    found = {"prompt_ids": prompt, "prompt_mask": torch.ones_like(prompt)}
    return found | {"completion_ids": torch.zeros_like(MASK), "completion_mask": MASK, "advantages": ADVANTAGES} | more


def agree(ours: Any, theirs: Any) -> None:
    leaf = POLICY.clone().requires_grad_()
    one, other = ours(leaf), theirs(leaf)
    assert one.dtype == other.dtype == torch.float32
    assert one.item() == pytest.approx(other.item(), **CLOSE)
    (mine,), (wanted,) = torch.autograd.grad(one, leaf), torch.autograd.grad(other, leaf)
    assert wanted.norm() > 0 and (mine - wanted).norm() <= 1e-5 * wanted.norm()


def sampled(policy: Tensor) -> SampledTokens:
    return SampledTokens(logprobs=policy, old=OLD, response=RESPONSE, responses_here=6)


# --- losses


GRPO = {
    "token level": ({"loss_type": "grpo"}, {}),
    "token level, mean over tokens": ({"loss_type": "bnpo"}, {"over": "tokens", "units": sum(LENGTHS)}),
    "Dr. GRPO": ({"loss_type": "dr_grpo"}, {"over": "tokens", "units": 6 * 16}),
    # DAPO's 60 tokens: those of the whole batch, of which this is a part
    "DAPO": ({"loss_type": "dapo"}, {"over": "tokens", "units": 60}),
    "sequence mean": ({"loss_type": "grpo", "importance_sampling_level": "sequence"}, {"level": "sequence_mean"}),
    "clip higher": ({"loss_type": "grpo", "epsilon_high": 0.4}, {"clip": Clip(high=0.4)}),
    "two-sided": ({"loss_type": "grpo", "delta": 1.3}, {"clip": Clip(cap=1.3)}),
}


@pytest.mark.parametrize("beta", [0.0, 0.04, 1.0])
@pytest.mark.parametrize("name", GRPO)
def test_grpo_costs_what_it_costs_in_trl(name: str, beta: float) -> None:
    settings, ours = GRPO[name]
    args = SimpleNamespace(use_bias_correction_kl=False, delta=settings.get("delta"), steps_per_generation=1)
    settings = {"importance_sampling_level": "token", **settings}

    def theirs(policy: Tensor) -> Tensor:
        def get(*_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
            return padded(policy), torch.zeros(MASK.shape), None

        stub = trainer(beta=beta, args=args, _get_per_token_logps_and_entropies=get, **settings)
        given = inputs(
            old_per_token_logps=padded(OLD),
            ref_per_token_logps=padded(REFERENCE),
            num_items_in_batch=torch.tensor(60.0),
        )
        return trl.GRPOTrainer._compute_loss(stub, None, given)

    def mine(policy: Tensor) -> Tensor:
        return grpo_loss(sampled(policy), ADVANTAGES, REFERENCE, **{"units": 6, "beta": beta, **ours})[0]

    agree(mine, theirs)


def test_rloo_costs_what_it_costs_in_trl() -> None:
    def theirs(policy: Tensor) -> Tensor:
        def get(*_: Any, **__: Any) -> tuple[Tensor, Tensor, None]:
            return padded(policy), torch.zeros(MASK.shape), None

        stub = trainer(_get_per_token_logps_and_entropies=get)
        given = inputs(old_logps=torch.stack([row.sum() for row in OLD.split(LENGTHS)]))
        return trl.RLOOTrainer._compute_loss(stub, None, given)

    agree(lambda policy: clipped_policy_loss(sampled(policy), ADVANTAGES, units=6, level="sequence")[0], theirs)


# --- advantages


REWARDS = torch.tensor([[1.0, 0.0, 0.25], [0.5, 2.0, 0.5]])


def scored(kind: Any, rewards: Tensor, **more: Any) -> Tensor:
    """The advantages of TRL's own method, with everything before the rewards scripted."""
    state = pytest.importorskip("accelerate").PartialState
    state(cpu=True)
    calls = iter((OLD, REFERENCE))

    def get(*_: Any, **__: Any) -> tuple[Tensor, None, None]:
        return padded(next(calls)), None, None

    ids = [[1] * n for n in LENGTHS]
    generated = ([[1, 1]] * 6, ids, ["a"] * 6)
    if kind is trl.GRPOTrainer:
        generated = ([[1, 1]] * 6, ids, None, ["a"] * 6, None, {}, None, None)
    usual = {
        "environment_factories": None,
        "environments": None,
        "tools": None,
        "_generate": lambda prompts: generated,
        "_tokenizer": SimpleNamespace(pad_token_id=0),
        "pad_to_multiple_of": None,
        "mask_truncated_completions": False,
        "args": SimpleNamespace(per_device_train_batch_size=6, gradient_accumulation_steps=1, steps_per_generation=1),
        "_get_per_token_logps_and_entropies": get,
        "ref_model": object(),
        "beta": 0.0,
        "num_iterations": 2,
        "_calculate_rewards": lambda *_: rewards.view(-1, 1),
        "num_generations": 3,
        "reward_weights": torch.ones(1),
        "reward_func_names": ["r"],
        "reward_funcs": [None],
        "reward_clip_range": None,
        "multi_objective_aggregation": "sum_then_normalize",
        "_logs": defaultdict(list, {"rewards": defaultdict(list), "extra": defaultdict(list)}),
        "_pending_extra_logs": {},
        "_pending_metrics": {},
        "log_multimodal": False,
    }
    stub = trainer(**{**usual, **more})
    model = torch.nn.Linear(1, 1)
    model.is_gradient_checkpointing = False
    stub.model, stub.args.gradient_checkpointing_kwargs = model, None
    return kind._generate_and_score_completions(stub, [{"prompt": "x"}] * 6)["advantages"].view(2, 3)


def test_grpo_advantages_are_trls() -> None:
    for scale, ours in (
        ("group", standardised(REWARDS, std="sample", epsilon=1e-4)),
        ("none", None),
    ):
        theirs = scored(trl.GRPOTrainer, REWARDS, scale_rewards=scale)
        mine = REWARDS - REWARDS.mean(1, keepdim=True) if ours is None else ours.values
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalise", [False, True])
def test_rloo_advantages_with_the_divergence_inside_are_trls(normalise: bool) -> None:
    theirs = scored(trl.RLOOTrainer, REWARDS, beta=0.3, normalize_advantages=normalise)
    kl = sequence_kl(OLD, REFERENCE, RESPONSE, responses_here=6).view(2, 3)
    mine = leave_one_out(penalised(REWARDS, kl, beta=0.3)).values
    mine = (mine - mine.mean()) / (mine.std() + 1e-4) if normalise else mine
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_missing_reward_leaves_the_group_in_trl_too() -> None:
    rewards = REWARDS.clone()
    rewards[0, 1] = torch.nan
    known = ~rewards.isnan()
    theirs = scored(trl.RLOOTrainer, rewards, normalize_advantages=False)
    torch.testing.assert_close(leave_one_out(rewards, known).values, theirs, rtol=1e-5, atol=1e-6)
    theirs = scored(trl.GRPOTrainer, rewards, scale_rewards="group")
    mine = standardised(rewards, known, std="sample", epsilon=1e-4).values
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


# --- distillation


@pytest.mark.parametrize("temperature", [1.0, 0.9])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_generalised_jsd_is_trls(beta: float, temperature: float) -> None:
    gkd = pytest.importorskip("trl.experimental.gkd.gkd_trainer").GKDTrainer
    generator = torch.Generator().manual_seed(5)
    student = (2 * torch.randn(sum(LENGTHS), 30, generator=generator)).requires_grad_()
    teacher = 2 * torch.randn(sum(LENGTHS), 30, generator=generator)
    theirs = gkd.generalized_jsd_loss(student[None], teacher[None], labels=torch.zeros(1, sum(LENGTHS)), beta=beta,
                                      temperature=temperature)  # fmt: skip
    pair = log_probabilities(student, temperature=temperature), log_probabilities(teacher, temperature=temperature)
    ours, _ = gkd_loss(*pair, RESPONSE, responses_here=6, units=sum(LENGTHS), beta=beta, over="tokens")
    assert ours.item() == pytest.approx(theirs.item(), **CLOSE)
    (mine,), (wanted,) = torch.autograd.grad(ours, student, retain_graph=True), torch.autograd.grad(theirs, student)
    assert wanted.norm() > 0 and (mine - wanted).norm() <= 1e-5 * wanted.norm()
    each = gkd.generalized_jsd_loss(student, teacher, beta=beta, temperature=temperature, reduction="none").sum(-1)
    torch.testing.assert_close(divergence(*pair, beta=beta), each, rtol=1e-5, atol=1e-6)
