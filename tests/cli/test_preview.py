"""`burnish data preview`: tokens with what training does with them, and rows that would be dropped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from burnish import microworld
from burnish.records import Sampling, read_demonstrations, read_preferences, read_prompts
from tests.conftest import Called
from tests.train.material import make_model

PAIR = {"prompt": "1 + 1?", "chosen": "It is 2.", "rejected": "It is 3."}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "base").path


def write(folder: Path, *rows: object) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_stretches_are_marked_and_the_terminator_is_trained_and_masked(
    called: Called, model: str, tmp_path: Path
) -> None:
    done = called("data", "preview", write(tmp_path, PAIR), "--model", model)
    assert done[0] == 0, done[2]
    lines = [line.split(maxsplit=3) for line in done[1].splitlines() if line.startswith(("  user", "  assistant"))]
    kinds = [(role, what) for role, what, *_ in lines]
    assert kinds[0] == ("user", "prompt") and ("assistant", "trained") in kinds and ("assistant", "formatting") in kinds
    said = {what: text for _, what, _, text in lines if what == "trained"}["trained"].replace("|", "")
    assert said == "It is 3."
    (ends, *_) = [text for _, what, _, text in lines if what == "formatting"]
    assert ends.count("|") == 1 or "<|" in ends
    assert " rows.jsonl:1\n" in done[1]
    assert "1 rows would be trained on" in done[1] and "preference, for dpo" in done[1]


def test_rows_that_would_be_dropped_are_listed_with_their_reason(called: Called, model: str, tmp_path: Path) -> None:
    long = {**PAIR, "chosen": "word " * 400}
    done = called("data", "preview", write(tmp_path, PAIR, "{", long), "--model", model, "--set", "max_length=64")
    assert done[0] == 0, done[2]
    assert "2 rows would be dropped" in done[1]
    assert "1 malformed row" in done[1] and "rows.jsonl:2" in done[1]
    assert "1 longer than the context" in done[1] and "64 fit" in done[1]


def test_demonstrations_are_previewed_for_sft(called: Called, model: str, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    done = called("data", "preview", write(tmp_path, row), "--model", model)
    assert done[0] == 0 and "messages, for sft" in done[1]


def test_a_base_without_a_chat_format_is_previewed_with_the_one_train_gives_it(called: Called, tmp_path: Path) -> None:
    base = Path(microworld.__file__).parent / "base"
    before = {path.name: path.stat().st_mtime_ns for path in base.iterdir()}
    for more in ((), ("--chat", "chatml"), ("--chat", "llama3")):
        done = called("data", "preview", write(tmp_path, PAIR), "--model", str(base), *more)
        assert done[0] == 0 and ("<|eot_id|>" if "llama3" in more else "<|im_end|>") in done[1], done[2]
    assert {path.name: path.stat().st_mtime_ns for path in base.iterdir()} == before
    wrong = called("data", "preview", write(tmp_path, PAIR), "--model", str(base), "--chat", "chatmi")
    assert wrong[0] == 2 and "no chat format 'chatmi'" in wrong[2]


def test_unknown_method_and_missing_file(called: Called, model: str, tmp_path: Path) -> None:
    wrong = called("data", "preview", write(tmp_path, PAIR), "--model", model, "--method", "dop")
    assert wrong[0] == 2 and "did you mean 'dpo'" in wrong[2]
    absent = called("data", "preview", str(tmp_path / "none.jsonl"), "--model", model)
    assert absent[0] == 2 and "none.jsonl does not exist" in absent[2]


def test_a_long_stretch_is_cut_in_its_middle_unless_asked(called: Called, model: str, tmp_path: Path) -> None:
    row = {**PAIR, "prompt": "Begin. " + "1 " * 50 + "End."}
    words = ("data", "preview", write(tmp_path, row), "--model", model, "--set", "max_length=400")
    shown = [called(*words, *more)[1].splitlines() for more in ((), ("--full",))]
    short, whole = (next(line for line in lines if line.startswith("  user")) for lines in shown)
    left_out = int(re.search(r" \.\.\. (\d+) more", short)[1])
    assert short.count("|") + left_out == whole.count("|") and short.count("|") == 60 + 4  # two names of specials
    assert "Begin" in short.replace("|", "") and "End." in short.replace("|", "")
    assert "more" not in whole


def test_raw_text_is_shown_in_pieces(called: Called, model: str, tmp_path: Path) -> None:
    row = {"text": "def f(x): return x"}
    done = called(
        "data", "preview", write(tmp_path, row, {"text": "b"}, "{"), "--model", model, "--set", "max_length=12"
    )
    assert done[0] == 0, done[2]
    assert "text, for pretrain" in done[1] and "rows.jsonl:1, pieces: 2" in done[1]
    shown = [line.split(maxsplit=3) for line in done[1].splitlines() if line.startswith("  text")]
    assert [(what, int(size)) for _, what, size, _ in shown] == [
        ("prompt", 1), ("trained", 11), ("prompt", 1), ("trained", 7), ("prompt", 1), ("trained", 1)
    ]  # fmt: skip
    assert shown[0][3] == "d|" and shown[1][3].replace("|", "") == "ef f(x): re" and shown[2][3] == "e|"
    assert "2 rows would be trained on, 19 trained tokens" in done[1] and "1 malformed row" in done[1]


def test_switches_and_turns_are_shown(called: Called, model: str, tmp_path: Path) -> None:
    """An answer that is switched off is never trained; earlier ones are with `train_on=all`."""
    turns = [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "First"}]
    row = {"messages": [*turns, turns[0], {"role": "assistant", "content": "Second", "weight": 0}]}
    both = {"messages": [*turns, turns[0], {"role": "assistant", "content": "Third"}]}
    for settings, trained, lost in (((), ["Third"], 1), (("--set", "train_on=all"), ["First", "First", "Third"], 0)):
        done = called("data", "preview", write(tmp_path, row, both), "--model", model, "--method", "sft", *settings)
        assert done[0] == 0, done[2]
        lines = [line.split(maxsplit=3) for line in done[1].splitlines() if line.startswith("  assistant")]
        assert [text.replace("|", "") for _, what, _, text in lines if what == "trained"] == trained
        assert ("1 nothing in it is trained" in done[1]) == bool(lost)
        if not lost:
            assert "Second" in "".join(text.replace("|", "") for _, what, _, text in lines if what == "untrained")


def test_the_microworld_is_written_as_files_that_training_reads(called: Called, tmp_path: Path) -> None:
    out = tmp_path / "files"
    done = called("data", "microworld", "--out", str(out), "--count", "8", "--abilities", "arithmetic,ordering")
    assert done[0] == 0 and done[1].count("8 rows -> ") == 4
    shown = read_demonstrations(out / "demonstrations.jsonl").rows
    pairs = read_preferences(out / "pairs.jsonl").rows
    asked, held = (read_prompts(out / f"{name}.jsonl").rows for name in ("prompts", "heldout"))
    contexts = [row.context for row in (*shown, *pairs)] + [row.messages for row in (*asked, *held)]
    assert len(set(contexts)) == 32  # no task is in two of them
    assert all(len({answer.messages for answer in pair.candidates}) == 2 for pair in pairs)
    sampling = Sampling(temperature=0.0, max_new_tokens=64)
    for prompt in (*asked, *held):
        right = microworld.Oracle().answer([prompt], n=1, sampling=sampling)[0]
        assert microworld.checkers()[prompt.checker].check(prompt, right).correct
    told = called("data", "microworld", "--out", str(out), "--abilities", "arithmetics")
    assert told[0] == 2 and "no family 'arithmetics'" in told[2]
    assert called("data", "microworld", "--out", str(out), "--count", "0")[0] == 2
