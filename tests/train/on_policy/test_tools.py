"""Answers that call tools: the output is read and not trained, and what was drawn stays as it was drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import SettingsError
from burnish.llm.local.decode import Decoder, Drawn
from burnish.models import build_pack, load_causal, token_logprobs
from burnish.records import Sampling
from burnish.train.on_policy import Tools, loop
from burnish.train.on_policy.groups import Rewarded, example_of
from burnish.train.on_policy.methods import FRESH, planned_fresh
from burnish.train.on_policy.rewards import Reward
from burnish.train.on_policy.rollouts import sampler_of
from tests.train.material import folders
from tests.train.on_policy.material import FAST, METHODS, Recorder, lines_of, prompts, train
from tests.train.on_policy.served import Host, hosted, spoken
from tests.train.on_policy.test_served import served

LIMITS = {"max_new_tokens": 40, "prompts": 3, "samples": 3, "rounds": 2}
TOOLS = '''
def add(a: int, b: int) -> int:
    """The sum of two numbers.

    Args:
        a: one.
        b: the other.
    """
    return a + b


def fail(a: int) -> int:
    """Fails.

    Args:
        a: a number.
    """
    raise ValueError("no " + str(a))


def speak(count: int) -> str:
    """Says much.

    Args:
        count: how much.
    """
    return "word " * count
'''


def tools(tmp_path: Any, **how: Any) -> Tools:
    (tmp_path / "tools.py").write_text(TOOLS)
    words = [f"{tmp_path / 'tools.py'}:{name}" for name in ("add", "fail", "speak")]
    return Tools.of(words, **{"turns": 3, "result_tokens": 70, **how})


@pytest.fixture
def scripted(base, monkeypatch):
    """The decoder says what a script tells it: by sample and by turn; its log-probabilities are the model's own."""
    chat = load_chat(base.path)
    stop = chat.stop_ids[0]
    said_by: dict[str, Any] = {"script": lambda sample, turn: "[add(a=1, b=2)]" if sample != 1 and turn == 0 else "3"}

    def generate(self: Decoder, prompts: Any, samples: int, uniforms: np.ndarray, limits: Any) -> Drawn:
        ids, logprobs, finish = [], [], []
        for row in range(len(prompts) * samples):
            prompt = list(prompts[row // samples])
            turn = chat.text(prompt).count("assistant") - 1
            text = said_by["script"](int(uniforms[row, 0] * 1e6) % 3 if samples == 1 else row % samples, turn)
            drawn = ([*chat.encode_text(text, bos=False), stop])[: limits.max_new_tokens]
            ids.append(drawn)
            logprobs.append(spoken(self.model, prompt, drawn))
            finish.append("stop" if drawn[-1] == stop else "length")
        return Drawn(token_ids=ids, logprobs=logprobs, finish=finish)

    monkeypatch.setattr(Decoder, "generate", generate)
    return said_by


def drawn_groups(base: Any, chosen: Tools, *, new: int = 40, count: int = 2) -> Any:
    built, steps, exploring = planned_fresh(FRESH["grpo"].settings(**{**FAST, **LIMITS}), "grpo")
    session, local = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
    sampler = sampler_of(session, local, None, chosen)
    sampling = Sampling(max_new_tokens=new, temperature=1.0, seed=0)
    return session, sampler, sampler.draw(prompts(count), n=3, sampling=sampling, first=0, number=0)


def test_what_a_tool_puts_out_is_read_and_not_trained(base, tmp_path, scripted):
    _, sampler, groups = drawn_groups(base, tools(tmp_path))
    chat = sampler.drawer.style.chat
    for group in groups:
        called, plain = group.responses[0], group.responses[1]
        assert [(m.role, m.content) for m in called.messages] == [
            ("assistant", "[add(a=1, b=2)]"), ("ipython", "3"), ("assistant", "3"),
        ]  # fmt: skip
        assert called.messages[0].end == "message" and called.text == "3"
        assert [m.content for m in plain.messages] == ["3"] and all(group.drawn[1])
        marks = group.drawn[0]
        assert len(marks) == len(called.token_ids) and sum(marks) == len(called.logprobs)
        before = group.before(0).tolist()
        assert before[0] == 0 and before[-1] == len(called.logprobs)
        assert [b - a for a, b in pairwise(before)] == [int(mark) for mark in marks]
        between = [t for t, mark in zip(called.token_ids, marks, strict=True) if not mark]
        assert chat.tokens.text(between).split() == ["tool", "3", "assistant"]
        # the dialogue as it stands, tokenised whole, has the same ids
        whole = chat.encode(group.prompt.messages, called.messages)
        assert whole.ids[whole.prompt_length :][: len(called.token_ids)] == called.token_ids
        assert tuple(whole.trained[whole.prompt_length :][: len(marks)]) == tuple(marks)


def test_log_probabilities_are_of_the_drawn_tokens_where_they_stand(base, tmp_path, scripted):
    session, _, groups = drawn_groups(base, tools(tmp_path))
    for group in groups:
        one = Rewarded(group=group, rewards=tuple(Reward(value=float(i)) for i in range(3)))
        example = example_of(one)
        select = torch.from_numpy(example.trained)
        found = token_logprobs(session.model, build_pack([example.row]), select=select).detach().double()
        assert torch.allclose(found, loop._sampled(one), atol=1e-4) and len(found) < len(select)


def test_a_server_draws_the_pieces(base, tmp_path):
    """It calls once and then says how many calls there were, always in text of its own."""
    chat = load_chat(base.path)

    def script(prompt: list[int]) -> list[int]:
        text = "3" if "tool" in chat.text(prompt) else "[add(a=1, b=2)]"
        return [*chat.encode_text(text, bos=False), chat.stop_ids[0]]

    work, rewarder = folders(tmp_path), Recorder(worth=lambda r: 0.1 * r.index)
    host = Host(Path(base.path), script=script)
    with hosted(host) as url:
        how = {"prompts": 2, "rounds": 2, "max_new_tokens": 40, "refills": 0}
        train(base, work, rewarder=rewarder, sampler=served(url), tools=tools(tmp_path), **how)
    lines = lines_of(work)
    assert all(line["sampler_gap"] < 1e-4 and line["tool_calls"] == 1 and line["rows"] == 2 for line in lines)
    for answer in rewarder.answers:
        assert [m.content for m in answer.messages] == ["[add(a=1, b=2)]", "3", "3"]
    # a request a piece, and one to look; the second of an answer goes on from the ids of the first
    assert len(host.asked) == 1 + 2 * len(rewarder.answers) == 1 + 2 * 12
    assert len({(tuple(body["prompt"]), body["seed"]) for body in host.asked}) == 24


@pytest.mark.parametrize("key", METHODS)
def test_every_method_trains_on_them_in_groups(base, tmp_path, scripted, key):
    work, rewarder = folders(tmp_path), Recorder(worth=lambda r: float(len(r.messages)) + 0.1 * r.index)
    train(base, work, rewarder=rewarder, tools=tools(tmp_path), **LIMITS, **METHODS[key])
    lines = lines_of(work)
    each = METHODS[key].get("updates", 1)
    assert all(line["sampler_gap"] < 1e-4 and line["tool_calls"] > 0.5 for line in lines)
    assert all(line.get("ratio", 1.0) == 1.0 for line in lines[::each]) and any(line["rows"] for line in lines)
    drawn = [len(a.logprobs) for a in rewarder.answers[:9]]
    assert lines[0]["answer_tokens"] == sum(drawn) / 9 and lines[0]["tokens"] <= sum(drawn)


def test_the_gradient_says_nothing_of_the_tools_tokens(base, tmp_path, scripted):
    """Against plain autograd over the drawn tokens alone."""
    built, steps, exploring = planned_fresh(FRESH["grpo"].settings(**{**FAST, **LIMITS}, beta=0.0), "grpo")
    session, local = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
    sampling = Sampling(max_new_tokens=40, temperature=1.0, seed=0)
    sampler = sampler_of(session, local, None, tools(tmp_path))
    (group,) = sampler.draw(prompts(1), n=3, sampling=sampling, first=0, number=0)
    values = [0.0, 1.0, 0.5]
    one = Rewarded(group=group, rewards=tuple(Reward(value=v) for v in values))
    example = example_of(one)
    session.method.explored(session.model, [[example]], {example.id: loop._sampled(one)}, session.place)
    session._gradient([example])
    plain = load_causal(base)
    rewards = torch.tensor(values)
    for advantage, response, marks in zip(
        (rewards - rewards.mean()) / rewards.std(correction=0), group.responses, group.drawn, strict=True
    ):
        ids = torch.tensor([[*group.ids, *response.token_ids]])
        found = plain(ids).logits[0, len(group.ids) - 1 : -1].log_softmax(-1)
        chosen = found.gather(1, torch.tensor(response.token_ids)[:, None])[torch.tensor(marks)]
        (-advantage * chosen.mean() / 3).backward()
    mine = dict(session.model.named_parameters())
    for key, parameter in plain.named_parameters():
        assert (mine[key].grad - parameter.grad).norm() <= 1e-3 * parameter.grad.norm(), key


@pytest.mark.parametrize(
    ("script", "how", "shown"),
    [
        ("[fail(a=7)]", {}, ['{"error":"ValueError: no 7"}']),
        ("[nothing(a=7)]", {}, ["there is no tool"]),
        ("[add(a=1, b=2), add(a=2, b=2)]", {}, ["3", "4"]),
        ("[speak(count=90)]", {}, ["word word"]),
    ],
)
def test_tools_that_fail_or_say_much(base, tmp_path, scripted, script, how, shown):
    scripted["script"] = lambda sample, turn: script if turn == 0 else "."
    _, _, groups = drawn_groups(base, tools(tmp_path, **how), count=1)
    for response, marks in zip(groups[0].responses, groups[0].drawn, strict=True):
        results = [m.content for m in response.messages if m.role == "ipython"]
        assert len(results) == len(shown)
        assert all(part in result.replace(": ", ":", 1) for part, result in zip(shown, results, strict=True))
        assert 0 < marks.count(False) <= 70 and response.text == "."
    if "speak" in script:
        assert results[0].endswith(" [cut]")


def test_answers_end_after_so_many_turns_or_tokens_and_with_what_is_no_call(base, tmp_path, scripted):
    scripted["script"] = lambda sample, turn: "[add(a=1, b=2)]"
    _, _, groups = drawn_groups(base, tools(tmp_path), new=60)
    for response in groups[0].responses:
        assert [m.role for m in response.messages] == ["assistant", "ipython"] * 2 + ["assistant"]
        assert len(response.logprobs) == 3 * 16 and response.finish == "stop"
    _, _, groups = drawn_groups(base, tools(tmp_path), new=20)
    for response in groups[0].responses:
        assert [m.role for m in response.messages] == ["assistant", "ipython", "assistant"]
        assert len(response.logprobs) == 20 and response.finish == "length"
    scripted["script"] = lambda sample, turn: '<tool_call>{"name": "add"'
    _, _, groups = drawn_groups(base, tools(tmp_path))
    assert all(len(r.messages) == 1 for r in groups[0].responses)


def test_there_must_be_room_for_what_the_tools_put_out(base, tmp_path, scripted):
    _, sampler, _ = drawn_groups(base, tools(tmp_path))
    (prompt,) = prompts(1)
    length = len(sampler.drawer.style.encode(prompt))
    assert not sampler.fits(prompt, 256 - length - 140) and "256 fit" in sampler.fits(prompt, 256 - length - 139)


def test_tools_are_what_their_files_say_and_wrong_words_are_refused(tmp_path):
    one = tools(tmp_path)
    (tmp_path / "other").mkdir()
    assert tools(tmp_path / "other").content == one.content
    for words, how, told in (
        (["calculater"], {}, "--tool calculater is none of calculator, python and no file.py:function"),
        ([f"{tmp_path}/none.py:f"], {}, "no file.py:function that there is"),
        (["calculator"], {"turns": 1}, "turns of 2 or more"),
        (["calculator"], {"syntax": "lisp"}, "the syntax of calls 'lisp'"),
    ):
        with pytest.raises(SettingsError, match=told):
            Tools.of(words, **how)
    with pytest.raises(SettingsError, match="has no function 'sub'"):
        Tools.of([f"{tmp_path / 'tools.py'}:sub"]).opener()


def test_a_session_in_the_sandbox_belongs_to_one_answer(base, tmp_path, scripted):
    from burnish.verify.sandbox import probe

    if not probe(tools=False).isolated:
        pytest.skip("no sandbox here")
    code = {0: '[python(code="x = 2")]', 1: '[python(code="x + 1")]'}
    scripted["script"] = lambda sample, turn: code.get(turn, "3")
    _, _, groups = drawn_groups(base, Tools.of(["python"], turns=3, result_tokens=60), new=60, count=1)
    results = [[m.content.strip() for m in r.messages if m.role == "ipython"] for r in groups[0].responses]
    assert results == [["", "3"]] * 3
    assert groups[0].responses[0].text == "3"
