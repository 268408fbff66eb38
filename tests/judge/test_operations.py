"""The judging roles: every declaration is whole, its page is up to date, and nothing shows what it must not."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import SettingsError
from burnish.judge.operations import CRITIQUE, OPERATIONS, PAIRWISE, RUBRIC, deciding, rubric_of
from burnish.judge.operations.records import Criterion, OneAnswer, RubricText, ScoredAnswer
from burnish.llm.operations import Operation, Unreadable, page, schema_of
from burnish.llm.operations.template import duties
from burnish.microworld import Oracle
from burnish.microworld.judging import oracle_answers
from burnish.records import Prompt, Response
from tests.judge.asked import bench

ROOT = Path(__file__).resolve().parents[2]


def name(operation: Operation) -> str:
    return operation.id


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_declaration_is_whole(operation: Operation) -> None:
    must, must_not = duties(operation.template)
    assert must and must_not and operation.purpose and operation.source
    messages = operation.messages(operation.example)
    assert [m.role for m in messages] == ["system", "user"]
    assert messages[-1].content.rstrip().splitlines()[-1].startswith('- "'), "the form's fields come last"
    form = operation.form_for(operation.example)
    assert set(operation.example_reply) == set(schema_of(form)["required"])
    assert next(iter(schema_of(form)["properties"])) == "why", "reasons come before the verdict"
    result = operation.read(operation.example, json.dumps(operation.example_reply))
    assert is_dataclass(result)


def test_ids_and_templates_are_one_to_one() -> None:
    assert len({o.id for o in OPERATIONS}) == len(OPERATIONS) == 31
    folder = ROOT / "src/burnish/judge/operations/templates"
    assert {o.template for o in OPERATIONS} == set(folder.glob("*.jinja"))


def test_the_page_is_up_to_date() -> None:
    told = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert told == page(OPERATIONS), "run python scripts/write_operations_page.py"


def marked(value: Any, mark: str) -> Any:
    """A record with every text in it made recognisable by its field, and gold answers in prompts that must not show."""
    if isinstance(value, Prompt):
        return replace(value, reference="GOLD-IN-PROMPT", id="")
    if isinstance(value, Response):
        return replace(value, model="WRITER-OF-ANSWER", id="")
    if is_dataclass(value):
        return replace(value, **{f.name: marked(getattr(value, f.name), mark) for f in fields(value)})
    return value


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_no_template_shows_the_gold_answer_of_a_prompt_or_who_wrote(operation: Operation) -> None:
    text = " ".join(m.content for m in operation.messages(marked(operation.example, "")))
    assert "GOLD-IN-PROMPT" not in text and "WRITER-OF-ANSWER" not in text
    if not operation.shows_reference:
        assert "reference" not in {f.name for f in fields(operation.record)}


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_every_text_of_a_record_that_is_to_be_judged_is_shown(operation: Operation) -> None:
    shown = operation.messages(operation.example)[-1].content
    for f in fields(operation.example):
        value = getattr(operation.example, f.name)
        if isinstance(value, str) and value:
            assert value in shown, f.name
        if isinstance(value, Prompt):
            assert value.messages[-1].content in shown, f.name
        if isinstance(value, Response) and value.text and operation.id != "judge/leakage":
            assert value.text in shown, f.name


def test_a_tie_with_a_strength_contradicts_itself() -> None:
    def read(winner: str, strength: str) -> Any:
        said = json.dumps({"why": "x", "winner": winner, "strength": strength})
        return PAIRWISE.read(PAIRWISE.example, said)

    assert (read("B", "slightly better").winner, read("B", "slightly better").strength) == (1, 2)
    assert (read("tie", "equal").winner, read("tie", "equal").strength) == (-1, None)
    for winner, strength in (("tie", "better"), ("A", "equal")):
        with pytest.raises(Unreadable, match="contradict"):
            read(winner, strength)


@pytest.mark.parametrize(("score", "fits"), [(2, False), (3, True), (5, True), (6, False)])
def test_a_critique_scores_inside_its_band(score: int, fits: bool) -> None:
    said = json.dumps({"why": "x", "band": "method partly right, result wrong", "score": score})
    if fits:
        assert CRITIQUE.read(CRITIQUE.example, said).score == score
    else:
        with pytest.raises(Unreadable, match="outside the band"):
            CRITIQUE.read(CRITIQUE.example, said)


def test_a_rubric_is_a_form_of_its_own() -> None:
    result = RUBRIC.read(RUBRIC.example, '{"why": "x", "score_result": 1, "score_steps": 2}')
    assert result.score == 1.5 and [p.name for p in result.points] == ["result", "steps"]
    for said in ('{"why": "x", "score_result": 2, "score_steps": 2}', '{"why": "x", "score_result": 1}'):
        with pytest.raises(Unreadable):
            RUBRIC.read(RUBRIC.example, said)
    heavy = RubricText(
        name="h",
        criteria=(
            Criterion(name="a b", question="?", levels=((0, "no"), (1, "yes")), weight=3.0),
            Criterion(name="why", question="?", levels=((0, "no"), (1, "yes"))),
        ),
    )
    record = replace(RUBRIC.example, rubric=heavy)
    assert RUBRIC.read(record, '{"why": "x", "score_a_b": 1, "score_why": 0}').score == 0.75


def test_rubrics_that_are_none_are_refused() -> None:
    level = ((1, "no"), (2, "yes"))
    with pytest.raises(SettingsError, match="same name"):
        RubricText(name="r", criteria=(Criterion(name="A", question="", levels=level),) * 2)
    with pytest.raises(SettingsError, match="no criterion"):
        RubricText(name="r", criteria=())
    for levels in (((1, "only"),), ((1, "a"), (3, "b"))):
        with pytest.raises(SettingsError, match="go up by one"):
            Criterion(name="A", question="", levels=levels)
    with pytest.raises(SettingsError, match="score1_description"):
        rubric_of({"criteria": "Is it good?"})
    with pytest.raises(SettingsError, match="there are correctness"):
        deciding("beauty")


def test_a_rubric_in_the_form_of_biggen_and_prometheus() -> None:
    row = {"criteria": "Is it good?", **{f"score{n}_description": f"level {n}" for n in range(1, 6)}}
    (criterion,) = rubric_of(row).criteria
    assert (criterion.low, criterion.high, criterion.levels[4]) == (1, 5, (5, "level 5"))


def test_the_oracle_answers_in_the_form_that_was_asked_for() -> None:
    known = oracle_answers(Oracle())
    told = {operation.id: operation for operation in OPERATIONS}
    assert set(known) <= set(told) and len(known) >= 15
    for prompt, (right, wrong) in bench(24):
        for id, function in known.items():
            operation = told[id]
            names = {f.name for f in fields(operation.record)}
            record = replace(operation.example, prompt=prompt)
            if "first" in names:
                record = replace(record, first=right, second=wrong)
            for response in (right, wrong):
                if "response" in names:
                    record = replace(record, response=response)
                operation.read(record, json.dumps(function(record)))
    foreign = {id: function(told[id].example) for id, function in known.items()}
    assert set(foreign.values()) == {None}, "the oracle answers about prompts that it does not know"


def test_every_field_of_a_record_and_of_a_result_is_told_on_the_page() -> None:
    told = page(OPERATIONS)
    results = {type(o.read(o.example, json.dumps(o.example_reply))) for o in OPERATIONS}
    for kind in {o.record for o in OPERATIONS} | results | {Criterion, RubricText, ScoredAnswer}:
        section = told.partition(f"\n### {kind.__name__}\n")[2].partition("\n#")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| `(?:[^`]+)` \| (.*) \|$", section, re.M))
        assert list(rows) == [f.name for f in fields(kind)], kind
        assert all(len(said.split()) >= 2 and said.endswith(".") for said in rows.values()), rows
    assert told.count("](#oneanswer), gives [`Decided`](#decided)") >= 3


@pytest.mark.parametrize("operation", OPERATIONS, ids=name)
def test_a_record_with_a_field_of_another_type_is_refused_when_it_is_made(operation: Operation) -> None:
    for f in fields(operation.record):
        wanted = f"{operation.record.__name__} takes .* as {f.name}, and was given a "
        with pytest.raises(SettingsError, match=wanted):
            replace(operation.example, **{f.name: 7})
        if not isinstance(getattr(operation.example, f.name), str):
            with pytest.raises(SettingsError, match=wanted + "str: 'text'"):
                replace(operation.example, **{f.name: "text"})


def test_a_text_for_a_response_is_told_how_to_make_one() -> None:
    with pytest.raises(SettingsError, match=r"takes Response as response, .*'text'; Response\(prompt=prompt.id, "):
        OneAnswer(prompt=PAIRWISE.example.prompt, response="text")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"takes tuple\[ScoredAnswer, ...\] as examples, and was given a list"):
        example = next(o.example for o in OPERATIONS if o.id == "judge/long_context")
        replace(example, examples=list(example.examples))
