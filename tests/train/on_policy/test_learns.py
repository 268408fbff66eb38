"""A toy reward rises over the rounds, and stays where rewards say nothing of the answers."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from tests.train.material import folders
from tests.train.on_policy.material import Recorder, coin, share, train

# what a tiny model needs to move in a few seconds
LEARN: dict[str, dict[str, Any]] = {
    "grpo": {"lr": 1e-2},
    "rloo": {"lr": 1e-2},
    "mdloo": {"lr": 1e-2, "updates": 2},
    "warp": {"lr": 1e-2},
    "online-dpo": {"lr": 1e-2, "updates": 1},
}
HOW = {"rounds": 12, "prompts": 8, "samples": 8, "max_new_tokens": 6}


def gain(base: Any, name: str, work: Any, worth: Any, truth: Any) -> float:
    """Of `truth` in the last two rounds over the first two, when `worth` is what is rewarded."""
    rewarder = Recorder(worth=worth)
    train(base, work, rewarder=rewarder, method=name, **HOW, **LEARN[name])
    values = [truth(answer) for answer in rewarder.answers]
    return statistics.fmean(values[-128:]) - statistics.fmean(values[:128])


@pytest.mark.parametrize("name", LEARN)
def test_a_share_of_certain_tokens_rises_and_does_not_for_a_reward_that_says_nothing(base, tmp_path, name):
    learned = gain(base, name, folders(tmp_path / "a"), share, share)
    control = gain(base, name, folders(tmp_path / "b"), coin, share)
    assert learned > 0.25 > 0.12 > abs(control)


def test_shorter_answers_are_learned(base, tmp_path):
    """A tiny model hardly ever stops by itself; the token that ends an answer is trained like any other."""

    def short(answer: Any) -> float:
        return -float(len(answer.token_ids))

    assert gain(base, "grpo", folders(tmp_path), short, short) > 1.0
