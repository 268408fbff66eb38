"""Rounds on fresh answers by two processes: the draws of one, its rewards, and its updates."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import WorkerError
from burnish.train.on_policy import Tools
from tests.train.material import tree
from tests.train.on_policy.material import METHODS
from tests.train.on_policy.served import Host, hosted
from tests.train.parallel import cases
from tests.train.parallel.test_rows import check
from tests.train.parallel.world import Failed, together

CASES: dict[str, dict[str, Any]] = {
    **{key: METHODS[key] for key in ("grpo", "grpo, updates", "rloo", "mdloo", "online-dpo")},
    "shared packs": {"method": "grpo", "updates": 2, "sequence_parallel": 2},
    "moving": {"method": "grpo", "reference": "every:1", "adapt": (0.5, 10.0), "updates": 2},
    "in the reward": {"method": "grpo-reward-kl", "through_kl": True, "updates": 2},
    "kept close": {"method": "grpo-reward-kl", "through_kl": True, "updates": 2, "keep_weight": 0.5, "keep_rows": 3},
    "followed": {"method": "warp"},
    "merged": {"method": "online-dpo", "merging": "dare,keep=0.3,alpha=1e-3,rescale=l1", "updates": 2},
}
MERGED = "ties,keep=0.3,alpha=1e-3,every=3"
FOUR = {"method": "grpo", "rounds": 4}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rounds")


@pytest.fixture(scope="module")
def drawn(base: Any, place: Path) -> dict[str, Any]:
    calls = [(partial(cases.rounds, **how), (base, place / "two" / key)) for key, how in CASES.items()]
    calls.append((partial(cases.rounds, **METHODS["grpo"]), (base, place / "again")))
    calls.append((partial(cases.rounds, **FOUR), (base, place / "two" / "straight", "float32")))
    return dict(zip([*CASES, "again", "straight"], together(2, *calls, place=place / "meet"), strict=True))


@pytest.mark.parametrize("key", CASES)
def test_two_processes_draw_and_update_as_one(base, place, drawn, key):
    how = {name: value for name, value in CASES[key].items() if name != "sequence_parallel"}
    alone, answers = cases.rounds(base, place / "one" / key, **how)
    outcome, theirs = drawn[key]
    assert answers == theirs and len(set(answers)) > 1
    check(place / "one" / key, place / "two" / key, numbers=1e-9, moved=1e-6)
    assert outcome.metrics.keys() == alone.metrics.keys()
    assert outcome.metrics["cursor"] == alone.metrics["cursor"] and outcome.kept == alone.kept


def test_again_by_two_processes_is_bitwise_equal(place, drawn):
    assert tree(place / "again" / "artifact") == tree(place / "two" / "grpo" / "artifact")


def test_killed_while_it_draws_is_bitwise_equal(base, place, drawn):
    """The second process ends amid the answers of the fourth round; a checkpoint is there after the second.

    Two draws come before the rounds, in which the decoder is tried.
    """
    whole, answers = drawn["straight"]
    run = partial(cases.rounds, **FOUR)
    call = (run, (base, place / "broken", "float32"))
    with pytest.raises(ProcessLookupError):
        together(2, call, place=place / "meet", first=[(cases.arm, (1, 2 + 4, "draw"))])
    (resumed,) = together(2, call, place=place / "meet")
    assert tree(place / "broken" / "artifact") == tree(place / "two" / "straight" / "artifact")
    assert resumed[1] == answers[len(answers) // 2 :] and resumed[0].metrics == whole.metrics


def test_a_fault_of_the_rewards_is_said_once(base, tmp_path):
    with pytest.raises(Failed) as failed:
        together(2, (cases.faulty_rounds, (base, tmp_path / "faulty")), place=tmp_path / "meet")
    assert (failed.value.rank, failed.value.kind, failed.value.said) == (0, WorkerError, "the judge is away")


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"lora_rank": 4}, {"tools": True}], ids=["plain", "adapters", "tools"])
def test_a_server_draws_for_two_processes_what_it_draws_for_one(base, tmp_path, more):
    if "lora_rank" in more:
        pytest.importorskip("peft", reason="pip install 'burnish[lora]' for LoRA")
    if "tools" in more:
        more = {"tools": Tools.of(["calculator"], turns=2, result_tokens=16)}
    how = {"method": "grpo", "updates": 2, **more}
    with hosted(Host(Path(base.path))) as url:
        call = (partial(cases.rounds, url=url, **how), (base, tmp_path / "two", "float32"))
        ((outcome, theirs),) = together(2, call, place=tmp_path / "meet")
    host = Host(Path(base.path))
    with hosted(host) as url:
        alone, answers = cases.rounds(base, tmp_path / "one", "float32", url=url, **how)
    assert answers == theirs and len(set(answers)) > 1 and len(host.told) == 3
    check(tmp_path / "one", tmp_path / "two", numbers=1e-4, moved=0.3)  # a tenth of the rate of these rounds
    assert outcome.metrics["all_answers_lost"] == alone.metrics["all_answers_lost"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("how", [{"method": "warp"}, {"method": "grpo", "merging": MERGED}], ids=["followed", "merged"])
def test_killed_with_state_beside_the_optimisers_is_bitwise_equal(base, tmp_path, how, dtype):
    """After the third update; a checkpoint is there after the second, in the middle of a merge of three."""
    run = partial(cases.rounds, rounds=4, **how)
    straight, broken = ((run, (base, tmp_path / name, dtype)) for name in ("straight", "broken"))
    together(2, straight, place=tmp_path / "meet")
    with pytest.raises(ProcessLookupError):
        together(2, broken, place=tmp_path / "meet", first=[(cases.arm, (1, 3, "update"))])
    together(2, broken, place=tmp_path / "meet")
    assert tree(tmp_path / "broken" / "artifact") == tree(tmp_path / "straight" / "artifact")


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"method": "warp"}, {"method": "grpo", "merging": MERGED}], ids=["followed", "merged"])
def test_one_process_goes_on_with_the_state_of_two(base, tmp_path, how):
    run = partial(cases.rounds, rounds=4, **how)
    run(base, tmp_path / "straight")
    with pytest.raises(ProcessLookupError):
        call = (run, (base, tmp_path / "broken"))
        together(2, call, place=tmp_path / "meet", first=[(cases.arm, (1, 3, "update"))])
    run(base, tmp_path / "broken")
    check(tmp_path / "straight", tmp_path / "broken", numbers=1e-9, moved=1e-6)
