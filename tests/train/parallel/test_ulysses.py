"""The tokens of a pack in several processes: the same gradients as in one, and clear words where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.models import Row, build_pack, load_causal, prepare, tiny_model, token_logprobs
from burnish.models.attention import set_split
from burnish.models.forward import CORES
from burnish.train.objectives import Imitation
from burnish.train.parallel.ulysses import Ulysses, check_model
from burnish.train.ranks import ranks
from tests.train.parallel import cases
from tests.train.parallel.test_rows import check
from tests.train.parallel.world import together

NAMES = ("sft", "reward")
HOW = {"sft": {"weighting": "token", "noise": 0.0, "epochs": 1}, "reward": {"epochs": 1}}
ROWS = [Row((1, 5, 9), ((33, 2, 70, 4), (8, 8))), Row((7, 7, 7, 1), ((2, 9, 11),)), Row((3,), ((5, 6, 7, 8, 9, 4),))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ulysses")


def shared(place: Path, base: Any, number: int) -> list[Any]:
    """Every method with packs shared by `number` processes."""
    calls = []
    for name in NAMES:
        more = {**HOW[name], "sequence_parallel": number}
        calls.append((cases.rows, (name, base, place / f"{number}" / name, "float64", more)))
    return calls


def test_two_processes_share_each_pack(base, place):
    together(2, *shared(place, base, 2), place=place / "meet")
    for name in NAMES:
        cases.rows(name, base, place / "1" / name, "float64", HOW[name])
        check(place / "1" / name, place / "2" / name, numbers=1e-9, moved=1e-6)


@pytest.mark.slow
def test_four_processes_share_each_pack_or_two_and_two_do(base, place):
    """Four share two key-value heads, which are repeated."""
    for number in (2, 4):
        at = place / f"four-{number}"
        together(4, *shared(at, base, number), place=at / "meet")
        for name in NAMES:
            cases.rows(name, base, at / "1" / name, "float64", HOW[name])
            check(at / "1" / name, at / f"{number}" / name, numbers=1e-9, moved=1e-6)


def states(architecture: str, sequence: int, work: Any = None) -> dict[str, list[Any]]:
    """Log-probabilities and gradients of a small model, its packs shared by all processes."""
    more = {"sliding_window": 4} if architecture == "gemma2" else {}
    model, them = tiny_model(architecture, dtype="float64", scale=3.0, **more), ranks()
    them.call(states, architecture, sequence, work=None)
    prepare(model)
    set_split(Ulysses(them._neighbours(sequence)) if sequence > 1 else None)
    prepare(model)  # again, so that the probe compares shared packs with whole ones
    assert CORES[model].packed
    values = token_logprobs(model, build_pack(ROWS))
    ((values * torch.arange(1.0, 1 + len(values))).sum() / sequence).backward()
    found = {name: them.total(p.grad) for name, p in model.named_parameters() if p.grad is not None}
    return {"values": values.tolist(), **{name: grad.tolist() for name, grad in found.items()}}


def test_gradients_of_shared_packs(place):
    """Windows, soft-caps and shared prompts included; T is no multiple of the processes."""
    assert build_pack(ROWS).tokens % 2
    calls = [(states, (architecture, 2)) for architecture in ("llama", "gemma2")]
    for (_, (architecture, _)), two in zip(calls, together(2, *calls, place=place / "meet-states"), strict=True):
        one = states(architecture, 1)
        assert one.keys() == two.keys()
        for name, value in one.items():
            wanted, found = torch.tensor(value), torch.tensor(two[name])
            assert (wanted - found).norm() <= 1e-6 * wanted.norm().clamp_min(1e-12), name


@pytest.mark.parametrize(
    ("world", "sequence", "said"),
    [
        (3, 3, "sequence_parallel is 3 and the model has 4 attention heads (2 of keys and values), which 3 processes "
         "cannot share evenly; with 3 processes set it to 1"),
        (8, 8, "with 8 processes set it to 1 or 2 or 4"),
        (3, 2, "sequence_parallel is 2 and 3 processes train; set it to a divisor of 3, or start a multiple of 2"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_divide_are_refused(base, world, sequence, said):
    model = load_causal(base)
    prepare(model)
    with pytest.raises(SettingsError) as refused:
        check_model(model, sequence=sequence, world=world)
    assert said in str(refused.value)


def test_a_model_without_packs_or_with_roaming_frequencies_is_refused(base):
    model = load_causal(base)
    prepare(model)
    core = CORES[model]
    CORES[model] = replace(core, packed=False, notice="X is computed in plain padded batches.")
    with pytest.raises(ModelError, match=r"plain padded batches\. Set sequence_parallel=1"):
        check_model(model, sequence=2, world=2)
    CORES[model] = replace(core, threshold=8)
    with pytest.raises(ModelError, match="rotary frequencies"):
        check_model(model, sequence=2, world=2)


def test_noise_needs_whole_sequences(base, tmp_path):
    set_split(Ulysses.__new__(Ulysses))
    try:
        with pytest.raises(SettingsError, match="noise is drawn over whole sequences"):
            Imitation(noise=5.0).before(load_causal(base), [], None)
    finally:
        set_split(None)
