"""The average of the weights: its closed form, float32 under bfloat16, what the result holds, and that it goes on."""

from __future__ import annotations

import random

import pytest
import torch
from safetensors.torch import load_file

from burnish.errors import ModelError, SettingsError
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, Loop, Optimiser, open_session, train_rows, train_sft
from burnish.train.checkpoint import Progress
from burnish.train.objectives import Imitation
from burnish.train.optim.average import Average, starting_share
from tests.train.material import LOOP, Killed, demonstrations, folders, preferences, tree

DECAY = 0.6


def test_closed_form_after_t_steps() -> None:
    weights = torch.randn(5, 3, dtype=torch.float64)
    history = [weights.clone()]
    average = Average([weights], decay=DECAY)
    for _ in range(7):
        weights.add_(torch.randn_like(weights))
        average.update()
        history.append(weights.clone())
    start, *rest = history
    wanted = DECAY**7 * start + sum((1 - DECAY) * DECAY ** (7 - t) * w for t, w in enumerate(rest, 1))
    assert torch.allclose(average.shadows[0], wanted, rtol=1e-13, atol=1e-13)


def test_a_bfloat16_shadow_would_stand_still() -> None:
    """The step of the average is 1e-3 of what the weights have moved: below half a unit in bfloat16's last place."""
    model = torch.nn.Linear(4, 4, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimiser = Optimiser(model, weight_decay=0.0, clip=None, ema=0.999)
    naive = model.weight.detach().clone()
    for _ in range(50):
        model.weight.float().sum().backward()
        optimiser.gather()
        optimiser.step(0.02, 1.0)
        naive.lerp_(model.weight.detach(), 1e-3)
    assert torch.equal(naive, torch.ones_like(naive))  # the negative control
    shadow = optimiser.average.shadows[0]
    assert shadow.dtype == torch.float32
    # the weights fall by about 0.02 a step: sum over t of 1e-3 * 0.02 t
    assert (1 - shadow).mean().item() == pytest.approx(1e-3 * 0.02 * 50 * 51 / 2, rel=0.05)
    optimiser.finish()
    assert torch.equal(model.weight.detach(), shadow.bfloat16())


def test_the_result_is_the_average_and_the_last_weights_are_as_without(base, tmp_path) -> None:
    plain, averaged = folders(tmp_path / "plain"), folders(tmp_path / "averaged")
    one = train_sft(base, demonstrations(), work=plain, **LOOP)
    other = train_sft(base, demonstrations(), work=averaged, **LOOP, ema=DECAY)
    assert (plain.folder / "metrics.jsonl").read_bytes() == (averaged.folder / "metrics.jsonl").read_bytes()
    session = open_session(base, demonstrations(), method=Imitation(), loop=Loop(**LOOP))
    want = {n: p.detach().clone() for n, p in session.model.named_parameters()}
    for batch in session.batches:
        session.update([session.examples[i] for i in batch])
        want = {n: DECAY * want[n] + (1 - DECAY) * p.detach() for n, p in session.model.named_parameters()}
    last, found = load_file(plain.folder / "model.safetensors"), load_file(averaged.folder / "model.safetensors")
    for name, tensor in want.items():
        assert torch.allclose(found[name], tensor, rtol=1e-5, atol=1e-6), name
    assert any((found[n] - last[n]).abs().max() > 1e-4 for n in want)
    assert one.weights.id != other.weights.id


def test_with_adapters_the_adapters_are_averaged(base, tmp_path) -> None:
    pytest.importorskip("peft")
    how = {**LOOP, "lora_rank": 2, "lr": 1e-2}
    plain, averaged = folders(tmp_path / "plain"), folders(tmp_path / "averaged")
    train_sft(base, demonstrations(), work=plain, **how)
    train_sft(base, demonstrations(), work=averaged, **how, ema=0.5)
    last, found = (load_file(w.folder / "adapter" / "adapter_model.safetensors") for w in (plain, averaged))
    rising = [name for name in last if "lora_B" in name]  # starts at 0, so its average lags behind
    assert rising and sum(found[n].norm() for n in rising) < sum(last[n].norm() for n in rising)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["sft", "reward", "dpo"])
def test_killed_and_resumed_is_bitwise_equal(base, tmp_path, monkeypatch, method, dtype) -> None:
    rows = demonstrations() if method == "sft" else preferences()
    how = {**LOOP, "method": method, "ema": DECAY}
    assert METHODS[method].settings().ema == 0.0
    with computing(Compute(dtype=dtype)):
        straight = folders(tmp_path / "straight")
        train_rows(base, rows, work=straight, **how)
        monkeypatch.setattr(Progress, "due", lambda self, step: True)
        broken = folders(tmp_path / "broken")
        stop = random.Random(f"{method} {dtype}").randint(1, 4)

        def progress(done: int, total: int, note: str = "") -> None:
            if done == stop:
                raise Killed

        broken.progress = progress
        with pytest.raises(Killed):
            train_rows(base, rows, work=broken, **how)
        train_rows(base, rows, work=folders(tmp_path / "broken"), **how)
    assert tree(broken.folder) == tree(straight.folder)


def test_a_checkpoint_without_an_average_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    state = Optimiser(model, weight_decay=0.0, clip=None).state()
    with pytest.raises(ModelError, match="no average"):
        Optimiser(model, weight_decay=0.0, clip=None, ema=0.9).load(state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused_before_anything_is_loaded(decay) -> None:
    with pytest.raises(SettingsError, match="ema"):
        Loop(**LOOP, ema=decay)


def test_a_notice_says_when_the_average_is_mostly_the_start(base) -> None:
    assert starting_share(0.0, 5) == "" and starting_share(0.5, 5) == ""
    assert "99.5 %" in starting_share(0.999, 5)
    told = train_rows(base, demonstrations(), method="sft", **LOOP, ema=0.999).metrics["notices"]
    assert any("starting weights" in notice for notice in told)
