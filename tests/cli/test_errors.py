"""Bad input: one clear sentence that names the file, row or setting and the fix; exit code 2; nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish import cli, microworld
from burnish.models import tiny_model_folder
from burnish.runs import Run
from tests.conftest import Called

Said = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Said:
    """Run the command line in this process; it must exit with 2 and say one sentence, which is returned."""

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["burnish", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr().err
        assert stop.value.code == 2, said
        lines = [line for line in said.splitlines() if line.startswith("burnish: error:")]
        assert len(lines) == 1, said
        return lines[0]

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_model_folder(tmp_path / "model", architecture="llama")
    return tmp_path / "model"


def gsm8k(path: Path, count: int = 40) -> Path:
    rows = [{"question": f"What is {i} + {i}?", "answer": f"{i} + {i} = {2 * i}.\n#### {2 * i}"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(model: Path, prompts: Path, out: Path, *more: str) -> list[str]:
    words = ["run", "llama3", "--scale", "smoke", "--policy", str(model), "--prompts", str(prompts)]
    return [*words, "--annotator", "math", "--out", str(out), *more]


def test_malformed_line(refused: Said, model: Path, tmp_path: Path) -> None:
    prompts = gsm8k(tmp_path / "p.jsonl")
    prompts.write_text(prompts.read_text() + '{"question": "half\n')
    said = refused(*run(model, prompts, tmp_path / "out"))
    assert "p.jsonl:41" in said and "Unterminated string starting, at character 14" in said
    assert "line 1" not in said and "line 2" not in said  # Python's own count beside the file's
    assert not list(tmp_path.glob("out/**/step.json"))


def test_missing_column(refused: Said, model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"ask": "What?"}\n')
    said = refused(*run(model, tmp_path / "p.jsonl", tmp_path / "out"))
    assert "p.jsonl" in said and "ask" in said and "question" in said


def test_empty_file_and_absent_file(refused: Said, model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("")
    assert "p.jsonl" in refused(*run(model, tmp_path / "p.jsonl", tmp_path / "out"))
    assert "absent.jsonl" in refused(*run(model, tmp_path / "absent.jsonl", tmp_path / "out"))


def test_too_few_prompts(refused: Said, model: Path, tmp_path: Path) -> None:
    said = refused(*run(model, gsm8k(tmp_path / "p.jsonl", 1), tmp_path / "out"))
    assert "give more prompts" in said


def test_unknown_recipe_scale_setting_and_annotator(refused: Said, model: Path, tmp_path: Path) -> None:
    prompts, out = gsm8k(tmp_path / "p.jsonl"), tmp_path / "out"
    assert "did you mean 'llama3'" in refused("run", "lama3")
    assert "did you mean 'smoke'" in refused("run", "llama3", "--scale", "smok")
    assert "did you mean 'rounds'" in refused(*run(model, prompts, out, "--set", "round=3"))
    assert "takes a value of type int" in refused(*run(model, prompts, out, "--set", "rounds=many"))
    assert "key=value" in refused(*run(model, prompts, out, "--set", "rounds"))
    words = run(model, prompts, out)
    words[words.index("math")] = "maths"
    assert "did you mean 'math'" in refused(*words)
    words[words.index("maths")] = "simulated"
    assert "known truth" in refused(*words)


def test_annotator_must_be_named_for_a_file(refused: Said, model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"prompt": f"Say {i}."}) + "\n" for i in range(40)))
    words = ["run", "llama3", "--policy", str(model), "--prompts", str(tmp_path / "p.jsonl"), "--out", str(tmp_path)]
    assert "--annotator" in refused(*words)


def test_wrong_model_folder(refused: Said, tmp_path: Path) -> None:
    prompts = gsm8k(tmp_path / "p.jsonl")
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(*run(tmp_path / "empty", prompts, tmp_path / "out"))
    assert "nowhere" in refused(*run(tmp_path / "nowhere", prompts, tmp_path / "out"))


def test_nan_weights_name_the_tensor(refused: Said, model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    said = refused(*run(model, gsm8k(tmp_path / "p.jsonl"), tmp_path / "out"))
    assert name in said and "NaN" in said


def test_output_folder_held_by_another_run(refused: Said, model: Path, tmp_path: Path) -> None:
    with Run(tmp_path / "out"):
        said = refused(*run(model, gsm8k(tmp_path / "p.jsonl"), tmp_path / "out"))
    assert "in use by process" in said


def test_read_only_output_folder(refused: Said, model: Path, tmp_path: Path) -> None:
    prompts = gsm8k(tmp_path / "p.jsonl")
    if os.geteuid() == 0:
        said = refused(*run(model, prompts, Path("/proc/burnish-out")))
        assert "/proc/burnish-out" in said
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        said = refused(*run(model, prompts, tmp_path / "locked" / "out"))
        assert "--out" in said


def test_full_disk(model: Path, tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk."""
    words = run(model, gsm8k(tmp_path / "p.jsonl"), tmp_path / "out")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "from burnish.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot write to" in done.stderr and "run the same command again" in done.stderr
    for folder in tmp_path.glob("out/**/step.json"):
        assert list(folder.parent.glob("*"))


def test_tokenizer_without_pad_or_bos_runs(called: Called, tmp_path: Path) -> None:
    """No error: the format adds what it needs."""
    tiny_model_folder(tmp_path / "model", architecture="llama", specials=("<|end|>",))
    path = tmp_path / "model" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in config.items() if key not in ("bos_token", "pad_token")}))
    words = run(tmp_path / "model", gsm8k(tmp_path / "p.jsonl"), tmp_path / "out", "--set", "rounds=1")
    code, told, wrong = called(*words, "--workers", "1")
    assert code == 0, wrong
    assert "skipped: 0 rows" in told and "burnish chat" in told


def test_prompts_longer_than_the_context_are_counted(called: Called, tmp_path: Path) -> None:
    tiny_model_folder(tmp_path / "model", architecture="llama", max_position_embeddings=160)
    prompts = gsm8k(tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in prompts.read_text().splitlines()]
    for row in rows[::2]:
        row["question"] += " Think." * 200
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = run(tmp_path / "model", prompts, tmp_path / "out", "--set", "rounds=1", "--json")
    code, told, wrong = called(*words, "--workers", "1")
    assert code == 0, wrong
    stages = json.loads(told)["stages"]
    answers = next(stage for name, stage in stages.items() if name.endswith("answers-a"))
    lost = {**answers["counts"]["dropped"], **answers["counts"]["unscored"]}
    assert any("long" in reason and number > 0 for reason, number in lost.items()), answers["counts"]


def test_template_without_a_stop_token(refused: Said, tmp_path: Path) -> None:
    """A template that never closes an answer with a stop token teaches nobody to stop: training refuses it."""
    folder = tmp_path / "model"
    shutil.copytree(microworld.BASE, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["chat_template"] = (
        "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    said = refused("run", "llama3", "--scale", "smoke", "--policy", str(folder), "--out", str(tmp_path / "out"))
    assert "stop token" in said and "--chat" in said


def test_chat_without_a_template(refused: Said) -> None:
    assert "--style completion" in refused("chat", str(microworld.BASE))


def test_inspecting_what_is_no_run(refused: Said, tmp_path: Path) -> None:
    for verb in ("show", "report"):
        assert "holds no run" in refused(verb, str(tmp_path))


def test_average_of_unlike_models(refused: Said, tmp_path: Path) -> None:
    for name, architecture in (("a", "llama"), ("b", "qwen3")):
        tiny_model_folder(tmp_path / name, architecture=architecture)
    said = refused("merge", "average", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c"))
    assert str(tmp_path / "a") in said or str(tmp_path / "b") in said
    assert not (tmp_path / "c").exists()


def test_no_file_can_be_made_there(refused: Said, smoke: dict, tmp_path: Path) -> None:
    """/proc takes no files, whoever asks; said before anything is computed."""
    if not Path("/proc/self").exists():
        pytest.skip("no /proc on this machine")
    rows, final = tmp_path / "rows.jsonl", smoke["object"]["final"]
    rows.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    assert "/proc" in refused("sample", "--model", final, "--prompts", str(rows), "--out", "/proc/x/y.jsonl")
    assert "/proc" in refused("evaluate", "--model", final, "--data", str(rows), "--out", "/proc/z.jsonl")
    assert "/proc" in refused("merge", "average", final, final, "--out", "/proc/m")


def test_a_file_in_the_place_of_the_run_folder(refused: Said, model: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "1?", "completion": "2"}) + "\n")
    for words in (
        ["train", "sft", "--model", str(model), "--data", str(rows), "--out", str(taken)],
        run(model, gsm8k(tmp_path / "p.jsonl"), taken),
    ):
        assert f"{taken} is a file, not a folder; choose another folder with --out" in refused(*words)
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("port", ["127001449631", "65536", "-1"])
def test_a_port_that_is_none(refused: Said, port: str) -> None:
    assert f"--port is {port}; it must be 0 to 65535" in refused("serve-oracle", "--port", port)


def test_counts_below_one(refused: Said, tmp_path: Path) -> None:
    for setting in ("rounds=0", "rounds=-1", "samples=0", "variants=0"):
        name = setting.partition("=")[0]
        assert f"{name} must be at least 1" in refused("run", "llama3", "--set", setting, "--out", str(tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_a_folder_of_another_recipe(refused: Said, smoke: dict, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "1 + 1?", "chosen": "2", "rejected": "3"}\n')
    where = ["--model", smoke["object"]["final"], "--data", str(rows), "--out", str(smoke["folder"])]
    said = refused("train", "reward", *where)
    assert "holds a run of 'llama3', not of 'train reward'" in said


def test_a_checker_needs_reference_answers(refused: Said, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{i} + 1?"}) + "\n" for i in range(30)))
    said = refused(
        "run", "llama3", "--scale", "smoke", "--prompts", str(rows), "--annotator", "math", "--out", str(tmp_path / "r")
    )
    assert "prompts has one" in said and "add a column reference" in said
