"""`burnish data preview`: tokens with what training does with them, and rows that would be dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import burnish
from tests.train.material import make_model

PAIR = {"prompt": "1 + 1?", "chosen": "It is 2.", "rejected": "It is 3."}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "base").path


def write(folder: Path, *rows: object) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_stretches_are_marked_and_the_terminator_is_trained_and_masked(model: str, tmp_path: Path) -> None:
    done = burnish("data", "preview", write(tmp_path, PAIR), "--model", model)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines() if line.startswith(("  user", "  assistant"))]
    kinds = [(role, what) for role, what, *_ in lines]
    assert kinds[0] == ("user", "prompt") and ("assistant", "trained") in kinds and ("assistant", "formatting") in kinds
    said = {what: text for _, what, _, text in lines if what == "trained"}["trained"].replace("|", "")
    assert said == "It is 3."
    (ends, *_) = [text for _, what, _, text in lines if what == "formatting"]
    assert ends.count("|") == 1 or "<|" in ends
    assert "1 rows would be trained on" in done.stdout and "preference, for dpo" in done.stdout


def test_rows_that_would_be_dropped_are_listed_with_their_reason(model: str, tmp_path: Path) -> None:
    long = {**PAIR, "chosen": "word " * 400}
    done = burnish("data", "preview", write(tmp_path, PAIR, "{", long), "--model", model, "--set", "max_length=64")
    assert done.returncode == 0, done.stderr
    assert "2 rows would be dropped" in done.stdout
    assert "1 malformed row" in done.stdout and "rows.jsonl:2" in done.stdout
    assert "1 longer than the context" in done.stdout and "64 fit" in done.stdout


def test_demonstrations_are_previewed_for_sft(model: str, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    done = burnish("data", "preview", write(tmp_path, row), "--model", model)
    assert done.returncode == 0 and "messages, for sft" in done.stdout


def test_unknown_method_and_missing_file(model: str, tmp_path: Path) -> None:
    wrong = burnish("data", "preview", write(tmp_path, PAIR), "--model", model, "--method", "dop")
    assert wrong.returncode == 2 and "did you mean 'dpo'" in wrong.stderr
    absent = burnish("data", "preview", str(tmp_path / "none.jsonl"), "--model", model)
    assert absent.returncode == 2 and "none.jsonl does not exist" in absent.stderr


def test_raw_text_is_shown_in_pieces(model: str, tmp_path: Path) -> None:
    row = {"text": "def f(x): return x"}
    done = burnish(
        "data", "preview", write(tmp_path, row, {"text": "b"}, "{"), "--model", model, "--set", "max_length=12"
    )
    assert done.returncode == 0, done.stderr
    assert "text, for pretrain" in done.stdout and "rows.jsonl:1, pieces: 2" in done.stdout
    shown = [line.split(maxsplit=3) for line in done.stdout.splitlines() if line.startswith("  text")]
    assert [(what, int(size)) for _, what, size, _ in shown] == [
        ("prompt", 1), ("trained", 11), ("prompt", 1), ("trained", 7), ("prompt", 1), ("trained", 1)
    ]  # fmt: skip
    assert shown[0][3] == "d|" and shown[1][3].replace("|", "") == "ef f(x): re" and shown[2][3] == "e|"
    assert "2 rows would be trained on, 19 trained tokens" in done.stdout and "1 malformed row" in done.stdout


def test_switches_and_turns_are_shown(model: str, tmp_path: Path) -> None:
    """An answer that is switched off is never trained; earlier ones are with `train_on=all`."""
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "First"}]
    row = {"messages": [*turns, turns[0], {"role": "assistant", "content": "Second", "weight": 0}]}
    both = {"messages": [*turns, turns[0], {"role": "assistant", "content": "Third"}]}
    for settings, trained, lost in (((), ["Third"], 1), (("--set", "train_on=all"), ["First", "First", "Third"], 0)):
        done = burnish("data", "preview", write(tmp_path, row, both), "--model", model, "--method", "sft", *settings)
        assert done.returncode == 0, done.stderr
        lines = [line.split(maxsplit=3) for line in done.stdout.splitlines() if line.startswith("  assistant")]
        assert [text.replace("|", "") for _, what, _, text in lines if what == "trained"] == trained
        assert ("1 nothing in it is trained" in done.stdout) == bool(lost)
        if not lost:
            assert "Second" in "".join(text.replace("|", "") for _, what, _, text in lines if what == "untrained")
