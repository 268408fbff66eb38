"""Runs calls of a registry: each within a time limit, every exception a result that a model can read.

The functions are the program's own. What a model writes as code is run by an `Executor` alone (`builtins.session`).
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.records import Message
from burnish.verify.tools.call import Call, CallFailure, Parsed
from burnish.verify.tools.literals import write_json
from burnish.verify.tools.registry import Registry
from burnish.verify.tools.syntaxes import calls_of

SECONDS = 10.0  # ASSUMED; GLM-4 gives its interpreter 60 s (spec G17)
MAX_RESULT = 20_000  # ASSUMED: characters of a result that a model is shown
MAX_NESTED = 16
MAX_ROUNDS = 10  # ASSUMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a call gave.

    Args:
        call: as it was run: its inner calls replaced by their results.
        value: what the function returned; None where it failed.
        error: why there is no value: the exception and its message, or the limit.
        inner: the results of the calls among its arguments, in the order in which they ran.
        seconds: by the clock.
    """

    call: Call
    value: Any = None
    error: str = ""
    inner: tuple[Result, ...] = ()
    seconds: float = 0.0

    @property
    def content(self) -> str:
        """The text of the tool's message: text as it is, all else as JSON, an error as {"error": ...}."""
        text = write_json({"error": self.error}) if self.error else _text(self.value)
        return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]}\n[{len(text) - MAX_RESULT} characters more]"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return write_json(value)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


class _Overrun(BaseException):
    """Ends a function that is over its time, as far as Python code goes."""


def limited(function: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """(value, error) of a function of the program's own, which is left to itself when its time is up.

    It runs in a thread of its own. At the limit an exception is raised inside it, which ends Python code; a call into
    C goes on until it returns, and its value is lost.
    """
    done: list[tuple[Any, str]] = []

    def work() -> None:
        try:
            done.append((function(), ""))
        except _Overrun:
            pass
        except RecursionError:
            done.append((None, "RecursionError: the function calls itself too often"))
        except (Exception, SystemExit) as error:
            done.append((None, f"{type(error).__name__}: {_message(error)}"))

    thread = threading.Thread(target=work, daemon=True, name="burnish-tool")
    thread.start()
    thread.join(seconds)
    if done:
        return done[0]
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Overrun))
    return None, f"TimeoutError: no result within {seconds:g} s"


def _message(error: BaseException) -> str:
    try:
        return str(error)[:2_000]
    except Exception:
        return "(its message cannot be shown)"


def run_call(call: Call, registry: Registry, *, seconds: float = SECONDS) -> Result:
    """Run one call, its inner calls first, left to right. Never raises for what the call or the function does.

    Args:
        seconds: for each function that runs.
    """
    inner: list[Result] = []

    def resolve(value: Any, depth: int) -> Any:
        if depth > MAX_NESTED:
            raise DataError(f"calls nested more than {MAX_NESTED} levels deep")
        if isinstance(value, Call):
            result = one(value, depth + 1)
            inner.append(result)
            if result.error:
                raise DataError(f"the inner call of {value.name} failed: {result.error}")
            return result.value
        if isinstance(value, dict):
            return {name: resolve(item, depth) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(resolve(item, depth) for item in value)
        return value

    def one(given: Call, depth: int) -> Result:
        began = time.perf_counter()
        try:
            flat = Call(
                name=given.name,
                arguments={name: resolve(value, depth) for name, value in given.arguments.items()},
                positional=tuple(resolve(value, depth) for value in given.positional),
                id=given.id,
            )
        except DataError as error:
            return Result(call=given, error=str(error), seconds=time.perf_counter() - began)
        value, wrong = limited(lambda: registry.invoke(flat), seconds)
        return Result(call=flat, value=value, error=wrong, seconds=time.perf_counter() - began)

    result = one(call, 0)
    if not inner:
        return result
    return Result(call=result.call, value=result.value, error=result.error, inner=tuple(inner), seconds=result.seconds)


def run_calls(calls: Sequence[Call], registry: Registry, *, seconds: float = SECONDS) -> list[Result]:
    """Run parallel calls one after another; they are independent, so the order changes nothing but the clock."""
    return [run_call(call, registry, seconds=seconds) for call in calls]


def unnested(call: Call) -> Iterator[Call]:
    """The inner calls of a nested call, innermost first, then the call itself: the steps of a multi-turn dialogue."""
    stack: list[tuple[Any, bool]] = [(call, False)]
    while stack:
        value, seen = stack.pop()
        if isinstance(value, Call):
            if seen:
                yield value
                continue
            stack.append((value, True))
            parts: list[Any] = [*value.positional, *value.arguments.values()]
        else:
            parts = (
                list(value.values()) if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
            )
        stack += [(part, False) for part in reversed(list(parts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """A dialogue with calls, as it went.

    Args:
        messages: what came after the prompt: calls, results, and the answer if there is one.
        results: of all calls, in order.
        ended: `answer` (a message without a call), `unreadable` (a call that cannot be read) or `rounds`.
        failure: the call that cannot be read.
    """

    messages: tuple[Message, ...]
    results: tuple[Result, ...]
    ended: str
    failure: CallFailure | None = None


def converse(
    answer: Callable[[Sequence[Message]], str],
    registry: Registry,
    messages: Sequence[Message],
    *,
    rounds: int = MAX_ROUNDS,
    seconds: float = SECONDS,
    syntax: str = "auto",
) -> Dialogue:
    """Call, result, next call, until an answer without a call: the multi-turn loop.

    Args:
        answer: the model: the dialogue so far -> the text of its next message.
        rounds: the most messages with calls.
    """
    said: list[Message] = []
    results: list[Result] = []
    for _ in range(rounds + 1):
        text = answer([*messages, *said])
        parsed: Parsed = calls_of([Message(role="assistant", content=text)], syntax)[0]
        if parsed.failures:
            said.append(Message(role="assistant", content=text))
            return Dialogue(
                messages=tuple(said), results=tuple(results), ended="unreadable", failure=parsed.failures[0]
            )
        if not parsed.calls:
            said.append(Message(role="assistant", content=text))
            return Dialogue(messages=tuple(said), results=tuple(results), ended="answer")
        if len(said) and len([one for one in said if one.end == "message"]) >= rounds:
            break
        found = run_calls(parsed.calls, registry, seconds=seconds)
        results += found
        said.append(Message(role="assistant", content=text, end="message"))
        said += [Message(role="ipython", content=result.content) for result in found]
    return Dialogue(messages=tuple(said), results=tuple(results), ended="rounds")
