"""A reward that takes too long, or fails, is missing with its reason, whoever gives it; the run goes on."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.judge import Quality
from burnish.llm.requests import Endpoint
from burnish.protocols import Verdict
from burnish.records import Judgement, Prompt, Response
from burnish.runs.compute import Compute, compute, computing
from burnish.train.on_policy import CheckerReward, JudgeReward, Reward, RoutedReward, WeightedReward
from burnish.train.on_policy.rewards import timed
from burnish.train.on_policy.rewards.limits import ALL_LATE, MOST_LATE, held
from tests.train.material import folders, said
from tests.train.on_policy.material import Recorder, lines_of, prompts, share, train
from tests.train.on_policy.test_rewards import ANSWERS, PROMPT


def of(rewarder: Any, seconds: float = 0.1) -> list[Reward]:
    return timed(rewarder, seconds).rewards({PROMPT.id: PROMPT}, ANSWERS)


@dataclass(frozen=True)
class Slow:
    """Sleeps, or raises, at the answers of these indices; as a checker, a judge or a rewarder."""

    at: tuple[int, ...]
    error: Exception | None = None
    name: str = "sum"
    asked: list[int] = field(default_factory=list)

    def wait(self, response: Response) -> None:
        self.asked.append(response.index)
        if response.index in self.at:
            if self.error is not None:
                raise self.error
            for _ in range(400):
                time.sleep(0.01)

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        self.wait(response)
        return Verdict(correct=response.text == prompt.reference)

    def judge(self, asked: Any, responses: Any, *, work: Any = None) -> list[Judgement]:
        for response in responses:
            self.wait(response)
        return [Judgement(prompt=r.prompt, responses=(r.id,), judge="j", score=1.0) for r in responses]

    def rewards(self, asked: Any, responses: Any, *, work: Any = None) -> list[Reward]:
        for response in responses:
            self.wait(response)
        return [Reward(value=1.0)] * len(responses)


def test_a_checker_that_is_late_costs_one_reward():
    found = of(CheckerReward(checkers={"sum": Slow((1,))}))
    assert [(r.value, r.why) for r in found] == [(1.0, ""), (None, "sum took more than 0.1 s"), (0.0, "")]


def test_a_checker_that_is_always_late_is_soon_not_asked():
    checker, began, rows = Slow(tuple(range(5))), time.monotonic(), {p.id: p for p in prompts()}
    many = [Response(prompt=p, messages=(said("assistant", "2"),), index=i) for p in rows for i in range(6)]
    found = timed(CheckerReward(checkers={"sum": checker}, default="sum"), 0.05).rewards(rows, many)
    # of each prompt three and no more, and after nine nothing at all
    assert checker.asked == list(range(MOST_LATE)) * 3 and len(checker.asked) == ALL_LATE
    assert [r.why for r in found[3:6]] == ["sum was late too often in a row and was not asked"] * 3
    assert all(r.value is None for r in found) and time.monotonic() - began < 3
    once = Slow((0, 1, 3, 4))
    found = timed(CheckerReward(checkers={"sum": once}, default="sum"), 0.05).rewards(rows, many[:6])
    assert once.asked == [0, 1, 2, 3, 4, 5] and [r.value for r in found] == [None, None, 0.0, None, None, 0.0]


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), KeyError("x"), RecursionError("deep")])
def test_what_raises_gives_no_reward_and_says_so(error):
    kind = f"raised {type(error).__name__}: "
    found = of(CheckerReward(checkers={"sum": Slow((1,), error)}))
    assert [r.value for r in found] == [1.0, None, 0.0] and f"sum {kind}" in found[1].why
    for rewarder in (JudgeReward(judge=Slow((1,), error)), Slow((1,), error)):
        found = of(rewarder)
        assert all(r.value is None and kind in r.why for r in found) and len(found) == 3


@pytest.mark.parametrize("kind", [lambda s: CheckerReward(checkers={"sum": s}), lambda s: JudgeReward(judge=s)])
def test_an_error_of_ours_is_no_missing_reward(kind):
    """No sandbox, no server: the run stops and says so, instead of learning from what is left."""
    with pytest.raises(WorkerError, match="no sandbox"):
        of(kind(Slow((1,), WorkerError("no sandbox"))))


def test_judges_and_rewarders_of_ones_own_have_a_limit_for_a_call():
    for rewarder, name in ((JudgeReward(judge=Slow((1,)), name="rm"), "rm"), (Slow((1,), name="mine"), "mine")):
        began, found = time.monotonic(), of(rewarder)
        assert {(r.value, r.why) for r in found} == {(None, f"{name} took more than 0.1 s")} and len(found) == 3
        assert time.monotonic() - began < 3
    assert [r.value for r in of(JudgeReward(judge=Slow(())), 5.0)] == [1.0] * 3


def test_what_is_late_is_ended_where_it_is_python():
    before = threading.active_count()
    of(JudgeReward(judge=Slow((1,))))
    ends = time.monotonic() + 3
    while threading.active_count() > before and time.monotonic() < ends:
        time.sleep(0.02)
    assert threading.active_count() == before


def test_limits_reach_the_parts_of_sums_and_routes():
    slow = CheckerReward(checkers={"sum": Slow((0, 1))})
    for whole in (WeightedReward(parts=((1.0, slow), (0.0, Slow(())))), RoutedReward(routes={"": slow})):
        found = of(whole)
        assert [r.value for r in found] == [None, None, 0.0] and "took more than 0.1 s" in found[0].why


def test_a_judge_at_a_server_has_the_limit_for_each_question():
    judge = JudgeReward(judge=Quality(asker=Endpoint.parse("http://host:1/v1#m")))
    limits = timed(judge, 7.0).judge.asker.limits
    assert (limits.total, limits.silence) == (7.0, 7.0) and limits.tries == judge.judge.asker.limits.tries


def test_rewards_are_computed_where_the_run_computes():
    seen = []
    with computing(Compute(dtype="float64")):
        held(lambda: seen.append(compute().dtype), 5.0)
    assert seen == ["float64"]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(base, seconds):
    with pytest.raises(SettingsError, match=r"reward_seconds is .*; it is how long a reward may take, above 0"):
        train(base, reward_seconds=seconds)


def test_the_run_goes_on_without_the_late_ones(base, tmp_path):
    known = {p.id: p.source for p in prompts()}

    class Sometimes(Recorder):
        def check(self, prompt: Prompt, response: Response) -> Verdict:
            if known[response.prompt] == "s:1":
                time.sleep(4)
            return Verdict(correct=share(response) > 0.5)

    rewarder = CheckerReward(checkers={"sum": Sometimes()}, default="sum")
    work = folders(tmp_path)
    outcome = train(base, work, rewarder=rewarder, reward_seconds=0.1, rounds=2, prompts=6, refills=0)
    assert outcome.metrics["all_rewards_missing"] == 6 and outcome.metrics["all_groups_missing"] == 2
    assert all(0 <= line["reward"] <= 1 for line in lines_of(work))
