"""A process is killed: all end, and the same command goes on, bit for bit; with another number of them by value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import ModelError
from burnish.records import Weights
from burnish.train.parallel.shards import (
    POINTER,
    Held,
    WholeProgress,
    newest,
    read_shards,
    shard_path,
    whole_of,
    write_shard,
)
from tests.train.material import folders, tree
from tests.train.parallel import cases
from tests.train.parallel.test_rows import check
from tests.train.parallel.world import together

NEVER = (-1, -1)


def train(world: int, base: Any, place: Path, doomed: tuple[int, int] = NEVER, **more: Any) -> Any:
    """Five updates on pairs, a checkpoint after every second; a process may be killed at the end of an update."""
    call = (cases.rows, ("dpo", base, place, "float32", more))
    return together(world, call, place=place / "meet", first=[(cases.arm, (*doomed, "update"))])[0]


def test_killed_twice_is_bitwise_equal(base, tmp_path):
    """The second process before the first checkpoint that it wrote, then the first one in the middle of the rest."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    whole = train(2, base, straight)
    for doomed, kept in ((1, 3), 2), ((0, 5), 4):
        with pytest.raises(ProcessLookupError):
            train(2, base, broken, doomed)
        scratch = broken / "scratch"
        assert newest(scratch)["step"] == kept and newest(scratch)["parts"] == 2
        assert sorted(p.name for p in scratch.glob("shards-*")) == [f"shards-{kept:08d}"]
    resumed = train(2, base, broken)
    assert tree(broken / "artifact") == tree(straight / "artifact")
    assert resumed.metrics == whole.metrics and resumed.weights.id == whole.weights.id

    kinds = {p.suffix for p in (broken / "scratch").rglob("*") if p.is_file()}
    assert kinds == {".safetensors", ".json"}


def test_another_number_of_processes_goes_on(base, tmp_path):
    """One process, stopped after its first update; then two, then one again."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    cases.rows("dpo", base, straight)
    work = folders(broken)

    def stop(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    work.progress = stop
    with pytest.raises(KeyboardInterrupt):
        cases.rows("dpo", base, broken, work=work)
    assert newest(broken / "scratch")["step"] == 1 and newest(broken / "scratch")["parts"] == 0
    with pytest.raises(ProcessLookupError):
        train(2, base, broken, (1, 3))
    assert newest(broken / "scratch")["step"] == 2 and newest(broken / "scratch")["parts"] == 2
    assert not (broken / "scratch" / "training.safetensors").exists()
    work = folders(broken)
    cases.rows("dpo", base, broken, work=work)
    assert work.told == [3, 4, 5]
    check(straight, broken, numbers=2e-5, moved=0.02)


@pytest.mark.slow
def test_three_processes_go_on_where_two_stopped(base, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    cases.rows("dpo", base, straight)
    for world, doomed in ((2, (1, 3)), (3, (2, 5))):
        with pytest.raises(ProcessLookupError):
            train(world, base, broken, doomed)
        assert newest(broken / "scratch")["parts"] == world
    train(2, base, broken)
    check(straight, broken, numbers=2e-5, moved=0.02)


def cut(state: dict[str, torch.Tensor], folder: Path, world: int) -> None:
    """A set of parts as FSDP2 would hold them: ceil(rows / processes) in each, the last ones perhaps empty."""
    folder.mkdir()
    for rank in range(world):
        mine, places = {}, {}
        for name, tensor in state.items():
            if not tensor.ndim:
                mine[name], places[name] = tensor, whole_of(tensor)
                continue
            size = -(-len(tensor) // world)
            first, last = min(rank * size, len(tensor)), min((rank + 1) * size, len(tensor))
            mine[name], places[name] = tensor[first:last], Held(shape=tuple(tensor.shape), first=first, last=last)
        write_shard(shard_path(folder, rank, world), mine, places)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_parts_are_read_by_rows(tmp_path, world):
    torch.manual_seed(0)
    state = {"weight/a": torch.randn(7, 3), "weight/b": torch.randn(2), "exp_avg/a": torch.randn(7, 3).double()}
    state["step/a"] = torch.tensor(4.0)
    cut(state, tmp_path / "set", world)
    found = read_shards(tmp_path / "set", world)
    assert found.keys() == state.keys() and all(torch.equal(found[n], state[n]) for n in state)
    for other in (1, 2, 4):
        for rank in range(other):

            def rows(name: str, shape: tuple[int, ...], other: int = other, rank: int = rank) -> tuple[int, int]:
                size = -(-shape[0] // other)
                return min(rank * size, shape[0]), min((rank + 1) * size, shape[0])

            found = read_shards(tmp_path / "set", world, rows=rows)
            for name, tensor in state.items():
                first, last = rows(name, tuple(tensor.shape)) if tensor.ndim else (0, 0)
                wanted = tensor[first:last] if tensor.ndim else tensor
                assert torch.equal(found[name], wanted) and found[name].dtype == tensor.dtype


def test_a_lost_part_and_an_older_checkpoint(tmp_path):
    state = {"weight/a": torch.arange(6.0).view(3, 2)}
    base = Weights(path="base", id="b", kind="causal")
    progress = WholeProgress(tmp_path, checkpoint_steps=1, base=base)
    progress.save(3, state, {"tokens": 1})
    cut({"weight/a": state["weight/a"] + 1}, tmp_path / "shards-00000004", 2)
    note = {"step": 4, "base": "b", "totals": {"tokens": 2}, "metrics": ["{}"], "folder": "shards-00000004", "parts": 2}
    (tmp_path / POINTER).write_text(json.dumps(note))
    tensors, told = progress.resume()
    assert torch.equal(tensors["weight/a"], state["weight/a"] + 1) and told["totals"] == {"tokens": 2}
    assert progress.lines == ["{}"]
    (tmp_path / POINTER).write_text(json.dumps({**note, "step": 2}))
    assert torch.equal(progress.resume()[0]["weight/a"], state["weight/a"])
    (tmp_path / POINTER).write_text(json.dumps(note))
    shard_path(tmp_path / "shards-00000004", 1, 2).unlink()
    with pytest.raises(ModelError, match=r"lacks .*rank-00001-of-00002"):
        progress.resume()
    progress.save(5, state, {"tokens": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["training.safetensors"]
