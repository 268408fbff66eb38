"""`burnish score` on files: numbers equal to the functions', and errors that name the file and the fix."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from burnish.judge.measure import cohen_kappa, quadratic_kappa
from burnish.models import new_reward, save_model, tiny_model_folder
from tests.conftest import Called

ROWS = [
    {
        "judge": "A",
        "human": "A",
        "third": "B",
        "stars": 4,
        "people": 5,
        "win": 1.5,
        "model": "m",
        "answer": "a b",
        "baseline": "a",
    },
    {
        "judge": "B",
        "human": "A",
        "third": "B",
        "stars": 2,
        "people": 2,
        "win": 1.0,
        "model": "m",
        "answer": "a",
        "baseline": "b",
    },
    {
        "judge": "garbage",
        "human": "B",
        "third": None,
        "stars": None,
        "people": 3,
        "win": 2,
        "model": "n",
        "answer": "",
        "baseline": "c",
    },
    {
        "judge": "tie",
        "human": "tie",
        "third": "A",
        "stars": 3,
        "people": 3,
        "win": None,
        "model": "n",
        "answer": "d",
        "baseline": "c",
    },
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def told(called: Called, *words: Any) -> dict[str, dict]:
    code, out, err = called("score", *map(str, words), "--json")
    assert code == 0, err
    return {row["name"]: row for row in json.loads(out)["rows"]}


def refused(called: Called, *words: Any) -> str:
    code, out, err = called("score", *map(str, words))
    assert code == 2 and out == "" and len(err.strip().splitlines()) == 1, (out, err)
    return err


def test_agreement(called: Called, labels: Path) -> None:
    found = told(called, "agreement", labels, "--raters", "judge,human,third", "--missing", "garbage")
    assert found["judge and human: equal"]["value"] == pytest.approx(2 / 3)
    assert found["judge and human: equal"]["unscored"] == 1
    assert found["judge and human: Cohen's kappa"]["value"] == cohen_kappa(["A", "B", "tie"], ["A", "A", "tie"]).value
    assert found["all: alpha, nominal"]["n"] == 3
    found = told(called, "agreement", labels, "--raters", "stars,people", "--scale", "1,5")
    assert found["stars and people: quadratic kappa"]["value"] == quadratic_kappa([4, 2, 3], [5, 2, 3]).value
    code, out, _ = called("score", "agreement", str(labels), "--raters", "stars,people", "--scale", "1,5")
    assert code == 0 and "alpha, ordinal" in out and "1 unscored" in out


def test_calibration(called: Called, labels: Path) -> None:
    words = ("calibration", labels, "--judge", "judge", "--human", "human", "--missing", "garbage")
    found = told(called, *words, "--tie", "tie")
    assert found["accuracy"]["value"] == pytest.approx(2 / 3) and found["tie rate of people"]["value"] == pytest.approx(
        1 / 3
    )
    assert "tie rate of people" not in told(called, *words)
    assert "no label draw" in refused(called, *words, "--tie", "draw")
    found = told(called, "calibration", labels, "--judge", "stars", "--human", "people", "--scale", "1,5")
    assert found["bias"]["value"] == pytest.approx(-1 / 3) and found["verdict 4: mean label"]["value"] == 5


def test_order(called: Called, tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("there", "back"), ("A", "B"), ("A", "A"), ("tie", "tie"), ("", "A")])
    found = told(called, "order", path, "--forward", "there", "--backward", "back")
    assert found["consistent"]["value"] == pytest.approx(2 / 3) and found["consistent"]["unscored"] == 1
    assert found["position bias"]["value"] == pytest.approx(1 / 3)
    assert "--missing" in refused(called, "order", path, "--forward", "there", "--backward", "back", "--first", "1")


def test_win_rate(called: Called, labels: Path) -> None:
    found = told(called, "winrate", labels, "--model", "model", "--scale", "1,2")
    assert (found["m"]["value"], found["n"]["value"], found["n"]["unscored"]) == (0.25, 1.0, 1)
    found = told(called, "winrate", labels, "--model", "model", "--scale", "1,2", "--control", "style")
    assert all(found[f"{name}, style-controlled"]["why"] for name in "mn")  # too few rows for four features
    found = told(called, "winrate", labels, "--scale", "1,2", "--control", "length")
    assert found["model, length-controlled"]["value"] is None and found["model, length-controlled"]["why"]
    assert "choose length or style" in refused(called, "winrate", labels, "--scale", "1,2", "--control", "colour")
    assert "outside the scale" in refused(called, "winrate", labels)


def test_pairs(called: Called, tmp_path: Path) -> None:
    base = tiny_model_folder(
        tmp_path / "base", "llama", specials=("<|begin|>", "<|end|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
    )
    model = save_model(new_reward(base, seed=1), tmp_path / "model", tokenizer_from=base, pad_id=258)
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"q{i}", "chosen": "yes " * (i + 1), "rejected": "no", "subset": ("hep-go", "donotanswer")[i % 2]}
        for i in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = called(
        "score", "pairs", str(path), "--reward", model.path, "--chat", "chatml", "--json", "--device", "cpu"
    )
    assert code == 0, err
    done = json.loads(out)
    found = {row["name"]: row for row in done["rows"]}
    assert found["overall"]["n"] == 6 and done["missing"] == ["Chat", "Chat Hard"] and done["ties"] == 0
    sections = [found[f"section {name}"]["value"] for name in ("Safety", "Reasoning")]
    assert found["overall"]["value"] == pytest.approx(sum(sections) / 2)
    # The labels swapped: the rest, as there is no tie.
    swapped = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in swapped))
    other = told(called, "pairs", path, "--reward", model.path, "--chat", "chatml", "--device", "cpu")
    assert other["overall"]["value"] == pytest.approx(1 - found["overall"]["value"])
    code, out, _ = called(
        "score", "pairs", str(path), "--reward", model.path, "--chat", "chatml", "--limit", "2", "--device", "cpu"
    )
    assert code == 0 and "no pair of Chat, Chat Hard" in out
    assert "reward head" in refused(called, "pairs", path, "--reward", base.path, "--device", "cpu")
    assert "separated by commas" in refused(
        called, "pairs", path, "--reward", model.path, "--chat", "chatml", "--mix", "a,b"
    )


def test_errors_name_the_file_and_the_fix(called: Called, labels: Path, tmp_path: Path) -> None:
    both = ("--judge", "stars", "--human", "people")
    assert "no column 'gold'" in refused(called, "agreement", labels, "--raters", "judge,gold")
    assert "two columns" in refused(called, "agreement", labels, "--raters", "judge")
    assert "outside the scale 1 to 4" in refused(called, "calibration", labels, *both, "--scale", "1,4")
    assert "such as 1,5" in refused(called, "calibration", labels, *both, "--scale", "5")
    assert "--missing" in refused(called, "agreement", labels, "--raters", "judge,stars", "--scale", "1,5")
    empty, broken = tmp_path / "empty.jsonl", tmp_path / "broken.jsonl"
    empty.write_text("")
    broken.write_text('{"judge": 1}\n{"judge": \n')
    assert "holds no row" in refused(called, "calibration", empty, *both)
    assert "broken.jsonl:2" in refused(called, "calibration", broken, *both)
    assert "there is no file" in refused(called, "calibration", tmp_path / "none.jsonl", *both)
    assert "known ending" in refused(called, "calibration", Path(__file__), *both)
