"""`burnish train grpo|rloo|mdloo`: rewards from the command line, refusals, resume, weights for plain transformers."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.records import weights_in
from burnish.runs import sources
from burnish.train.on_policy import FRESH
from tests.train.material import make_model

REWARDS = """
import os

def early(completions, completion_ids, **columns):
    assert len(columns["reference"]) == len(completions)
    if os.environ.get("REWARD_FAULT"):
        raise ConnectionError("no judge today")
    return [sum(token < 128 for token in ids) / len(ids) for ids in completion_ids]

def never(completions):
    return [None] * len(completions)
"""
SETTINGS = ("rounds=3", "prompts=4", "samples=3", "max_new_tokens=5", "lr=1e-2", "updates=2")


@dataclass
class Place:
    """A base, a file of prompts and a file of rewards."""

    folder: Path

    def words(self, method: str, out: str, *rewards: str, settings: tuple[str, ...] = SETTINGS) -> list[str]:
        told = ["train", method, "--model", str(self.folder / "base"), "--data", str(self.folder / "prompts.jsonl")]
        told += ["--out", str(self.folder / out), "--threads", "1", "--track", "none"]
        told += [word for reward in rewards for word in ("--reward", reward)]
        return told + [word for setting in settings for word in ("--set", setting)]

    @property
    def function(self) -> str:
        return f"{self.folder / 'rewards.py'}:early"

    def step(self, out: str, method: str) -> dict[str, Any]:
        (found,) = (self.folder / out).glob(f"[0-9][0-9]-{method}/step.json")
        return json.loads(found.read_text())

    def lines(self, out: str, method: str) -> list[dict[str, Any]]:
        (found,) = (self.folder / out).glob(f"[0-9][0-9]-{method}/metrics.jsonl")
        return [json.loads(line) for line in found.read_text().splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    make_model(tmp_path / "base")
    rows = [{"prompt": f"{i} + 2", "reference": str(i + 2), "checker": "math"} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rewards.py").write_text(REWARDS)
    return Place(tmp_path)


def test_a_function_of_ones_own(called, place):
    from transformers import AutoModelForCausalLM

    code, said, wrong = called(*place.words("grpo", "out", place.function))
    assert code == 0, wrong
    assert said.splitlines()[-1] == f"burnish chat {place.folder / 'out' / 'final'}"
    assert (place.folder / "out" / "report.html").stat().st_size > 0
    step, lines = place.step("out", "grpo"), place.lines("out", "grpo")
    assert step["counts"] == {"taken": 6, "kept": 6, "dropped": {}, "unscored": {}}
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6] and step["metrics"]["rounds"] == 3
    assert step["metrics"]["reward"] == lines[-1]["reward"] and step["metrics"]["first_reward"] == lines[0]["reward"]
    model, info = AutoModelForCausalLM.from_pretrained(place.folder / "out" / "final", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    before = AutoModelForCausalLM.from_pretrained(place.folder / "base")
    assert (model.lm_head.weight - before.lm_head.weight).abs().max() > 1e-3
    with torch.no_grad():
        assert model(torch.tensor([[1, 2, 3]])).logits.isfinite().all()
    assert weights_in(place.folder / "out" / "final").id == step["artifact"]["id"]

    code, _, wrong = called(*place.words("grpo", "out", place.function))
    assert code == 0 and "everything was there already; nothing was computed" in wrong
    # another function is another training
    (place.folder / "rewards.py").write_text(REWARDS + "\n# changed\n")
    code, _, wrong = called(*place.words("grpo", "out", place.function))
    assert code == 2 and "grpo" in wrong


def test_a_run_whose_rewards_fail_goes_on_where_it_stopped(called, place, monkeypatch):
    from burnish.train.on_policy import loop

    code, _, wrong = called(*place.words("rloo", "straight", place.function))
    assert code == 0, wrong
    real = loop._Rounds._explore

    def later(self: Any, number: int) -> Any:
        monkeypatch.setitem(os.environ, "REWARD_FAULT", "1" if number == 2 else "")
        return real(self, number)

    monkeypatch.setattr(loop._Rounds, "_explore", later)
    code, _, wrong = called(*place.words("rloo", "broken", place.function))
    assert code == 2 and "round 3: none of" in wrong and "raised ConnectionError: no judge today" in wrong
    monkeypatch.setattr(loop._Rounds, "_explore", real)
    monkeypatch.setitem(os.environ, "REWARD_FAULT", "")
    asked = []
    monkeypatch.setattr(loop._Rounds, "_explore", lambda self, number: asked.append(number) or real(self, number))
    code, _, wrong = called(*place.words("rloo", "broken", place.function))
    assert code == 0, wrong
    assert asked == [2]
    assert place.lines("broken", "rloo") == place.lines("straight", "rloo")
    assert weights_in(place.folder / "broken" / "final").id == weights_in(place.folder / "straight" / "final").id


def test_checkers_and_weights(called, place):
    """A random model is never right: all groups are flat for the checker, and the other half of the sum decides."""
    code, _, wrong = called(*place.words("mdloo", "sum", "checker*2", f"{place.function}*0.5"))
    assert code == 0, wrong
    line = place.lines("sum", "mdloo")[0]
    assert line["reward_checker"] == 0.0
    assert line["reward"] == pytest.approx(0.5 * line["reward_early"]) and line["groups_flat"] < line["groups"]
    code, _, wrong = called(*place.words("grpo", "alone", "math"))
    assert code == 0, wrong
    assert all(line["groups_flat"] == line["groups"] and line["rows"] == 0 for line in place.lines("alone", "grpo"))


def test_a_reward_model_folder(called, place):
    from burnish.train import train_reward
    from tests.train.material import LOOP, folders, preferences

    work = folders(place.folder / "reward")
    train_reward(weights_in(place.folder / "base"), preferences(), work=work, **LOOP)
    code, _, wrong = called(*place.words("grpo", "out", str(work.folder)))
    assert code == 0, wrong
    assert all(math.isfinite(line["reward"]) and line["rewards_missing"] == 0 for line in place.lines("out", "grpo"))


def test_a_model_of_steps(called, place):
    from burnish.train import train_rows
    from tests.train.material import LOOP, folders, rated_demonstrations

    work = folders(place.folder / "steps")
    base = weights_in(place.folder / "base")
    train_rows(base, rated_demonstrations(), method="reward-steps", work=work, **LOOP)
    code, _, wrong = called(*place.words("grpo", "out", str(work.folder), settings=(*SETTINGS, "process=true")))
    assert code == 0, wrong
    lines = place.lines("out", "grpo")
    assert all(0 < line["reward"] < 1 for line in lines) and lines[-1]["reference_kl"] != 0


def test_distillation_reads_prompts_or_answers_by_its_share(called, place):
    make_model(place.folder / "teacher", seed=5)
    more = ("--teacher", str(place.folder / "teacher"))
    own, half = (*SETTINGS, "share=1", "beta=1"), (*SETTINGS, "share=0.5", "rounds=6")
    code, _, wrong = called(*place.words("distill-online", "own", settings=own), *more)
    assert code == 0, wrong
    step = place.step("own", "distill-online")
    assert step["metrics"]["all_on_policy"] == 3 and step["parents"]
    code, _, wrong = called(*place.words("distill-online", "half", settings=half), *more)
    assert code == 2 and "prompts without answers go with share=1" in wrong
    rows = [{"prompt": f"{i} + 2", "completion": str(i + 2)} for i in range(6)]
    (place.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, wrong = called(*place.words("distill-online", "half", settings=half), *more)
    assert code == 0, wrong
    turns = {line["on_policy"] for line in place.lines("half", "distill-online")}
    assert turns == {0.0, 1.0}


def test_online_dpo_with_online_merging(called, place):
    make_model(place.folder / "origin", seed=5)
    settings = (*SETTINGS, "merging=ties,keep=0.5,alpha=1e-4,every=2")
    more = ("--merge-base", str(place.folder / "origin"))
    code, _, wrong = called(*place.words("online-dpo", "out", place.function, settings=settings), *more)
    assert code == 0, wrong
    assert place.lines("out", "online-dpo")[0]["spread"] > 0
    code, _, wrong = called(*place.words("online-dpo", "plain", place.function))
    assert code == 0, wrong
    merged, plain = (weights_in(place.folder / name / "final").id for name in ("out", "plain"))
    assert merged != plain


def test_rows_to_stay_close_on(called, place):
    rows = [{"prompt": f"{i}?", "completion": str(i)} for i in range(4)]
    (place.folder / "kept.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = (*SETTINGS, "through_kl=true", "keep_weight=0.1", "keep_rows=2")
    words = place.words("grpo-reward-kl", "out", place.function, settings=settings)
    code, _, wrong = called(*words, "--keep", str(place.folder / "kept.jsonl"))
    assert code == 0, wrong
    assert place.lines("out", "grpo-reward-kl")[-1]["kept_kl"] > 0


@pytest.mark.parametrize(
    ("words", "said_of_it"),
    [
        (["grpo"], "grpo needs --reward; --reward says what a fresh answer is worth, for grpo, grpo-reward-kl, rloo"),
        (["sft", "--reward", "math"], "sft takes no --reward"),
        (["grpo", "--reward", "mth"], "--reward mth is no checker, no reward model folder, no server"),
        (["grpo", "--reward", "mth"], "did you mean 'math'?"),
        (["grpo", "--reward", "math*much"], "--reward math*much: the weight after * is no number"),
        (["grpo", "--reward", "math*nan"], "--reward math*nan: the weight after * is no number"),
        (["grpo", "--reward", "math*0"], "every reward has the weight 0"),
        (["grpo", "--reward", "none.py:f"], "--reward none.py:f: there is no such file"),
        (["grpo", "--reward", "rewards.py"], "does not say which function; write it as rewards.py:function"),
        (["grpo", "--reward", "runs/none"], "there is no such folder of a reward model"),
        (["grpo", "--reward", "rewards.py:late"], "has no function 'late'"),
        (["grpo", "--reward", "math", "--teacher", "x"], "grpo takes no teacher: --teacher DIR_OR_HUB_ID"),
        (["grpo", "--reward", "math", "--iterations", "2"], "grpo takes no --iterations; --set rounds=N"),
        (["grpo", "--reward", "math", "--set", "samples=1"], "samples is 1"),
        (["grpo", "--reward", "math", "--set", "sampels=4"], "no setting 'sampels'; did you mean 'samples'?"),
        (["mdloo", "--reward", "math", "--set", "gamma=0"], "gamma is 0.0"),
        (["distill-online"], "distill-online needs teacher: --teacher"),
        (["distill-online", "--teacher", "x", "--reward", "math"], "distill-online takes no --reward"),
        (["online-dpo", "--reward", "math", "--set", "merging=dare"], "merging needs the model that the starting"),
        (["grpo", "--reward", "math", "--merge-base", "x"], "--merge-base is for online merging"),
        (["sft", "--merge-base", "x"], "--merge-base is for online merging"),
        (["grpo-reward-kl", "--reward", "math"], "through_kl must be given"),
        (["grpo", "--reward", "math", "--keep", "x"], "--keep is for grpo-reward-kl"),
        (["grpo", "--reward", "math", "--set", "reference=ema"], "reference is 'ema'; write fixed, every:N"),
        (["grpo", "--reward", "math", "--set", "adapt=6"], "adapt is 6; give two positive numbers"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_2(called, place, words, said_of_it):
    told = ["--model", str(place.folder / "base"), "--data", str(place.folder / "prompts.jsonl"), "--out", "out"]
    code, out, wrong = called("train", *words, *told)
    assert code == 2 and not out
    line = wrong.splitlines()[-1]
    assert line.startswith("burnish: error: ") and said_of_it in line
    assert not (place.folder / "out").exists()


def test_checkers_need_references_and_names(called, place):
    (place.folder / "prompts.jsonl").write_text('{"prompt": "Hello?"}\n')
    code, _, wrong = called(*place.words("grpo", "out", "math"))
    assert code == 2 and "--reward math needs reference answers, and none of the 1 prompts has one" in wrong
    (place.folder / "prompts.jsonl").write_text('{"prompt": "Hello?", "reference": "2"}\n')
    code, _, wrong = called(*place.words("grpo", "out", "checker"))
    assert code == 2 and "none of the 1 prompts names one" in wrong
    code, _, wrong = called(*place.words("grpo", "out", f"{place.folder / 'rewards.py'}:never"))
    assert code == 2 and "round 1: none of 24 answers has a reward (24 times: " in wrong and "gave none" in wrong


@pytest.mark.parametrize("method", FRESH)
def test_settings_lists_each_with_its_source(called, tmp_path, method):
    code, said, _ = called("train", method, "--settings", "--set", "samples=5")
    assert code == 0
    head, blank, *lines = said.splitlines()
    assert head.startswith(f"{method}: ") and not blank
    known = sources(FRESH[method].settings)
    assert [line.split()[0] for line in lines] == [f.name for f in fields(FRESH[method].settings)]
    assert len(lines) <= 40
    for line in lines:
        name, value, source = line.split(maxsplit=2)
        assert source == known[name].text and source
        assert value == "5" or name != "samples"
    assert not list(tmp_path.iterdir())


def routed(place: Place) -> None:
    rows = [{"prompt": f"{i} + 2", "reference": str(i + 2), "route": ("math", "chat")[i % 2]} for i in range(6)]
    (place.folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_rewards_by_route(called, place):
    routed(place)
    code, _, wrong = called(
        *place.words("grpo", "out", "math=math", f"math={place.function}*0.5", f"chat={place.function}")
    )
    assert code == 0, wrong
    lines = place.lines("out", "grpo")
    assert all(line["reward_math"] == pytest.approx(0.5 * line["reward_math_early"]) for line in lines[::2])
    assert {"reward_math_math", "reward_chat"} <= set(lines[0])
    code, said, _ = called("show", str(place.folder / "out"), "grpo")
    assert code == 0 and "answers of round 3, with their rewards" in said


@pytest.mark.parametrize(
    ("words", "said_of_it"),
    [
        (["--reward", "math=math"], "has the route 'chat', and there are rewards for math; add --reward chat=SPEC"),
        (["--reward", "mth=math"], "no prompt has the route 'mth'; the prompts' column route holds chat, math"),
        (["--reward", "math=math", "--reward", "math"], "--reward math: every prompt has a route"),
        (["--reward", "math", "--sampler", "runs/x"], "--sampler runs/x is no server; write it as http://host:8000/v1#model"),
        (["--reward", "math", "--sampler", "http://h:1/v1#m"], "--sampler with --reload vllm needs --sampler-folder"),
        (["--reward", "math", "--reload", "sglang"], "--reload and --sampler-folder go with --sampler"),
        (["--reward", "math", "--tool", "calc"], "--tool calc is none of calculator, python and no file.py:function"),
        (["--reward", "math", "--tool", "rewards.py:late"], "has no function 'late'"),
        (["--reward", "math", "--tool", "rewards.py:early"], "burnish: error: "),
        (["--reward", "math", "--max-turns", "3"], "--max-turns and --tool-tokens go with --tool"),
        (["--reward", "math", "--tool", "calculator", "--max-turns", "1"], "turns of 2 or more"),
        (["--reward", "math", "--set", "reward_seconds=0"], "reward_seconds is 0.0"),
    ],
)  # fmt: skip
def test_routes_servers_and_tools_that_do_not_go_are_one_sentence_and_2(called, place, monkeypatch, words, said_of_it):
    routed(place)
    monkeypatch.chdir(place.folder)
    told = ["--model", str(place.folder / "base"), "--data", str(place.folder / "prompts.jsonl"), "--out", "out"]
    code, out, wrong = called("train", "grpo", *words, *told)
    assert code == 2 and not out
    line = wrong.splitlines()[-1]
    assert line.startswith("burnish: error: ") and said_of_it in line
    assert not (place.folder / "out").exists()


def test_a_server_draws(called, place):
    from tests.train.on_policy.served import Host, hosted

    with hosted(Host(place.folder / "base")) as url:
        few = ("rounds=2", "prompts=2", "samples=2", "max_new_tokens=3", "lr=1e-2")
        words = place.words("rloo", "out", place.function, settings=few)
        tools = ["--tool", "calculator", "--max-turns", "2", "--tool-tokens", "60"]
        code, _, wrong = called(*words, "--sampler", f"{url}#policy", "--reload", "sglang", *tools)
    assert code == 0, wrong
    assert all(line["sampler_gap"] < 1e-4 and line["tool_calls"] == 0 for line in place.lines("out", "rloo"))


def test_methods_on_fixed_rows_take_no_server(called, place):
    words = ["--model", str(place.folder / "base"), "--data", str(place.folder / "prompts.jsonl"), "--out", "out"]
    code, _, wrong = called("train", "sft", "--tool", "calculator", *words)
    assert code == 2 and "sft takes no --sampler and no --tool; those are for grpo, " in wrong


FAULTY = """
import time

def hang(completions):
    time.sleep(20)

def short(completions):
    return [1.0]

def nan(completions):
    return [float("nan")] * len(completions)
"""


@pytest.mark.parametrize(
    ("name", "said_of_it"),
    [
        ("hang", "round 1: none of 24 answers has a reward (24 times: "),
        ("short", "gave 1 rewards for 12 answers; it must give one each"),
        ("nan", "gave the reward nan to answer 1 of prompt"),
    ],
)
def test_rewards_that_are_none_are_one_sentence_and_the_command_goes_on(called, place, name, said_of_it):
    (place.folder / "rewards.py").write_text(FAULTY)
    words = [*place.words("grpo", "out", f"{place.folder / 'rewards.py'}:{name}"), "--set", "reward_seconds=0.1"]
    code, out, wrong = called(*words)
    assert code == 2 and not out and said_of_it in wrong.splitlines()[-1], wrong
    (place.folder / "rewards.py").write_text(REWARDS.replace("def early", f"def {name}"))
    code, _, wrong = called(*words)
    assert code == 0, wrong
    assert [line["step"] for line in place.lines("out", "grpo")] == [1, 2, 3, 4, 5, 6]


def test_a_server_without_log_probabilities_is_one_sentence(called, place):
    from tests.train.on_policy.served import Host, hosted

    with hosted(Host(place.folder / "base", hides=("logprobs",))) as url:
        words = place.words("grpo", "out", place.function)
        code, out, wrong = called(*words, "--sampler", f"{url}#policy", "--reload", "sglang")
    assert code == 2 and not out
    assert (
        "gives no log-probabilities of what it draws, and training on fresh answers needs them"
        in wrong.splitlines()[-1]
    )
    assert not list((place.folder / "out").glob("*-grpo"))
