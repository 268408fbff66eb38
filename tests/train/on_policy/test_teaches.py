"""Distillation on own answers against given ones, on arithmetic of the microworld, from its shipped base."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish import microworld
from burnish.chat import load_chat
from burnish.models import load_causal, prepare
from burnish.records import Demonstration, Message, Prompt, Sampling, Weights
from burnish.runs import Run
from burnish.train import give_chat, train_rows
from burnish.train.on_policy import CheckerReward, train_fresh
from burnish.train.on_policy.rollout import Sampler

NEW = 48  # tokens of an answer


def demonstration(prompt: Prompt) -> Demonstration:
    said = Message(role="assistant", content=json.loads(prompt.reference)["answer"])
    return Demonstration(prompt=prompt.id, context=prompt.messages, response=(said,))


def arithmetic(split: str, count: int) -> list[Prompt]:
    return [p for p in microworld.prompts(split, count, seed=0) if p.ability == "arithmetic"]


def accuracy(weights: Weights, asked: list[Prompt]) -> float:
    model = load_causal(weights)
    prepare(model)
    sampler = Sampler(model, load_chat(weights.path), name="scored")
    sampling = Sampling(temperature=0.7, max_new_tokens=NEW, seed=1)
    groups = sampler.draw(asked, n=2, sampling=sampling, first=0, number=0)
    answers = [answer for group in groups for answer in group.responses]
    found = CheckerReward(checkers=microworld.checkers()).rewards({p.id: p for p in asked}, answers)
    values = [reward.value for reward in found if reward.value is not None]
    assert len(values) > 0.9 * len(answers)
    return sum(values) / len(values)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_own_answers_teach_more_than_given_ones_in_as_many_steps(tmp_path, seed):
    """A student of 64 demonstrations, a teacher of 236; 30 steps of 16 answers on the forward divergence."""
    rows, held = [demonstration(p) for p in arithmetic("train", 3000)], arithmetic("heldout", 1200)[:100]
    settled: dict[str, Any] = {"method": "sft", "batch_rows": 16, "seed": seed}
    how: dict[str, Any] = {"rounds": 30, "prompts": 16, "max_new_tokens": NEW, "lr": 5e-4, "beta": 0.0, "seed": seed}
    with Run(tmp_path / "run") as run:
        start = run.step("chat", give_chat, microworld.base_weights(), format="chatml")
        student = run.step("student", train_rows, start, rows[:64], lr=5e-4, epochs=8, **settled)
        teacher = run.step("teacher", train_rows, start, rows[64:], lr=5e-4, epochs=6, **settled)
        scores = {"student": accuracy(student, held)}
        for name, share in (("own", 1.0), ("given", 0.0)):
            more = {"method": "distill-online", "teacher": teacher, "share": share, **how}
            scores[name] = accuracy(run.step(name, train_fresh, student, rows[:240], **more), held)
    assert scores["own"] > scores["given"] + 0.05 and scores["own"] > scores["student"] + 0.15, scores
