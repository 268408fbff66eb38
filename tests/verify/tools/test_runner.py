"""Calls run: single, nested, parallel, multi-turn; exceptions and limits become results."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from burnish.errors import DataError, SettingsError
from burnish.records import Message
from burnish.verify.tools import Call, Registry, converse, render_calls, run_call, run_calls
from burnish.verify.tools.runner import MAX_RESULT, limited, unnested


def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


def double(x: int) -> int:
    """Double."""
    return 2 * x


def fail(how: str) -> str:
    """Fail."""
    if how == "exit":
        raise SystemExit(3)
    if how == "deep":
        return fail(how)
    if how == "spin":
        while True:
            pass
    if how == "sleep":
        time.sleep(1.5)
    if how == "odd":
        raise Mute
    if how == "object":
        return object()  # type: ignore[return-value]
    return "x" * (MAX_RESULT + 7) if how == "long" else str(1 // 0)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


TOOLS = Registry(add, double, fail)


def call(name: str, **arguments: object) -> Call:
    return Call(name=name, arguments=arguments)


def test_single_parallel_and_nested_calls() -> None:
    assert run_call(call("add", a=1, b=2), TOOLS).value == 3
    assert run_call(Call(name="add", positional=(1, 2)), TOOLS).content == "3"
    assert [result.value for result in run_calls([call("double", x=2), call("add", a=5)], TOOLS)] == [4, 5]
    nested = call("add", a=call("double", x=call("add", a=1, b=2)), b=call("double", x=10))
    result = run_call(nested, TOOLS)
    assert result.value == 26 and result.call == call("add", a=6, b=20)
    assert [inner.value for inner in result.inner] == [3, 6, 20]
    assert [one.name for one in unnested(nested)] == ["add", "double", "double", "add"]
    # In steps, as a dialogue would have them, the value is the same (llama3.zero-shot-functions).
    assert double(add(1, 2)) + double(10) == result.value


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (call("zzq"), "DataError: there is no tool 'zzq'"),
        (call("add"), "DataError: add: value.a is missing"),
        (call("add", a="1"), "DataError: add: value.a must be of type integer, and is string"),
        (call("fail", how="zero"), "ZeroDivisionError: integer division or modulo by zero"),
        (call("fail", how="exit"), "SystemExit: 3"),
        (call("fail", how="deep"), "RecursionError: "),
        (call("fail", how="odd"), "Mute: (its message cannot be shown)"),
        (call("add", a=call("fail", how="zero")), "the inner call of fail failed: ZeroDivisionError"),
        (call("add", a=1, b=call("zzq")), "the inner call of zzq failed: DataError"),
    ],
)
def test_what_goes_wrong_is_a_result(made: Call, error: str) -> None:
    result = run_call(made, TOOLS)
    assert result.value is None and result.error.startswith(error), result.error
    assert result.content.startswith('{"error": "')


def test_too_deep_a_nest_is_a_result() -> None:
    deep = call("add", a=1)
    for _ in range(20):
        deep = call("add", a=deep)
    assert "more than 16 levels deep" in run_call(deep, TOOLS).error


def test_a_call_over_its_time_is_a_result_and_its_code_ends() -> None:
    before = threading.active_count()
    for how in ("spin", "sleep"):
        began = time.perf_counter()
        result = run_call(call("fail", how=how), TOOLS, seconds=0.2)
        assert result.error == "TimeoutError: no result within 0.2 s"
        assert time.perf_counter() - began < 1.0
    until = time.perf_counter() + 5
    while threading.active_count() > before and time.perf_counter() < until:
        time.sleep(0.05)
    assert threading.active_count() <= before
    assert limited(lambda: 7, 1.0) == (7, "")


def test_results_as_text() -> None:
    assert run_call(call("fail", how="long"), TOOLS).content.endswith("x\n[7 characters more]")
    assert run_call(call("fail", how="object"), TOOLS).content.startswith("<object object")


QUESTION = [Message(role="user", content="Twice the sum of 3 and 4?")]


@pytest.mark.parametrize("syntax", ["llama3", "glm4", "openai", "hermes", "function", "pythonic"])
def test_a_dialogue_of_several_turns(syntax: str) -> None:
    def model(messages: Sequence[Message]) -> str:
        results = [message.content for message in messages if message.role == "ipython"]
        if not results:
            return render_calls([call("add", a=3, b=4)], syntax)
        if len(results) == 1:
            return render_calls([call("double", x=int(results[0]))], syntax)
        return f"It is {results[-1]}."

    found = converse(model, TOOLS, QUESTION)
    assert found.ended == "answer"
    assert [message.role for message in found.messages] == ["assistant", "ipython"] * 2 + ["assistant"]
    assert [message.end for message in found.messages] == ["message", "turn"] * 2 + ["turn"]
    assert found.messages[-1].content == "It is 14."
    assert [result.value for result in found.results] == [7, 14]


def test_a_dialogue_ends_at_an_unreadable_call_and_at_its_limit() -> None:
    found = converse(lambda messages: "<tool_call>{", TOOLS, QUESTION)
    assert found.ended == "unreadable" and found.failure is not None and found.failure.reason == "cut"
    turns = converse(lambda messages: "[add(a=1)]", TOOLS, QUESTION, rounds=3)
    assert turns.ended == "rounds" and len(turns.results) == 3
    # An error is told to the model, which may mend its call.
    said = iter(["[add(a='x')]", "[add(a=1)]", "1"])
    mended = converse(lambda messages: next(said), TOOLS, QUESTION)
    assert mended.ended == "answer" and "must be of type integer, and is string" in mended.results[0].error


def test_registries_are_safe_in_threads() -> None:
    found: list[int] = []

    def work(n: int) -> None:
        found.append(run_call(call("add", a=n, b=1), TOOLS).value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 31))
    with pytest.raises(DataError, match="nearest"):
        TOOLS.tool("ad")


def test_an_async_function_is_refused() -> None:
    async def later(x: int) -> int:
        """Later."""
        return x

    def hidden(x: int) -> int:
        """Hidden."""
        return later(x)  # type: ignore[return-value]

    class Object:
        async def __call__(self, x: int) -> int:
            """Call."""
            return x

    for function in (later, Object()):
        with pytest.raises(SettingsError, match="`async def`, and a registry does not wait"):
            Registry(function)
    found = run_call(call("hidden", x=1), Registry(hidden))
    assert found.value is None and "hidden returned a coroutine" in found.error
