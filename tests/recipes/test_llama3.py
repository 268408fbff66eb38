"""The recipe at smoke scale: the logic of the rounds (specification §3.1, §8.8), and what a run says of itself."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from burnish import llm, microworld
from burnish.errors import BurnishError
from burnish.recipes import RECIPES, llama3, load_recipe
from burnish.records import Demonstration, Preference, Response, Weights
from burnish.runs import Rows, Run, RunView, sources
from tests.conftest import Called


@pytest.fixture(scope="module")
def view(smoke: dict) -> RunView:
    return RunView(smoke["folder"])


def test_json_is_one_object_with_metrics_paths_counts_seconds(smoke: dict) -> None:
    told = smoke["object"]
    assert told["recipe"] == "llama3" and Path(told["report"]).exists() and Path(told["final"], "config.json").exists()
    for name, stage in told["stages"].items():
        assert {"metrics", "path", "counts", "seconds"} <= stage.keys(), name
        assert Path(stage["path"]).is_dir()
    assert "r2/" in smoke["stderr"]


def test_reward_data_grows_and_dpo_data_is_the_latest_only(view: RunView) -> None:
    gated = [{row.id for row in view.step(f"r{r}/gated").rows()} for r in (1, 2)]
    seen = [{row.id for row in view.step(f"r{r}/reward-rows").rows()} for r in (1, 2)]
    assert seen[0] == gated[0] and seen[1] == gated[0] | gated[1]
    for number, rows in enumerate(gated, 1):
        assert {row.round for row in view.step(f"r{number}/gated").rows()} <= {number}
        step = next(s for s in view.steps if s.name.startswith(f"r{number}/") and s.name.endswith("dpo-a"))
        if rows and "skipped" not in step.note:
            assert f"r{number}/06-gated" in {parent["step"] for parent in step.note["parents"]}


def test_sft_and_reward_models_restart_from_the_pretrained_checkpoint(view: RunView) -> None:
    base = view.step("base").id
    for step in view.steps:
        if step.name.endswith(("sft-a", "sft-b", "rm-a", "rm-b")) and "skipped" not in step.note:
            assert base in {parent["id"] for parent in step.note["parents"]}, step.name


def test_every_target_was_written_by_a_model_of_an_earlier_round(view: RunView) -> None:
    made = {s.id: s.name for s in view.steps if s.kind == "causal"}
    for number in (1, 2):
        steps = [s for s in view.steps if s.name.startswith(f"r{number}/") and s.name.endswith("-mixed")]
        for row in steps[0].rows():
            assert isinstance(row, Demonstration)
            home = made.get(row.model.split("@")[0])
            assert home is not None and not home.startswith(tuple(f"r{later}/" for later in range(number, 9))), home


def test_no_reference_answer_is_ever_a_target(view: RunView) -> None:
    responses = {row.id: row for s in view.steps if s.name.endswith("-samples") for row in s.rows()}
    for step in view.steps:
        if step.name.endswith("-mixed"):
            for row in step.rows():
                sampled = [responses[parent] for parent in row.parents if parent in responses]
                assert sampled and sampled[0].messages == row.response


def test_compared_models_differ_and_edits_go_to_preferences_only(view: RunView) -> None:
    rows = [row for s in view.steps if s.name.endswith("-preferences") for row in s.rows()]
    assert rows
    for row in rows:
        assert isinstance(row, Preference) and row.strength in (1, 2, 3, 4)
        models = {c.model for c in row.candidates if c.role != "edited"}
        assert len(models) == 2
        edited = [c for c in row.candidates if c.role == "edited"]
        assert not edited or edited[0].messages != row.candidates[1].messages


def test_two_models_of_the_round_before_answer_and_the_reward_model_is_measured_on_all_rounds(view: RunView) -> None:
    for number in (1, 2):
        steps = {s.name.split("/")[1][3:]: s for s in view.steps if s.name.startswith(f"r{number}/")}
        told = steps["promoted"].note["metrics"]
        assert told["second"] in {"sft", "dpo", "average"} - {told["promoted"]}
        compared = [row for letter in "ab" for row in steps[f"answers-{letter}"].rows()]
        assert {row.sampling.temperature for row in compared} == {1.0}
        assert {row.sampling.temperature for row in steps["samples"].rows()} == {0.8}
        if "rm-accuracy" in steps:
            parents = {parent["step"] for parent in steps["rm-accuracy"].note["parents"]}
            assert {f"r{r}/11-heldout-preferences" for r in range(1, number + 1)} <= parents


@pytest.mark.parametrize(
    ("accuracy", "alike", "first", "second"),
    [
        ({"average": 0.50, "dpo": 0.51, "sft": 0.40, "incumbent": 0.45}, False, "average", "dpo"),
        ({"average": 0.50, "dpo": 0.40, "sft": 0.53, "incumbent": 0.45}, False, "sft", "average"),
        ({"average": 0.50, "dpo": 0.40, "sft": 0.40, "incumbent": 0.60}, False, "incumbent", "average"),
        ({"average": 0.50, "dpo": 0.50, "sft": 0.50, "incumbent": 0.45}, True, "average", "incumbent"),
        ({"average": None, "dpo": None, "sft": None, "incumbent": None}, False, "average", "dpo"),
    ],
)
def test_who_is_promoted_and_who_answers_beside_it(accuracy: dict, alike: bool, first: str, second: str) -> None:
    def weights(name: str) -> Weights:
        return Weights(path=name, id="one" if alike and name != "incumbent" else name, kind="causal")

    class Scripted:
        """A run whose evaluations are given."""

        def step(self, name: str, /, *inputs: object, **settings: object) -> SimpleNamespace:
            found = accuracy.get(name.removeprefix("dev-"))
            return SimpleNamespace(metrics={"accuracy": found, "by_ability": {}}, settings=settings)

    rows = cast("Rows", None)
    state = llama3.State(weights("base"), rows, rows, rows, policies=[llm.Local(weights=weights("incumbent"))] * 2)
    workers = SimpleNamespace(checkers={})
    models = {name: weights(name) for name in ("sft", "dpo", "average")}
    llama3.promote(cast("Run", Scripted()), llama3.scale("smoke"), cast("llama3.Workers", workers), state, models)
    assert [client.weights.path for client in state.policies] == [first, second]


def test_held_out_tasks_are_asked_only_to_measure(view: RunView) -> None:
    heldout = {row.task for row in view.step("heldout").rows()}
    for step in view.steps:
        if step.name.endswith(("annotate-prompts", "sample-prompts")):
            assert not heldout & {row.task for row in step.rows()}, step.name
    assert not heldout & {row.task for row in view.step("prompts").rows()}
    examples = {example.prompt for example in microworld.few_shot(0)}
    assert not examples & {row.id for row in view.step("heldout").rows()}


def test_counts_add_up_and_lineage_is_acyclic(view: RunView) -> None:
    place = {step.name: step.note["sequence"] for step in view.steps}
    for step in view.steps:
        counts = step.note["counts"]
        lost = sum(counts["dropped"].values()) + sum(counts["unscored"].values())
        assert counts["taken"] == counts["kept"] + lost, step.name
        for parent in step.note["parents"]:
            assert parent["step"] == "" or place[parent["step"]] < place[step.name], step.name


def test_trace_reaches_prompt_responses_verdicts_and_checkpoints(called: Called, smoke: dict, view: RunView) -> None:
    row = next(s for s in view.steps if s.name.endswith("-mixed") and s.rows()).rows()[0]
    said = called("trace", str(smoke["folder"]), row.id)[1]
    for word in ("prompt", "response", "judgement", "temperature", "weights", "rejection sampling", "sft-a", "average"):
        assert word in said, word
    pair = next(s for s in view.steps if s.name.endswith("-gated") and s.rows()).rows()[0]
    said = called("trace", str(smoke["folder"]), pair.id[:12])[1]
    for word in ("strength", "judgement", "answers-a", "answers-b", "rm-a", "dpo-a"):
        assert word in said, word


def test_responses_keep_ids_and_log_probabilities(view: RunView) -> None:
    rows = next(s for s in view.steps if s.name.endswith("-samples")).rows()
    assert all(isinstance(row, Response) and len(row.token_ids) == len(row.logprobs) > 0 for row in rows)


def test_the_run_says_what_is_simulated_and_where_each_number_comes_from(view: RunView) -> None:
    about = view.about
    assert about["simulated"] == ["annotator", "judge"]
    assert about["settings"]["beta"]["kind"] == "source" and about["settings"]["beta"]["value"] == 0.1
    assert about["settings"]["rounds"] == {**about["settings"]["rounds"], "kind": "DEVIATION", "paper": 6, "value": 2}


def test_every_setting_has_a_source() -> None:
    said = sources(llama3.Settings)
    for field in fields(llama3.Settings):
        assert said[field.name].text, field.name
    assert len(fields(llama3.Settings)) <= 40


def test_the_papers_numbers() -> None:
    paper = llama3.scale("paper")
    assert (paper.rounds, paper.beta, paper.nll_weight, paper.dpo_lr, paper.sft_lr) == (6, 0.1, 0.2, 1e-5, 1e-5)
    assert 10 <= paper.samples <= 30 and paper.strength == 3 and paper.quality_quartile == 0.25


def test_dry_run_of_the_paper_scale(called: Called) -> None:
    code, said, wrong = called("run", "llama3", "--scale", "paper", "--dry-run")
    assert code == 0, wrong
    assert "r6/dpo" in said and "hours" in said and "upper estimate" in said


def test_the_same_command_again_says_it_is_done(called: Called, smoke: dict) -> None:
    words = ("run", "llama3", "--scale", "smoke", "--out", str(smoke["folder"]), "--json")
    code, said, wrong = called(*words)
    assert code == 0, wrong
    assert json.loads(said)["stages"] == smoke["object"]["stages"]
    assert "everything was there already" in wrong
    reused = [line for line in wrong.splitlines() if "reused" in line]
    sizes = {r: sum(name.startswith(f"r{r}/") for name in smoke["object"]["stages"]) for r in (1, 2)}
    assert len(reused) == 3 and f"r1: {sizes[1]} steps" in reused[1] and f"r2: {sizes[2]} steps" in reused[2]
    _, _, wrong = called(*words, "--verbose")
    assert [line.split()[-1] for line in wrong.splitlines() if "reused" in line] == list(smoke["object"]["stages"])


def test_explain_names_exactly_the_changed_setting(
    called: Called, smoke: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from burnish.cli.console import Console

    folder = tmp_path / "copy"
    shutil.copytree(smoke["folder"], folder)
    words = ("run", "llama3", "--scale", "smoke", "--out", str(folder), "--set", "beta=0.3", "--workers", "1")
    code, _, refused = called(*words)
    assert code == 2 and "beta: 0.1 -> 0.3" in refused

    def finished(self: Console, name: str, step: dict) -> None:
        if name.endswith("dpo-a"):
            raise BurnishError("enough: what follows is computed as ever")

    monkeypatch.setattr(Console, "finished", finished)
    code, _, wrong = called(*words, "--on-change", "rerun")
    assert code == 2 and "enough" in wrong
    _, said, _ = called("explain", str(folder), "r1/dpo-a")
    assert "its earlier version: superseded/r1/" in said and "1 fields differ" in said
    assert "settings.beta: 0.1 -> 0.3" in said


def test_recipes_are_listed_and_loaded_by_name() -> None:
    assert set(RECIPES) == {"llama3", "deepseek_v2"}
    assert load_recipe("llama3") is llama3
