"""Broken off anywhere and gone on with: the bits of a training that was left alone, and no prompt lost or doubled."""

from __future__ import annotations

from collections import Counter

import pytest

from burnish.errors import WorkerError
from burnish.train.checkpoint import Progress
from tests.train.material import Killed, folders, stopper, tree
from tests.train.on_policy.material import METHODS, Recorder, lines_of, prompts, train

CASES = {**METHODS, "lora": {"method": "grpo", "updates": 2, "lora_rank": 4}, "ema": {"method": "mdloo", "ema": 0.5}}


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("every", [True, False])
def test_killed_three_times_is_bitwise_equal(base, tmp_path, monkeypatch, key, every):
    """In the rewards, in the middle of a round's updates, and after its last one; with and without checkpoints."""
    if "lora_rank" in CASES[key]:
        pytest.importorskip("peft", reason="pip install 'burnish[lora]' for LoRA")
    how = {**CASES[key], "rounds": 4}
    each = how.get("updates", 4 if how["method"] == "mdloo" else 1)
    straight, unbroken = folders(tmp_path / "straight"), Recorder()
    whole = train(base, straight, rewarder=unbroken, **how)

    monkeypatch.setattr(Progress, "due", lambda self, step: every and self.scratch is not None)
    rewarder = Recorder(stop=Killed(), at=2)
    with pytest.raises(Killed):
        train(base, folders(tmp_path / "broken"), rewarder=rewarder, **how)
    assert rewarder.asked == unbroken.asked[:2]
    done = [1 if every else 0]
    for step in (each + 1, 3 * each):
        again = Recorder()
        with pytest.raises(Killed):
            train(base, folders(tmp_path / "broken"), rewarder=again, track=stopper(Killed(), step), **how)
        assert again.asked[0] == unbroken.asked[done[-1]]
        done.append((step - 1) // each if every else 0)
    last, work = Recorder(), folders(tmp_path / "broken")
    resumed = train(base, work, rewarder=last, **how)
    assert last.asked == unbroken.asked[done[-1] :]
    assert [a.token_ids for a in last.answers] == [a.token_ids for a in unbroken.answers[-len(last.answers) :]]
    assert tree(work.folder) == tree(straight.folder)
    assert resumed.metrics == whole.metrics and resumed.weights.id == whole.weights.id != base.id


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), WorkerError("the judge is away")])
def test_an_interrupt_or_a_fault_before_the_updates_of_a_round_keeps_the_rounds_before_it(base, tmp_path, stop):
    how = {"method": "grpo", "updates": 2, "rounds": 4}
    straight, unbroken = folders(tmp_path / "straight"), Recorder()
    train(base, straight, rewarder=unbroken, **how)
    with pytest.raises(type(stop)):
        train(base, folders(tmp_path / "broken"), rewarder=Recorder(stop=stop, at=3), **how)
    last, work = Recorder(), folders(tmp_path / "broken")
    train(base, work, rewarder=last, **how)
    assert last.asked == unbroken.asked[2:]
    assert tree(work.folder) == tree(straight.folder)


def test_an_interrupt_between_the_updates_of_a_round_begins_it_again(base, tmp_path):
    how = {"method": "grpo", "updates": 2, "rounds": 3}
    straight, unbroken = folders(tmp_path / "straight"), Recorder()
    train(base, straight, rewarder=unbroken, **how)
    for step in (3, 4):  # after the first and after the last update of the second round
        with pytest.raises(KeyboardInterrupt):
            train(base, folders(tmp_path / "broken"), track=stopper(KeyboardInterrupt(), step), **how)
    last, work = Recorder(), folders(tmp_path / "broken")
    train(base, work, rewarder=last, **how)
    assert last.asked == unbroken.asked
    assert tree(work.folder) == tree(straight.folder)


@pytest.mark.parametrize("count", [4, 7])
def test_each_pass_asks_every_prompt_once(base, count):
    rewarder = Recorder()
    outcome = train(base, rewarder=rewarder, rows=prompts(count), prompts=3, rounds=0, epochs=3, max_new_tokens=3)
    stream = [source for asked in rewarder.asked for source in asked]
    passes = [Counter(stream[start : start + count]) for start in range(0, 3 * count, count)]
    assert passes == [Counter(p.source for p in prompts(count))] * 3
    assert outcome.metrics["rounds"] == -(-3 * count // 3) and outcome.metrics["cursor"] == len(stream)
    orders = [tuple(stream[start : start + count]) for start in range(0, 3 * count, count)]
    assert len(set(orders)) > 1
    # the order is that of the seed and the ids, not of the file
    other = Recorder()
    train(base, rewarder=other, rows=prompts(count)[::-1], prompts=3, rounds=0, epochs=3, max_new_tokens=3)
    assert other.asked == rewarder.asked


def test_a_prompt_that_comes_again_within_a_round_gets_other_answers(base, tmp_path):
    """More groups than prompts: each group has its own answers, advantages and log-probabilities."""
    rewarder, work = Recorder(), folders(tmp_path)
    train(base, work, rewarder=rewarder, rows=prompts(2), prompts=6, rounds=2, updates=2)
    assert Counter(rewarder.asked[0]) == Counter({"s:0": 3, "s:1": 3})
    answers = [tuple(a.token_ids) for a in rewarder.answers]
    assert len(set(answers)) > 0.9 * len(answers) >= 0.9 * 36  # and those of groups that replace flat ones
    assert all(line["rows"] == 3 and line["sampler_gap"] < 1e-4 for line in lines_of(work))
    assert lines_of(work)[0]["ratio"] == 1.0
