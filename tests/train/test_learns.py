"""bench/learns.py in short: each method moves its metric the right way; and the arithmetic of the two benches."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from random import Random
from types import SimpleNamespace

import pytest
from bench import learns, lessons, real_rows, scoring
from bench.training.material import PROMPT_TIMES, long_prompts
from bench.training.profile import labelled

from burnish.records import GRADES, Attribute, Candidate, Demonstration, Message, Preference
from burnish.runs import Run
from burnish.train import METHODS

ROWS, HELD = 128, 48


@pytest.fixture(scope="module")
def held():
    return lessons.material("heldout", HELD, 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with Run(tmp_path_factory.mktemp("learns") / "run") as run:
        return learns.starts(run, ROWS, 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_method_moves_its_metric(method, weights, held) -> None:
    found = learns.learn(method, 0, weights, ROWS, held)
    wanted = learns.BARS[learns.kind_of(method)]
    assert (found["after"] - found["before"]) * wanted > 0, found


def test_rows_are_held_out_by_task_and_the_careful_answer_is_worth_more(held) -> None:
    found = lessons.material("train", 12, 0)
    careful, rated, pairs = found.careful, found.rated, found.pairs
    assert len(careful) == len(pairs) == 12 and len(rated) == 24
    assert all(pair.candidates[0].score > pair.candidates[1].score and pair.strength for pair in pairs)
    assert {r.score for r in rated} == {0.0, 1.0} and all(r.score == 1.0 for r in careful)
    assert all({g.name for c in pair.candidates for g in c.grades} <= set(GRADES) for pair in pairs)
    assert not {r.context for r in careful} & {r.context for r in held.careful}
    assert not {r.context for r in found.steps} & {r.context for r in held.steps}
    assert not {r.text for r in found.documents} & {r.text for r in held.documents}
    assert lessons.material("train", 12, 0) == found != lessons.material("train", 12, 1)


def test_steps_come_as_twins_that_differ_in_one_wrong_step(held) -> None:
    twins = list(zip(held.steps[::2], held.steps[1::2], strict=True))
    invented = 0
    for right, wrong in twins:
        labels = [step.label for step in wrong.steps]
        at = labels.index(0.0)
        assert {step.label for step in right.steps} == {1.0} and right.context == wrong.context
        assert labels == [1.0] * at + [0.0] + [None] * (len(labels) - at - 1)
        (one,), (other,) = right.response, wrong.response
        start = right.steps[at - 1].end
        assert one.content[:start] == other.content[:start]
        assert one.content[right.steps[at].end :] == other.content[wrong.steps[at].end :]
        invented += len(other.content) > len(one.content)
    assert len(twins) == HELD and HELD / 4 < invented < 3 * HELD / 4


@pytest.mark.parametrize(
    ("step", "wrong"),
    [
        ("6+1+1=8.", "6+1=7."),
        ("6+1=7", "6+1+1=8"),
        ("14-1-9=4", "14-9=5"),
        ("4-3=1", "4-1-3=0"),
        ("3-3=0", "13-1-3=9"),
        ("The answer is 8.", ""),
    ],
)
def test_a_carry_is_forgotten_or_invented(step, wrong) -> None:
    assert lessons.miscarried(step) == wrong


def test_every_method_has_rows_of_its_noun(held) -> None:
    for name, known in METHODS.items():
        assert all(isinstance(row, known.noun) for row in learns.training_rows(name, held))
    assert len(learns.training_rows("kto", held)) == len(learns.training_rows("reward-pointwise", held)) == 2 * HELD


def test_every_method_has_a_metric_with_a_bar() -> None:
    assert all(learns.kind_of(name) in learns.BARS for name in METHODS)
    found = [{"before": 0.5, "after": 0.9, "beside": ""}, {"before": 0.5, "after": 0.55, "beside": ""}]
    assert learns.row_of("dpo", found[:1], 1.0)["holds"] and not learns.row_of("dpo", found, 1.0)["holds"]
    assert not learns.row_of("dpo", found[:1], 1000.0)["holds"]
    assert not learns.row_of("sft", [{"before": 1.0, "after": 0.9, "beside": ""}], 1.0)["holds"]


def test_a_curve_and_its_error_by_hand() -> None:
    predicted, happened = [0.05, 0.05, 0.95, 1.0, 0.5], [False, True, True, True, False]
    curve = real_rows.reliability(predicted, happened)
    assert curve == [(0.05, 0.5, 2), (0.5, 0.0, 1), (0.975, 1.0, 2)]
    assert real_rows.calibration_error(curve) == pytest.approx((2 * 0.45 + 0.5 + 2 * 0.025) / 5)


def test_a_calibrated_forecast_has_little_error() -> None:
    rng = Random(0)
    predicted = [rng.random() for _ in range(20_000)]
    happened = [rng.random() < p for p in predicted]
    assert real_rows.calibration_error(real_rows.reliability(predicted, happened)) < 0.02
    sure = [1.0 if p > 0.5 else 0.0 for p in predicted]
    assert real_rows.calibration_error(real_rows.reliability(sure, happened)) > 0.2


def test_the_picture_is_one_document_with_a_mark_for_each_bin_and_strength() -> None:
    text = real_rows.draw([(0.1, 0.2, 5), (0.6, 0.5, 50)], [(1, 0.6, 0.55), (4, 0.8, 0.9)], 0.08)
    tree = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    assert tree.tag == f"{space}svg" and len(tree.findall(f"{space}circle")) == 2
    assert len([p for p in tree.findall(f"{space}path") if p.get("class") == "level"]) == 2
    assert any("0.080" in (t.text or "") for t in tree.findall(f"{space}text"))


def test_correlation_by_hand() -> None:
    assert scoring.pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert scoring.pearson([1, 2, 3], [1, 0, 1]) == pytest.approx(0.0) and scoring.pearson([1, 1], [0, 1]) == 0.0


def test_long_prompts_are_four_times_as_long_as_the_answers() -> None:
    def said(role: str, size: int) -> Message:
        return Message(role=role, content="word " * (size // 5))

    rows = []
    for number in range(20):
        answers = [Candidate(role=r, messages=(said("assistant", 60 + 10 * number),)) for r in ("chosen", "rejected")]
        context = (said("user", 40),)
        rows.append(Preference(prompt=str(number), context=context, candidates=tuple(answers)))
    found = long_prompts(rows)
    assert len(found) == len(rows)
    for row in found:
        sizes = [len(c.messages[0].content) for c in row.candidates]
        prompt = sum(len(m.content) for m in row.context)
        assert abs(prompt - PROMPT_TIMES * sum(sizes) / 2) <= 2
        assert [m.role for m in row.context] == ["user", "assistant"] * (len(row.context) // 2) + ["user"]


def test_every_row_is_held_out_once_and_never_beside_a_row_of_its_prompt(monkeypatch) -> None:
    def pair(prompt: str, answer: str) -> Preference:
        both = [Candidate(role=r, messages=(Message(role="assistant", content=r + answer),)) for r in ("a", "b")]
        return Preference(prompt=prompt, context=(Message(role="user", content=prompt),), candidates=tuple(both))

    rows = [pair(f"question {n}", answer) for n in range(40) for answer in ("one", "two")]
    told = []

    def start(base, train, method, **settings):
        told.append({row.prompt for row in train})
        return SimpleNamespace(model=None)

    def encoded(base, held, max_length):
        assert not told[-1] & {row.prompt for row in held}
        return [SimpleNamespace(id=row.id) for row in held]

    monkeypatch.setattr(scoring, "start", start)
    monkeypatch.setattr(scoring, "finish", lambda session: None)
    monkeypatch.setattr(scoring, "encoded", encoded)
    monkeypatch.setattr(scoring, "reward_scores", lambda model, examples: {e.id: len(told) for e in examples})
    asked = SimpleNamespace(folds=real_rows.FOLDS, lr=1e-3, seed=0)
    found = real_rows.crossed(None, rows, "reward", asked)
    assert set(found) == {row.id for row in rows} and set(found.values()) == {1, 2, 3, 4, 5}
    assert len(real_rows.crossed(None, rows, "reward", SimpleNamespace(folds=1, lr=1e-3, seed=0))) < len(rows) / 2


def test_grades_are_standardised_name_by_name_and_keep_their_order() -> None:
    def graded(a: float, b: float) -> Demonstration:
        said = (Message(role="assistant", content=f"{a} {b}"),)
        grades = (Attribute(name="a", value=a), Attribute(name="b", value=b))
        return Demonstration(prompt="p", context=said, response=said, attributes=grades)

    found = real_rows.standard([graded(1, 3), graded(2, 3), graded(6, 3)])
    first, second = ([row.attributes[place].value for row in found] for place in (0, 1))
    assert sum(first) == pytest.approx(0) and sum(v * v for v in first) == pytest.approx(3) and first == sorted(first)
    assert second == [0, 0, 0]


def test_what_the_profile_names_exists_and_is_put_back() -> None:
    from burnish.train import ranks

    before = ranks.packs
    with labelled():
        assert ranks.packs is not before
        assert list(ranks.packs([], budget=8)) == []
    assert ranks.packs is before
