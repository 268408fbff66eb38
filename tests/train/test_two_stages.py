"""Two-stage SFT (Nemotron-4, spec A.17): code first, then a general blend in which some of the code is replayed."""

from __future__ import annotations

from pathlib import Path

from burnish.chat import load_chat
from burnish.curate import replay_rows
from burnish.models import load_causal, prepare
from burnish.records import Demonstration, weights_in
from burnish.runs import Run
from burnish.train import encode_all, take_rows, train_rows
from burnish.train.batch import encode_demonstration
from burnish.train.objectives.method import trained_logprobs
from tests.train.material import LOOP, said


def rows(ask: str, answer: str, count: int) -> list[Demonstration]:
    return [
        Demonstration(
            prompt=f"{ask}{i}",
            context=(said("user", f"{ask} {i}"),),
            response=(said("assistant", answer.format(i)),),
            ability=ask,
        )
        for i in range(count)
    ]


def loss_on(weights, examples_of: list[Demonstration]) -> float:
    """Nats a token."""
    model = load_causal(weights)
    prepare(model)
    chat = load_chat(weights.path)
    examples, _ = encode_all(encode_demonstration, chat, examples_of, max_length=256, refuse_above=0.0)
    return -trained_logprobs(model, examples)[0].mean().item()


def test_a_replayed_share_keeps_what_the_first_stage_taught(base, tmp_path):
    code, general = rows("code", "def f{}(): pass", 12), rows("talk", "well, I think {}", 12)
    settings = LOOP | {"lr": 1e-2, "epochs": 10, "schedule": "constant"}
    with Run(tmp_path / "run") as run:
        first_rows = run.step("code-rows", take_rows, code)
        first = run.step("sft-code", train_rows, base, first_rows, method="sft", **settings)
        second_rows = run.step("general-rows", take_rows, general)
        blend = run.step("blend", replay_rows, second_rows, first_rows, share=0.2, seed=0)
        assert len(blend) == 15 and sum(row.ability == "code" for row in blend) == 3
        final = run.step("sft", train_rows, first, blend, method="sft", **settings)
        forgetful = run.step("sft-general-alone", train_rows, first, second_rows, method="sft", **settings)
    code_loss = {name: loss_on(w, code) for name, w in (("base", base), ("first", first), ("final", final))}
    code_loss["forgetful"] = loss_on(forgetful, code)
    assert code_loss["first"] < 0.5 < code_loss["base"]
    assert code_loss["final"] < code_loss["forgetful"] - 0.5  # what a stage without replay forgets
    assert loss_on(final, general) < loss_on(first, general) - 1
    # the second stage starts from the first one's checkpoint
    (note,) = (tmp_path / "run").glob("*-sft/step.json")
    assert first.id in note.read_text() and base.id not in note.read_text()
    assert weights_in(Path(final.path)).id == final.id
