"""What a training leaves to be read: some answers of some rounds, the same after a kill."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish.records import Response
from burnish.train.on_policy import Reward
from burnish.train.on_policy.groups import FLAT, Rewarded
from burnish.train.on_policy.rollout import Group
from burnish.train.on_policy.samples import EACH, LONGEST, ROUNDS, Samples, picked
from tests.train.material import folders, said
from tests.train.on_policy.material import Recorder, prompts, train


def groups(*values: list[Any]) -> list[Rewarded]:
    found = []
    for place, (prompt, some) in enumerate(zip(prompts(len(values)), values, strict=True)):
        answers = tuple(
            Response(prompt=prompt.id, messages=(said("assistant", f"{place} {i}"),), index=i, logprobs=(-1.0,))
            for i in range(len(some))
        )
        rewards = tuple(Reward(value=None, why=v) if isinstance(v, str) else Reward(value=v) for v in some)
        found.append(Rewarded(group=Group(prompt=prompt, place=place, ids=(1,), responses=answers), rewards=rewards))
    return found


def test_the_best_the_worst_and_a_missing_one_for_each_reason():
    rows = picked(groups([0.1, 0.9, 0.2, 0.3], [0.8, "late", "late", "late", "late"], ["none", 0.5, 0.4, 0.6]), 7)
    by_pick = {p: [r["reward"] for r in rows if r["pick"] == p] for p in ("best", "worst", "missing")}
    assert by_pick["best"] == [0.9, 0.8, 0.6, 0.5] and by_pick["worst"] == [0.1, 0.2, 0.3, 0.4]
    assert [r["why"] for r in rows if r["pick"] == "missing"] == ["late", "none", "late", "late"]
    assert {r["round"] for r in rows} == {7} and len(rows) == 3 * EACH
    few = picked(groups([0.5, 0.5]), 1)
    assert [r["pick"] for r in few] == ["best", "best"] and few[0]["left_out"] == FLAT


def test_texts_and_rounds_are_bounded(tmp_path):
    (one,) = groups([0.1, 0.2])
    long = Response(prompt=one.group.prompt.id, messages=(said("assistant", "x" * 5000),), index=0)
    group = Group(prompt=one.group.prompt, place=0, ids=(1,), responses=(long, one.group.responses[1]))
    rows = picked([Rewarded(group=group, rewards=one.rewards)], 1)
    texts = [row["answer"][0]["content"] for row in rows]
    assert max(map(len, texts)) < LONGEST + 50 and "(cut; 3000 more characters)" in texts[1]
    samples = Samples(tmp_path, rounds=1001)
    for number in range(1001):
        samples.write(number, [one])
    samples.publish(tmp_path)
    numbers = [json.loads(line)["round"] for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert numbers[0] == 1 and numbers[-1] == 1001 and len(set(numbers)) <= ROUNDS + 1
    Samples(None, rounds=3).write(0, [one])  # without a folder, nothing


@pytest.mark.parametrize("method", ["grpo", "mdloo"])
def test_a_training_leaves_those_of_its_answers(base, tmp_path, method):
    rewarder, work = Recorder(), folders(tmp_path)
    train(base, work, rewarder=rewarder, method=method)
    rows = [json.loads(line) for line in (work.folder / "samples.jsonl").read_text().split("\n") if line]
    assert {row["round"] for row in rows} == {1, 2, 3}
    known = {(a.prompt, a.text): rewarder.worth(a) for a in rewarder.answers}
    for row in rows:
        assert row["reward"] == known[row["prompt"], row["answer"][-1]["content"]]
    first = [row["reward"] for row in rows if row["round"] == 1 and row["pick"] == "best"]
    assert first[0] == max(map(rewarder.worth, rewarder.answers[:12]))
