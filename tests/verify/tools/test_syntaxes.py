"""Calls read and written: every syntax both ways, prose, broken calls, real dialogues, mutated texts."""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

import pytest

from burnish.errors import SettingsError
from burnish.records import Message
from burnish.verify.tools import SYNTAXES, Call, calls_of, parse_calls, render_calls, tool_of
from burnish.verify.tools.call import REASONS
from burnish.verify.tools.matching import call_violations
from tests.verify.tools.bfcl import bfcl, right, rows_of

WEATHER = Call(name="get_weather", arguments={"city": "Zürich", "days": 3, "detail": {"wind": True, "rain": None}})
TIME = Call(name="clock.now", arguments={"zone": "CET", "offsets": [1, -2.5, 'it\'s </tool_call> "so"']})
NONE = Call(name="ping", arguments={})


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("calls", [[WEATHER], [NONE], [WEATHER, TIME], [TIME, NONE, TIME]])
def test_written_calls_are_read_back(syntax: str, calls: list[Call]) -> None:
    text = render_calls(calls, syntax)
    for chosen in (syntax, "auto"):
        found = parse_calls(text, chosen)
        assert (list(found.calls), found.failures) == (calls, ()), (text, found)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bfcl_calls_are_read_back(syntax: str) -> None:
    count = 0
    for row in bfcl("simple_python", "parallel", "live_multiple"):
        calls = right(row, 0)
        found = parse_calls(render_calls(calls, syntax))
        assert (list(found.calls), found.failures) == (calls, ()), row["id"]
        count += len(calls)
    assert count > 600


CASES = {
    '<|python_tag|>{"type": "function", "name": "f", "parameters": {"a": 1}}<|eom_id|>': [
        Call(name="f", arguments={"a": 1})
    ],
    '<|python_tag|>{"name": "f", "parameters": {}}; {"name": "g", "parameters": {"b": "x"}}': [
        Call(name="f"),
        Call(name="g", arguments={"b": "x"}),
    ],
    '<|python_tag|>brave_search.call(query="rain in Bern")<|eom_id|>': [
        Call(name="brave_search", arguments={"query": "rain in Bern"})
    ],
    'wolfram_alpha.call(query="2+2")': [Call(name="wolfram_alpha", arguments={"query": "2+2"})],
    "<|python_tag|>import math\nprint(math.pi)<|eom_id|>": [
        Call(name="python", arguments={"code": "import math\nprint(math.pi)"})
    ],
    '{"name": "f", "parameters": {"a": [1, 2]}}': [Call(name="f", arguments={"a": [1, 2]})],
    '```json\n[{"name": "f", "arguments": {"a": 1}}]\n```': [Call(name="f", arguments={"a": 1})],
    "{'name': 'f', 'arguments': {'a': True, 'b': null,},}": [Call(name="f", arguments={"a": True, "b": None})],
    "[f(a=1), g.h(b='x')]": [Call(name="f", arguments={"a": 1}), Call(name="g.h", arguments={"b": "x"})],
    "f(1, b=g(c=[2]))": [
        Call(name="f", positional=(1,), arguments={"b": Call(name="g", arguments={"c": [2]})})
    ],
    "f(a=2 * 3 - 1, **{'from': -1})": [Call(name="f", arguments={"a": 5, "from": -1})],
    'get_weather\n{"city": "北京"}<|observation|>': [Call(name="get_weather", arguments={"city": "北京"})],
    '<|assistant|>f\n{"a": 1}<|assistant|>g\n{}': [Call(name="f", arguments={"a": 1}), Call(name="g")],
    "python\nprint(1)": [Call(name="python", arguments={"code": "print(1)"})],
    'simple_browser\nsearch("rain", recency_days=3)': [
        Call(name="simple_browser.search", positional=("rain",), arguments={"recency_days": 3})
    ],
    '[{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]': [
        Call(name="f", arguments={"a": 1})
    ],
    '{"tool_calls": [{"function": {"name": "f", "arguments": ""}}]}': [Call(name="f")],
    '{"function_call": {"name": "f", "arguments": "{}"}}': [Call(name="f")],
    'I look it up.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>': [
        Call(name="f", arguments={"a": 1})
    ],
    '<tool_call>{"name": "f", "arguments": {}}</tool_call> and <tool_call>{"name": "g", "arguments": {}}': [
        Call(name="f"),
        Call(name="g"),
    ],
    '<think>Maybe <tool_call>{"name": "no"}</tool_call>?</think><function=f>{"a": 1}</function><|eot_id|>': [
        Call(name="f", arguments={"a": 1})
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_forms_in_the_wild(text: str) -> None:
    found = parse_calls(text)
    assert (list(found.calls), found.failures) == (CASES[text], ())


PROSE = [
    "",
    "It rains (a lot).",
    "print (that is, write it down)",
    'The file holds {"name": "f", "parameters": {}} as an example.',
    '{"name": "Ann", "age": 3}',
    '[{"name": "Ann"}, {"name": "Bob"}]',
    "[1, 2, 3]",
    "Python\nis a language.",
    "Answer:\n{1, 2}",
    "Set\n{1, 2}",
    "f(x) = 2x + 1",
    "x" * 200_000,
]


@pytest.mark.parametrize("text", PROSE, ids=range(len(PROSE)))
def test_prose_is_no_call(text: str) -> None:
    found = parse_calls(text)
    assert (found.calls, found.failures, found.syntax) == ((), (), "")


BROKEN = {
    '<tool_call>{"name": "f", "arguments": {"a": 1}': "cut",
    '<tool_call>{"name": "f", "arguments": {a: 1}}</tool_call>': "json",
    '<tool_call>{"name": "f"}</tool_call>': "shape",
    '<tool_call>{"name": "f", "arguments": {}, "parameters": {}}</tool_call>': "shape",
    '<tool_call>{"name": 3, "arguments": {}}</tool_call>': "name",
    '<tool_call>{"name": "f g", "arguments": {}}</tool_call>': "name",
    '<tool_call>{"name": "f", "arguments": [1]}</tool_call>': "shape",
    '<tool_call>{"name": "f", "arguments": {"a": 1, "a": 2}}</tool_call>': "shape",
    '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>': "literal",
    '<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>': "literal",
    '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 90 + "]" * 90 + "}}</tool_call>": "size",
    '<tool_call>{"name": "f", "arguments": {"a": ' + "9" * 500 + "}}</tool_call>": "size",
    "<function=f>{}}</function>": "json",
    "<function=>{}</function>": "name",
    '{"name": "f", "parameters": {"a": 1}': "cut",
    '<|python_tag|>{"name": "f", "parameters": {"a": }}': "json",
    "<|python_tag|>for in": "python",
    "<|python_tag|>": "cut",
    "[f(a=x)]": "literal",
    "[f(a=open('x').read())]": "name",
    "[f(a=1, **{'a': 2})]": "shape",
    "[f(a=[i for i in range(9)])]": "literal",
    "[f(a=9**9**9)]": "literal",
    "[f(a={1: 2})]": "literal",
    "[f(a=b'x')]": "literal",
    "[f(*[1])]": "literal",
    "[f(a=1), 2]": "shape",
    'f\n{"a": 1': "cut",
    "x" * 200_000 + "<tool_call>": "size",
}


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_broken_calls_are_failures_with_a_reason(text: str) -> None:
    found = parse_calls(text)
    assert [one.reason for one in found.failures] == [BROKEN[text]], found
    assert not found.calls
    assert str(found.failures[0]).startswith("unreadable call (")


def test_one_broken_call_does_not_hide_the_others() -> None:
    found = parse_calls('<tool_call>{"name": }</tool_call><tool_call>{"name": "g", "arguments": {}}</tool_call>')
    assert [one.reason for one in found.failures] == ["json"]
    assert list(found.calls) == [Call(name="g")]


def test_a_chosen_syntax_takes_prose_for_a_broken_call() -> None:
    for syntax in SYNTAXES:
        assert parse_calls("I do not know; ask someone.", syntax).failures, syntax


def test_a_message_that_goes_on_is_a_call() -> None:
    """Formats keep Llama 3's python tag out of the content."""
    messages = [Message(role="assistant", content="import this", end="message"), Message(role="ipython", content="")]
    assert calls_of([*messages, Message(role="assistant", content="Done.")])[0].calls[0].name == "python"


def test_what_a_syntax_cannot_write_is_refused() -> None:
    nested = Call(name="f", arguments={"a": [Call(name="g")]})
    assert parse_calls(render_calls([nested], "pythonic")).calls == (nested,)
    for call in (nested, Call(name="f", positional=(1,))):
        for syntax in SYNTAXES:
            if syntax != "pythonic":
                with pytest.raises(SettingsError, match=f"the syntax {syntax} cannot write"):
                    render_calls([call], syntax)
    with pytest.raises(SettingsError, match="no name in Python"):
        render_calls([Call(name="a-b")], "pythonic")
    with pytest.raises(SettingsError, match="there is no call syntax 'xml'"):
        render_calls([], "xml")
    with pytest.raises(SettingsError, match="there is no call syntax 'xml'"):
        parse_calls("", "xml")


WORDS = [
    "a", "Zürich", "北京", "it's", '"', "\\", "\n", "\t", "{", "}", "[", "]", "</tool_call>", "<tool_call>",
    "</function>", "<function=f>", "<|assistant|>", "<|python_tag|>", "```", "```json\n", "f(a=1)", "=", ",", ";",
    "null", "None", "\x00", "\u2028", "😀",
]  # fmt: skip


def drawn(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind == 6:
        return [drawn(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {"".join(rng.choices(WORDS, k=2)) + str(n): drawn(rng, depth + 1) for n in range(rng.randrange(4))}
    return (
        None,
        rng.random() < 0.5,
        rng.randint(-(10**12), 10**12),
        round(rng.uniform(-1e6, 1e6), 4),
        "".join(rng.choices(WORDS, k=rng.randrange(6))),
        rng.choice((0.1, -1e-9, 1e300, 5.0)),
    )[kind]


def test_drawn_calls_are_read_back_in_every_syntax() -> None:
    """Whatever an argument holds, the marks of the syntax itself among it."""
    rng = random.Random(7)
    for _ in range(400):
        calls = [
            Call(
                name=rng.choice(("f", "pkg.get_it", "größe", "a_1")),
                arguments={
                    rng.choice(("a", "b", "from", "two words", "x-y")) + str(n) * (n % 2): drawn(rng) for n in range(3)
                },
            )
            for _ in range(rng.randint(1, 3))
        ]
        for syntax in SYNTAXES:
            text = render_calls(calls, syntax)
            found = parse_calls(text, syntax)
            assert (list(found.calls), found.failures) == (calls, ()), (syntax, text, found)
            auto = parse_calls(text)
            assert list(auto.calls) == calls, (syntax, text, auto)


# ---- real dialogues ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "count", "invalid"), [("en", 109, 1), ("zh", 126, 4)])
def test_glaive_calls(name: str, count: int, invalid: int) -> None:
    """Invalid by their own schemas: a list for a number; and areas whose schema asks for all shapes' sides at once."""
    calls, wrong = 0, []
    for row in rows_of(f"llama_factory_demo/glaive_toolcall_{name}_demo"):
        tools = {tool.name: tool for tool in map(tool_of, json.loads(row["tools"] or "[]"))}
        for turn in row["conversations"]:
            found = parse_calls(turn["value"])
            if turn["from"] == "function_call":
                assert len(found.calls) == 1 and not found.failures, turn
                calls += 1
                wrong += [turn["value"]] if call_violations(found.calls[0], tools) else []
            elif turn["from"] == "gpt":
                assert not found.calls and not found.failures, turn
    assert calls == count
    assert len(wrong) == invalid, wrong


def test_reason_tool_use_calls() -> None:
    calls, failures, wrong = 0, [], []
    for row in rows_of("llama_factory_demo/reason_tool_use_demo_50"):
        specs = row["tools"] if isinstance(row["tools"], list) else json.loads(row["tools"])
        tools = {tool.name: tool for tool in map(tool_of, specs)}
        for message in row["messages"]:
            for part in message["content"]:
                found = parse_calls(part["value"])
                if part["type"] == "tool_call":
                    failures += [(part["value"][:80], str(one)) for one in found.failures]
                    calls += len(found.calls)
                    wrong += [one for call in found.calls for one in call_violations(call, tools)]
                elif part["type"] in ("reasoning", "text"):
                    assert not found.calls and not found.failures, part
    assert (calls, failures) == (32, [])
    assert wrong == []


# ---- mutated texts -----------------------------------------------------------------------------------------------

PIECES = [
    "{", "}", "[", "]", "(", ")", '"', "'", "\\", ":", ",", ";", "\n", "\x00", "\ud83d", "é", "（", "<tool_call>",
    "</tool_call>", "<function=", "</function>", "<|python_tag|>", "<think>", "</think>", "```json\n", "```", "null",
    "None", "NaN", "1e999", "9" * 50, "-" * 300, "(" * 300, "[" * 300, '{"a":' * 300, "not " * 300, "lambda: " * 200,
    "**", "f(", "a.b" * 100, "1+" * 500, "\\u12", "\t", "f''", "b''", "...", "0x", "1_0", "{**{}}", ".call(", "=",
]  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif kind == 2:
            text = text[:at]
        elif kind == 3:
            text = text[at:] + text[:at]
        else:
            text = text[:at] + text[at : at + 40] * rng.randint(2, 30) + text[at:]
    return text[:120_000]


def seeds() -> list[str]:
    calls: list[list[Any]] = [[WEATHER], [WEATHER, TIME], [NONE]]
    written = [render_calls(one, syntax) for one in calls for syntax in SYNTAXES]
    return [*written, *CASES, *BROKEN, "[f(a=g(b=h(c=1)), d=-2 ** 3)]"]


@pytest.mark.parametrize(
    "piece", ["<function=", "<tool_call>", '<tool_call>{"name":', "1 ", "<think>", "```json\n", "<|python_tag|>", "f(",
              "<|assistant|>f\n{}", '{"name":"f","arguments":{}} ', "</tool_call><tool_call>{", "[f(", '"name" ']
)  # fmt: skip
def test_long_repetitions_take_linear_time(piece: str) -> None:
    text = piece * (99_000 // len(piece))
    for syntax in ("auto", *SYNTAXES):
        began = time.process_time()
        parse_calls(text, syntax)
        parse_calls(text + "</tool_call>", syntax)
        assert time.process_time() - began < 2.0, syntax


def test_mutated_texts_neither_crash_nor_hang() -> None:
    """BURNISH_FUZZ sets how many; the time of each is bounded, too."""
    rng = random.Random(5)
    texts = [text for text in seeds() if len(text) < 20_000]
    slowest = 0.0
    failed = 0
    for number in range(int(os.environ.get("BURNISH_FUZZ", "2000"))):
        text = mutated(rng.choice(texts), rng)
        began = time.process_time()
        found = parse_calls(text, rng.choice(("auto", "auto", *SYNTAXES)))
        slowest = max(slowest, time.process_time() - began)
        failed += bool(found.failures)
        assert all(one.reason in REASONS for one in found.failures), (number, text)
        assert all(isinstance(call.name, str) and call.name for call in found.calls), (number, text)
        for call in found.calls:
            again = parse_calls(render_calls([call], "pythonic"), "pythonic") if "-" not in call.name + "/:" else None
            assert again is None or again.calls == (call,) or again.failures, (number, text)
    assert slowest < 1.0, slowest
    assert failed > 100
