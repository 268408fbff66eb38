"""`burnish train METHOD`: models made on the spot, few rows, and what is left behind reloads in plain transformers."""

from __future__ import annotations

import json
import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.chat import has_template, load_chat
from burnish.models import tiny_model_folder
from burnish.records import (
    Demonstration,
    Preference,
    read_demonstrations,
    read_parquet,
    read_preferences,
    weights_in,
    write_jsonl,
)
from burnish.records.conventions import _READ_BY
from burnish.runs import sources
from burnish.train import METHODS
from tests.conftest import burnish
from tests.train.material import make_model, rated_demonstrations, rated_preferences

SETTINGS = ("batch_rows=4", "epochs=2", "lr=3e-3", "schedule=constant", "refuse_above=0.2")
SETTINGS_WORDS = [word for setting in SETTINGS for word in ("--set", setting)]
STEPS = 5  # ten rows, twice, four at a time
TRAINED = ("sft", "reward", "dpo", "kto")


def rows_of(method: str, path: Path) -> Path:
    """Ten rows in a convention of the ecosystem; KTO's file has a malformed line in the middle."""
    if METHODS[method].noun is Preference:
        write_jsonl(rated_preferences(), path)
        return path
    rows = [
        {"prompt": row.context[-1].content, "completion": row.response[-1].content, "label": bool(row.score)}
        for row in rated_demonstrations()
    ]
    lines = [json.dumps(row) for row in rows]
    if method == "kto":
        lines.insert(4, json.dumps({**rows[0], "label": "perhaps"}))
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass
class Trained:
    """A finished training: its folder, its words on the command line, and what its process printed."""

    out: Path
    data: Path
    start: Path
    words: list[str]
    done: subprocess.CompletedProcess

    def step(self, name: str) -> dict[str, Any]:
        """step.json of the step of this name."""
        (found,) = self.out.glob(f"[0-9][0-9]-{name}/step.json")
        return json.loads(found.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """Four trainings side by side, on one thread each. SFT starts from a base that has no chat template."""
    place = tmp_path_factory.mktemp("trained")
    made = {}
    for method in TRAINED:
        start = place / f"{method}-base"
        if method == "sft":
            tiny_model_folder(start)
        else:
            make_model(start)
        data, out = rows_of(method, place / f"{method}.jsonl"), place / method
        words = ["train", method, "--model", str(start), "--data", str(data), "--out", str(out), "--threads", "1"]
        words += SETTINGS_WORDS
        words += ["--on-error", "drop"] if method == "kto" else []
        words += [] if method == "sft" else ["--track", "none"]  # curves take a second to import; one of four is enough
        made[method] = (out, data, start, words)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda one: burnish(*one[3]), made.values()))
    return {method: Trained(*one, process) for (method, one), process in zip(made.items(), done, strict=True)}


@pytest.mark.parametrize("method", TRAINED)
def test_a_training_ends_well_and_says_where_its_result_is(trained, method):
    one = trained[method]
    assert one.done.returncode == 0, one.done.stderr
    kept = f"{method}: 10 in, 10 kept; steps {STEPS}, first_loss "
    assert kept in one.done.stderr and kept not in one.done.stdout  # once is enough
    assert f"report  {one.out / 'report.html'}" in one.done.stdout and (one.out / "report.html").stat().st_size > 0
    last = f"weights {one.out / 'final'}" if method == "reward" else f"burnish chat {one.out / 'final'}"
    assert one.done.stdout.splitlines()[-1] == last
    step = one.step(method)
    assert step["artifact"]["kind"] == ("reward" if method == "reward" else "causal")
    assert step["artifact"]["id"] == weights_in(one.out / "final").id != weights_in(one.start).id
    metrics = (next(one.out.glob(f"*-{method}")) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics] == list(range(1, STEPS + 1))
    assert json.loads(metrics[-1])["loss"] == step["metrics"]["loss"]


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_final_reloads_in_plain_transformers_with_what_was_trained(trained, method):
    """The chance to stop that training measured in memory is what the reloaded model's logits say."""
    from transformers import AutoModelForCausalLM

    one = trained[method]
    model, info = AutoModelForCausalLM.from_pretrained(one.out / "final", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    chat, stops = load_chat(one.out / "final"), []
    if METHODS[method].noun is Demonstration:
        rows = read_demonstrations(one.data, on_error="drop").rows
        dialogues = [(row.context, row.response) for row in rows]
    else:
        rows = read_preferences(one.data).rows
        dialogues = [(row.context, row.candidates[place].messages) for row in rows for place in (0, -1)]
    for context, response in dialogues:
        encoded = chat.encode(context, response)
        end = max(i for i, token in enumerate(encoded.ids) if encoded.trained[i] and token in chat.stop_ids)
        with torch.no_grad():
            logits = model(torch.tensor([encoded.ids[:end]])).logits[0, -1]
        stops.append(logits.log_softmax(-1)[encoded.ids[end]].item())
    told = one.step(method)["metrics"]
    assert told["stop_probability_after"] == pytest.approx(math.exp(sum(stops) / len(stops)), rel=1e-4)
    assert abs(told["stop_probability_after"] / told["stop_probability_before"] - 1) > 0.01


def test_a_reward_model_reloads_in_plain_transformers_with_equal_scores(trained):
    """The classification head reads what the engine reads, alone and in a right-padded batch; training moved it."""
    from transformers import AutoModelForSequenceClassification

    from burnish.models import Row, build_pack, load_reward, response_scores

    one = trained["reward"]
    model, info = AutoModelForSequenceClassification.from_pretrained(one.out / "final", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and model.config.num_labels == 1
    chat = load_chat(one.out / "final")
    rows = read_preferences(one.data).rows
    ids = [chat.encode(row.context, c.messages).ids for row in rows for c in row.candidates]
    starts = [len(chat.encode_prompt(row.context)) for row in rows for _ in row.candidates]
    packed = [Row(tuple(own[:start]), (tuple(own[start:]),)) for own, start in zip(ids, starts, strict=True)]
    length, pad = max(map(len, ids)), model.config.pad_token_id
    with torch.no_grad():
        ours = response_scores(load_reward(next(one.out.glob("*-reward"))), build_pack(packed))
        alone = torch.stack([model(torch.tensor([own])).logits[0, 0] for own in ids])
        table = torch.tensor([[*own, *[pad] * (length - len(own))] for own in ids])
        together = model(table, attention_mask=(table != pad).long()).logits[:, 0]
    assert torch.allclose(ours, alone, atol=1e-5) and torch.allclose(ours, together, atol=1e-5)
    assert ours.std() > 1e-3
    right = [torch.diff(scores).max() < 0 for scores in ours.split([len(row.candidates) for row in rows])]
    assert sum(right) >= 8  # it was trained on these rows


@pytest.mark.parametrize("method", TRAINED)
def test_the_same_command_again_computes_nothing(called, trained, method):
    one = trained[method]
    before = {path: path.stat().st_mtime_ns for path in one.out.glob("[0-9]*/*")}
    code, said, wrong = called(*one.words, "--json")
    assert code == 0 and "everything was there already; nothing was computed" in wrong
    assert "nothing was computed" not in one.done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in one.out.glob("[0-9]*/*")}
    # --json: one object and nothing else on stdout
    told = json.loads(said)
    assert told["out"] == str(one.out) and told["final"] == str(one.out / "final")
    stage = told["stages"][f"{len(told['stages']):02d}-{method}"]
    assert stage["metrics"] == one.step(method)["metrics"] and stage["counts"]["kept"] == 10
    assert one.done.stdout.splitlines()[0] in wrong


def test_a_base_without_a_chat_template_gets_one(trained):
    one = trained["sft"]
    assert not has_template(one.start) and has_template(one.out / "final")
    assert one.step("chat")["metrics"]["format"] == "chatml"
    assert one.step("sft")["metrics"]["stop_probability_after"] > one.step("sft")["metrics"]["stop_probability_before"]
    assert not list(trained["dpo"].out.glob("*-chat"))


def test_a_dropped_line_is_counted_in_the_step_rows(trained):
    one = trained["kto"]
    counts = {"taken": 11, "kept": 10, "dropped": {"malformed row": 1}, "unscored": {}}
    assert one.step("rows")["counts"] == counts
    (left,) = read_parquet(one.out / "01-rows" / "dropped.parquet")
    assert f"{one.data}:5: label must be true or false" in left.detail
    assert "01-rows: 11 in, 10 kept, 1 malformed row" in one.done.stderr
    assert trained["sft"].step("rows")["counts"] == {"taken": 10, "kept": 10, "dropped": {}, "unscored": {}}


def test_a_malformed_line_stops_before_anything_is_written(called, trained, tmp_path):
    one = trained["kto"]
    out = tmp_path / "out"
    words = [str(out) if word == str(one.out) else word for word in one.words if word not in ("--on-error", "drop")]
    code, said, wrong = called(*words)
    assert code == 2 and not said and wrong.startswith(f"burnish: error: {one.data}:5: label must be true or false")
    assert not out.exists()


@pytest.mark.parametrize("method", METHODS)
def test_settings_lists_each_with_its_source_and_trains_nothing(called, tmp_path, method):
    code, said, _ = called("train", method, "--settings", "--set", "batch_rows=7")
    assert code == 0
    head, blank, *lines = said.splitlines()
    assert head.startswith(f"{method}: ") and not blank
    known = sources(METHODS[method].settings)
    *lines, blank, times = lines
    assert not blank and times.split()[:2] == ["--iterations", str(METHODS[method].iterations)]
    assert [line.split()[0] for line in lines] == [f.name for f in fields(METHODS[method].settings)]
    assert len(lines) <= 40
    for line in lines:
        name, value, source = line.split(maxsplit=2)
        assert source == known[name].text
        assert value == "7" or name != "batch_rows"
    assert not list(tmp_path.iterdir())


def test_steps_and_grades_are_trained_from_files(called, tmp_path):
    """TRL's stepwise columns, and pairs with grades; what is left behind is what each method trains."""
    make_model(tmp_path / "base")
    steps = [
        {"prompt": f"{i} + 2", "completions": [f"{i} and 2", f"It is {i + 2}."], "labels": [True, bool(i % 2)]}
        for i in range(8)
    ]
    grades = {"instruction_following": "no issue", "truthfulness": "minor issue"}
    pairs = [
        {"prompt": f"{i} + 2", "chosen": f"{i + 2}", "rejected": "no", "strength": 3, "chosen_grades": grades}
        for i in range(8)
    ]
    for method, rows in (("reward-steps", steps), ("reward-soft", pairs)):
        data, out = tmp_path / f"{method}.jsonl", tmp_path / method
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = ["--model", str(tmp_path / "base"), "--data", str(data), "--out", str(out), "--track", "none"]
        code, _, wrong = called("train", method, *words, "--threads", "1", *SETTINGS_WORDS)
        assert code == 0, wrong
        assert f"{method}: 8 in, 8 kept" in wrong
    config = json.loads((tmp_path / "reward-steps" / "final" / "config.json").read_text())
    assert config["score_reads"] == "step" and "grades" not in config
    config = json.loads((tmp_path / "reward-soft" / "final" / "config.json").read_text())
    assert "score_reads" not in config and len(config["grades"]) == 4


WORDS = ["--model", "nowhere", "--data", "nothing.jsonl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sff", *WORDS], "there is no method 'sff'; did you mean 'sft'?"),
        (["reward-anchor", "--settings"], "there is no method 'reward-anchor'; did you mean 'reward-anchored'?"),
        (["sft", *WORDS, "--set", "epoch=3"], "there is no setting 'epoch'; did you mean 'epochs'?"),
        (["ipo", "--set", "bta=3", "--settings"], "there is no setting 'bta'; did you mean 'beta'?"),
        (["sft", *WORDS, "--set", "epochs=many"], "epochs takes a value of type int"),
        (["dpo", *WORDS, "--set", "beta=0"], "beta is 0.0; it must be above 0"),
        (["dpo", *WORDS, "--set", "epochs=0"], "epochs is 0; it must be at least 1"),
        (["sft", *WORDS, "--set", "lr=-1"], "lr is -1.0; it must be a positive number"),
        (["sft", *WORDS, "--set", "schedule=cosin"], "schedule is 'cosin'; choose one of cosine"),
        (["sft", *WORDS, "--set", "lora_rank=-1"], "lora_rank is -1; it is a number of dimensions, or 0"),
        (["sft", *WORDS, "--set", "clip=0"], "clip is 0.0; it must be above 0, or none"),
        (["sft", *WORDS, "--set", "weight_decay=-1"], "weight_decay is -1.0"),
        (["sft", *WORDS, "--set", "weighting=rows"], "weighting is 'rows'"),
        (["sft", *WORDS, "--set", "noise=-1"], "noise is -1.0"),
        (["distill", *WORDS, "--set", "train_on=first", "--teacher", "x"], "train_on is 'first'"),
        (["distill", *WORDS], "distill needs teacher"),
        (["reward-anchored", *WORDS], "the scores need a scale"),
        (["rpo", *WORDS, "--set", "distance=near"], "distance is 'near'"),
        (["pretrain", *WORDS, "--set", "mix=0.5,0.5"], "mix has 2 shares, and the data 1 files (nothing.jsonl)"),
        (["sft", "--data", "nothing.jsonl"], "--model is missing"),
        (["sft", "--model", "nowhere"], "--data is missing"),
        (["rpo", *WORDS, "--iterations", "0"], "--iterations is 0; a method runs at least once"),
        (["sft", *WORDS], "nothing.jsonl does not exist"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_sentence_and_2(called, tmp_path, words, said):
    code, out, wrong = called("train", *words)
    assert code == 2 and not out
    (line,) = wrong.splitlines()
    assert line.startswith("burnish: error: ") and said in line
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_model_and_a_scale_that_is_missing(called, tmp_path):
    data = rows_of("dpo", tmp_path / "pairs.jsonl")
    code, _, wrong = called("train", "dpo", "--model", str(tmp_path / "nowhere"), "--data", str(data))
    assert code == 2 and str(tmp_path / "nowhere") in wrong
    make_model(tmp_path / "base")
    words = ["--model", str(tmp_path / "base"), "--data", str(data), "--out", str(tmp_path / "out")]
    code, _, wrong = called("train", "reward-anchored", *words)
    assert code == 2 and "--set low=0 --set high=10" in wrong


def test_a_file_for_another_kind_of_method_is_named_with_the_methods_that_read_it(called, tmp_path):
    make_model(tmp_path / "base")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "1?", "chosen": "1", "rejected": "2"}\n')
    (tmp_path / "answers.jsonl").write_text('{"prompt": "1?", "completion": "1"}\n')
    for method, file, said in (
        ("sft", "pairs", "of a preference file (preference), which burnish train reads for dpo, ipo"),
        ("dpo", "answers", "of a demonstration file (prompt-completion), which burnish train reads for sft, kto"),
    ):
        words = ["--model", str(tmp_path / "base"), "--data", str(tmp_path / f"{file}.jsonl")]
        code, out, wrong = called("train", method, *words, "--out", "out")
        assert code == 2 and not out and said in wrong
    texts = {noun: _READ_BY[noun].replace(" and ", ", ").split(", ") for noun in _READ_BY}
    for noun, named in texts.items():
        assert sorted(named) == sorted(name for name, known in METHODS.items() if known.noun is noun)


@pytest.mark.parametrize(
    ("words", "row", "said"),
    [
        (["reward", "--set", "margin=true"], {"chosen": "1", "rejected": "2"}, "has no margin"),
        (["reward-soft"], {"chosen": "1", "rejected": "2"}, ": "),
        (["rpo"], {"chosen": "1", "rejected": "2"}, "has no reward for an answer"),
        (["kto"], {"completion": "1"}, "has no label"),
    ],
)
def test_a_row_that_lacks_something_is_named_with_its_file_and_line(called, tmp_path, words, row, said):
    make_model(tmp_path / "base")
    data = tmp_path / "some.jsonl"
    data.write_text(json.dumps({"prompt": "1?", **row}) + "\n")
    code, _, wrong = called("train", *words, "--model", str(tmp_path / "base"), "--data", str(data), "--out", "out")
    assert code == 2 and f" (some.jsonl:1){said if said == ': ' else ' ' + said}" in wrong


def corpora(place: Path) -> tuple[str, str]:
    """Two files of raw text with equally many letters."""
    for name, letter in (("code", "f"), ("talk", "g")):
        rows = [json.dumps({"text": letter * (9 + number)}) for number in range(4)]
        (place / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    return str(place / "code.jsonl"), str(place / "talk.jsonl")


def test_pretraining_reads_several_files_and_needs_no_chat_format(called, tmp_path):
    """Two thirds of code in an epoch: all of its tokens, and half of the others'."""
    tiny_model_folder(tmp_path / "base")
    code, talk = corpora(tmp_path)
    words = [
        "train",
        "pretrain",
        "--model",
        str(tmp_path / "base"),
        "--out",
        "out",
        "--track",
        "none",
        "--threads",
        "1",
    ]
    settings = ["mix=0.6666667,0.3333333", "epochs=2", "batch_rows=4", "lr=1e-3"]
    words += [word for setting in settings for word in ("--set", setting)]
    code_, out, wrong = called(*words, "--data", code, "--data", talk)
    assert code_ == 0, wrong
    assert out.splitlines()[-1] == "weights out/final"
    (folder,) = (tmp_path / "out").glob("*-pretrain")
    step = json.loads((folder / "step.json").read_text())
    mix, held = step["metrics"]["mix"], 10 + 11 + 12 + 13
    assert mix["code.jsonl"] == {
        "tokens": held,
        "trained": 2 * held,
        "share": mix["code.jsonl"]["share"],
        "passes": 2.0,
    }
    assert abs(mix["talk.jsonl"]["trained"] - held) <= 6 and mix["code.jsonl"]["share"] == pytest.approx(
        2 / 3, abs=0.03
    )
    assert step["metrics"]["tokens"] == mix["code.jsonl"]["trained"] + mix["talk.jsonl"]["trained"]
    assert not has_template(tmp_path / "out" / "final")
    assert not list((tmp_path / "out").glob("*-chat"))
    code_, _, wrong = called(*words, "--data", code, "--data", talk)
    assert code_ == 0 and "reused" in wrong


@pytest.mark.parametrize(
    ("settings", "files", "said"),
    [
        (["mix=0.5,0.6"], 2, "mix is 0.5,0.6, which sums to 1.1; shares must sum to 1"),
        (["mix=0.5,0.5"], 1, "mix has 2 shares, and the data 1 files (code.jsonl)"),
        ([], 0, "--data is missing"),
        ([], -1, "empty.jsonl is empty"),
        ([], -2, "are no document file; rename the column that holds the text to text"),
        ([], -4, 'is plain text; write it as .jsonl, a line a document: {"text": "..."}'),
        ([], -3, "--data names two files code.jsonl"),
    ],
)
def test_pretraining_refuses_in_one_sentence(called, tmp_path, settings, files, said):
    tiny_model_folder(tmp_path / "base")
    given = list(corpora(tmp_path))[: max(files, 0)]
    if files < 0:
        odd = {
            -1: ("empty.jsonl", ""),
            -2: ("odd.jsonl", '{"content": "x"}\n'),
            -3: ("more/code.jsonl", ""),
            -4: ("plain.txt", "x"),
        }[files]
        (tmp_path / odd[0]).parent.mkdir(exist_ok=True)
        (tmp_path / odd[0]).write_text(odd[1])
        given = [*([corpora(tmp_path)[0]] if files == -3 else []), str(tmp_path / odd[0])]
    words = [word for file in given for word in ("--data", file)]
    words += [word for setting in settings for word in ("--set", setting)]
    code, out, wrong = called("train", "pretrain", "--model", str(tmp_path / "base"), "--out", "out", *words)
    assert code == 2 and not out
    assert wrong.splitlines()[-1].startswith("burnish: error: ") and said in wrong.splitlines()[-1]
