"""Schedules by hand, AdamW against its formula, clipping, float32 masters, state that goes on bit for bit."""

import itertools
import math

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.train import Loop, Optimiser, learning_rate
from burnish.train.optim import check_schedule
from tests.train.material import LOOP


def rates(schedule, steps=10, warmup=0.2):
    return [learning_rate(s, steps=steps, peak=1.0, warmup=warmup, schedule=schedule) for s in range(steps)]


def test_schedules_by_hand():
    assert rates("constant")[:3] == [0.5, 1.0, 1.0] and rates("constant", warmup=0.0)[0] == 1.0
    assert rates("linear")[2:] == pytest.approx([1 - k / 8 for k in range(8)])
    cosine = rates("cosine")
    assert cosine[2] == pytest.approx(1.0) and cosine[6] == pytest.approx(0.55)
    # one step beyond the last would be the tenth
    assert learning_rate(10, steps=10, peak=1.0, warmup=0.2, schedule="cosine") == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(cosine[2:]))
    low = learning_rate(6, steps=10, peak=1.0, warmup=0.2, schedule="cosine", floor=0.02)
    assert low == pytest.approx(0.02 + 0.98 / 2)


@pytest.mark.parametrize("bad", [{"schedule": "cosin"}, {"warmup": 1.0}, {"lr": 0.0}, {"lr": math.nan}])
def test_values_out_of_range_are_refused_by_name(bad):
    with pytest.raises(SettingsError, match=next(iter(bad))):
        check_schedule(**{"schedule": "cosine", "warmup": 0.1, "lr": 1e-3, **bad})


def two_parameters(dtype=torch.float64):
    model = torch.nn.Linear(3, 2, dtype=dtype)
    with torch.no_grad():
        model.weight.copy_(torch.arange(6).view(2, 3) / 10)
        model.bias.copy_(torch.tensor([0.5, -0.5]))
    return model


def pull(model, step):
    """A gradient that differs by step."""
    ((model.weight * (step + 1)).sin().sum() + (model.bias**2).sum()).backward()


@pytest.mark.parametrize("wrong", [{"floor": 1.5}, {"floor": -0.1}, {"beta2": 1.0}, {"beta2": -0.1}])
def test_floor_and_beta2_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Loop.of({**LOOP, **wrong})


@pytest.mark.parametrize("beta2", [0.999, 0.98])
def test_adamw_agrees_with_its_formula_and_vectors_do_not_decay(beta2):
    model = two_parameters()
    optimiser = Optimiser(model, weight_decay=0.1, clip=None, beta2=beta2)
    value = {n: p.detach().clone() for n, p in model.named_parameters()}
    first = {n: torch.zeros_like(v) for n, v in value.items()}
    second = {n: torch.zeros_like(v) for n, v in value.items()}
    for step in range(4):
        pull(model, step)
        gradient = {n: p.grad.clone() for n, p in model.named_parameters()}
        optimiser.gather()
        optimiser.step(0.01, optimiser.gradient_norm().item())
        for n, g in gradient.items():
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = beta2 * second[n] + (1 - beta2) * g * g
            mean, spread = first[n] / (1 - 0.9 ** (step + 1)), second[n] / (1 - beta2 ** (step + 1))
            decay = 0.1 if n == "weight" else 0.0
            value[n] = value[n] * (1 - 0.01 * decay) - 0.01 * mean / (spread.sqrt() + 1e-8)
    for n, p in model.named_parameters():
        assert (p - value[n]).abs().max() < 1e-12


def test_clipping_bounds_the_global_norm_only_above_the_limit():
    model = two_parameters()
    pull(model, 0)
    norm = math.sqrt(sum((p.grad**2).sum().item() for p in model.parameters()))
    optimiser = Optimiser(model, weight_decay=0.0, clip=norm / 4)
    assert optimiser.gradient_norm().item() == pytest.approx(norm, rel=1e-12)
    optimiser.step(0.0, norm)
    # the first moment is a tenth of the clipped gradient
    moments = [optimiser.adam.state[p]["exp_avg"] for p in model.parameters()]
    assert math.sqrt(sum((m**2).sum().item() for m in moments)) == pytest.approx(norm / 40, rel=1e-9)


def test_half_precision_keeps_float32_masters():
    model = two_parameters(torch.bfloat16)
    optimiser = Optimiser(model, weight_decay=0.0, clip=None)
    before = model.weight.detach().clone()
    for step in range(100):
        (model.weight.float() + model.bias.float()[:, None]).sum().backward()
        optimiser.gather()
        assert model.weight.grad is None
        optimiser.step(1e-5, 1.0)
        if step == 20:
            # far below half a unit in the last place of the largest weight: only a master can add these up
            assert torch.equal(model.weight.detach()[1, 2], before[1, 2])
    assert torch.allclose(optimiser.masters[0], before.float() - 1e-3, atol=2e-5)
    assert torch.equal(model.weight.detach(), optimiser.masters[0].bfloat16())


def test_without_masters_small_updates_are_lost():
    """The negative control: PyTorch's AdamW on bfloat16 parameters stands still where the masters move."""
    model, bare = two_parameters(torch.bfloat16), two_parameters(torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1.0)
        bare.weight.fill_(1.0)
    optimiser = Optimiser(model, weight_decay=0.0, clip=None)
    adam = torch.optim.AdamW(bare.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(100):  # 1e-3 is a quarter of the distance from 1 to its lower neighbour in bfloat16
        model.weight.float().sum().backward()
        optimiser.gather()
        optimiser.step(1e-3, 1.0)
        bare.weight.float().sum().backward()
        adam.step()
        adam.zero_grad()
    assert torch.equal(bare.weight.detach(), torch.ones_like(bare.weight))
    assert torch.allclose(optimiser.masters[0], torch.full((2, 3), 0.9), atol=1e-3)
    assert torch.allclose(model.weight.detach().float(), torch.full((2, 3), 0.9), atol=2e-3)


def test_gradients_of_many_packs_are_gathered_in_float32():
    """1 and then 256 times 2^-9: in bfloat16 the sum stays 1."""
    model = two_parameters(torch.bfloat16)
    optimiser = Optimiser(model, weight_decay=0.0, clip=None)
    in_half = torch.zeros(2, 3, dtype=torch.bfloat16)
    for scale in (1.0, *[2.0**-9] * 256):
        (model.weight * scale).sum().backward()
        in_half += model.weight.grad
        optimiser.gather()
    assert torch.equal(in_half, torch.ones_like(in_half))
    assert torch.equal(optimiser.masters[0].grad, torch.full((2, 3), 1.5))


def test_a_training_in_bfloat16_moves_as_one_in_float32(base):
    """At a small rate most of a bfloat16 model's weights would not move at all without masters."""
    from burnish.runs.compute import Compute, computing
    from burnish.train import Loop, open_session
    from burnish.train.objectives import Imitation
    from tests.train.material import LOOP, demonstrations

    how = LOOP | {"lr": 2e-5, "epochs": 12, "schedule": "constant", "warmup": 0.0}
    moved = {}
    for dtype in ("float32", "bfloat16"):
        with computing(Compute(dtype=dtype)):
            session = open_session(base, demonstrations(), method=Imitation(), loop=Loop(**how))
            before = [m.detach().clone() for m in session.optimiser.masters]
            for batch in session.batches:
                session.update([session.examples[i] for i in batch])
            after = session.optimiser.masters
        assert all(m.dtype == torch.float32 for m in after)
        moved[dtype] = torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)])
        if dtype == "bfloat16":
            rounded = [p.detach() for p in session.model.parameters()]
            assert all(torch.equal(p, m.bfloat16()) for p, m in zip(rounded, after, strict=True))
    alike = torch.nn.functional.cosine_similarity(moved["float32"], moved["bfloat16"], dim=0)
    assert alike > 0.9 and moved["bfloat16"].norm() == pytest.approx(moved["float32"].norm().item(), rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_goes_on_bit_for_bit(dtype, tmp_path):
    from burnish.train.checkpoint import read_tensors, write_tensors

    def train(model, optimiser, start, stop):
        for step in range(start, stop):
            pull(model, step)
            optimiser.gather()
            optimiser.step(0.01, optimiser.gradient_norm().item())

    straight = two_parameters(dtype)
    train(straight, Optimiser(straight, weight_decay=0.1, clip=1.0), 0, 7)
    broken = two_parameters(dtype)
    optimiser = Optimiser(broken, weight_decay=0.1, clip=1.0)
    train(broken, optimiser, 0, 4)
    write_tensors(tmp_path / "s.safetensors", optimiser.state(), {"step": 4})
    resumed = two_parameters(dtype)
    optimiser = Optimiser(resumed, weight_decay=0.1, clip=1.0)
    state, note = read_tensors(tmp_path / "s.safetensors")
    optimiser.load(state)
    train(resumed, optimiser, note["step"], 7)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ModelError, match="another model"):
        Optimiser(torch.nn.Bilinear(2, 2, 2), weight_decay=0.0, clip=None).load(state)
