"""The checker `tools`: a response's calls against the reference of its prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from burnish.errors import BurnishError, DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response
from burnish.verify.tools.call import Call, Tool, Unreadable
from burnish.verify.tools.literals import python_tree, read_call
from burnish.verify.tools.registry import bound, find_tool
from burnish.verify.tools.schema import tool_of
from burnish.verify.tools.scoring import Scored, Wanted, score
from burnish.verify.tools.syntaxes import calls_of

_FORM = (
    '{"tools": [...]} with one of "answers" (BFCL\'s possible answers), "calls" ({name, arguments} or Python '
    'text), "turns" (lists of calls), "any_call": true; none of them, or an empty list, wants no call'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsChecker:
    """Right when the response makes the calls that its reference wants, and no other.

    The reference is JSON: `tools` (in OpenAI's form or BFCL's), and one of

        answers    possible answers: [{"f": {"a": [1, 2], "b": ["", "x"]}}], matched as BFCL does
        calls      exact calls: [{"name": "f", "arguments": {"a": 1}}] or ["f(a=1)"]; defaults may be left out
        turns      lists of exact calls, one for each message that calls, in order
        any_call   true: some valid call of some tool
        (none)     no call is right

    beside `kind`, the word that metrics are told by. The order of calls within a message does not matter. A call that
    cannot be read is wrong, and says so; a reference that is none is unscored.

    Args:
        syntax: how calls are written (`syntaxes.SYNTAXES`), or auto.
    """

    name: str = "tools"
    syntax: str = "auto"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            found = self.score(prompt, response)
        except BurnishError as error:
            return Verdict(correct=None, reason=f"the reference is not what {self.name} reads: {error}")
        return Verdict(correct=found.correct, reason=found.reason)

    def score(self, prompt: Prompt, response: Response) -> Scored:
        """The same in numbers, for `scoring.metrics`.

        Raises:
            DataError: the reference is none.
        """
        tools, wanted, kind = _read(prompt.reference)
        return score(calls_of(response.messages, self.syntax), wanted, tools, kind=kind)


@lru_cache(maxsize=1024)
def _read(reference: str) -> tuple[tuple[Tool, ...], Wanted, str]:
    try:
        held = json.loads(reference)
    except (ValueError, RecursionError) as error:
        raise DataError(f"no JSON ({error}); it must be {_FORM}") from None
    if not isinstance(held, dict) or not isinstance(held.get("tools"), list):
        raise DataError(f"it must be {_FORM}")
    tools = tuple(tool_of(spec) for spec in held["tools"])
    by_name = {tool.name: tool for tool in tools}
    given = [name for name in ("answers", "calls", "turns", "any_call") if held.get(name)]
    if len(given) > 1:
        raise DataError(f"it has {' and '.join(given)}; it must have one of them")
    for name in ("answers", "calls", "turns"):
        if not isinstance(held.get(name) or [], list):
            raise DataError(f"{name} is no list; it must be {_FORM}")
    wanted = Wanted(
        possible=tuple(_possible(one) for one in held.get("answers") or ()),
        gold=tuple(_call(one, by_name) for one in held.get("calls") or ()),
        turns=tuple(tuple(_call(one, by_name) for one in turn) for turn in held.get("turns") or ()),
        any_call=bool(held.get("any_call")),
    )
    return tools, wanted, str(held.get("kind") or "")


def _possible(one: Any) -> Mapping[str, Any]:
    if not isinstance(one, dict) or len(one) != 1 or not isinstance(next(iter(one.values())), dict):
        raise DataError(f"the answer {str(one)[:80]} is no {{function: {{argument: [values]}}}}")
    return one


def _call(one: Any, tools: Mapping[str, Tool]) -> Call:
    if isinstance(one, str):
        try:
            call = read_call(python_tree(one))
        except Unreadable as error:
            raise DataError(f"the call {one[:80]!r} cannot be read: {error.detail}") from None
    elif isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("arguments", {}), dict):
        call = Call(name=one["name"], arguments=one.get("arguments", {}))
    else:
        raise DataError(f"the call {str(one)[:80]} is neither {{name, arguments}} nor a text such as 'f(a=1)'")
    return bound(call, find_tool(call.name, tools))
