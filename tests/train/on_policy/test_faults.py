"""A tenth of all that is asked of servers fails, samples and rewards: the run goes on, and no fault is a reward."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from burnish.judge import Quality
from burnish.llm.requests import Endpoint, Limits
from burnish.microworld.serving import oracle_server
from burnish.microworld.serving.faults import Faults
from burnish.records import Prompt
from burnish.train.on_policy import JudgeReward, Reward, WeightedReward
from tests.train.material import folders, said
from tests.train.on_policy.material import Recorder, lines_of, train
from tests.train.on_policy.served import Host, hosted
from tests.train.on_policy.test_served import served

DRAWING = {"server_error": 0.02, "cut": 0.02, "not_json": 0.02, "malformed": 0.02, "wrong_schema": 0.02}
JUDGING = {"server_error": 0.03, "cut": 0.03, "html": 0.02, "malformed": 0.02}


@dataclass
class Kept:
    """A rewarder that remembers what it gave."""

    inner: Any
    given: list[tuple[Any, Reward]] = field(default_factory=list)
    name: str = "judge"

    def within(self, seconds: float) -> Kept:
        return replace(self, inner=self.inner.within(seconds))

    def rewards(self, prompts: Any, responses: Any, *, work: Any = None) -> list[Reward]:
        found = self.inner.rewards(prompts, responses)
        self.given += zip(responses, found, strict=True)
        return found


def judge(url: str) -> JudgeReward:
    limits = Limits(tries=1, backoff=0.01, first=5.0, patience=5.0)
    return JudgeReward(judge=Quality(asker=replace(Endpoint.parse(f"{url}#oracle"), limits=limits)))


@pytest.mark.parametrize("seed", [0, 2])
def test_counts_add_up_and_no_fault_becomes_a_reward(base, tmp_path, seed):
    rows = [Prompt(messages=(said("user", f"What is {i} + 3?"),), source=f"s:{i}") for i in range(6)]
    how = {"rounds": 2, "prompts": 6, "samples": 5, "max_new_tokens": 2, "refills": 0}
    work, host = folders(tmp_path), Host(Path(base.path), faults=Faults(**DRAWING, seed=seed))
    with oracle_server(faults=Faults(**JUDGING, seed=seed)) as judging, hosted(host) as drawing:
        kept = Kept(judge(judging))
        whole = WeightedReward(parts=((1.0, kept), (1.0, Recorder())))
        outcome = train(base, work, rows=rows, rewarder=whole, sampler=served(drawing, tries=1), **how)
    with oracle_server() as judging:
        true = judge(judging).rewards({row.id: row for row in rows}, [answer for answer, _ in kept.given])
    asked, lost, missing = 60, outcome.metrics["all_answers_lost"], outcome.metrics["all_rewards_missing"]
    assert len(kept.given) == asked - lost and 0 < lost < 0.25 * asked
    assert missing == sum(reward.value is None for _, reward in kept.given) and 0 < missing < 0.25 * asked
    for (_, reward), other in zip(kept.given, true, strict=True):
        assert other.value is not None and reward.value in (None, other.value)
        assert (reward.value is None) == bool(reward.why)
    lines = lines_of(work)
    assert len(lines) == 2 and all(line["sampler_gap"] < 1e-4 for line in lines)
    for line in lines:
        assert 0 <= line["reward_share"] <= 1 and line["rows"] == 6 - line["groups_flat"] - line["groups_missing"]
