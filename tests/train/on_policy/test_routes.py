"""One reward for each route; prompts whose rewards hardly differ are asked no more."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest

from burnish.errors import DataError, SettingsError
from burnish.records import Prompt, Response
from burnish.train.checkpoint import Progress
from burnish.train.on_policy import FunctionReward, Reward, RoutedReward, WeightedReward
from burnish.train.on_policy.groups import Rewarded
from burnish.train.on_policy.rollout import Group
from burnish.train.on_policy.variance import VarianceFilter
from tests.train.material import Killed, folders, said, tree
from tests.train.on_policy.material import Recorder, lines_of, prompts, share, train


def routed(count: int = 6) -> list[Prompt]:
    return [replace(p, id="", route=("math", "chat", "")[i % 3]) for i, p in enumerate(prompts(count))]


def answer(prompt: Prompt, index: int = 0) -> Response:
    return Response(prompt=prompt.id, messages=(said("assistant", "x"),), token_ids=(5, index), index=index)


def test_each_answer_is_rewarded_by_the_route_of_its_prompt():
    rows = routed()
    math, chat = Recorder(worth=lambda r: 1.0), Recorder(worth=lambda r: 2.0 if r.index else None)
    whole = RoutedReward(routes={"math": WeightedReward(parts=((3.0, math),)), "chat": chat})
    asked = [answer(row, i) for i, row in enumerate(rows)]
    found = whole.rewards({row.id: row for row in rows}, asked)
    assert [r.value for r in found] == [3.0, 2.0, None, 3.0, 2.0, None]
    assert found[0].parts == {"math": 3.0, "math_share": 1.0} and found[1].parts == {"chat": 2.0}
    assert found[2].why == "the prompt names no route" and found[2].parts == {}
    assert [a.index for a in math.answers] == [0, 3] and [a.index for a in chat.answers] == [1, 4]
    default = RoutedReward(routes={"": Recorder(worth=lambda r: 5.0)})
    assert [r.value for r in default.rewards({row.id: row for row in rows}, asked)] == [None, None, 5.0] * 2
    assert default.rewards({rows[0].id: rows[0]}, asked[:1])[0].why == "there is no reward for the route 'math'"


def test_prompts_that_no_reward_is_meant_for_are_refused():
    rows, one = routed(), Recorder()
    RoutedReward(routes={"math": one, "chat": one, "": one}).check(rows)
    with pytest.raises(SettingsError, match=r"prompt \w+ \(s:1\) has the route 'chat', and there are rewards for math"):
        RoutedReward(routes={"math": one, "": one}).check(rows)
    with pytest.raises(SettingsError, match=r"\(s:2\) names no route, and every reward has one \(math, chat\)"):
        RoutedReward(routes={"math": one, "chat": one}).check(rows)
    with pytest.raises(SettingsError, match="needs at least one route"):
        RoutedReward(routes={})


def test_a_function_is_told_the_route(tmp_path):
    (tmp_path / "mine.py").write_text("def f(route):\n    return [float(r == 'chat') for r in route]\n")
    rows = routed(3)
    found = FunctionReward.of(f"{tmp_path / 'mine.py'}:f").rewards({p.id: p for p in rows}, [answer(p) for p in rows])
    assert [r.value for r in found] == [0.0, 1.0, 0.0]


def test_a_training_tells_each_route(base, tmp_path):
    work = folders(tmp_path)
    far = Recorder(worth=lambda r: 10 + share(r))
    train(base, work, rows=routed(), rewarder=RoutedReward(routes={"math": far, "": Recorder(), "chat": Recorder()}))
    lines = lines_of(work)
    assert all(10 <= line["reward_math"] <= 11 for line in lines if "reward_math" in line)
    assert all(0 <= line["reward_chat"] <= 1 for line in lines if "reward_chat" in line)
    assert {"reward_math", "reward_chat"} <= {name for line in lines for name in line}


def known(prompt: Prompt, *values: float | None) -> Rewarded:
    group = Group(prompt=prompt, place=0, ids=(1,), responses=())
    return Rewarded(group=group, rewards=tuple(Reward(value=v) for v in values))


def test_the_variance_is_within_groups_and_a_mean_over_them():
    a, b = prompts(2)
    rule = VarianceFilter(after=2, most=0.01)
    seen = rule.seen({}, [known(a, 0.0, 1.0), known(b, 1.0, 1.0), known(b, None, 0.5)])
    assert seen == {a.id: [1, 0.25], b.id: [1, 0.0]} and rule.count(seen) == 0  # one reward says nothing
    more = rule.seen(seen, [known(a, 0.5, 0.5), known(b, 0.0, 0.2)])
    assert seen == {a.id: [1, 0.25], b.id: [1, 0.0]}  # what was known stays as it was
    assert more[b.id][1] / 2 == pytest.approx(statistics.pvariance([0.0, 0.2]) / 2)
    assert rule.silent(more, b.id) and not rule.silent(more, a.id) and rule.count(more) == 1
    assert not VarianceFilter(after=0).seen({}, [known(a, 1.0, 1.0)]) and not VarianceFilter().silent(more, b.id)


SILENT = {"s:0", "s:3"}


class Flat(Recorder):
    """All answers to some prompts are worth the same."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        names = {p.id: p.source for p in prompts()}
        self.worth = lambda r: 1.0 if names[r.prompt] in SILENT else share(r) + 0.01 * r.index


HOW = {"rounds": 4, "prompts": 6, "refills": 0, "filter_after": 1}


def test_silent_prompts_are_asked_no_more_and_dropped_with_a_reason(base, tmp_path):
    rewarder, work = Flat(), folders(tmp_path)
    outcome = train(base, work, rewarder=rewarder, **HOW)
    assert set(rewarder.asked[0]) == {f"s:{i}" for i in range(6)}
    assert not SILENT & {source for asked in rewarder.asked[1:] for source in asked}
    assert [len(asked) for asked in rewarder.asked] == [6, 6, 6, 6]
    assert [line["prompts_silent"] for line in lines_of(work)] == [2.0] * 4
    assert [line["groups_flat"] for line in lines_of(work)] == [2.0, 0.0, 0.0, 0.0]
    assert {row.reason for row in outcome.dropped} == {"rewards that hardly differ"} and len(outcome.dropped) == 2
    assert (
        outcome.dropped[0].detail == "variance 0 over 1 groups" and outcome.kept == 4 and "seen" not in outcome.metrics
    )
    every, silent = Flat(), folders(tmp_path / "off")
    assert not train(base, silent, rewarder=every, **{**HOW, "filter_after": 0}).dropped
    assert all(set(asked) == {f"s:{i}" for i in range(6)} for asked in every.asked)


@pytest.mark.parametrize("every", [True, False])
def test_what_is_known_of_prompts_survives_a_kill(base, tmp_path, monkeypatch, every):
    straight, unbroken = folders(tmp_path / "straight"), Flat()
    whole = train(base, straight, rewarder=unbroken, **HOW)
    monkeypatch.setattr(Progress, "due", lambda self, step: every and self.scratch is not None)
    with pytest.raises(Killed):
        train(base, folders(tmp_path / "broken"), rewarder=Flat(stop=Killed(), at=3), **HOW)
    last, work = Flat(), folders(tmp_path / "broken")
    again = train(base, work, rewarder=last, **HOW)
    assert last.asked == unbroken.asked[2 if every else 0 :]
    assert tree(work.folder) == tree(straight.folder) and again.metrics == whole.metrics


def test_when_no_prompt_is_left_the_run_says_so_and_keeps_its_state(base, tmp_path):
    rewarder, work = Recorder(worth=lambda r: 1.0), folders(tmp_path)
    with pytest.raises(DataError, match="the rewards of each of the 12 prompts hardly differ any more"):
        train(base, work, rewarder=rewarder, rows=prompts() * 2, **{**HOW, "prompts": 12})  # each of them twice
    assert len(rewarder.asked) == 1 and (work.scratch / "training.safetensors").exists()


@pytest.mark.parametrize("how", [{"filter_after": -1}, {"filter_variance": -0.1}, {"filter_variance": float("nan")}])
def test_a_filter_out_of_range_is_refused(base, how):
    with pytest.raises(SettingsError, match=r"filter_after is .* and filter_variance"):
        train(base, **how)
