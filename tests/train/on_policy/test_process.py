"""Rewards of reasoning steps: where steps end, who gives them, what GRPO makes of them; refusals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import ModelError, SettingsError, WorkerError
from burnish.models import load_causal, load_reward
from burnish.records import Message, Prompt, Response
from burnish.runs.compute import Compute, computing
from burnish.train import train_reward, train_rows
from burnish.train.on_policy import FRESH, FunctionReward, Reward, StepModelReward, loop
from burnish.train.on_policy.groups import FLAT, Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh
from burnish.train.on_policy.process import token_ends
from burnish.train.on_policy.rewards import line_ends, of_steps
from burnish.train.on_policy.rollout import Group
from tests.train.material import LOOP, folders, preferences, rated_demonstrations, said
from tests.train.on_policy.material import FAST, agree, gradients_of, lines_of, share, train


def answer(base: Any, prompt: Prompt, text: str, index: int = 0) -> Response:
    chat = load_chat(base.path)
    ids = (*chat.encode_text(text, bos=False), chat.stop_ids[0])
    return Response(
        prompt=prompt.id,
        messages=(Message(role="assistant", content=text),),
        token_ids=ids,
        logprobs=(0.0,) * len(ids),
        model="m",
        index=index,
        finish="stop",
    )


def test_lines_and_the_tokens_that_they_end_on(base):
    chat = load_chat(base.path)
    text = "1 + 1 \n\n  = é\n2"
    ends = line_ends(text)
    assert [text[:end] for end in ends] == ["1 + 1", "1 + 1 \n\n  = é", text] and line_ends(" \n\n") == []
    ids = (*chat.encode_text(text, bos=False), chat.stop_ids[0])
    found = token_ends(chat, ids, text, ends)
    assert [chat.text(ids[: place + 1]) for place in found] == [text[:end] for end in ends]
    assert not any(chat.text(ids[:place]) == text[:end] for place, end in zip(found, ends, strict=True))
    assert token_ends(chat, ids, "something else", [3]) is None


def test_a_function_gives_rewards_of_steps(base, tmp_path):
    prompt = Prompt(messages=(said("user", "?"),))
    answers = [answer(base, prompt, text, i) for i, text in enumerate(["a\nb", "a", "\n", "a\n\nb\nc"])]
    code = "def f(completions):\n    return [[0.5, 1], [None], [], [0, 1, 2]]\n\n"
    code += "def g(completions):\n    return [[1]] * 4\n"
    (tmp_path / "r.py").write_text(code + "\ndef h(completions):\n    return [[float('nan'), 1], 1, 1, 1]\n")
    found = FunctionReward.of(f"{tmp_path / 'r.py'}:f").rewards({prompt.id: prompt}, answers)
    assert [reward.value for reward in found] == [0.75, None, None, 1.0]
    assert [(step.end, step.label) for step in found[3].steps] == [(1, 0), (4, 1), (6, 2)]
    assert found[1].why == "step 1 of the answer has no reward" and found[2].why == "the answer has no step"
    with pytest.raises(WorkerError, match=r"gave 1 rewards of steps to answer 1 of prompt .* which has 2 lines"):
        FunctionReward.of(f"{tmp_path / 'r.py'}:g").rewards({prompt.id: prompt}, answers)
    with pytest.raises(WorkerError, match="gave the reward nan"):
        FunctionReward.of(f"{tmp_path / 'r.py'}:h").rewards({prompt.id: prompt}, answers)


TEXTS = (("a\nbb\nc", (1.0, 0.0, 0.5)), ("dd", (0.25,)), ("e\nf", None), ("g\n\nhh", (0.0, 2.0)))


def grouped(base: Any, prompt: Prompt) -> Rewarded:
    answers = tuple(answer(base, prompt, text, i) for i, (text, _) in enumerate(TEXTS))
    rewards = tuple(Reward(value=None, why="late") if v is None else of_steps(v, t) for t, v in TEXTS)
    ids = load_chat(base.path).encode_prompt(prompt.messages)
    return Rewarded(group=Group(prompt=prompt, place=0, ids=ids, responses=answers), rewards=rewards)


@pytest.mark.parametrize("over", ["responses", "tokens"])
def test_value_and_gradient_are_those_of_a_flat_loop(base, over):
    """Standardised over all steps of the group; a token answers for the steps that end at it or after it."""
    with computing(Compute(dtype="float64")):
        settings = FRESH["grpo"].settings(**FAST, process=True, beta=0.0, over=over, pack_tokens=40)
        built, steps, exploring = planned_fresh(settings, "grpo")
        session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
        one = grouped(base, Prompt(messages=(said("user", "?"),)))
        example = example_of(one)
        session.method.noted(example, one, sampler.style.chat)
        session.method.explored(session.model, [[example]], {example.id: loop._sampled(one)}, session.place)
        found = session._gradient([example])
        plain = load_causal(base, dtype="float64")
        values = torch.tensor([v for _, vs in TEXTS for v in vs or ()], dtype=torch.float64)
        unit = 3 if over == "responses" else sum(len(a.token_ids) for a in one.group.responses if a.index != 2)
        total = 0.0
        for response, (text, given) in zip(one.group.responses, TEXTS, strict=True):
            if given is None:
                continue
            ids = torch.tensor([[*one.group.ids, *response.token_ids]])
            logprobs = plain(ids).logits[0, len(one.group.ids) - 1 : -1].log_softmax(-1)
            logprobs = logprobs.gather(1, torch.tensor(response.token_ids)[:, None])[:, 0]
            # a byte is a token here, so characters count tokens
            ends = [end - 1 for end in line_ends(text)]
            advantages = torch.tensor(
                [
                    sum(
                        (v - values.mean()) / values.std(correction=0)
                        for v, end in zip(given, ends, strict=True)
                        if end >= t
                    )
                    for t in range(len(response.token_ids))
                ]
            )
            each = -(logprobs - logprobs.detach()).exp() * advantages
            total = total + (each.mean() if over == "responses" else each.sum()) / unit
        total.backward()
    assert found["loss"] == pytest.approx(total.item(), rel=1e-9)
    agree(gradients_of(session.model), gradients_of(plain))


def test_groups_are_flat_by_their_steps(base):
    prompt = Prompt(messages=(said("user", "?"),))
    answers = tuple(answer(base, prompt, "a\nb", i) for i in range(2))

    def one(*steps: tuple[float, ...]) -> Rewarded:
        group = Group(prompt=prompt, place=0, ids=(1,), responses=answers)
        return Rewarded(group=group, rewards=tuple(of_steps(v, "a\nb") for v in steps))

    assert one((1, 0), (0, 1)).left_out() == FLAT and one((1, 0), (0, 1)).left_out(by_steps=True) == ""
    assert one((1, 1), (1, 1)).left_out(by_steps=True) == FLAT


class ByLine:
    """Each answer's lines are worth the share of low tokens; random answers have a line or two."""

    name = "lines"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Any = None
    ) -> list[Reward]:
        return [of_steps([share(r) + place for place in range(len(line_ends(r.text)))], r.text) for r in responses]


def test_rounds_with_rewards_of_steps(base, tmp_path):
    work = folders(tmp_path)
    train(base, work, method="grpo", process=True, rewarder=ByLine(), updates=2)
    lines = lines_of(work)
    assert all(line["sampler_gap"] < 1e-4 for line in lines) and lines[0]["ratio"] == 1.0
    assert lines[-1]["reference_kl"] != 0.0
    with pytest.raises(WorkerError, match=r"process=true needs a reward for each step .* has one for the whole"):
        train(base, method="grpo", process=True)
    with pytest.raises(SettingsError, match="level is 'sequence'; process=true has advantages of tokens"):
        train(base, method="grpo", process=True, level="sequence")


def test_a_model_of_steps_scores_the_lines_of_an_answer(base, tmp_path):
    work = folders(tmp_path / "steps")
    weights = train_rows(base, rated_demonstrations(), method="reward-steps", work=work, **LOOP).weights
    rewarder, prompt = StepModelReward(weights=weights), Prompt(messages=(said("user", "1 + 1"),))
    answers = [answer(base, prompt, text) for text in ("a\n\nb\nc", " ", "x" * 300)]
    found = rewarder.rewards({prompt.id: prompt}, answers)
    assert found[1].why == "the answer has no step" and "and the reward model reads 256" in found[2].why
    chat, model = load_chat(weights.path), load_reward(weights)
    encoded = chat.encode(prompt.messages, answers[0].messages)
    with torch.no_grad():
        states = model.model(torch.tensor([encoded.ids])).last_hidden_state[0]
        scores = model.score(states)[:, 0].sigmoid()
    for step in found[0].steps:
        place = encoded.prompt_length + step.end - 1  # a byte is a token
        assert chat.text(encoded.ids[encoded.prompt_length : place + 1]) == "a\n\nb\nc"[: step.end]
        assert step.label == pytest.approx(scores[place].item(), rel=1e-5)
    assert found[0].value == pytest.approx(math.fsum(s.label for s in found[0].steps) / 3)
    whole = train_reward(base, preferences(), work=folders(tmp_path / "whole"), **LOOP).weights
    with pytest.raises(ModelError, match="scores whole answers; steps need a model of train reward-steps"):
        StepModelReward(weights=whole).rewards({prompt.id: prompt}, answers)
