"""Rows of like length in groups: each row once, shuffled groups, less padding where there is any, equal gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from burnish.errors import SettingsError
from burnish.models import Row, build_pack
from burnish.models.attention.plan import plan
from burnish.train import Loop, open_session, train_rows
from burnish.train.batch import Example, epoch_order, optimiser_batches
from burnish.train.objectives import Imitation
from tests.train.material import LOOP, demonstrations

SIZES = np.random.default_rng(0).lognormal(4.5, 0.8, 203).astype(int) + 2


def example(number: int, size: int) -> Example:
    row, mask = Row((0,) * (size // 2), ((0,) * (size - size // 2),)), np.ones(size - size // 2, dtype=bool)
    return Example(id=f"r{number}", row=row, trained=mask, formatting=~mask, tokens=int(size))


EXAMPLES = [example(n, s) for n, s in enumerate(SIZES)]


def order(group: int, seed: int = 0, epoch: int = 0, rows: list[Example] = EXAMPLES) -> list[int]:
    return epoch_order(rows, seed=seed, epoch=epoch, length_group=group)


def groups(order: list[int], size: int) -> list[list[int]]:
    lengths = [EXAMPLES[i].tokens for i in order]
    return [lengths[start : start + size] for start in range(0, len(lengths), size)]


@pytest.mark.parametrize("group", [1, 7, 8, 203, 500])
def test_each_row_once_and_a_pure_function_of_the_rows(group: int) -> None:
    found = order(group)
    assert sorted(found) == list(range(len(EXAMPLES)))
    assert found == order(group)
    mixed = EXAMPLES[::-1]
    assert [mixed[i].id for i in order(group, rows=mixed)] == [EXAMPLES[i].id for i in found]


def test_groups_are_alike_inside_and_shuffled_among_themselves() -> None:
    size = 8  # 203 rows: 25 groups and a rest of 3
    found, drawn = groups(order(size), size), groups(order(0), size)
    assert [len(g) for g in found] == [size] * 25 + [3]
    spread = [[max(g) - min(g) for g in one] for one in (found, drawn)]
    assert np.mean(spread[0]) < 0.2 * np.mean(spread[1]) and max(spread[0]) <= max(spread[1])
    # full groups do not overlap: they are cut out of one sorted order
    edges = sorted((min(g), max(g)) for g in found[:-1])
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(edges))
    means = [np.mean(g) for g in found]
    assert means != sorted(means) and means != sorted(means, reverse=True)
    assert order(size) != order(size, seed=1) != order(size, seed=1, epoch=1)
    # and the rest is not always the shortest or the longest rows
    assert len({tuple(groups(order(size, seed=s), size)[-1]) for s in range(12)}) > 6


def padding(found: list[list[int]]) -> float:
    """Share of padding when the rows of a group are padded to its longest."""
    return 1 - sum(map(sum, found)) / sum(len(g) * max(g) for g in found)


def calls(batches: list[list[int]]) -> int:
    """Attention calls of the packed core on a CPU, where rows of one length share a call."""
    packed = [build_pack([EXAMPLES[i].row for i in batch]) for batch in batches]
    return sum(len(plan(pack, None, torch.float32, torch.device("cpu"))) for pack in packed)


def test_padding_falls_and_the_packed_core_makes_fewer_calls() -> None:
    """Packs hold no padding, so what sorting brings here is rows of one length side by side."""
    assert padding(groups(order(8), 8)) < 0.1 < 0.4 < padding(groups(order(0), 8))
    how = {"batch_rows": 96, "epochs": 1, "seed": 0}
    assert calls(optimiser_batches(EXAMPLES, **how, length_group=8)) < calls(optimiser_batches(EXAMPLES, **how))


def test_twelve_groups_a_batch_hold_the_lengths_apart() -> None:
    """LongAlign's accumulation over 12 groups: a batch of one group has a length of its own, one of 12 much less so."""

    def swing(batch_rows: int) -> float:
        found = optimiser_batches(EXAMPLES, batch_rows=batch_rows, epochs=4, seed=0, length_group=8)
        return float(np.std([np.mean([EXAMPLES[i].tokens for i in batch]) for batch in found]))

    assert swing(96) < 0.5 * swing(8)


def test_groups_of_a_batch_give_the_gradient_of_one_big_batch(base) -> None:
    """Pack by pack or at once: the unit is the whole optimiser batch (spec G4)."""
    found = []
    for budget in (16, 8192):
        loop = Loop(**LOOP | {"batch_rows": 10, "clip": None}, length_group=2, pack_tokens=budget)
        session = open_session(base, demonstrations(), method=Imitation(), loop=loop)
        session._gradient([session.examples[i] for i in session.batches[0]])
        found.append(torch.cat([p.grad.flatten() for p in session.model.parameters()]))
    assert (found[0] - found[1]).norm() <= 1e-6 * found[1].norm()


def test_a_group_that_does_not_divide_the_batch_is_refused(base) -> None:
    for bad in (-1, 3, 8):
        with pytest.raises(SettingsError, match="length_group"):
            Loop(**LOOP, length_group=bad)
    told = train_rows(base, demonstrations(), method="sft", **LOOP, length_group=2).metrics
    plain = train_rows(base, demonstrations(), method="sft", **LOOP).metrics
    assert told["steps"] == plain["steps"] and told["tokens"] == plain["tokens"] and told["loss"] != plain["loss"]
