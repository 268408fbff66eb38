"""Rounds on fresh answers by two processes: the draws of one, its rewards, and its updates."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import WorkerError
from tests.train.material import make_model
from tests.train.on_policy.material import METHODS
from tests.train.parallel import cases
from tests.train.parallel.test_rows import check
from tests.train.parallel.world import Failed, together

CASES: dict[str, dict[str, Any]] = {
    **{key: METHODS[key] for key in ("grpo", "grpo, updates", "rloo", "mdloo", "online-dpo")},
    "shared packs": {"method": "grpo", "updates": 2, "sequence_parallel": 2},
    "moving": {"method": "grpo", "reference": "every:1", "adapt": (0.5, 10.0), "updates": 2},
    "in the reward": {"method": "grpo-reward-kl", "through_kl": True, "updates": 2},
}
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
    assert cases.tree(place / "again" / "artifact") == cases.tree(place / "two" / "grpo" / "artifact")


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
    assert cases.tree(place / "broken" / "artifact") == cases.tree(place / "two" / "straight" / "artifact")
    assert resumed[1] == answers[len(answers) // 2 :] and resumed[0].metrics == whole.metrics


def test_a_fault_of_the_rewards_is_said_once(base, tmp_path):
    with pytest.raises(Failed) as failed:
        together(2, (cases.faulty_rounds, (base, tmp_path / "faulty")), place=tmp_path / "meet")
    assert (failed.value.rank, failed.value.kind, failed.value.said) == (0, WorkerError, "the judge is away")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"method": "warp"}, "reference=ema:MU needs whole weights"),
        ({"method": "grpo", "merging": "dare", "merge_base": True}, "online merging needs whole tensors"),
    ],
)
def test_what_needs_whole_weights_is_refused(base, tmp_path, how, said):
    if "merge_base" in how:
        how = {**how, "merge_base": make_model(tmp_path / "start", seed=5)}
    with pytest.raises(Failed) as failed:
        together(2, (partial(cases.rounds, **how), (base, tmp_path / "refused")), place=tmp_path / "meet")
    assert failed.value.rank == 0 and said in failed.value.said
