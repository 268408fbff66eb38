"""`burnish verify`: rewards of files, killed and gone on, from sampled rows, and its errors."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from burnish import microworld
from burnish.microworld import Oracle
from burnish.records import Sampling, read_prompts, write_jsonl
from tests.conftest import ROOT, Called


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_jsonl(rows, path)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_gets_verdicts_and_a_table(called: Called, tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}+1?", "response": f"It is {n + 1 + n % 4 // 3}.", "gold": n + 1} for n in range(40)]
    data = written(tmp_path / "rows.jsonl", [*rows, {"foo": 1}])
    words = ["verify", "math", "--data", str(data), "--reference", "gold", "--workers", "1"]
    code, said, wrong = called(*words, "--out", "made/verdicts.jsonl")
    assert code == 0, wrong
    assert "checker math  40       30     10         0  75.0 %  [59.8, 85.8]" in said
    assert "41 rows, 1 unreadable" in wrong
    made = read(tmp_path / "made" / "verdicts.jsonl")
    assert [row["reward"] for row in made] == [0 if n % 4 == 3 else 1 for n in range(40)] + [None]
    assert made[0]["gold"] == 1 and made[-1]["foo"] == 1
    assert os.listdir(tmp_path / "made") == ["verdicts.jsonl"]
    code, said, _ = called(*words, "--json")
    told = json.loads(said)
    assert code == 0 and told["bad"] == 1 and told["rows"] == 41 and told["out"] is None
    assert told["types"][0] | {"low": 0, "high": 0} == {
        "by": "all", "name": "", "n": 40, "correct": 30, "wrong": 10, "unscored": 0, "value": 0.75, "low": 0, "high": 0,
    }  # fmt: skip


def test_columns_of_ifeval_are_a_reference(called: Called, tmp_path: Path) -> None:
    row = {"prompt": "x", "response": "no commas", "instruction_id_list": ["no_comma", "uppercase"], "kwargs": [{}, {}]}
    listed = {**row, "asked": [{"id": id, "kwargs": {}} for id in row["instruction_id_list"]]}
    data = written(tmp_path / "rows.jsonl", [listed])
    code, said, _ = called("verify", "constraints", "--data", str(data), "--reference", "asked", "--json")
    types = {line["name"]: line["value"] for line in json.loads(said)["types"] if line["by"] == "constraint"}
    assert code == 0 and types == {"no_comma": 1.0, "uppercase": 0.0}


def test_columns_of_ifeval_may_be_json_text(called: Called, tmp_path: Path) -> None:
    row = {"prompt": "x", "response": "no commas", "instruction_id_list": '["no_comma", "uppercase"]'}
    rows = [{**row, "kwargs": kwargs} for kwargs in ("[{}, {}]", ["{}", "{}"], [{}, {}])]
    rows += [{**row, "kwargs": kwargs} for kwargs in ([{}], None, "['a']")]
    data, out = written(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"
    words = ["verify", "constraints", "--data", str(data), "--reference", "instruction_id_list,kwargs", "--json"]
    code, said, _ = called(*words, "--out", str(out))
    types = {line["name"]: line["n"] for line in json.loads(said)["types"] if line["by"] == "constraint"}
    assert code == 0 and types == {"no_comma": 3, "uppercase": 3}
    assert [row["verdict"] for row in read(out)] == [False] * 3 + [None] * 3
    short, missing, no_json = (row["reason"] for row in read(out)[3:])
    assert short.startswith("instruction_id_list has 2 ids and kwargs 1 objects")
    assert missing.startswith("the reference has no kwargs beside instruction_id_list")
    assert no_json.startswith("kwargs is text that is no JSON")


def test_sampled_rows_find_their_prompts(called: Called, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    write_jsonl(microworld.prompts("heldout", 12, seed=1), prompts)
    asked = list(read_prompts(prompts).rows)
    answers = Oracle(error=0.0).answer(asked, n=2, sampling=Sampling(temperature=1.0, max_new_tokens=64))
    data = tmp_path / "samples.jsonl"
    write_jsonl(answers, data)
    words = ["verify", "auto", "--data", str(data), "--json"]
    code, said, _ = called(*words, "--prompts", str(prompts))
    assert code == 0
    everything, *types = json.loads(said)["types"]
    assert (everything["n"], everything["correct"]) == (24, 24)
    assert {line["by"] for line in types} >= {"checker", "ability"}
    code, said, _ = called(*words)
    told = json.loads(said)
    assert code == 1 and told["bad"] == 24 and told["types"][0]["n"] == 0 and told["types"][0]["value"] is None


def verdicts(called: Called, data: Path, *words: str) -> list[bool | None]:
    out = data.with_name("out.jsonl")
    code, _, wrong = called("verify", *words, "--data", str(data), "--out", str(out), "--workers", "1")
    assert code == 0, wrong
    return [row["verdict"] for row in read(out)]


def test_a_gold_answer_is_never_taken_for_what_a_model_said(called: Called, tmp_path: Path) -> None:
    wrong, right = ({"question": "2+2?", "response": said, "answer": "2+2 = 4\n#### 4"} for said in ("9", "It is 4."))
    data = written(tmp_path / "rows.jsonl", [wrong, right])
    assert verdicts(called, data, "math", "--reference", "answer") == [False, True]
    assert verdicts(called, data, "auto") == [False, True]  # the number after ####, and math, without being told
    several = {"question": "2+2?", "completions": ["4", "5"], "answer": "4"}
    alpaca = {"instruction": "2+2?", "output": "4", "response": "5", "reference": "4"}
    talk = {"messages": [{"role": "user", "content": "2+2?"}], "completion": "5", "reference": "4"}
    own = {"question": "2+2?", "response": "5", "answer": "4", "reference": "5"}  # its own reference wins
    data = written(tmp_path / "more.jsonl", [several, alpaca, talk, own])
    assert verdicts(called, data, "math") == [True, False, False, False, True]


@pytest.mark.parametrize(
    "row", [{"question": "2+2?", "answer": "#### 4"}, {"prompt": "2+2?", "reference": "4"},
            {"prompt": "?", "response": None}, {"messages": [{"role": "user", "content": "2+2?"}]},
            {"instruction": "2+2?"}],
)  # fmt: skip
def test_a_file_without_a_model_answer_is_refused(called: Called, tmp_path: Path, row: dict[str, Any]) -> None:
    data = written(tmp_path / "rows.jsonl", [row, row])
    code, said, wrong = called("verify", "math", "--data", str(data))
    assert code == 2 and not said and wrong.count("\n") == 1, wrong
    assert "rows.jsonl holds no answer of a model to check; " in wrong and "respons" in wrong
    if None in row.values():
        assert "response is null" in wrong


def test_the_order_of_several_columns_of_answers_is_told(called: Called, tmp_path: Path) -> None:
    row = {"prompt": "2+2?", "response": "4", "completion": "5", "reference": "5"}
    data = written(tmp_path / "rows.jsonl", [row])
    code, _, wrong = called("verify", "math", "--data", str(data))
    assert code == 0 and "completion is taken for the answers, not response; rename" in wrong
    assert verdicts(called, data, "math") == [True]


def test_a_list_of_texts_is_several_answers(called: Called, tmp_path: Path) -> None:
    rows = [{"prompt": "?", name: ["4", "5"], "reference": "4"} for name in ("response", "completion")]
    assert verdicts(called, written(tmp_path / "rows.jsonl", rows), "math") == [True, False] * 2


def test_where_nothing_is_scored_the_reasons_are_told(called: Called, tmp_path: Path) -> None:
    rows = [{"prompt": "?", "response": "hello", "reference": "xx"}] * 3
    rows += [{"prompt": "?", "response": "hello", "reference": "en-foo"}, {"prompt": "?", "response": 3}]
    data = written(tmp_path / "rows.jsonl", rows)
    code, said, wrong = called("verify", "language", "--data", str(data), "--json")
    told = json.loads(said)
    assert code == 1 and told["types"][0]["unscored"] == 4 and told["bad"] == 1
    assert list(told["reasons"].values()) == [3, 1, 1]
    assert "nothing could be scored:\n  3 there is no profile of the language 'xx'" in wrong
    assert "the assistant's text is a int" in wrong
    right = [*rows, {"prompt": "?", "response": "this is the house that we have seen", "reference": "en"}]
    code, said, _ = called("verify", "language", "--data", str(written(data, right)), "--json")
    assert code == 0 and sum(json.loads(said)["reasons"].values()) == 5


def test_a_new_folder_is_told(called: Called, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", [{"prompt": "2?", "response": "2", "reference": "2"}])
    code, _, wrong = called("verify", "math", "--data", str(data), "--out", "made/out.jsonl")
    assert code == 0 and "made is not there; it is made" in wrong
    assert "is not there" not in called("verify", "math", "--data", str(data), "--out", "made/out.jsonl")[2]


def test_the_file_that_is_read_is_never_written(called: Called, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", [{"prompt": "2?", "response": "2", "reference": "2"}])
    (tmp_path / "link.jsonl").symlink_to(data)
    before = data.read_bytes()
    for out in ("rows.jsonl", "./rows.jsonl", "link.jsonl"):
        code, _, wrong = called("verify", "math", "--data", str(data), "--out", out)
        assert code == 2 and "is the file that is read; name another one" in wrong
    assert data.read_bytes() == before and sorted(os.listdir(tmp_path)) == ["link.jsonl", "rows.jsonl"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["math", "--data", "broken.jsonl", "--reference", "gold"], "broken.jsonl:1: the line is not valid JSON"),
        (
            ["math", "--data", "half.jsonl", "--reference", "gold"],
            "it has prompt, response (half.jsonl:1: the line is not",
        ),
        (["mth", "--data", "rows.jsonl"], "there is no checker 'mth'; did you mean 'math'?"),
        (["math", "--data", "none.jsonl"], "none.jsonl does not exist"),
        (
            ["math", "--data", "rows.jsonl", "--reference", "gld"],
            "rows.jsonl has no column 'gld' for --reference; it has",
        ),
        (["math", "--data", "rows.jsonl", "--out", "."], "is a folder; name a file with --out"),
        (["math", "--data", "clash.jsonl"], "has a column 'verdict' already"),
        (["math", "--data", "rows.jsonl", "--out", "mine.jsonl"], "mine.jsonl.work is in the way"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(called: Called, tmp_path: Path, words: list[str], wrong: str) -> None:
    written(tmp_path / "rows.jsonl", [{"prompt": "2?", "response": "2", "reference": "2"}])
    written(tmp_path / "clash.jsonl", [{"prompt": "2?", "response": "2", "reference": "2", "verdict": 1}])
    (tmp_path / "broken.jsonl").write_text('{"prompt": "2?",\n')
    (tmp_path / "half.jsonl").write_text('{"prompt": "2?",\n{"prompt": "2?", "response": "2"}\n')
    (tmp_path / "mine.jsonl.work").mkdir()
    code, _, said = called("verify", *words)
    assert (tmp_path / "mine.jsonl.work").is_dir()
    assert code == 2 and wrong in said and said.count("\n") == 1


def test_a_number_of_processes_below_zero_is_refused(called: Called, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", [{"prompt": "2?", "response": "2", "reference": "2"}])
    code, said, wrong = called("verify", "math", "--data", str(data), "--workers", "-3")
    assert code == 2 and not said and "'--workers': Input should be greater than or equal to 0" in wrong


ASKED = [{"id": "word_count", "kwargs": {"relation": "at least", "n": n}} for n in range(1, 9)]


def started(data: Path, out: Path) -> subprocess.Popen:
    words = ["verify", "constraints", "--data", str(data), "--out", str(out), "--workers", "1"]
    command = [sys.executable, "-m", "burnish", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def kept(out: Path) -> int:
    """Entries of the journal beside the result."""
    path = out.with_name(out.name + ".work") / "journal.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path, timeout=10) as base:
        try:
            return base.execute("select count(*) from entries").fetchone()[0]
        except sqlite3.OperationalError:
            return 0


def until_kept(process: subprocess.Popen, out: Path) -> None:
    while not kept(out):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_killed_file_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    text = "river stone lamp " * 600
    rows = [{"prompt": f"{n}", "response": f"{text} {n}", "reference": ASKED} for n in range(500)]
    data, out, whole = written(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    first = started(data, out)
    until_kept(first, out)
    first.kill()
    first.communicate()
    assert not out.exists()
    # A mark in what was kept shows that it is used.
    with sqlite3.connect(out.with_name("out.jsonl.work") / "journal.sqlite") as base:
        (text,) = base.execute("select value from entries where key = '0'").fetchone()
        entry = json.loads(text)
        entry[0][1][1] = "kept from before"
        base.execute("update entries set value = ? where key = '0'", (json.dumps(entry),))

    second = started(data, out)
    time.sleep(0.5)
    second.send_signal(signal.SIGINT)
    said = second.communicate()[1]
    if second.returncode:  # else it ended before the interrupt came
        late = second.returncode == 130 and "Go on with:\n  burnish verify constraints" in said
        assert late or second.returncode == -signal.SIGINT  # it came before Python was up
        assert started(data, out).wait() == 0
    assert started(data, whole).wait() == 0
    made, straight = read(out), read(whole)
    assert made[entry[0][0]].pop("reason") == "kept from before"
    straight[entry[0][0]].pop("reason")
    assert made == straight and len(made) == 500
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "rows.jsonl", "whole.jsonl"]
