"""Two processes train what one trains: the same numbers, the same weights, the same bits each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import SettingsError
from burnish.models import Row, load_causal, stream_tensors
from burnish.train import METHODS, Loop, packs
from burnish.train.batch import Example
from burnish.train.parallel.several import dealt
from tests.train.material import LOOP, tree
from tests.train.parallel import cases
from tests.train.parallel.world import Failed, together

NAMES = ("pretrain", "sft", "reward", "reward-soft", "dpo", "kto")
OTHERS = tuple(name for name in METHODS if name not in NAMES)
MERGED = {
    "dare": {"merging": "dare,keep=0.3,alpha=1e-3,every=2"},
    "ties": {"merging": "ties,keep=0.3,alpha=1e-3,rescale=inv_p"},
}


def lines(work: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (work / "artifact" / "metrics.jsonl").read_text().splitlines()]


def weights(work: Path) -> dict[str, torch.Tensor]:
    return dict(stream_tensors(work / "artifact"))


def apart(one: Path, other: Path) -> float:
    """The largest difference of a weight, over the learning rate: what one update at full speed may move it by."""
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    return max(float((mine[n].double() - theirs[n].double()).abs().max()) for n in mine) / LOOP["lr"]


def check(one: Path, other: Path, *, numbers: float, moved: float) -> None:
    """The same curve and the same weights, up to rounding."""
    for mine, theirs in zip(lines(one), lines(other), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if name == "sampler_gap_counts":  # rounding, here, is what it counts; where it falls may differ
                assert sum(theirs[name]) == sum(value) and sum(theirs[name][2:]) == sum(value[2:]) == 0
                continue
            assert theirs[name] == pytest.approx(value, rel=numbers, abs=numbers), (name, mine["step"])
    assert apart(one, other) <= moved
    assert {p.name for p in (one / "artifact").iterdir()} == {p.name for p in (other / "artifact").iterdir()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def outcomes(base: Any, place: Path) -> dict[str, Any]:
    """One world for all: each method in float64, then in float32 and again, then with more processes than rows."""
    calls = [(cases.rows, (name, base, place / "two" / name, "float64")) for name in NAMES]
    calls += [(cases.rows, ("dpo", base, place / again)) for again in ("two-a", "two-b")]
    calls += [(cases.rows, ("sft", base, place / "two-few", "float64", {"batch_rows": 1, "epochs": 1}))]
    found = together(2, *calls, place=place / "meet")
    return dict(zip([*NAMES, "a", "b", "few"], found, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_what_one_trains(base, place, outcomes, name):
    alone = cases.rows(name, base, place / "one" / name, "float64")
    check(place / "one" / name, place / "two" / name, numbers=1e-9, moved=1e-6)
    assert (alone.kept, alone.taken) == (outcomes[name].kept, outcomes[name].taken)
    assert outcomes[name].weights.kind == alone.weights.kind
    if alone.weights.kind == "causal":
        load_causal(outcomes[name].weights)
    config = [json.loads((place / n / name / "artifact" / "config.json").read_text()) for n in ("one", "two")]
    assert config[0] == config[1]


def test_in_float32_they_differ_by_rounding_and_each_time_by_nothing(base, place, outcomes):
    cases.rows("dpo", base, place / "one-a")
    check(place / "one-a", place / "two-a", numbers=2e-5, moved=0.02)
    assert tree(place / "two-a" / "artifact") == tree(place / "two-b" / "artifact")
    assert outcomes["a"].weights.id == outcomes["b"].weights.id


def test_a_batch_of_one_row_leaves_a_process_idle_and_changes_nothing(base, place, outcomes):
    cases.rows("sft", base, place / "one-few", "float64", {"batch_rows": 1, "epochs": 1})
    check(place / "one-few", place / "two-few", numbers=1e-9, moved=1e-6)


@pytest.mark.slow
def test_all_other_methods_and_adapters(base, place):
    pytest.importorskip("peft")
    more = {name: {} for name in OTHERS} | {"lora": {"method": "dpo", "lora_rank": 4}}
    more |= {name: {"method": "dpo", **how} for name, how in MERGED.items()}
    calls = [(cases.rows, (name, base, place / "three" / name, "float64", how)) for name, how in more.items()]
    together(3, *calls, place=place / "meet-all")
    for name, how in more.items():
        cases.rows(name, base, place / "one" / name, "float64", how)
        check(place / "one" / name, place / "three" / name, numbers=1e-8, moved=1e-5)


def test_a_fault_in_the_rows_is_said_by_the_first_process(base, place):
    with pytest.raises(Failed) as failed:
        together(2, (cases.rows, ("sft", base, place / "bad", "float32", {"max_length": 3})), place=place / "meet-bad")
    assert failed.value.rank == 0 and "training rows were dropped" in failed.value.said


def example(number: int, tokens: int) -> Example:
    ids = tuple(range(1, tokens))
    mask = torch.ones(tokens - 1, dtype=torch.bool).numpy()
    return Example(id=str(number), row=Row((1,), (ids,)), trained=mask, formatting=~mask, tokens=tokens)


def test_shares_hold_every_row_once_and_are_even():
    examples = [example(i, 5 + (i * 37) % 60) for i in range(41)]
    shares = dealt(examples, 4)
    assert sorted(int(e.id) for share in shares for e in share) == list(range(41))
    sizes = [sum(e.tokens for e in share) for share in shares]
    assert max(sizes) - min(sizes) <= max(e.tokens for e in examples)
    assert {len(list(packs(share, budget=64))) for share in shares} <= {6, 7, 8}
    assert dealt(examples[:2], 4)[2:] == [[], []]


def test_one_process_refuses_to_share_a_pack(base, tmp_path):
    with pytest.raises(SettingsError, match="sequence_parallel is 2 and one process trains"):
        cases.rows("sft", base, tmp_path, "float32", {"sequence_parallel": 2})
    with pytest.raises(SettingsError, match="sequence_parallel is 0"):
        Loop.of({**LOOP, "sequence_parallel": 0})
