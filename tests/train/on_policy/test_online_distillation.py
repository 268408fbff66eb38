"""Distillation on the student's own answers: against a flat loop, every split, shares, resume, refusals."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import DataError, ModelError, SettingsError
from burnish.models import load_causal, weights_of
from burnish.records import Prompt, Sampling, Weights
from burnish.runs.compute import Compute, computing
from burnish.train.on_policy import FRESH, OnlineDistillation, loop, train_fresh
from burnish.train.on_policy.groups import Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh, with_answers
from tests.train.material import check_killed, demonstrations, folders, make_model, said
from tests.train.on_policy.material import agree, gradients_of, lines_of, prompts

FAST: dict[str, Any] = {"rounds": 6, "prompts": 4, "samples": 2, "max_new_tokens": 6, "lr": 1e-2, "seed": 3}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return make_model(tmp_path_factory.mktemp("teacher") / "model", seed=5)


def train(base: Any, teacher: Any, work: Any = None, rows: Any = None, **how: Any) -> Any:
    rows = demonstrations(6) if rows is None else rows
    return train_fresh(base, rows, method="distill-online", teacher=teacher, work=work, **{**FAST, **how})


def distance(q: torch.Tensor, p: torch.Tensor, beta: float) -> torch.Tensor:
    """[T] by the definitions, from probabilities."""
    if beta == 0:
        return (p * (p / q).log()).sum(-1)
    if beta == 1:
        return (q * (q / p).log()).sum(-1)
    m = beta * p + (1 - beta) * q
    return beta * (p * (p / m).log()).sum(-1) + (1 - beta) * (q * (q / m).log()).sum(-1)


def opened(base: Any, teacher: Any, **how: Any) -> tuple[Any, Any]:
    chosen = FRESH["distill-online"].settings(**{**FAST, "share": 1.0, **how})
    built, steps, exploring = planned_fresh(chosen, "distill-online", teacher=teacher)
    return loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)


def drawn(session: Any, sampler: Any) -> tuple[list[Any], list[Any]]:
    sampling = Sampling(max_new_tokens=9, temperature=0.9, seed=0)
    groups = sampler.draw(prompts(3), n=3, sampling=sampling, first=0, number=0)
    kept = [Rewarded(group=group, rewards=()) for group in groups]
    batch = [example_of(one) for one in kept]
    sampled = {e.id: loop._sampled(one) for e, one in zip(batch, kept, strict=True)}
    session.method.explored(session.model, [batch], sampled, session.place)
    return groups, batch


@pytest.mark.parametrize(
    "how",
    [
        {"beta": 0.0},
        {"beta": 1.0, "softening": 2.0},
        {"beta": 0.3},
        {"beta": 0.5, "over": "tokens"},
        {"objective": "minillm"},
    ],
)
def test_value_and_gradient_are_those_of_a_flat_loop_for_every_split(base, teacher, how):
    with computing(Compute(dtype="float64")):
        found = []
        for pack_tokens in (10_000, 1, 100):
            session, sampler = opened(base, teacher, **how, pack_tokens=pack_tokens)
            groups, batch = drawn(session, sampler)
            told = session._gradient(batch)
            found.append((told, gradients_of(session.model)))
        student, frozen = load_causal(base, dtype="float64"), load_causal(teacher, dtype="float64")
        answers = [(group.ids, response.token_ids) for group in groups for response in group.responses]
        unit = sum(len(a) for _, a in answers) if how.get("over") == "tokens" else len(answers)
        softening, total = how.get("softening", 1.0), 0.0
        for prompt, answer in answers:
            ids, taken = torch.tensor([[*prompt, *answer]]), torch.tensor(answer)[:, None]
            q = (student(ids).logits[0, len(prompt) - 1 : -1] / softening).softmax(-1)
            with torch.no_grad():
                p = (frozen(ids).logits[0, len(prompt) - 1 : -1] / softening).softmax(-1)
            if how.get("objective") == "minillm":
                reward = (p.gather(1, taken).log() - q.gather(1, taken).log()).detach()[:, 0]
                ahead = torch.stack(
                    [reward[t + 1 :].mean() if t + 1 < len(answer) else reward[0] * 0 for t in range(len(answer))]
                )
                each = distance(q, p, 1.0) - ahead * q.gather(1, taken).log()[:, 0]
                total = total + each.sum() / unit
                continue
            each = distance(q, p, how.get("beta", 0.5))
            total = total + (each.sum() if how.get("over") == "tokens" else each.mean()) / unit
        total.backward()
    for told, gradients in found:
        assert told["loss"] == pytest.approx(total.item(), rel=1e-9)
        assert told["sampler_gap"] < 1e-9 and told["tokens"] == sum(len(a) for _, a in answers)
        agree(gradients, gradients_of(student))


def test_given_answers_are_learned_where_it_is_not_the_students_turn(base, teacher, tmp_path):
    """At share 0 nothing is drawn; two answers to one prompt are one row; the divergence falls."""
    rows = demonstrations(6)
    more = [*rows, type(rows[0])(prompt="p0", context=rows[0].context, response=(said("assistant", "two"),))]
    asked, given = with_answers(more)
    assert len(asked) == 6 and [len(given[p.id]) for p in asked] == [2, 1, 1, 1, 1, 1]
    work = folders(tmp_path)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(loop.Sampler, "draw", lambda *a, **k: pytest.fail("an answer was drawn"))
    try:
        outcome = train(base, teacher, work, more, share=0.0, beta=0.0, rounds=12, prompts=6)
    finally:
        monkey.undo()
    lines = lines_of(work)
    assert lines[-1]["forward"] < 0.5 * lines[0]["forward"] and outcome.metrics["all_on_policy"] == 0
    assert all(line["on_policy"] == 0 and "answer_tokens" not in line for line in lines)
    chat = load_chat(base.path)
    trained = sum(sum(chat.encode(row.context, row.response).trained) for row in more)
    assert lines[0]["tokens"] == trained  # tool output is not


def test_rounds_follow_the_share_and_the_reverse_divergence_falls_on_own_answers(base, teacher, tmp_path):
    work = folders(tmp_path)
    outcome = train(base, teacher, work, prompts(), share=1.0, beta=1.0, rounds=10)
    lines = lines_of(work)
    assert all(line["on_policy"] == 1 and line["sampler_gap"] < 1e-4 for line in lines)
    assert lines[-1]["reverse"] < 0.6 * lines[0]["reverse"] and outcome.weights.id != base.id
    half = folders(tmp_path / "half")
    train(base, teacher, half, share=0.5, rounds=8)
    turns = [line["on_policy"] for line in lines_of(half)]
    assert turns == [float(OnlineDistillation(teacher=teacher).own_turn(n, 3)) for n in range(8)]
    assert 0 < sum(turns) < 8


def test_the_student_itself_as_teacher_moves_nothing(base, tmp_path):
    work = folders(tmp_path)
    train(base, base, work, prompts(), share=1.0, rounds=1)
    (line,) = lines_of(work)
    assert line["divergence"] == pytest.approx(0, abs=1e-9) and line["agreement"] == 1 and line["grad_norm"] < 1e-5


@pytest.mark.parametrize("how", [{"share": 0.0}, {"share": 1.0}, {"share": 1.0, "objective": "minillm"}])
def test_the_divergence_on_own_answers_falls(base, teacher, tmp_path, how):
    """The reverse one, measured on answers of the student before and after."""
    settings = {"beta": 1.0, "rounds": 10, "prompts": 6, "lr": 5e-3, **how}
    trained = train(base, teacher, folders(tmp_path / "trained"), **settings).weights
    seen = []
    for name, student in (("before", base), ("after", trained)):
        work = folders(tmp_path / name)
        train(student, teacher, work, prompts(8), share=1.0, beta=1.0, rounds=1, prompts=8, samples=4, lr=1e-9)
        seen.append(lines_of(work)[0]["reverse"])
    assert seen[1] < 0.5 * seen[0], seen


@pytest.mark.parametrize("how", [{"share": 0.5}, {"share": 1.0, "updates": 2}, {"share": 1.0, "objective": "minillm"}])
def test_killed_twice_is_bitwise_equal(base, teacher, tmp_path, monkeypatch, how):
    run = partial(train, base, teacher, rounds=4, **how)
    check_killed(run, tmp_path, (2, 2 * how.get("updates", 1) + 2), monkeypatch)


def test_a_prompt_whose_answer_does_not_fit_is_dropped(base, teacher):
    rows = demonstrations(6)
    long = type(rows[0])(prompt="x", context=(said("user", "long"),), response=(said("assistant", "y" * 300),))
    outcome = train(base, teacher, rows=[*rows, long], share=0.5, rounds=1, refuse_above=0.5)
    assert outcome.counts()["dropped"] == {"longer than the context": 1} and outcome.kept == 6
    with pytest.raises(DataError, match="no answer is given to it, and share is below 1"):
        train(base, teacher, rows=prompts(), share=0.5)


def other_tokens(teacher: Weights, place: Path) -> Weights:
    """The same sizes, and a tokenizer in which two tokens have changed places."""
    shutil.copytree(teacher.path, place)
    spec = json.loads((place / "tokenizer.json").read_text())
    table = spec["model"]["vocab"]
    table["!"], table["?"] = table["?"], table["!"]
    (place / "tokenizer.json").write_text(json.dumps(spec))
    return weights_of(place)


def test_another_vocabulary_is_refused_and_another_padding_is_not(base, teacher, tmp_path):
    with pytest.raises(ModelError, match=r"vocabulary of its own: 4 tokens are not the student's, the first '!' \(0\)"):
        train(base, other_tokens(teacher, tmp_path / "other"), rounds=1)
    wide = load_causal(teacher)
    wide.resize_token_embeddings(300)
    shutil.copytree(teacher.path, tmp_path / "wide")
    wide.save_pretrained(tmp_path / "wide")
    lines = []
    for one in (teacher, weights_of(tmp_path / "wide")):
        work = folders(tmp_path / "work" / one.id)
        train(base, one, work, share=0.0, rounds=1)
        lines.append(lines_of(work)[0])
    assert lines[1]["divergence"] == pytest.approx(lines[0]["divergence"], rel=1e-5)


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"teacher": None}, "distill-online needs teacher: --teacher"),
        ({"share": 1.5}, "share is 1.5"),
        ({"beta": 2.0}, "beta is 2.0; give 0"),
        ({"softening": 0.0}, "softening is 0.0"),
        ({"objective": "kd"}, "objective is 'kd'; choose one of gkd, minillm"),
        ({"objective": "minillm"}, "share is 0.5; minillm is about the student's own answers"),
        ({"objective": "minillm", "share": 1.0, "over": "tokens"}, "minillm is a mean over answers"),
        ({"over": "answers"}, "over is 'answers'"),
        ({"refills": 1}, "distill-online has no setting 'refills'"),
        ({"rewarder": object()}, "distill-online takes no rewarder"),
    ],
)
def test_refusals(base, teacher, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, **{"teacher": teacher, **how})


def test_one_sample_is_enough(base, teacher):
    assert train(base, teacher, rows=[Prompt(messages=(said("user", "1"),))], share=1.0, samples=1, prompts=1, rounds=1)
