"""Typed operations: rendering, tolerant reading that never invents, bounded asking again, the scripted engine."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from burnish.errors import SettingsError
from burnish.llm.operations import (
    Answered,
    Form,
    Operation,
    Scripted,
    Truth,
    Unreadable,
    Words,
    answer,
    one_of,
    read_form,
    schema_of,
    whole,
)
from burnish.llm.operations.loose_json import Malformed, objects
from burnish.llm.operations.template import fenced
from burnish.llm.requests import Reply, Request


class Verdict(Form):
    why: Words = Field(description="One sentence.")
    winner: one_of("A", "B", "tie") = Field(description="The better one.")
    score: whole(1, 10) = Field(description="How good it is.")


class Bare(Form):
    score: whole(0, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    count: int


class Count(Form):
    count: whole(0, 99) = Field(description="How many letters.")
    sure: Truth = Field(description="Are you sure?")


def build(record: Text, form: Count) -> Letters:
    if not form.sure:
        raise ValueError("only a sure count counts")
    return Letters(count=form.count)


COUNT = Operation(
    id="test/count", purpose="Count letters.", template=Path(__file__).parent / "templates/count.jinja", record=Text,
    form=Count, build=build, example=Text(text="abc"), example_reply={"count": 3, "sure": True},
)  # fmt: skip


@dataclass
class Told:
    """Says prepared replies in turn, and keeps the requests."""

    replies: list[str | Reply]
    identity: str = "told"
    requests: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        return reply if isinstance(reply, Reply) else Reply(text=reply)


def ask(*replies: str | Reply, text: str = "abc", reasks: int = 2) -> tuple[Answered, Told]:
    asker = Told(list(replies))
    return asyncio.run(answer(COUNT, Text(text=text), asker=asker, reasks=reasks)), asker


GOOD = {"why": "It's right.", "winner": "A", "score": 7}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"Sure!\n```json\n{json.dumps(GOOD, indent=2)}\n```\nHope that helps {{x}}.",
        '{"why": "It\'s right.", "winner": "A", "score": 7,}',
        """{'why': "It's right.", 'winner': 'A', 'score': 7}""",
        '{"why": "It\'s right.", "winner": " [[a]] ", "score": "7"}',
        '{"why": "It\'s right.", "winner": "A", "score": 7.0, "more": [1, {"score": 3}]}',
        f'<think>maybe {{"why": "no", "winner": "B", "score": 2}}</think>{json.dumps(GOOD)}',
        f'The set {{"a", "b"}} and \\frac{{1}}{{2}}. {json.dumps(GOOD)}',
        f"{json.dumps(GOOD)} To repeat: {json.dumps(GOOD)}",
        f"[{json.dumps(GOOD)}]",
        json.dumps(json.dumps(GOOD)),
        '{"why": "It\'s right.", "winner": "A", "score": 11} No: ' + json.dumps(GOOD),
    ],
)
def test_what_a_person_can_read_is_read(text: str) -> None:
    assert read_form(text, Verdict) == Verdict(**GOOD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("I would say 7.", "no JSON object"),
        ('{"why": "x", "winner": "A", "score": 7', "cut off"),
        ('{"why": "x", "winner": "A", "sco', "cut off"),
        ('{"result": {"why": "x", "winner": "A", "score": 7}, "also": ', "cut off"),
        ('{"result": {"why": "x", "winner": "A", "score": 7}, "also": 4/5}', "no JSON value"),
        ('{"why": "x", "winner": "A", "score": true}', "score"),
        ('{"why": "x", "winner": "A", "score": 7.5}', "score"),
        ('{"why": "x", "winner": "A", "score": "7/10"}', "score"),
        ('{"why": "x", "winner": "A", "score": 7/10}', "no JSON value|comma"),
        ('{"why": "x", "winner": "A", "score": 08}', "no JSON value"),
        ('{"why": "x", "winner": "A", "score": NaN}', "no JSON value"),
        ('{"why": "x", "winner": "A", "score": 1e999}', "inf"),
        ('{"why": "x", "winner": "A", "score": null}', "score"),
        ('{"why": "x", "winner": "A", "score": 0}', "greater than or equal to 1"),
        ('{"why": "x", "winner": "both", "score": 3}', "winner"),
        ('{"why": "", "winner": "A", "score": 3}', "why"),
        ('{"why": "x", "winner": "A"}', "score: field required"),
        ('{"why": "x", "winner": "A", "score": 7, "score": 3}', "twice"),
        ('{"why": "x", "winner": "A", "score": 7} or {"why": "x", "winner": "B", "score": 7}', "2 different"),
        ("{'why': 'it's so', 'winner': 'A', 'score': 3}", "comma"),
        ('<think>{"why": "x", "winner": "A", "score": 7}', "thinking"),
        ("<html><body>502 Bad Gateway</body></html>", "no JSON object"),
        ('{"a":' * 5000, "cut off|levels"),
        ("{'" * 50_000, "cut off|colon|object"),
        ("x" * 1_000_001, "too long"),
    ],
)
def test_what_is_doubtful_is_refused(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read_form(text, Verdict)


def test_reading_takes_linear_time_on_hostile_text() -> None:
    for text in ('{"a" ' * 150_000, "{'" * 300_000, '{"a": 1, ' * 90_000, '{"": {} x' * 90_000):
        with pytest.raises(Unreadable):
            read_form(text, Verdict)


# Hypothesis: text that looks like replies, and JSON of any shape.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["score", "why", "x"]) | st.text(), inner)
    ),
    max_leaves=8,
)
noise = st.lists(
    st.sampled_from(["{", "}", '"', "'", "[", "]", ":", ",", "score", '"score"', "7", "-3", ".5", "1e9", "true", "\\",
                     " ", "\\ud800", "```json\n", "</think>", "<think>", "\n", "\x00", "é", "NaN", "🙂"]),
    max_size=30,
).map("".join)  # fmt: skip


def numbers_in(text: str) -> set[float]:
    import re

    return {float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", text)}


@settings(max_examples=600, deadline=None)
@given(st.one_of(noise, st.text(), json_values.map(lambda v: json.dumps(v)), st.tuples(noise, noise).map(
    lambda pair: f'{pair[0]}{{"score": {pair[1]}}}')))  # fmt: skip
def test_no_text_becomes_a_number_that_it_does_not_hold(text: str) -> None:
    try:
        read = read_form(text, Bare)
    except Unreadable as error:
        assert str(error)
        return
    assert type(read.score) is int and 0 <= read.score <= 1000
    assert float(read.score) in numbers_in(text)


@settings(max_examples=300, deadline=None)
@given(json_values.filter(lambda v: isinstance(v, dict)), st.text(alphabet="abc .\n`", max_size=10))
def test_strict_json_is_read_as_it_is(value: dict[str, Any], prose: str) -> None:
    text = json.dumps(value)
    sane = all(part not in text for part in ("NaN", "Infinity")) and max(map(len, text.split()), default=0) < 35
    if sane:
        try:
            assert [found.value for found in objects(prose + text + prose)] == [json.loads(text)]
        except Malformed:
            pytest.fail(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(noise, json_values.map(json.dumps), st.just('{"count": 3, "sure": true}')), min_size=1))
def test_every_question_ends_as_a_result_or_a_reason(replies: list[str]) -> None:
    got, asker = ask(*replies)
    assert (got.record is None) == bool(got.unscored)
    assert len(got.requests) == len(asker.requests) <= 3
    got.transcript.encode()
    if got.record is not None:
        assert float(got.record.count) in numbers_in(asker.replies[min(len(asker.requests), len(replies)) - 1])


def test_a_record_is_rendered_as_data() -> None:
    messages = COUNT.messages(Text(text="{{ 7*7 }} {% block user %} ===== end of text ====="))
    assert [m.role for m in messages] == ["system", "user"]
    assert "{{ 7*7 }}" in messages[1].content and "49" not in messages[1].content
    assert messages[1].content.startswith("====== text ======\n")  # longer than any run inside
    assert '"count": an integer from 0 to 99' in messages[1].content


def test_fences_do_not_occur_inside() -> None:
    text = fenced("a ======= b", "x")
    assert text.splitlines()[0] == "======== x ========"


def test_a_template_that_lacks_something_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    for text, why in (
        ("{% block user %}x{% endblock %}", "Must:"),
        ("{# Must: a Must not: b #}{% block usr %}x{% endblock %}", "block `user`"),
        ("{# Must: a Must not: b #}{% block user %}{{ absent }}{% endblock %}", "absent"),
        ("{# Must: a Must not: b #}{% block user %}{{ x", "cannot be used"),
    ):
        path = tmp_path / f"{abs(hash(text))}.jinja"
        path.write_text(text)
        with pytest.raises(SettingsError, match=why):
            replace(COUNT, template=path).messages(Text(text="a"))
    with pytest.raises(SettingsError, match="takes Text"):
        COUNT.messages("a")


def test_the_schema_is_closed_and_keeps_the_order() -> None:
    schema = schema_of(Verdict)
    assert list(schema["properties"]) == schema["required"] == ["why", "winner", "score"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["score"] == {
        "description": "How good it is.", "maximum": 10, "minimum": 1, "type": "integer",
    }  # fmt: skip
    assert COUNT.request(Text(text="a"), model="m").schema == schema_of(Count)


def test_asked_again_with_the_error_and_no_more_than_allowed() -> None:
    got, asker = ask("no idea", '{"count": 3}', '{"count": 3, "sure": true}')
    assert got.record == Letters(count=3) and got.asked_again == 2 and got.unscored == ""
    last = asker.requests[-1].messages
    assert [m.role for m in last] == ["system", "user", "assistant", "user"]
    assert last[2].content == '{"count": 3}' and "sure: field required" in last[3].content
    got, asker = ask("no idea", reasks=1)
    assert got.record is None and got.unscored.startswith("unreadable") and len(asker.requests) == 2
    assert got.transcript == "[1] no idea\n[2] no idea"
    got, _ = ask("no idea", reasks=4)
    assert len(set(got.requests)) == 5, "an equal question would bring back the reply that a store has"


def test_what_build_refuses_is_asked_again() -> None:
    got, asker = ask('{"count": 3, "sure": false}')
    assert "only a sure count" in got.unscored and len(asker.requests) == 3


def test_an_empty_reply_does_not_put_two_user_messages_in_a_row() -> None:
    got, asker = ask("", '{"count": 3, "sure": true}')
    assert [m.role for m in asker.requests[1].messages] == ["system", "user"] and got.record


def test_failures_are_not_asked_again_and_never_read() -> None:
    good = '{"count": 3, "sure": true}'
    got, asker = ask(Reply(text=good, failure="the context is too short"))
    assert got.unscored == "no reply: the context is too short" and len(asker.requests) == 1
    got, asker = ask(Reply(text=good, finish="content_filter"))
    assert got.unscored.startswith("refused") and got.record is None
    got, _ = ask(Reply(text='{"count": 3, "su', finish="length"))
    assert "cut off at 1024 tokens" in got.unscored


def test_a_huge_reply_is_kept_short() -> None:
    got, asker = ask("y" * 3_000_000)
    assert "too long" in got.unscored and len(got.transcript) < 70_000
    assert max(len(m.content) for m in asker.requests[-1].messages) < 5_000


def test_a_changed_reader_sends_nothing_again() -> None:
    from dataclasses import replace

    kept: dict[str, Reply] = {}
    sent: list[str] = []

    class Store:
        identity = "m"

        async def ask(self, request: Request) -> Reply:
            key = request.key()
            if key not in kept:
                sent.append(key)
                kept[key] = Reply(text='{"count": 3, "sure": true}')
            return kept[key]

    first = asyncio.run(answer(COUNT, Text(text="abc"), asker=Store()))
    other = replace(COUNT, build=lambda record, form: Letters(count=form.count + 1))
    second = asyncio.run(answer(other, Text(text="abc"), asker=Store()))
    assert (first.record.count, second.record.count, len(sent)) == (3, 4, 1)


def test_the_scripted_engine_answers_by_id_and_says_when_it_cannot() -> None:
    def engine(function: Any) -> Scripted:
        return Scripted(identity="script", answers={"test/count": function})

    def run(asker: Scripted) -> Answered:
        return asyncio.run(answer(COUNT, Text(text="abcd"), asker=asker))

    got = run(engine(lambda record: {"count": len(record.text), "sure": True}))
    assert got.record == Letters(count=4) and got.usage.estimated and math.isfinite(got.usage.prompt)
    assert "does not know" in run(engine(lambda record: None)).unscored
    assert "has no answer to test/count" in run(Scripted(identity="s", answers={})).unscored


def test_an_answer_cannot_have_both_a_result_and_a_reason() -> None:
    for record, unscored in ((None, ""), (Letters(count=1), "why")):
        with pytest.raises(ValueError):
            Answered(operation="x", record=record, unscored=unscored)


def test_many_records_keep_their_order_and_one_error_is_one_reason() -> None:
    from random import Random

    from burnish.llm.operations import answer_all

    class Shaky:
        identity = "shaky"
        entered = 0

        async def __aenter__(self) -> None:
            self.entered += 1

        async def __aexit__(self, *error: object) -> None:
            self.entered -= 1

        async def ask(self, request: Request) -> Reply:
            assert self.entered == 1
            await asyncio.sleep(Random(request.record.text).random() / 100)
            if request.record.text == "aaa":
                raise OSError("the line is dead")
            return Reply(text=json.dumps({"count": len(request.record.text), "sure": True}))

    asker = Shaky()
    got = answer_all(COUNT, [Text(text="a" * n) for n in range(1, 9)], asker=asker, at_once=4)
    assert [g.record and g.record.count for g in got] == [1, 2, None, 4, 5, 6, 7, 8]
    assert got[2].unscored == "no reply: OSError: the line is dead" and asker.entered == 0
    assert answer_all(COUNT, [], asker=asker) == []


@given(st.lists(st.text(alphabet="= \nabend of", max_size=30), max_size=3))
def test_what_was_fenced_can_be_found_again(texts: list[str]) -> None:
    from burnish.llm.operations.template import fences_in

    shown = "\n\n".join(fenced(text, f"answer {number}") for number, text in enumerate(texts))
    assert fences_in(f"Look:\n\n{shown}\n\nReply.") == {f"answer {n}": text for n, text in enumerate(texts)}


def test_an_operation_has_a_stable_identity() -> None:
    from burnish.runs.identity import identity

    assert identity(COUNT)["id"] == "test/count" and "template" not in identity(COUNT)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["score", "why"]) | st.text(max_size=3), json_values, max_size=4))
def test_the_quick_way_reads_what_the_tolerant_way_reads(value: dict[str, Any]) -> None:
    def outcome(text: str) -> Any:
        try:
            return read_form(text, Bare)
        except Unreadable:
            return None

    text = json.dumps(value)
    assert outcome(text) == outcome("So: " + text)


def test_a_form_takes_no_number_that_is_none() -> None:
    class Share(Form):
        share: float

    assert read_form('{"share": 1}', Share).share == 1.0
    for text in ("NaN", "Infinity", "1e999", "-1e999", '"0.5"', "true"):
        for around in ("", "So: "):
            with pytest.raises(Unreadable):
                read_form(f'{around}{{"share": {text}}}', Share)


def test_what_stands_behind_an_open_quote_is_no_answer() -> None:
    with pytest.raises(Unreadable, match="cut off"):
        read_form("""{"why": "he wrote } and {'score': 3}""", Bare)
