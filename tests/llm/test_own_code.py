"""Faults of the caller's own code: told once, at once, and never taken for bad replies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.errors import BudgetError, SettingsError
from burnish.llm.flow import tally
from burnish.llm.operations import Operation, Scripted, answer, answer_all, asking, run_asking
from burnish.llm.requests import Budget, Store
from tests.llm.test_kept import TEXTS, Counting
from tests.llm.test_operations import COUNT, Letters, Text


def buggy(record: Text, form: Any) -> Letters:
    return Letters(count=form.cuont) if len(record.text) > 3 else Letters(count=form.count)


BUGGY = replace(COUNT, build=buggy)
RECORDS = [Text(text=text) for text in TEXTS[:30]]
WHERE = r"AttributeError: .*cuont.* \(test_own_code.py, line \d+\), for Text\(text='.*'\)"


def test_a_bug_in_build_ends_the_asking_with_the_replies_kept(tmp_path: Path) -> None:
    asker = Counting()
    with pytest.raises(SettingsError, match=rf"`build` of test/count failed with {WHERE}; the reply, .* was .*count"):
        answer_all(BUGGY, RECORDS, asker=asker, store=tmp_path / "kept.sqlite")
    paid = len(asker.sent)
    with Store(tmp_path / "kept.sqlite") as store:
        assert len(store) == paid > 0, "what was in flight is waited for and kept"
    got = answer_all(COUNT, RECORDS, asker=asker, store=tmp_path / "kept.sqlite")
    assert all(one.record for one in got) and len(asker.sent) == len(RECORDS)


def test_the_error_has_the_bug_as_its_cause() -> None:
    with pytest.raises(SettingsError) as error:
        asyncio.run(answer(BUGGY, Text(text="abcdef"), asker=Counting()))
    assert isinstance(error.value.__cause__, AttributeError)
    assert error.value.__cause__.__traceback__.tb_next is not None


def test_a_bug_that_the_example_shows_is_told_when_the_operation_is_made() -> None:
    with pytest.raises(SettingsError, match=r"`build` of test/count failed with KeyError: 'x'"):
        replace(COUNT, build=lambda record, form: {}["x"])
    with pytest.raises(SettingsError, match=r"`build` of test/count returned None"):
        replace(COUNT, build=lambda record, form: None)


def test_a_valueerror_of_build_is_an_unreadable_reply() -> None:
    def build(record: Text, form: Any) -> Letters:
        if record.text == "no":
            raise ValueError("two letters are too few")
        return Letters(count=form.count)

    asker = Counting()
    (got,) = answer_all(replace(COUNT, build=build), [Text(text="no")], asker=asker)
    assert got.unscored == "unreadable: two letters are too few" and len(asker.sent) == 3
    assert got.usage.prompt == 150 and len(got.requests) == 3


@pytest.mark.parametrize("which", ["record", "then"])
def test_a_bug_in_record_or_then_ends_the_flow(which: str, tmp_path: Path) -> None:
    asker = Counting()

    def good(*given: Any) -> Any:
        return Text(text=given[0]) if len(given) == 1 else given[1].record.count

    def bad(*given: Any) -> Any:
        return given[0].cuont

    def stages(askers: Any) -> list:
        made = {"record": good, "then": good, which: bad}
        return [asking(COUNT, askers[0], **made, at_once=2)]

    with pytest.raises(SettingsError, match=rf"`{which}` of the stage test/count failed with AttributeError: .*cuont"):
        run_asking(TEXTS, stages, askers=[asker], store=tmp_path / "kept.sqlite")
    with Store(tmp_path / "kept.sqlite") as store:
        assert len(store) == len(asker.sent) <= 2


def test_a_valueerror_of_then_is_the_item_s_fate() -> None:
    def then(item: str, got: Any) -> Any:
        raise ValueError("not this one")

    def stages(askers: Any) -> list:
        return [asking(COUNT, askers[0], record=lambda item: Text(text=item), then=then)]

    counts = tally(run_asking(TEXTS[:5], stages, askers=[Counting()]))
    assert counts["unscored"] == {"test/count failed": 5}


@pytest.mark.parametrize(
    ("asker", "why"),
    [("http://gpu1:8000/v1#m", r"the asker is the text 'http.*Endpoint.parse"), (7, "the asker is a int, which lacks")],
)
def test_nobody_to_ask_is_told_at_once(asker: Any, why: str) -> None:
    from burnish.judge import Golden, Pairwise, SameOrDifferent

    def flow(asker: Any) -> Any:
        return run_asking(TEXTS, lambda askers: [], askers=[asker])

    for ask in (
        lambda: answer_all(COUNT, RECORDS, asker=asker),
        lambda: answer_all(COUNT, [], asker=asker),
        lambda: asyncio.run(answer(COUNT, RECORDS[0], asker=asker)),
        lambda: asking(COUNT, asker, record=str, then=print),
        lambda: flow(asker),
        lambda: Pairwise(asker=asker),
        lambda: Golden(asker=asker),
        lambda: SameOrDifferent(asker=asker),
    ):
        with pytest.raises(SettingsError, match=why):
            ask()
    with pytest.raises(SettingsError, match="nobody to ask"):
        run_asking(TEXTS, lambda askers: [], askers=[])


HEAD = "{# Must: count. Must not: follow. #}\n"
BODY = "{% block user %}{{ text }}{{ reply_form }}{% endblock %}"


def with_template(folder: Path, text: str) -> Operation:
    (folder / "t.jinja").write_text(text)
    return replace(COUNT, template=folder / "t.jinja")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + "{% block user %}{{ txet }}{{ reply_form }}{% endblock %}", "names 'txet'.*; did you mean text?"),
        (HEAD + "{% block user %}{% if text == 'q' %}{{ wrong }}{% endif %}{{ reply_form }}{% endblock %}", "'wrong'"),
        (HEAD + "{% block user %}{{ text }}{% endblock %}", "must say {{ reply_form }}"),
        (HEAD + "{% block user %}{{ text + 1 }}{{ reply_form }}{% endblock %}", "cannot be filled in: TypeError"),
        (HEAD + "{% block user %}{{ text }", "cannot be used: line 2"),
        (HEAD + "{{ text }}{{ reply_form }}", "needs a block `user`, may have `system`, and no other$"),
        (BODY, "`Must:` and `Must not:`"),
    ],
)
def test_a_template_is_looked_at_before_anything_is_sent(tmp_path: Path, text: str, why: str) -> None:
    operation = with_template(tmp_path, text)
    scripted = Scripted(identity="s", answers={"test/count": lambda record: {"count": 3, "sure": True}})
    asker = Counting()
    for who in (scripted, asker):
        with pytest.raises(SettingsError, match=why):
            answer_all(operation, RECORDS, asker=who)
        with pytest.raises(SettingsError, match=why):
            asking(operation, who, record=str, then=print)
    assert asker.sent == []


def test_an_edited_template_is_read_again(tmp_path: Path) -> None:
    operation = with_template(tmp_path, HEAD + BODY)
    before = operation.messages(Text(text="a"))
    with_template(tmp_path, HEAD + BODY.replace("{{ text }}", "Text: {{ text }}"))
    assert operation.messages(Text(text="a"))[0].content == "Text: " + before[0].content


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"template": "{{ text }}"}, "the template of test/count is a str: .*give the Path of a Jinja file"),
        ({"template": Path("nowhere.jinja")}, "the template of test/count is not there: nowhere.jinja"),
        ({"example": "abc"}, "the example of test/count is no Text: 'abc'"),
        ({"example_reply": {"count": 300, "sure": True}}, "example_reply of test/count does not fit its form: count"),
        ({"example_reply": "three"}, "does not fit its form: there is no JSON object"),
        ({"example_reply": {"count": 3, "sure": False}}, "does not fit its form: only a sure count counts"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_when_it_is_made(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        replace(COUNT, **wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    text: str
    counts: tuple[int, ...] = ()
    share: float | None = None
    more: Any = None


def test_the_user_s_own_record_is_checked_when_it_is_asked_about() -> None:
    operation = replace(COUNT, record=Many, example=Many(text="abc"))
    for good in (Many(text="a"), Many(text="a", counts=(1, 2), share=1), Many(text="a", share=0.5, more=[1])):
        assert operation.messages(good)
    for wrong, why in (
        (Many(text=7), "Many takes str as text, and was given a int: 7"),  # type: ignore[arg-type]
        (Many(text="a", counts=[1]), r"Many takes tuple\[int, ...\] as counts, and was given a list"),  # type: ignore
        (Many(text="a", counts=("b",)), r"Many takes tuple\[int, ...\] as counts"),  # type: ignore[arg-type]
        (Many(text="a", share="b"), r"Many takes float \| None as share, and was given a str: 'b'"),  # type: ignore
        (Many(text="a", share=True), r"Many takes float \| None as share, and was given a bool"),
    ):
        with pytest.raises(SettingsError, match=why):
            operation.messages(wrong)


def test_a_script_keeps_replies_and_limits_spending(tmp_path: Path) -> None:
    asker, kept = Counting(), tmp_path / "asked" / "kept.sqlite"
    with pytest.raises(BudgetError, match="2,000"):
        answer_all(COUNT, RECORDS, asker=asker, store=kept, budget=Budget(tokens=2_000), at_once=4)
    paid = len(asker.sent)
    assert 15 <= paid <= 23
    with pytest.raises(BudgetError):  # what the file holds was spent
        answer_all(COUNT, RECORDS, asker=asker, store=kept, budget=Budget(tokens=2_000))
    assert len(asker.sent) <= paid + 4
    got = answer_all(COUNT, RECORDS, asker=asker, store=str(kept), budget=Budget(tokens=50_000))
    assert all(one.record for one in got) and len(asker.sent) == len(RECORDS)
    with Store(kept) as store:  # an open store stays open
        assert answer_all(COUNT, RECORDS, asker=asker, store=store) == got
        assert len(store) == len(asker.sent) == len(RECORDS)


def test_a_flow_in_a_script_shares_one_store_and_one_budget(tmp_path: Path) -> None:
    askers = [Counting(identity="writer"), Counting(identity="judge")]

    def stages(kept: Any) -> list:
        return [
            asking(COUNT, asker, record=lambda item: Text(text=item), then=lambda item, got: item + "!")
            for asker in kept
        ]

    def go(tokens: int) -> Any:
        return run_asking(TEXTS[:40], stages, askers=askers, store=tmp_path / "k.sqlite", budget=Budget(tokens=tokens))

    with pytest.raises(BudgetError, match="1,000"):
        go(1_000)
    fates = go(100_000)
    assert [fate.value for fate in fates] == [text + "!!" for text in TEXTS[:40]]
    assert sum(len(asker.sent) for asker in askers) == 80
    assert go(100_000) == fates and sum(len(asker.sent) for asker in askers) == 80


def test_a_step_s_store_and_another_one_are_refused(tmp_path: Path) -> None:
    work = SimpleNamespace(requests=tmp_path / "step.sqlite", progress=lambda *words: None)
    with pytest.raises(SettingsError, match="leave out `store`"):
        answer_all(COUNT, RECORDS, asker=Counting(), work=work, store=tmp_path / "k.sqlite")
    with pytest.raises(SettingsError, match=r"the budget is 1000; give burnish\.llm"):
        answer_all(COUNT, RECORDS, asker=Counting(), budget=1000)  # type: ignore[arg-type]


def test_a_bug_in_a_scripted_answer_is_told() -> None:
    engine = Scripted(identity="script", answers={"test/count": lambda record: {"count": record.cuont}})
    with pytest.raises(SettingsError, match=r"the answer of script to test/count failed with AttributeError: .*cuont"):
        answer_all(COUNT, RECORDS, asker=engine)
