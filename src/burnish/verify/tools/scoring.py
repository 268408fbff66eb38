"""One response against what was wanted, and many responses as numbers: accuracy by kind, precision and recall of
calls, valid share, restraint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.errors import DataError
from burnish.verify.tools.call import Call, Parsed, Tool
from burnish.verify.tools.matching import Difference, call_violations, match_call, pair_up, same_call


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is right: exactly one of these.

    Args:
        possible: possible answers (BFCL), one for each call, in any order.
        gold: exact calls; `turns` of them, one group a message, in the order of the messages.
        any_call: some valid call, whichever (BFCL's live relevance).

    With none of them set, no call is right.
    """

    possible: tuple[Mapping[str, Any], ...] = ()
    gold: tuple[Call, ...] = ()
    turns: tuple[tuple[Call, ...], ...] = ()
    any_call: bool = False

    @property
    def calls(self) -> int:
        """How many calls are wanted (1 where any will do)."""
        return len(self.possible) or len(self.gold) or sum(map(len, self.turns)) or int(self.any_call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A response's calls against those wanted.

    Args:
        difference: the first thing that is wrong; None when the response is right.
        unreadable: why a call could not be read; empty when all could.
        made: calls made and read; wanted: calls wanted; matched: pairs of them.
        valid: how many calls the schemas find valid.
        tools: how many tools the model was shown.
        selected: whether the names of the calls made are those wanted, as often each.
    """

    kind: str
    correct: bool
    difference: Difference | None = None
    unreadable: str = ""
    made: int = 0
    wanted: int = 0
    matched: int = 0
    valid: int = 0
    tools: int = 0
    selected: bool = False

    @property
    def reason(self) -> str:
        """One line for a verdict."""
        if self.unreadable:
            return self.unreadable
        if self.difference:
            return str(self.difference)
        return f"{self.made} calls as wanted" if self.wanted else "no call, as wanted"


def score(parsed: Sequence[Parsed], wanted: Wanted, tools: Sequence[Tool], *, kind: str = "") -> Scored:
    """Judge the calls of a response, one `Parsed` a message.

    A call that cannot be read makes the response wrong: what the model meant is not guessed at.

    Raises:
        DataError: what is wanted is no possible answer, or of a tool that is not there.
    """
    by_name = {tool.name: tool for tool in tools}
    calls = [call for one in parsed for call in one.calls]
    failure = next((str(one) for each in parsed for one in each.failures), "")
    broken = [call_violations(call, by_name) for call in calls]
    matched, difference = _compare(parsed, calls, wanted, by_name)
    if wanted.any_call and not difference and any(broken):
        difference = Difference(kind="schema", detail=next(one[0] for one in broken if one))
    return Scored(
        kind=kind,
        correct=not failure and difference is None,
        difference=difference,
        unreadable=failure,
        made=len(calls),
        wanted=wanted.calls,
        matched=matched,
        valid=sum(not one for one in broken),
        tools=len(by_name),
        selected=not failure and sorted(call.name for call in calls) == sorted(_names(wanted)),
    )


def _names(wanted: Wanted) -> list[str]:
    gold = [call.name for call in wanted.gold] + [call.name for turn in wanted.turns for call in turn]
    return gold + [name for one in wanted.possible for name in one]


def _compare(
    parsed: Sequence[Parsed], calls: Sequence[Call], wanted: Wanted, tools: Mapping[str, Tool]
) -> tuple[int, Difference | None]:
    for name in _names(wanted):
        if name not in tools:
            raise DataError(f"the reference wants {name!r}, which is not among its tools")
    if wanted.turns:
        return _by_turns([one.calls for one in parsed if one.calls], wanted.turns, tools)
    if wanted.any_call:
        return min(len(calls), 1), None if calls else Difference(kind="count", detail="no call, and one is wanted")
    if wanted.possible:
        found, wrong = pair_up(calls, wanted.possible, lambda c, one: match_call(c, one, tools[next(iter(one), "")]))
    else:
        found, wrong = pair_up(calls, wanted.gold, lambda call, gold: same_call(call, gold, tools[gold.name]))
    return sum(place is not None for place in found), wrong


def _by_turns(
    made: Sequence[Sequence[Call]], turns: Sequence[Sequence[Call]], tools: Mapping[str, Tool]
) -> tuple[int, Difference | None]:
    """Message by message: the calls of one message in any order, the messages in theirs."""
    matched, first = 0, None
    full = [turn for turn in turns if turn]
    for calls, gold in zip(made, full, strict=False):
        found, wrong = pair_up(calls, gold, lambda call, one: same_call(call, one, tools[one.name]))
        matched += sum(place is not None for place in found)
        first = first or wrong
    if first is None and len(made) != len(full):
        first = Difference(kind="count", detail=f"{len(made)} messages with calls, and {len(full)} are wanted")
    return matched, first


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMetrics:
    """Many responses. A share is None where there is nothing to count.

    Args:
        accuracy: kind -> (right, responses).
        precision: matched calls among those made; recall: among those wanted.
        valid: calls that their schema finds valid, among those made.
        unreadable: responses with a call that cannot be read.
        restraint: (without a call, responses) where no call is right; 1 minus this is the false-trigger rate.
        selection: number of tools shown -> (right names, responses), where calls are wanted.
    """

    accuracy: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    precision: float | None = None
    recall: float | None = None
    valid: float | None = None
    unreadable: int = 0
    restraint: tuple[int, int] = (0, 0)
    selection: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def metrics(scored: Iterable[Scored]) -> CallMetrics:
    """The numbers of many responses."""
    rows = list(scored)
    by_kind: dict[str, list[bool]] = defaultdict(list)
    by_tools: dict[int, list[bool]] = defaultdict(list)
    for row in rows:
        by_kind[row.kind].append(row.correct)
        if row.wanted:
            by_tools[row.tools].append(row.selected)
    still = [row.correct for row in rows if not row.wanted]
    made, matched = sum(row.made for row in rows), sum(row.matched for row in rows)
    wanted = sum(row.wanted for row in rows)
    return CallMetrics(
        accuracy={kind: (sum(found), len(found)) for kind, found in sorted(by_kind.items())},
        precision=matched / made if made else None,
        recall=matched / wanted if wanted else None,
        valid=sum(row.valid for row in rows) / made if made else None,
        unreadable=sum(bool(row.unreadable) for row in rows),
        restraint=(sum(still), len(still)),
        selection={count: (sum(found), len(found)) for count, found in sorted(by_tools.items())},
    )
