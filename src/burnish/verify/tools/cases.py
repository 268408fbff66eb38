"""Rows of tool use, and rows made of rows: parallel calls merged from single ones, distractors, restraint (Apple AFM,
arXiv:2407.21075; spec B.4).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.errors import DataError, SettingsError
from burnish.records import Message, Prompt
from burnish.verify.tools.builtins.search import Bm25
from burnish.verify.tools.call import Call, Tool
from burnish.verify.tools.matching import call_violations


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCase:
    """One request with its tools and the calls that are right.

    Args:
        tools: what the model is shown, in this order.
        gold: the calls, in any order; empty with `possible` empty too: no call is right (intent no_call).
        possible: possible answers in BFCL's form, one for each call; they go before `gold` where there are both.
        kind: single, parallel, nested, multi_turn, irrelevance, ...: metrics are told by it.
    """

    request: str
    tools: tuple[Tool, ...]
    gold: tuple[Call, ...] = ()
    possible: tuple[Mapping[str, Any], ...] = ()
    kind: str = "single"

    @property
    def names(self) -> frozenset[str]:
        """The tools that are to be called."""
        return frozenset([*(call.name for call in self.gold), *(name for one in self.possible for name in one)])

    def prompt(self, *, source: str = "") -> Prompt:
        """The request as a prompt, with the reference that `ToolsChecker` reads. The tools stand in its reference
        alone: how a model is shown them is the chat format's matter."""
        reference: dict[str, Any] = {"tools": [tool.openai() for tool in self.tools], "kind": self.kind}
        if self.possible:
            reference["answers"] = list(self.possible)
        else:
            reference["calls"] = [{"name": call.name, "arguments": dict(call.arguments)} for call in self.gold]
        return Prompt(
            messages=(Message(role="user", content=self.request),),
            source=source,
            ability="tools",
            checker="tools",
            reference=json.dumps(reference, ensure_ascii=False),
        )


def check_case(case: ToolCase) -> None:
    """Every gold call is one of its tools, with valid arguments; no tool stands there twice.

    Raises:
        DataError: it is not so; the message names the call.
    """
    tools = {tool.name: tool for tool in case.tools}
    if len(tools) != len(case.tools):
        raise DataError(f"a tool stands twice in the list of {case.request[:60]!r}")
    for call in case.gold:
        if wrong := call_violations(call, tools):
            raise DataError(f"the gold call of {case.request[:60]!r} is not valid: {wrong[0]}")
    lost = case.names - set(tools)
    if lost:
        raise DataError(f"the request {case.request[:60]!r} wants {sorted(lost)[0]!r}, which is not among its tools")


def merge_parallel(cases: Sequence[ToolCase], *, joined: str = "\n") -> ToolCase:
    """Independent single-call requests over one list of tools as one request whose gold is the set of their calls.

    Args:
        cases: two or more, of one call each; lists of tools may differ in order only.
        joined: stands between the requests. ASSUMED: the report does not say how they are put together.

    Raises:
        DataError: a case has not one call, is not valid, or its tools are others; or two gold calls are the same, of
            which a model would rightly make one.
    """
    if len(cases) < 2:
        raise DataError(f"parallel calls are merged from two requests or more, found {len(cases)}")
    names = {tool.name for tool in cases[0].tools}
    for case in cases:
        check_case(case)
        if max(len(case.gold), len(case.possible)) != 1:
            raise DataError(f"the request {case.request[:60]!r} has not one call; only single calls are merged")
        if {tool.name for tool in case.tools} != names or any(tool not in cases[0].tools for tool in case.tools):
            raise DataError(f"the request {case.request[:60]!r} has other tools than the first; give all one list")
        if bool(case.possible) != bool(cases[0].possible):
            raise DataError("some of the requests have possible answers and some gold calls; give all the same")
    gold = tuple(call for case in cases for call in case.gold)
    possible = tuple(one for case in cases for one in case.possible)
    parts = possible or gold
    for place, one in enumerate(parts):
        if one in parts[:place]:
            raise DataError(f"two of the requests ask for the same call, such as {cases[place].request[:60]!r}")
    return ToolCase(
        request=joined.join(case.request for case in cases),
        tools=cases[0].tools,
        gold=gold,
        possible=possible,
        kind="parallel",
    )


def draw_parallel(cases: Sequence[ToolCase], *, k: int, n: int, seed: int) -> list[ToolCase]:
    """n merged cases of k different requests each, drawn by seed among cases that share their tools.

    Raises:
        SettingsError: k is below 2, or no list of tools has k requests.
    """
    if k < 2:
        raise SettingsError(f"k = {k}: parallel calls are two or more")
    by_tools: dict[frozenset[str], list[ToolCase]] = {}
    for case in cases:
        key = frozenset(json.dumps(tool.openai(), sort_keys=True) for tool in case.tools)
        by_tools.setdefault(key, []).append(case)
    groups = [group for group in by_tools.values() if len(group) >= k]
    if not groups:
        raise SettingsError(f"no list of tools has {k} requests; take a smaller k, or give requests one list of tools")
    rng = random.Random(seed)
    found: list[ToolCase] = []
    for _ in range(20 * n):  # a draw whose calls are the same is drawn again
        if len(found) == n:
            break
        group = rng.choices(groups, weights=[len(group) for group in groups])[0]
        try:
            found.append(merge_parallel(rng.sample(group, k)))
        except DataError as error:
            if "same call" not in str(error):
                raise
    return found


def with_distractors(case: ToolCase, pool: Sequence[Tool], *, n: int, seed: int) -> ToolCase:
    """The case with the n tools of the pool that are most like its own, in an order drawn by seed.

    ASSUMED: likeness is BM25 of name and description, where the report has embeddings (spec B.4). A tool with a name
    or a description of the case's own is never taken, so the tools that are to be called stay the only ones.
    """
    own = {tool.name for tool in case.tools}
    words = {tool.description for tool in case.tools}
    free = list({tool.name: tool for tool in pool if tool.name not in own and tool.description not in words}.values())
    if len(free) < n:
        raise SettingsError(f"the pool has {len(free)} other tools, and {n} are asked for")
    index = Bm25([_words(tool) for tool in free])
    ranked = index.rank(" ".join(_words(tool) for tool in case.tools if not case.names or tool.name in case.names))
    chosen = [free[place] for place, _ in ranked[:n]]
    rest = [tool for tool in free if tool not in chosen]
    tools = [*case.tools, *chosen, *rest[: n - len(chosen)]]
    random.Random(seed).shuffle(tools)
    return replace(case, tools=tuple(tools))


def _words(tool: Tool) -> str:
    return f"{tool.name.replace('.', ' ').replace('_', ' ')} {tool.description}"


def without_oracle(case: ToolCase) -> ToolCase:
    """The same request with its right tools taken away: no call is right any more (spec B.4, tool intent).

    Raises:
        DataError: no tool would be left, so that nothing could be called at all.
    """
    left = tuple(tool for tool in case.tools if tool.name not in case.names)
    if not left:
        raise DataError(f"{case.request[:60]!r} has no other tool than the right one; add distractors first")
    return replace(case, tools=left, gold=(), possible=(), kind="irrelevance")
