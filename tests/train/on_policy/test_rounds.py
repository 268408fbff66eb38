"""What a round learns from: missing rewards, flat groups, refills, too few groups, prompts that do not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from burnish.errors import DataError, ModelError, SettingsError, WorkerError
from burnish.models import load_causal
from burnish.records import Prompt
from burnish.train.on_policy import FRESH, Reward, loop
from burnish.train.on_policy.groups import Books, Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh
from burnish.train.on_policy.rollout import Group
from tests.train.material import folders, make_model, said
from tests.train.on_policy.material import FAST, METHODS, NEEDED, Recorder, lines_of, prompts, share, train


def half(response: Any) -> float | None:
    """A reward for two of every three answers."""
    return None if response.index % 3 == 1 else share(response)


def gradient_of(base: Any, name: str, rewards: list[float | None], *, without: int | None = None) -> Any:
    """Gradient of one group with these rewards; `without` takes an answer out of the group before."""
    built, steps, exploring = planned_fresh(FRESH[name].settings(**FAST, **NEEDED.get(name, {})), name)
    session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
    sampling = loop.Sampling(max_new_tokens=6, temperature=1.0, seed=0)
    (group,) = sampler.draw(prompts(1), n=len(rewards), sampling=sampling, first=0, number=0)
    kept = [i for i in range(len(rewards)) if i != without]
    group = replace(group, responses=tuple(group.responses[i] for i in kept))
    one = session.method.picked(Rewarded(group=group, rewards=tuple(Reward(value=rewards[i]) for i in kept)))
    example = example_of(one)
    session.method.explored(session.model, [[example]], {example.id: loop._sampled(one)}, session.place)
    session._gradient([example])
    return torch.cat([p.grad.flatten() for p in session.model.parameters()])


@pytest.mark.parametrize("name", [name for name in FRESH if FRESH[name].rewards])
def test_an_answer_without_a_reward_is_as_if_it_had_not_been_drawn(base, name):
    """And not as if it were worth 0, which is another gradient."""
    missing, gone, zero = (
        gradient_of(base, name, [0.9, None, 0.2, 0.5]),
        gradient_of(base, name, [0.9, None, 0.2, 0.5], without=1),
        gradient_of(base, name, [0.9, 0.0, 0.2, 0.5]),
    )
    assert (missing - gone).norm() < 1e-5 * gone.norm() < 1e-2 * (missing - zero).norm()


@pytest.mark.parametrize("key", METHODS)
def test_missing_rewards_are_counted_and_in_no_mean(base, tmp_path, key):
    rewarder, work = Recorder(worth=half), folders(tmp_path)
    outcome = train(base, work, rewarder=rewarder, refills=0, **METHODS[key])
    each = METHODS[key].get("updates", 1)
    answers = [rewarder.answers[start : start + 12] for start in range(0, 36, 12)]
    for drawn, line in zip(answers, lines_of(work)[::each], strict=True):
        there = [half(a) for a in drawn if half(a) is not None]
        assert line["rewards_missing"] == 4 and line["reward"] == pytest.approx(sum(there) / 8)
    assert outcome.metrics["all_rewards_missing"] == 12


def test_groups_with_one_reward_or_equal_ones_are_left_out_and_counted(base):
    def group(values: list[float | None]) -> Rewarded:
        built, steps, exploring = planned_fresh(FRESH["grpo"].settings(**FAST), "grpo")
        _, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
        sampling = loop.Sampling(max_new_tokens=2, temperature=1.0, seed=0)
        (drawn,) = sampler.draw(prompts(1), n=3, sampling=sampling, first=0, number=0)
        assert isinstance(drawn, Group)
        return Rewarded(group=drawn, rewards=tuple(Reward(value=v, why="late" * (v is None)) for v in values))

    books = Books()
    given = [[1.0, 1.0, 1.0], [1.0, None, 1.0], [1.0, None, None], [None] * 3, [1.0, None, 0.0], [0.0, 0.0, 1.0]]
    kept = books.take([group(values) for values in given])
    assert [one.values for one in kept] == [[1.0, 0.0], [0.0, 0.0, 1.0]]
    told = books.told()
    assert (told["groups"], told["groups_flat"], told["groups_missing"], told["rewards_missing"]) == (6, 2, 2, 7)
    assert books.missing == {"late": 7} and told["reward"] == pytest.approx(8 / 11)


def test_flat_groups_are_replaced_by_the_next_prompts(base, tmp_path):
    """Answers to s:0 and s:3 are worth the same: their groups go, and the round asks two more prompts."""
    known: dict[str, str] = {p.id: p.source for p in prompts()}

    def worth(response: Any) -> float:
        return 1.0 if known[response.prompt] in ("s:0", "s:3") else share(response) + 0.01 * response.index

    rewarder, work = Recorder(worth=worth), folders(tmp_path)
    train(base, work, rewarder=rewarder, rounds=2, prompts=6)
    flat = [sum(source in ("s:0", "s:3") for source in asked) for asked in rewarder.asked]
    assert flat[0] == 2 and [len(asked) for asked in rewarder.asked] == [6, flat[0], 6, flat[2]]
    for line, first, again in zip(lines_of(work), flat[::2], flat[1::2], strict=True):
        assert line["groups"] == 6 + first and line["groups_flat"] == first + again and line["rows"] == 6 - again
    rewarder, work = Recorder(worth=worth), folders(tmp_path / "none")
    train(base, work, rewarder=rewarder, rounds=1, prompts=6, refills=0)
    assert len(rewarder.asked) == 1 and lines_of(work)[0]["rows"] == 4


def test_updates_without_a_group_change_nothing_and_are_told(base, tmp_path):
    """One group is left for three updates, and none in a round of flat groups."""
    rewarder = Recorder(worth=lambda r: float(r.index) if r.prompt == prompts()[0].id else 1.0)
    work = folders(tmp_path)
    train(base, work, rewarder=rewarder, prompts=6, updates=3, refills=0, rounds=2)
    assert [line["rows"] for line in lines_of(work)] == [1, 0, 0, 1, 0, 0]
    assert [line["lr"] > 0 for line in lines_of(work)] == [True, False, False] * 2
    assert [line["step"] for line in lines_of(work)] == [1, 2, 3, 4, 5, 6]
    flat, work = Recorder(worth=lambda r: 1.0), folders(tmp_path / "flat")
    outcome = train(base, work, rewarder=flat, updates=2)
    assert outcome.weights is not None and outcome.metrics["all_groups_flat"] == outcome.metrics["all_groups"] == 24
    before, after = load_causal(base), load_causal(outcome.weights)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_a_round_in_which_nothing_has_a_reward_stops_and_keeps_the_state(base, tmp_path):
    rewarder = Recorder()
    rewarder.worth = lambda response: share(response) if len(rewarder.asked) < 3 else None
    with pytest.raises(WorkerError, match=r"round 3: none of 24 answers has a reward \(24 times: nobody looked\)"):
        train(base, folders(tmp_path), rewarder=rewarder)
    again, work = Recorder(), folders(tmp_path)
    train(base, work, rewarder=again)
    assert len(again.asked) == 1 and again.asked[0] == rewarder.asked[2]
    assert len(lines_of(work)) == 3


def test_prompts_that_do_not_fit_are_dropped_or_refused(base):
    long = Prompt(messages=(said("user", "x" * 300),), source="long")
    outcome = train(base, rows=[*prompts(), long], refuse_above=0.2, rounds=1)
    assert (outcome.taken, outcome.kept) == (7, 6)
    assert outcome.counts()["dropped"] == {"longer than the context": 1}
    with pytest.raises(DataError, match="1 of 7 prompts were dropped, and 6 are left; the first: longer than the"):
        train(base, rows=[*prompts(), long])
    with pytest.raises(DataError, match=r"2 of 2 prompts were dropped, and 0 are left.*256 fit.*max_new_tokens"):
        train(base, rows=[long, replace(long, source="other", id="")], refuse_above=1.0)
    with pytest.raises(DataError, match=r"6 of 6 prompts.*and 12 fit"):
        train(base, max_length=12)


def test_prompts_that_the_chat_format_cannot_carry_are_dropped(tmp_path):
    from tests.train.material import CHATML

    picky = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    base = make_model(tmp_path, template=picky + CHATML)
    odd = Prompt(messages=(said("system", "Sum."), said("user", "4")))
    outcome = train(base, rows=[*prompts(), odd], refuse_above=0.5, rounds=1)
    assert outcome.counts()["dropped"] == {"not a well-formed dialogue": 1} and outcome.kept == 6
    assert "no system message" in outcome.dropped[0].detail


class Wrong(Recorder):
    """Gives one reward too few, or one that is no number."""

    def __init__(self, value: float | None) -> None:
        super().__init__()
        self.value = value

    def rewards(self, prompts: Any, responses: Any, *, work: Any = None) -> list[Reward]:
        found = super().rewards(prompts, responses)
        return found[1:] if self.value is None else [*found[:-1], Reward(value=self.value)]


@pytest.mark.parametrize(
    ("value", "said_of_it"),
    [
        (None, "share gave 11 rewards for 12 answers"),
        (math.nan, "share gave the reward nan to answer 3 of prompt"),
        (-math.inf, "share gave the reward -inf to answer 3 of prompt"),
    ],
)
def test_a_rewarder_that_gives_no_rewards_stops(base, tmp_path, value, said_of_it):
    with pytest.raises(WorkerError, match=said_of_it):
        train(base, folders(tmp_path), rewarder=Wrong(value))
    work = folders(tmp_path)
    train(base, work)
    assert len(lines_of(work)) == 3


def test_sampler_and_trainer_that_disagree_stop(base, monkeypatch):
    real = loop._sampled
    monkeypatch.setattr(loop, "_sampled", lambda one: real(one) - 0.2)
    with pytest.raises(ModelError, match=r"round 1: the sampler and the trainer differ by 0\.2 nats"):
        train(base)
    train(base, most_gap=0.3)


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"samples": 1}, "samples is 1; answers are compared within a group, which takes two"),
        ({"updates": 5}, "updates is 5, more than the 4 groups of a round"),
        ({"prompts": 0}, "prompts is 0; it must be at least 1"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"beta": -0.1}, "beta is -0.1; it must be 0 or more"),
        ({"beta": math.nan}, "beta is nan"),
        ({"level": "tokens"}, "level is 'tokens'; choose one of token, sequence, sequence_mean"),
        ({"std": "sampled"}, "std is 'sampled'"),
        ({"clip_low": 2.0}, "clip is 2.0"),
        ({"most_gap": 0.0}, "most_gap above 0"),
        ({"refils": 2}, "grpo has no setting 'refils'; did you mean 'refills'?"),
        ({"batch_rows": 2}, "grpo has no setting 'batch_rows'"),
        ({"method": "mdloo", "beta": 0.2, "gamma": 0.1}, r"gamma is 0.1; above beta / 2 \(0.1\)"),
        ({"method": "rloo", "ratio_clip": -1.0}, "ratio_clip is -1.0"),
        ({"method": "ppo"}, "there is no method 'ppo'; there are grpo, grpo-reward-kl, rloo, mdloo"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(base, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, **how)


def test_a_reward_model_is_no_policy(base, tmp_path):
    from burnish.train import train_reward
    from tests.train.material import LOOP, preferences

    scored = train_reward(make_model(tmp_path / "m"), preferences(), work=folders(tmp_path / "w"), **LOOP).weights
    with pytest.raises(ModelError, match="is a reward model; grpo trains a causal one"):
        train(scored)
