"""Graded heads and step scores: saved, loaded back with equal numbers by us and by transformers, and gone on with."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import ModelError, SettingsError
from burnish.judge import RewardModel
from burnish.models import (
    Row,
    build_pack,
    grade_logits,
    load_reward,
    new_reward,
    response_scores,
    response_states,
    token_scores,
)
from burnish.records import GRADES, read_demonstrations, read_preferences
from burnish.train import train_rows
from tests.train.material import LOOP, folders, preferences, rated_demonstrations, rated_preferences

LONG = LOOP | {"epochs": 12, "lr": 1e-2, "schedule": "constant"}


@pytest.fixture(scope="module")
def graded(base, tmp_path_factory):
    """Trained on rows with grades: the outcome, and the metrics of its steps."""
    work = folders(tmp_path_factory.mktemp("graded"))
    outcome = train_rows(base, rated_preferences(), method="reward-soft", work=work, grade_weight=0.5, **LONG)
    lines = (work.folder / "metrics.jsonl").read_text().splitlines()
    return outcome, [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def stepwise(base, tmp_path_factory):
    work = folders(tmp_path_factory.mktemp("stepwise"))
    return train_rows(base, rated_demonstrations(), method="reward-steps", work=work, **LONG).weights


def packed(chat, rows) -> list[Row]:
    """A row for each answer."""
    out = []
    for row in rows:
        for messages in [c.messages for c in row.candidates] if hasattr(row, "candidates") else [row.response]:
            e = chat.encode(row.context, messages)
            out.append(Row(e.prompt, (e.completion,)))
    return out


def test_a_model_with_graded_heads_gives_plain_transformers_its_score_alone(graded) -> None:
    from transformers import AutoModelForSequenceClassification

    weights = graded[0].weights
    model, info = AutoModelForSequenceClassification.from_pretrained(weights.path, output_loading_info=True)
    assert model.config.num_labels == 1 and not info["missing_keys"]
    assert {key.split(".")[0] for key in info["unexpected_keys"]} == {"grades"}
    rows = packed(load_chat(weights.path), preferences())
    with torch.no_grad():
        ours = response_scores(load_reward(weights), build_pack(rows))
        theirs = torch.stack([model(torch.tensor([[*r.prompt, *r.responses[0]]])).logits[0, 0] for r in rows])
    assert ours.shape == (len(rows),) and torch.allclose(ours, theirs, atol=1e-5) and ours.std() > 1e-3
    row = preferences()[0]
    (judged,) = RewardModel(weights).score([(row.context, row.candidates[0].messages)])
    assert judged == pytest.approx(ours[0].item(), abs=1e-5)


def test_grades_are_read_back_and_fit_the_rows(graded) -> None:
    outcome, steps = graded
    model, chat = load_reward(outcome.weights), load_chat(outcome.weights.path)
    assert model.config.grades == list(GRADES)
    rows = rated_preferences()
    with torch.no_grad():
        said = grade_logits(model, response_states(model, build_pack(packed(chat, rows))))
    given = [{g.name: g.value for g in c.grades} for row in rows for c in row.candidates]
    hits = [said[i, k].argmax().item() == g[n] for i, g in enumerate(given) for k, n in enumerate(GRADES) if n in g]
    assert said.shape == (len(given), 4, 3) and len(hits) > 40
    assert sum(hits) / len(hits) > 0.5 and steps[-1]["grading"] < 0.9 * steps[0]["grading"]
    assert 0 <= steps[0]["grade_accuracy"] <= 1
    with pytest.raises(ModelError, match="no graded heads; train them with reward-soft"):
        grade_logits(new_reward(outcome.weights.path), torch.zeros(1, 32))


def test_levels_are_told_with_their_margin_and_the_one_to_reach(graded) -> None:
    levels = graded[0].metrics["levels"]
    assert list(levels) == ["significantly better", "better", "slightly better", "marginally better"]
    assert sum(level["pairs"] for level in levels.values()) == sum(
        math.comb(len(row.candidates), 2) for row in rated_preferences()
    )
    assert levels["better"]["optimum"] == pytest.approx(1.735, abs=5e-4)
    assert all(0 <= level["accuracy"] <= 1 for level in levels.values())


def test_training_goes_on_with_the_graded_heads_it_finds(graded, tmp_path) -> None:
    weights = graded[0].weights
    again = train_rows(weights, rated_preferences(), method="reward-soft", work=folders(tmp_path), **LOOP)
    before, after = load_reward(weights).grades.state_dict(), load_reward(again.weights).grades.state_dict()
    assert set(before) == set(after) and all(not torch.equal(before[name], after[name]) for name in before)
    still = train_rows(
        weights, rated_preferences(), method="reward-soft", work=folders(tmp_path / "still"), **LOOP | {"lr": 1e-9}
    ).weights
    same = load_reward(still).grades.state_dict()
    assert all(torch.allclose(before[name], same[name], atol=1e-6) for name in before)
    # rows without grades leave the heads alone
    rows = [replace(row, id="", strength=3) for row in preferences()]
    plain = train_rows(weights, rows, method="reward-soft", work=folders(tmp_path / "plain"), **LOOP).weights
    left = load_reward(plain).grades.state_dict()
    assert all(torch.equal(before[name], left[name]) for name in before)


def test_rows_without_grades_make_no_heads_and_no_weight_does_neither(base, tmp_path) -> None:
    rows = [replace(row, id="", strength=3) for row in preferences()]
    one = train_rows(base, rows, method="reward-soft", work=folders(tmp_path / "a"), **LOOP).weights
    two = train_rows(
        base, rated_preferences(), method="reward-soft", grade_weight=0.0, work=folders(tmp_path / "b"), **LOOP
    ).weights
    for weights in (one, two):
        assert getattr(load_reward(weights), "grades", None) is None
        assert "grades" not in json.loads((Path(weights.path) / "config.json").read_text())


def test_adapters_leave_the_graded_heads_whole(base, tmp_path) -> None:
    pytest.importorskip("peft", reason="pip install 'burnish[lora]' for LoRA")
    more = {"lora_rank": 2, "method": "reward-soft"}
    first = train_rows(base, rated_preferences(), work=folders(tmp_path / "a"), **LOOP, **more).weights
    second = train_rows(first, rated_preferences(), work=folders(tmp_path / "b"), **LOOP, **more).weights
    before, after = load_reward(first).grades.state_dict(), load_reward(second).grades.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_a_step_has_the_score_that_plain_transformers_gives_its_prefix(stepwise) -> None:
    from transformers import AutoModelForSequenceClassification

    theirs, info = AutoModelForSequenceClassification.from_pretrained(stepwise.path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    chat, model = load_chat(stepwise.path), load_reward(stepwise)
    hits = []
    for row in rated_demonstrations():
        encoded = chat.encode(row.context, row.response)
        ends = chat.step_ends(row.context, row.response, [step.end for step in row.steps])
        select = torch.tensor(ends) - encoded.prompt_length
        with torch.no_grad():
            ours = token_scores(model, build_pack([Row(encoded.prompt, (encoded.completion,))]), select=select)
            prefixes = [theirs(torch.tensor([encoded.ids[: end + 1]])).logits[0, 0] for end in ends]
        assert torch.allclose(ours, torch.stack(prefixes), atol=1e-5)
        hits += [(s > 0) == (one.label > 0.5) for s, one in zip(ours, row.steps, strict=True) if one.label is not None]
    assert sum(hits) / len(hits) > 0.6


def test_models_of_steps_and_of_answers_are_not_mixed(stepwise, graded) -> None:
    row = rated_demonstrations()[0]
    with pytest.raises(ModelError, match=f"{stepwise.path} scores reasoning steps"):
        RewardModel(stepwise).score([(row.context, row.response)])
    with pytest.raises(ModelError, match=f"{stepwise.path} scores each step and this method trains .* of a response"):
        train_rows(stepwise, preferences(), method="reward", **LOOP)
    with pytest.raises(ModelError, match="scores each response and this method trains the score of a step; start from"):
        train_rows(graded[0].weights, rated_demonstrations(), method="reward-steps", **LOOP)
    assert train_rows(stepwise, rated_demonstrations(), method="reward-steps", **LOOP).metrics["steps"] == 5


def test_token_scores_are_the_same_packed_and_plain_shared_and_alone(stepwise) -> None:
    from burnish.models.forward import CORES

    model = load_reward(stepwise, dtype="float64")
    rows = [Row((1, 5, 9), ((33, 2), (70, 4, 8))), Row((7,), ((11,),)), Row((3, 3), ((2, 9, 9, 1), (6,)))]
    with torch.no_grad():
        wanted = []
        for row in rows:
            for response in row.responses:
                hidden = model.model(torch.tensor([[*row.prompt, *response]])).last_hidden_state[0, len(row.prompt) :]
                wanted.append(model.score(hidden)[:, 0])
        for share in (True, False):
            assert torch.allclose(token_scores(model, build_pack(rows, share_prefix=share)), torch.cat(wanted))
        some = torch.tensor([4, 0, 9])
        assert torch.allclose(token_scores(model, build_pack(rows), select=some), torch.cat(wanted)[some])
        CORES[model] = replace(CORES[model], packed=False)
        assert torch.allclose(token_scores(model, build_pack(rows)), torch.cat(wanted))


def test_attribute_heads_keep_their_names_and_make_one_score_by_their_weights(base, tmp_path) -> None:
    names, mix = ("helpfulness", "verbosity"), (0.75, -0.5)
    work = folders(tmp_path)
    rows = rated_demonstrations()
    weights = train_rows(base, rows, method="reward-attributes", names=names, work=work, **LONG).weights
    model = load_reward(weights)
    assert model.config.id2label == {0: "helpfulness", 1: "verbosity"}
    chat = load_chat(weights.path)
    with torch.no_grad():
        heads = response_scores(model, build_pack(packed(chat, rows)))
    texts = [(row.context, row.response) for row in rows]
    judge = RewardModel(weights, mix=mix)
    wanted = heads[:, 0] * 0.75 - heads[:, 1] * 0.5
    assert judge.score(texts) == pytest.approx(wanted.tolist(), abs=1e-5) and wanted.std() > 1e-2
    assert judge.name == f"reward-model:{weights.id}:0.75,-0.5" != RewardModel(weights).name
    with pytest.raises(ModelError, match=r"has 2 heads; a judge needs .* mix= with a weight for each head"):
        RewardModel(weights).score(texts)
    with pytest.raises(SettingsError, match="3 weights were given for 2 attributes"):
        RewardModel(weights, mix=(1.0, 1.0, 1.0)).score(texts)
    with pytest.raises(ModelError, match="has heads for helpfulness, verbosity, and names is verbosity,helpfulness"):
        train_rows(weights, rows, method="reward-attributes", names=names[::-1], **LOOP)
    assert train_rows(weights, rows, method="reward-attributes", names=names, **LOOP).metrics["steps"] == 5


# the columns


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_trl_stepwise_columns_are_read(tmp_path) -> None:
    row = {"prompt": "2 + 2?", "completions": ["Two and two.", " It is four.\n"], "labels": [True, False]}
    soft = {"prompt": [{"role": "user", "content": "3?"}], "completions": ["a", "b", "c"], "labels": [0.5, None, 1]}
    found = read_demonstrations(write(tmp_path / "steps.jsonl", row, soft))
    assert found.convention == "stepwise"
    one, two = found.rows
    assert one.response[0].content == "Two and two.\nIt is four."
    assert [(s.end, s.label) for s in one.steps] == [(12, 1.0), (24, 0.0)]
    assert [s.label for s in two.steps] == [0.5, None, 1.0] and two.context[0].content == "3?"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": [True]}, "lists of one length"),
        ({"completions": "a b"}, "lists of one length"),
        ({"completions": ["a", " "]}, "step 2 is blank"),
        ({"labels": [True, 2]}, "the label of step 2 must be true, false or from 0 to 1; found 2"),
        ({"labels": [True, "no"]}, "the label of step 2 must be"),
    ],
)
def test_malformed_steps_are_named(tmp_path, changes, said) -> None:
    row = {"prompt": "q", "completions": ["a", "b"], "labels": [True, False]}
    found = read_demonstrations(
        write(tmp_path / "steps.jsonl", row, {**row, "prompt": "r", **changes}), on_error="drop"
    )
    assert len(found.rows) == 1 and said in found.dropped[0].detail and ":2: " in found.dropped[0].detail


def test_grades_are_read_in_words_and_as_classes(tmp_path) -> None:
    row = {
        "prompt": "q",
        "chosen": "a",
        "rejected": "b",
        "strength": 3,
        "chosen_grades": {"instruction_following": "No issue", "verbosity": "too_short", "truthfulness": None},
        "rejected_grades": {"harmlessness": 0},
    }
    (read,) = read_preferences(write(tmp_path / "pairs.jsonl", row)).rows
    assert [[(g.name, g.value) for g in c.grades] for c in read.candidates] == [
        [("instruction_following", 2.0), ("verbosity", 1.0)],
        [("harmlessness", 0.0)],
    ]
    for grades, said in (({"wit": 1}, "chosen_grades must be an object with some of"), ({"verbosity": 3}, "found 3")):
        other = {**row, "prompt": "r", "chosen_grades": grades}
        found = read_preferences(write(tmp_path / "bad.jsonl", row, other), on_error="drop")
        assert len(found.rows) == 1 and said in found.dropped[0].detail


def test_steps_of_several_tokens_end_where_their_text_ends(tmp_path) -> None:
    """With a tokenizer that merges over the line break, the token belongs to the step that it begins in."""
    from burnish.errors import ChatError
    from burnish.models import tiny_model_folder
    from burnish.records import Message
    from burnish.train import give_chat

    tiny_model_folder(tmp_path / "base")
    base = give_chat(load_base(tmp_path / "base"), format="chatml", work=folders(tmp_path / "chat")).weights
    chat = load_chat(base.path)
    context, steps = (Message(role="user", content="2 + 2?"),), ("First, two.", "Then two more.", "It is four.")
    text = "\n".join(steps)
    response = (Message(role="assistant", content=text),)
    ends = [len("\n".join(steps[: n + 1])) for n in range(3)]
    encoded = chat.encode(context, response)
    found = chat.step_ends(context, response, ends)
    assert [chat.text(encoded.ids[encoded.prompt_length : end + 1]).rstrip("\n") for end in found] == [
        text[:end] for end in ends
    ]
    with pytest.raises(ChatError, match="steps have no place"):
        chat.step_ends(context, response, [3, 500])


def load_base(folder: Path):
    from burnish.models import weights_of

    return weights_of(folder)
