"""BFCL v4: ground truths are accepted in every syntax, their twins with one thing wrong are not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.records import Message, Response, walk_answered, write_jsonl
from burnish.verify.rewards import verify_rows
from burnish.verify.tools import (
    SYNTAXES,
    Call,
    ToolsChecker,
    call_violations,
    metrics,
    parse_calls,
    render_calls,
    tool_of,
)
from burnish.verify.tools.registry import bound
from tests.verify.tools.bfcl import (
    CLASSES,
    asked,
    bfcl,
    class_tools,
    other_value,
    reference,
    right,
    rows_of,
    said,
    twins,
)

CHECKER = ToolsChecker()
SINGLE = {
    "simple_python": 200,
    "simple_java": 50,
    "simple_javascript": 25,
    "multiple": 100,
    "parallel": 100,
    "parallel_multiple": 100,
    "live_simple": 129,
    "live_multiple": 200,
    "live_parallel": 8,
    "live_parallel_multiple": 12,
}
# Two ground truths of BFCL name an argument that the function does not have. It may be left out, and must be.
FOREIGN = {"parallel_multiple_12": "permeability", "parallel_multiple_26": "type"}
# Three calls that differ in capitals only (AA, Aa, aa), which BFCL's comparison does not see.
CAPITALS = ("parallel_116", "one call twice")
PROSE = "I am sorry, none of the functions that I have can do this. (It would need one of another kind.)"


@pytest.mark.parametrize("category", SINGLE)
def test_ground_truths_are_accepted(category: str) -> None:
    rows = bfcl(category)
    assert len(rows) == SINGLE[category]
    lost = []
    for row in rows:
        prompt = asked(reference(row, answers=row["ground_truth"]))
        for which in range(2):
            calls = right(row, which)
            for syntax in SYNTAXES:
                verdict = CHECKER.check(prompt, said(render_calls(calls, syntax)))
                foreign = not which and f"is given {FOREIGN.get(row['id'], '')!r}" in verdict.reason
                if verdict.correct is not True and not foreign:
                    lost.append((row["id"], which, syntax, verdict.reason))
            if len(calls) > 1:
                verdict = CHECKER.check(prompt, said(render_calls(calls[::-1], "hermes")))
                assert verdict.correct is True or (row["id"] in FOREIGN and not which), (row["id"], verdict.reason)
    assert lost == []


@pytest.mark.parametrize("category", SINGLE)
def test_twins_are_rejected(category: str) -> None:
    kept = []
    counts: Counter[str] = Counter()
    for number, row in enumerate(bfcl(category)):
        prompt = asked(reference(row, answers=row["ground_truth"]))
        for place, (what, calls) in enumerate(twins(row, right(row, 0))):
            counts[what] += 1
            syntax = SYNTAXES[(number + place) % len(SYNTAXES)]
            text = render_calls(calls, syntax) if calls else PROSE
            verdict = CHECKER.check(prompt, said(text))
            if verdict.correct is not False and (row["id"], what) != CAPITALS:
                kept.append((row["id"], what, syntax, text[:200], verdict.reason))
    assert kept == []
    assert counts["changed argument"] >= len(bfcl(category)) * 0.9
    assert counts["changed type"] >= len(bfcl(category)) * 0.9


def test_a_file_of_rows_gets_its_rewards(tmp_path: Path) -> None:
    """The rows as a file of prompts, responses and references, as `burnish verify tools` takes it."""
    rows = []
    for number, row in enumerate(bfcl("multiple", "parallel", "irrelevance")):
        calls = right(row, 0) if row["ground_truth"] else []
        good, bad = render_calls(calls, "hermes") if calls else PROSE, PROSE if calls else "[zzq()]"
        asked = json.loads(reference(row, answers=row["ground_truth"] or []))
        text = good if number % 2 else bad
        rows.append({"prompt": row["question"][0][-1]["content"], "response": text, "reference": asked,
                     "task": row["category"]})  # fmt: skip
    write_jsonl(rows, tmp_path / "rows.jsonl")
    found = verify_rows(list(walk_answered(tmp_path / "rows.jsonl")), "tools", checkers={"tools": CHECKER})
    assert [row["reward"] for row in found.rows] == [number % 2 for number in range(320)]
    assert {line.name: line.n for line in found.table if line.by == "task"} == {
        "irrelevance": 120,
        "multiple": 100,
        "parallel": 100,
    }


def test_irrelevance_rows_call_nothing() -> None:
    rows = bfcl("irrelevance")
    assert len(rows) == 120
    scored = []
    for row in rows:
        prompt = asked(reference(row))
        assert CHECKER.check(prompt, said(PROSE)).correct is True
        scored.append(CHECKER.score(prompt, said(PROSE)))
        call = Call(name=row["function"][0]["name"], arguments={})
        for syntax in SYNTAXES:
            verdict = CHECKER.check(prompt, said(render_calls([call], syntax)))
            assert verdict.correct is False, (row["id"], syntax, verdict.reason)
    assert metrics(scored).restraint == (120, 120)


def some(schema: dict[str, Any]) -> Any:
    """A valid value."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if kind == "object":
        known = schema.get("properties", {})
        return {name: some(known[name]) for name in schema.get("required", ())}
    if kind == "array":
        return [some(schema.get("items", {}))]
    return {"string": "x", "integer": 1, "number": 1.5, "boolean": True}[kind]


def test_relevance_rows_want_some_valid_call() -> None:
    rows = bfcl("live_relevance")
    assert len(rows) == 8
    for row in rows:
        prompt = asked(reference(row, any_call=True))
        tool = tool_of(row["function"][0])
        call = Call(name=tool.name, arguments=some(tool.parameters))
        assert CHECKER.check(prompt, said(render_calls([call], "hermes"))).correct is True
        assert CHECKER.check(prompt, said(PROSE)).correct is False
        wrong = Call(name=tool.name, arguments={**call.arguments, "zzq": 1})
        assert CHECKER.check(prompt, said(render_calls([wrong], "hermes"))).correct is False


def test_multi_turn_docs_are_valid_schemas() -> None:
    tools = [tool for name in CLASSES for tool in class_tools(name)]
    assert len(tools) == 128
    specs = [spec for name in CLASSES.values() for spec in rows_of(f"bfcl/multi_turn_func_doc_{name}")]
    assert [tool_of(tool.openai()) for tool in tools] == tools
    for spec, tool in zip(specs, tools, strict=True):
        assert list(spec["parameters"]["properties"]) == list(tool.parameters["properties"])
        assert call_violations(Call(name=tool.name, arguments=some(dict(tool.parameters))), {tool.name: tool}) == []


def dialogue(turns: list[list[Call]], syntax: str) -> Response:
    messages = []
    for calls in turns:
        if calls:
            text = render_calls(calls, syntax)
            messages.append(Message(role="assistant", content=text, end="message"))
            messages += [Message(role="ipython", content="done") for _ in calls]
    return Response(prompt="p", messages=(*messages, Message(role="assistant", content="It is done.")))


@pytest.mark.parametrize("category", ["multi_turn_base", "multi_turn_miss_func"])
def test_multi_turn_ground_truths(category: str) -> None:
    rows = bfcl(category)
    assert len(rows) == 100
    calls_read = 0
    invalid: list[tuple[str, str, str]] = []
    for number, row in enumerate(rows):
        tools = {tool.name: tool for name in row["involved_classes"] for tool in class_tools(name)}
        turns = []
        for texts in row["ground_truth"]:
            parsed = [parse_calls(text, "pythonic") for text in texts]
            assert not [one.failures for one in parsed if one.failures], row["id"]
            turns.append([bound(call, tools[call.name]) for one in parsed for call in one.calls])
        calls = [call for turn in turns for call in turn]
        calls_read += len(calls)
        invalid += [(row["id"], call.name, wrong) for call in calls for wrong in call_violations(call, tools)]
        specs = [tool.openai() for tool in tools.values()]
        prompt = asked(json.dumps({"tools": specs, "turns": row["ground_truth"]}))
        for syntax in SYNTAXES:
            verdict = CHECKER.check(prompt, dialogue(turns, syntax))
            assert verdict.correct is True, (row["id"], syntax, verdict.reason)
        syntax = SYNTAXES[number % len(SYNTAXES)]
        for what, wrong in wrong_turns(turns):
            verdict = CHECKER.check(prompt, dialogue(wrong, syntax))
            assert verdict.correct is False, (row["id"], what, syntax)
    assert calls_read == {"multi_turn_base": 583, "multi_turn_miss_func": 581}[category]
    assert invalid == []


def wrong_turns(turns: list[list[Call]]) -> list[tuple[str, list[list[Call]]]]:
    full = [place for place, turn in enumerate(turns) if turn]
    first = turns[full[0]]
    found = [
        ("a call less", [*turns[: full[-1]], turns[full[-1]][:-1], *turns[full[-1] + 1 :]]),
        ("a call more", [[first[0], *first], *turns[full[0] + 1 :]]),
        ("renamed", [[Call(name="zzq", arguments=first[0].arguments), *first[1:]], *turns[full[0] + 1 :]]),
    ]
    last = turns[full[-1]]
    if len(full) > 1 and sorted(map(str, first)) != sorted(map(str, last)):
        swapped = list(turns)
        swapped[full[0]], swapped[full[-1]] = last, first
        found.append(("turns swapped", swapped))
    for place in full:
        for at, call in enumerate(turns[place]):
            for name, value in call.arguments.items():
                changed = Call(name=call.name, arguments={**call.arguments, name: other_value(value)})
                turn = [*turns[place][:at], changed, *turns[place][at + 1 :]]
                found.append((f"{call.name}.{name}", [*turns[:place], turn, *turns[place + 1 :]]))
                break
    return found


# Rows whose first possible answer breaks the tool's own schema, by what BFCL's is about.
BREAK = {
    "a variable's name": ("simple_java_26", "simple_java_38", "simple_java_58", "simple_java_72", "simple_java_82",
                          "simple_java_88", "simple_javascript_32"),
    "null where a number is declared": ("parallel_152",),
    "an argument that is not there": ("parallel_multiple_12", "parallel_multiple_26"),
    "items of another type": ("parallel_multiple_94",),
    "enum of the items given to the list": ("live_multiple_152-58-6",),
    "boolean or 'dontcare' for text and number": ("live_multiple_302-131-1", "live_multiple_304-131-3",
                                                  "live_multiple_306-131-5", "live_multiple_308-131-7"),
    "not in the enum": ("live_parallel_multiple_2-2-0",),
}  # fmt: skip


def test_ground_truths_against_their_own_schemas() -> None:
    invalid = []
    calls = 0
    for row in bfcl(*SINGLE):
        tools = {tool.name: tool for tool in map(tool_of, row["function"])}
        for call in right(row, 0):
            calls += 1
            invalid += [row["id"] for _ in call_violations(call, tools)]
    assert calls == 1_317
    assert set(invalid) == {id for ids in BREAK.values() for id in ids}
