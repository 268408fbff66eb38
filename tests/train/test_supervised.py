"""The loop: metrics move as they must, weights load back, a kill anywhere resumes to the same bits."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from burnish.errors import DataError, ModelError, SettingsError
from burnish.models import load_causal, load_reward, weights_of
from burnish.records import Candidate, Demonstration, Preference
from burnish.train import train_dpo, train_reward, train_sft
from tests.train.material import LOOP, Killed, demonstrations, folders, make_model, preferences, said, tree

TRAIN = {
    "sft": lambda base, work, **loop: train_sft(base, demonstrations(), work=work, **LOOP | loop),
    "reward": lambda base, work, **loop: train_reward(base, preferences(), work=work, **LOOP | loop),
    "dpo": lambda base, work, **loop: train_dpo(
        base, preferences(), beta=0.1, nll_weight=0.2, work=work, **LOOP | loop
    ),
}


def metrics_of(work):
    return [json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]


def test_sft_loss_falls_and_weights_load_back(base, tmp_path):
    work = folders(tmp_path)
    outcome = TRAIN["sft"](base, work, epochs=12, lr=1e-2)
    steps = metrics_of(work)
    assert len(steps) == outcome.metrics["steps"] == 30 and work.told == list(range(1, 31))
    assert steps[-1]["loss"] < 0.5 * steps[0]["loss"]
    assert outcome.metrics["first_loss"] == steps[0]["loss"] and outcome.metrics["loss"] == steps[-1]["loss"]
    assert (outcome.taken, outcome.kept, len(outcome.rows), len(outcome.dropped)) == (10, 10, 0, 0)
    assert outcome.weights.id == weights_of(work.folder).id != base.id
    assert weights_of(base.path).id == base.id
    load_causal(outcome.weights)
    assert set(steps[0]) == {"step", "lr", "loss", "grad_norm", "rows", "tokens"}
    assert outcome.metrics["stop_probability_after"] > outcome.metrics["stop_probability_before"]
    assert not list(work.folder.glob("*.bin")) and not list(work.folder.glob("*.pt"))


def ranked(numbers):
    """Answers that end in an exclamation mark are better: something a tiny model can find."""
    rows = []
    for i in numbers:
        context = (said("user", f"{i}?"),)
        texts = (f"{i % 7}{i % 5}!", f"{i % 5}{i % 7}.")
        best, worst = ((said("assistant", text),) for text in texts)
        candidates = (Candidate(role="chosen", messages=best), Candidate(role="rejected", messages=worst))
        rows.append(Preference(prompt=f"p{i}", context=context, candidates=candidates))
    return rows


def test_reward_accuracy_on_held_out_pairs_rises(base, tmp_path):
    from burnish.chat import load_chat
    from burnish.models import new_reward, prepare
    from burnish.train.batch import encode_all
    from burnish.train.objectives import Ranking

    def accuracy(model):
        prepare(model)
        method = Ranking()
        rows = ranked(range(100, 130))
        held_out, _ = encode_all(method.encode, load_chat(base.path), rows, max_length=256, refuse_above=0)
        with torch.no_grad():
            _, sums = method.part(model, held_out, 30)
        return sums["accuracy"].item() / 30

    # a head that happens to start on the wrong side
    seed, before = next((s, found) for s in range(20) if (found := accuracy(new_reward(base, seed=s))) <= 0.5)
    work = folders(tmp_path)
    loop = LOOP | {"epochs": 4, "lr": 1e-2, "batch_rows": 8, "seed": seed}
    outcome = train_reward(base, ranked(range(40)), work=work, **loop)
    assert outcome.weights.kind == "reward"
    assert accuracy(load_reward(outcome.weights)) >= 0.9 >= 0.5 >= before
    told = metrics_of(work)
    assert told[-1]["accuracy"] > 0.9
    # The loss told is a mean over rows, and a head that starts small starts at ln 2 (spec §3.3).
    assert abs(told[0]["loss"] - math.log(2)) < 0.02


def test_dpo_margin_rises_and_the_chosen_do_not_fall_with_nll(base, tmp_path):
    work = folders(tmp_path)
    loop = LOOP | {"epochs": 6, "batch_rows": 5, "lr": 2e-3}
    train_dpo(base, ranked(range(20)), beta=0.1, nll_weight=0.2, work=work, **loop)
    steps = metrics_of(work)
    first, last = steps[0], steps[-1]
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert first["loss"] == pytest.approx(math.log(2) + 0.2 * first["nll"], abs=1e-4)
    assert last["margin"] > 0.1 and last["accuracy"] == 1.0
    assert last["chosen"] >= first["chosen"] and last["chosen"] - first["chosen"] > last["rejected"] - first["rejected"]


def kill_at(work, step):
    told = work.progress

    def progress(done, total, note=""):
        told(done, total, note)
        if done == step:
            raise Killed

    work.progress = progress


@pytest.mark.parametrize("name", TRAIN)
@pytest.mark.parametrize("every", [1, 2])
def test_stopped_at_any_step_and_resumed_is_bitwise_equal(base, tmp_path, name, every):
    straight = folders(tmp_path / "straight")
    whole = TRAIN[name](base, straight)
    for moment in (1, 3, 5):
        work = folders(tmp_path / f"broken-{moment}")
        kill_at(work, moment)
        with pytest.raises(Killed):
            TRAIN[name](base, work, checkpoint_steps=every)
        work = folders(tmp_path / f"broken-{moment}")
        resumed = TRAIN[name](base, work, checkpoint_steps=every)
        assert work.told[0] == min(5, moment - moment % every + 1)  # it went on, and did not begin again
        assert tree(work.folder) == tree(straight.folder)
        assert resumed.metrics == whole.metrics


CHILD = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from tests.train.material import folders
from tests.train.test_supervised import TRAIN
from burnish.models import weights_of
work = folders(Path({place!r}))
def progress(done, total, note=""):
    if done == {step}:
        os._exit(9)
work.progress = progress
TRAIN[{name!r}](weights_of({base!r}), work, checkpoint_steps=2)
"""


@pytest.mark.parametrize(("name", "step"), [("dpo", 3)])
def test_a_process_that_dies_leaves_what_another_goes_on_from(base, tmp_path, name, step):
    place = tmp_path / "killed"
    code = CHILD.format(tests=str(Path(__file__).parents[2]), place=str(place), step=step, name=name, base=base.path)
    died = subprocess.run([sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True)
    assert died.returncode == 9, died.stderr
    work = folders(place)
    TRAIN[name](base, work)
    assert work.told[0] == 3
    straight = folders(tmp_path / "straight")
    TRAIN[name](base, straight)
    assert tree(work.folder) == tree(straight.folder)


def test_the_reference_is_computed_once_and_kept(base, tmp_path, monkeypatch):
    from burnish.train import reference

    passes = []
    real = reference.token_logprobs
    monkeypatch.setattr(reference, "token_logprobs", lambda *a, **k: passes.append(1) or real(*a, **k))
    work = folders(tmp_path)
    kill_at(work, 2)
    with pytest.raises(Killed):
        TRAIN["dpo"](base, work, checkpoint_steps=1)
    assert passes
    passes.clear()
    TRAIN["dpo"](base, folders(tmp_path), checkpoint_steps=1)
    assert not passes
    other = make_model(tmp_path / "other", seed=4)
    train_dpo(base, preferences(), beta=0.1, nll_weight=0.2, reference=other, work=folders(tmp_path), **LOOP)
    assert passes  # another reference, another key


def test_an_interrupt_saves_what_is_done(base, tmp_path):
    work = folders(tmp_path)

    def progress(done, total, note=""):
        if done == 3:
            raise KeyboardInterrupt

    work.progress = progress
    with pytest.raises(KeyboardInterrupt):
        TRAIN["sft"](base, work)  # no checkpoint is due by the clock
    work = folders(tmp_path)
    TRAIN["sft"](base, work)
    assert work.told[0] == 4


def test_weights_that_are_not_finite_stop_training_and_name_the_tensor(tmp_path):
    broken = make_model(tmp_path / "base")
    model = load_causal(broken)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = math.nan
    model.save_pretrained(broken.path)
    with pytest.raises((ModelError, DataError), match="up_proj"):
        TRAIN["sft"](weights_of(broken.path), folders(tmp_path / "run"))


def test_a_loss_that_is_not_finite_names_step_and_rows_and_leaves_the_state(base, tmp_path, monkeypatch):
    from burnish.train.objectives import imitation

    real, calls = imitation.sft_loss, []

    def overflow(logprobs, *, tokens):
        loss, sums = real(logprobs, tokens=tokens)
        calls.append(1)
        return (loss * math.inf if len(calls) == 4 else loss), sums

    monkeypatch.setattr(imitation, "sft_loss", overflow)
    work = folders(tmp_path)
    ids = {row.id for row in demonstrations()}
    with pytest.raises(ModelError, match=r"step 4 of 5.*on rows") as error:
        TRAIN["sft"](base, work)
    assert sum(i in str(error.value) for i in ids) == 4
    monkeypatch.setattr(imitation, "sft_loss", real)
    work = folders(tmp_path)
    TRAIN["sft"](base, work)
    assert work.told[0] == 4
    straight = folders(tmp_path / "straight")
    TRAIN["sft"](base, straight)
    assert tree(work.folder) == tree(straight.folder)


def test_long_rows_are_counted(base, tmp_path):
    long = Demonstration(prompt="l", context=(said("user", "x" * 400),), response=(said("assistant", "y"),))
    outcome = train_sft(base, [*demonstrations(), long], work=folders(tmp_path), **LOOP)
    assert (outcome.taken, outcome.kept) == (11, 10) and outcome.counts()["dropped"] == {"longer than the context": 1}
    with pytest.raises(DataError, match="longer than the context"):
        train_sft(base, [*demonstrations(), long], **LOOP | {"refuse_above": 0.05})


def test_settings_are_checked_by_name(base):
    with pytest.raises(SettingsError, match=r"'batch_row'.*'batch_rows'"):
        train_sft(base, demonstrations(), **LOOP, batch_row=3)
    with pytest.raises(SettingsError, match="needs the setting 'lr'"):
        train_sft(base, demonstrations(), **{k: v for k, v in LOOP.items() if k != "lr"})
    with pytest.raises(SettingsError, match="epochs is 0"):
        train_sft(base, demonstrations(), **LOOP | {"epochs": 0})


def test_bfloat16_trains_on_float32_masters_and_resumes(base, tmp_path):
    from burnish.runs.compute import Compute, computing

    with computing(Compute(dtype="bfloat16")):
        straight = folders(tmp_path / "straight")
        TRAIN["sft"](base, straight, epochs=6, lr=1e-2)
        work = folders(tmp_path / "broken")
        kill_at(work, 3)
        with pytest.raises(Killed):
            TRAIN["sft"](base, work, epochs=6, lr=1e-2, checkpoint_steps=2)
        work = folders(tmp_path / "broken")
        TRAIN["sft"](base, work, epochs=6, lr=1e-2)
    assert tree(work.folder) == tree(straight.folder)
    steps = metrics_of(straight)
    assert steps[-1]["loss"] < steps[0]["loss"]


def test_dropout_is_off_and_told(tmp_path):
    base = make_model(tmp_path / "base")
    config = tmp_path / "base" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"attention_dropout": 0.3}))
    first, second = (train_sft(weights_of(base.path), demonstrations(), **LOOP) for _ in range(2))
    assert first.metrics == second.metrics
    assert any("attention_dropout 0.3" in notice for notice in first.metrics["notices"])
    plain = train_sft(make_model(tmp_path / "plain"), demonstrations(), **LOOP)
    assert not any("is off in training" in notice for notice in plain.metrics["notices"])


def test_a_run_takes_training_as_a_step(base, tmp_path):
    from burnish.records import read_parquet
    from burnish.runs import Run, Runtime

    long = Demonstration(prompt="l", context=(said("user", "x" * 400),), response=(said("assistant", "y"),))
    with Run(tmp_path / "run") as run:
        weights = run.step("sft", train_sft, base, [*demonstrations(), long], checkpoint_steps=Runtime(2), **LOOP)
        judge = run.step("rm", train_reward, base, preferences(), **LOOP)
        tuned = run.step(
            "dpo", train_dpo, weights, preferences(), beta=0.1, nll_weight=0.2, **LOOP | {"reference": base}
        )
    assert (weights.kind, judge.kind, tuned.kind) == ("causal", "reward", "causal")
    folder = Path(weights.path)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 5
    assert [d.reason for d in read_parquet(folder / "dropped.parquet")] == ["longer than the context"]
    step = json.loads((folder / "step.json").read_text())
    assert step["counts"]["kept"] == 10 and step["counts"]["taken"] == 11
    assert step["metrics"]["loss"] < step["metrics"]["first_loss"]
    load_causal(weights)
    load_causal(tuned)
