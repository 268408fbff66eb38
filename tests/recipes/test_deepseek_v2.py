"""The second recipe: what it publishes and assumes, what it refuses, and (slow) what a smoke run of it leaves."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench.kill import compare, finish, random_kills

from burnish.cli.rewards.named import given_rewards, needs_annotator
from burnish.cli.tables import print_stages, stages
from burnish.cli.workers import Asked
from burnish.errors import SettingsError
from burnish.recipes import deepseek_v2, llama3, load_recipe
from burnish.records import Message, Prompt, Weights
from burnish.runs import RunView, override, sources
from burnish.train.on_policy import CheckerReward, JudgeReward
from tests.conftest import Called, burnish

WORDS = ("run", "deepseek_v2", "--scale", "smoke", "--out")


def prompt(ability: str, checker: str = "", reference: str = "1") -> Prompt:
    said = (Message(role="user", content=f"{ability} {checker}"),)
    return Prompt(messages=said, ability=ability, checker=checker, reference=reference)


def test_every_setting_has_a_source() -> None:
    said = sources(deepseek_v2.Settings)
    assert all(said[field.name].text for field in fields(deepseek_v2.Settings))
    assert sum(source.kind != "plumbing" for source in said.values()) <= 40


def test_the_papers_numbers_and_whose_they_are() -> None:
    paper, said = deepseek_v2.scale("paper"), sources(deepseek_v2.Settings)
    assert (paper.mixed, paper.sft_epochs, paper.sft_lr) == (1_500_000, 2, 5e-6)
    assert round(paper.mixed * paper.safety_share) == 300_000
    # The split of the 1.2 M is the report before's: not V2's own.
    assert paper.shares == (0.312, 0.466, 0.222) and sum(paper.shares) == pytest.approx(1)
    assert said["shares"].kind == "ASSUMED" and said["mixed"].kind == "source" == said["safety_share"].kind
    assert (paper.group, paper.beta, paper.level) == (64, (0.04, 0.04), "sequence")
    for name in ("group", "beta", "rl_lr", "clip_ratio", "coefficients", "rl_prompts"):
        assert said[name].kind == "ASSUMED", name  # V2 publishes none of them


def test_choices_and_fixed_numbers_of_values_are_held_at_the_door() -> None:
    smoke = deepseek_v2.scale("smoke")
    assert override(smoke, ["coefficients=2,1,0.5", "reward_form=point"]).coefficients == (2.0, 1.0, 0.5)
    assert override(smoke, ["rl_lr=2e-5,1e-5"]).rl_lr == (2e-5, 1e-5)  # of stage 1 and of stage 2
    for pair, told in (
        ("reward_form=points", "reward_form is one of pair, point"),
        ("coefficients=1,1", "coefficients takes 3 values"),
        ("beta=0.1", "beta takes 2 values"),
        ("shares=1,2,x", "a value of type"),
        ("group_size=3", "did you mean"),
    ):
        with pytest.raises(SettingsError, match=told):
            override(smoke, [pair])


def test_rewards_by_name() -> None:
    rows = [prompt("", "math"), prompt("facts", "exact")]
    found = given_rewards(deepseek_v2, Asked(rewards=("reasoning=math", "rules=math*0.5")), rows)
    assert isinstance(found["reasoning"], CheckerReward) and found["rules"].parts[0][0] == 0.5
    for module, words, told in (
        (llama3, ("reasoning=math",), "llama3 takes no reward from outside"),
        (deepseek_v2, ("reasonin=math",), "did you mean 'reasoning'"),
        (deepseek_v2, ("math",), "write it as NAME=SPEC"),
        (deepseek_v2, ("reasoning=math", "reasoning=math"), "given twice"),
        (deepseek_v2, ("helpful=nobody",), "is no checker, no reward model"),
    ):
        with pytest.raises(SettingsError, match=told):
            given_rewards(module, Asked(rewards=words), rows)


def test_somebody_must_say_what_people_prefer_before_anything_runs() -> None:
    smoke = deepseek_v2.scale("smoke")
    math, other = [prompt("", "math"), prompt("code")], [prompt("facts")]
    asked, judge = Asked(prompts="some.jsonl"), SimpleNamespace()
    assert not needs_annotator(deepseek_v2, asked, smoke, math, {})
    assert not needs_annotator(deepseek_v2, asked, smoke, other, {"helpful": judge, "safety": judge})
    assert not needs_annotator(deepseek_v2, asked, override(smoke, ["preference_rounds=0"]), other, {})
    with pytest.raises(SettingsError, match="1 prompts are none of math, arithmetic, code, and nobody compares"):
        needs_annotator(deepseek_v2, asked, smoke, [*math, *other], {"helpful": judge})
    assert needs_annotator(deepseek_v2, Asked(prompts="f", annotator="math"), smoke, other, {})
    assert needs_annotator(llama3, asked, llama3.scale("smoke"), math, {})


def test_dry_run(called: Called) -> None:
    code, said, wrong = called("run", "deepseek_v2", "--scale", "paper", "--dry-run")
    assert code == 0, wrong
    assert "r1/grpo, sample" in said and "r2/rm-helpful, safety" in said and "upper estimate" in said
    code, _, wrong = called("run", "deepseek_v2", "--scale", "smoke", "--judge", "math")
    assert code == 2 and "deepseek_v2 has nothing to prune" in wrong
    code, _, wrong = called("run", "deepseek_v2", "--scale", "smoke", "--set", "reasoning_rounds=-1")
    assert code == 2 and "reasoning_rounds must be at least 0" in wrong


def test_the_two_recipes_call_the_same_things_by_the_same_names() -> None:
    """Steps of the two files, as they are written down: what is shared has one name."""

    def steps(module: object) -> set[str]:
        text = Path(module.__file__).read_text(encoding="utf-8")
        return {part.split('"')[0].replace("{prefix}", "") for part in text.replace('f"', '"').split('run.step("')[1:]}

    both = steps(deepseek_v2) & steps(llama3)
    shared = {"prompts", "heldout", "base", "samples", "rewards", "best", "best-accuracy", "mixed", "gated"}
    assert both >= {*shared, "answers-{x}", "judgements", "preferences"}
    assert load_recipe("deepseek_v2") is deepseek_v2


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A smoke run, as `smoke` is one of the first recipe."""
    folder = tmp_path_factory.mktemp("staged") / "run"
    done = burnish(*WORDS, str(folder), "--json")
    assert done.returncode == 0, done.stderr
    return {"folder": folder, "object": json.loads(done.stdout), "stderr": done.stderr}


def at(view: RunView, name: str):
    return next(step for step in view.steps if step.name.replace("/", "-").endswith(name))


@pytest.mark.slow
def test_a_smoke_run_goes_from_the_base_through_both_stages(staged: dict) -> None:
    told, view = staged["object"], RunView(staged["folder"])
    assert told["recipe"] == "deepseek_v2" and Path(told["final"], "model.safetensors").exists()
    assert [row["stage"] for row in stages(view)] == ["base", "SFT", "stage 1", "stage 2"]
    for step in view.steps:
        counts = step.note["counts"]
        lost = sum(counts["dropped"].values()) + sum(counts["unscored"].values())
        assert counts["taken"] == counts["kept"] + lost, step.name
    print_stages(view, sys.stderr)
    page = Path(told["report"]).read_text(encoding="utf-8")
    assert "Stage 1" in page and "Before the stages" in page and "helpful" in page and "Round 1" not in page
    assert view.about["simulated"] == ["annotator"]


@pytest.mark.slow
def test_each_stage_learns_from_its_own_prompts_under_its_own_reward(staged: dict) -> None:
    view = RunView(staged["folder"])
    for number, reasoning in ((1, True), (2, False)):
        steps = {s.name.split("/")[1][3:]: s for s in view.steps if s.name.startswith(f"r{number}/")}
        rows = steps["rl-prompts"].rows()
        assert rows and all((row.ability in deepseek_v2.REASONING) == reasoning for row in rows)
        assert all(row.prompt not in {p.id for p in view.step("heldout").rows()} for row in steps["gated"].rows())
        curve = [line for line in steps["grpo"].curve() if isinstance(line, dict)]
        assert len(curve) == deepseek_v2.scale("smoke").reasoning_rounds and all("reward" in line for line in curve)
        names = {key.removeprefix("reward_") for line in curve for key in line if key.startswith("reward_")}
        assert names == (set() if reasoning else {"helpful", "safety", "rules"})
    sft = at(view, "-sft")
    for name in ("rm-reasoning", "rm-helpful", "rm-safety"):
        step = at(view, name)
        assert step.kind == "reward" and sft.id in {parent["id"] for parent in step.note["parents"]}
    first = next(s for s in view.steps if s.name.startswith("r1/") and s.name.endswith("-grpo"))
    second = next(s for s in view.steps if s.name.startswith("r2/") and s.name.endswith("-grpo"))
    assert first.id in {parent["id"] for parent in second.note["parents"]}


@pytest.mark.slow
def test_reward_data_repeats_the_verdicts_and_no_pair_has_equal_outcomes(staged: dict) -> None:
    from burnish import microworld

    view, checkers = RunView(staged["folder"]), microworld.checkers()
    known = {row.id: row for row in view.step("prompts").rows()}
    rows = next(s for s in view.steps if s.name.startswith("r1/") and s.name.endswith("-reward-rows")).rows()
    assert rows
    for row in rows:
        asked = known[row.prompt]
        texts = [next(m.content for m in reversed(c.messages) if m.role == "assistant") for c in row.candidates]
        assert [checkers[asked.checker].check_text(asked, text).correct for text in texts] == [True, False]


@pytest.mark.slow
def test_a_control_may_spend_what_the_run_spent(staged: dict) -> None:
    """Counted from the rows that lie there, not from the settings: groups drawn again cost, too."""
    from bench.stages import control_settings, spent

    view, smoke = RunView(staged["folder"]), deepseek_v2.scale("smoke")
    answers = [s for s in view.steps if s.name[-9:-2] == "answers" or s.name.endswith("-samples")]
    drawn = sum(len(s.rows()) for s in answers if "heldout" not in s.name and "format" not in s.name)
    lines = [line for s in view.steps if s.name.endswith("-grpo") and s.kind == "causal" for line in s.curve()]
    groups = sum(line["groups"] for line in lines)
    learned = sum(line["groups"] - line["groups_flat"] - line["groups_missing"] for line in lines)
    pairs = sum(len(s.rows()) for s in view.steps if s.name.endswith("-reward-rows"))
    fitted = smoke.sft_epochs * len(at(view, "-mixed").rows()) + 2 * smoke.reward_epochs * pairs
    assert spent(view) == (drawn + smoke.group * groups, fitted + smoke.group * learned)
    control = override(smoke, control_settings(view)[1::2])
    assert control.selection == "random" and not control.reasoning_rounds + control.preference_rounds
    assert 0 <= control.sampled * control.samples - spent(view)[0] < control.samples
    assert 0 <= control.mixed * control.sft_epochs - spent(view)[1] < control.sft_epochs


@pytest.mark.slow
def test_random_kills_leave_no_trace(staged: dict, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    line = [sys.executable, "-m", "burnish", *WORDS, str(killed)]
    assert random_kills(line, 3, 25.0, random.Random(2)) >= 2
    finish(line)
    assert compare(staged["folder"], killed) == []


def test_a_reward_model_is_a_reward() -> None:
    """What the recipe hands to GRPO can be fingerprinted, and says its parent."""
    from burnish.judge import RewardModel
    from burnish.runs.identity import handles, identity

    weights = Weights(path="x", id="abc", kind="reward")
    rewarder = JudgeReward(judge=RewardModel(weights=weights), name="helpful")
    assert identity(rewarder)["name"] == "helpful" and list(handles(rewarder)) == [weights]


def test_two_answers_of_one_model_are_compared_where_there_is_no_other() -> None:
    """Stage 1 may have trained nothing; then the SFT model answers against itself."""
    from burnish.annotate import choose_pair
    from burnish.records import Dropped, Response

    asked = prompt("facts")
    said = [(Message(role="assistant", content=text),) for text in ("a", "b", "a")]
    rows = [Response(prompt=asked.id, messages=m, model="m", index=i) for i, m in enumerate(said)]
    pair = choose_pair(asked, rows[:2], 2, models=1)
    assert not isinstance(pair, Dropped) and {r.text for r in pair} == {"a", "b"}
    for few, models, told in ((rows[:2], 2, "one model only"), (rows[:1], 1, "one model"), (rows[::2], 1, "identical")):
        found = choose_pair(asked, few, 2, models=models)
        assert isinstance(found, Dropped) and told in found.reason
