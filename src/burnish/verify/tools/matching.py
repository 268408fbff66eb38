"""Whether calls are the ones that were wanted: against lists of possible answers as BFCL has them, against gold
calls, and by what they give when run.

A possible answer is {"function": {"argument": [value, ...]}}: each argument lists the values that are right, and ""
in the list means that it may be left out (Berkeley Function Calling Leaderboard v4, its AST evaluation).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.verify.schema import kind_of, same
from burnish.verify.tools.call import Call, Tool
from burnish.verify.tools.registry import Registry, bound
from burnish.verify.tools.runner import run_call
from burnish.verify.tools.schema import violations

KINDS = ("count", "name", "missing", "unexpected", "type", "value", "schema", "execution")
_LOOSE = re.compile(r"[ ,./\-_*^]")

PossibleAnswer = Mapping[str, Mapping[str, Sequence[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is wrong with a call: one of `KINDS`, and words that name the argument."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def normal_text(text: str) -> str:
    """A text as BFCL compares it: small letters, without blanks and , . / - _ * ^, and with one kind of quote."""
    return _LOOSE.sub("", text).lower().replace("'", '"')


def alike(value: Any, wanted: Any) -> bool:
    """Equal, texts by `normal_text`, through lists and dicts. A number is never a truth value.

    DEVIATION: BFCL compares lists inside lists exactly; here their texts are normalised too.
    """
    if isinstance(value, str) and isinstance(wanted, str):
        return normal_text(value) == normal_text(wanted)
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(value) == len(wanted) and all(map(alike, value, wanted))
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return value.keys() == wanted.keys() and all(alike(value[name], wanted[name]) for name in value)
    return same(value, wanted)


def _omissible(options: Any) -> bool:
    return isinstance(options, list) and any(isinstance(one, str) and not one for one in options)


def _options(options: Any) -> list[Any]:
    return options if isinstance(options, list) else [options]


def _fits(value: Any, wanted: Any) -> bool:
    """A value against one possible value; the fields of a wanted dict are lists of possible values again."""
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        lost = [name for name in wanted if name not in value and not _omissible(wanted[name])]
        known = all(name in wanted for name in value)
        return known and not lost and all(_any_fits(value[name], wanted[name]) for name in value)
    dicts = isinstance(wanted, (list, tuple)) and any(isinstance(one, Mapping) for one in wanted)
    if dicts and isinstance(value, (list, tuple)):
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    return alike(value, wanted)


def _any_fits(value: Any, options: Any) -> bool:
    # DEVIATION: no value at all is possible in two rows of BFCL v4 (live_simple); read as the empty list, which is
    # what their type and their request ask for.
    return any(_fits(value, one) for one in _options(options)) or (options == [] and alike(value, []))


def _typed(value: Any, schema: Mapping[str, Any], options: Sequence[Any]) -> bool:
    """BFCL's rule of types: the declared one (an integer will do for a number, not the other way round), or else the
    type of the possible answers, which stand for a variable where the two differ."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    found = kind_of(value)
    if not types or found in types or (found == "integer" and "number" in types):
        inner = schema.get("items")
        if found != "array" or not isinstance(inner, Mapping) or not inner.get("type"):
            return True
        # A list's items have the declared type, or that of some possible list's items.
        lists = [one for one in options if isinstance(one, (list, tuple))]
        return all(_typed(item, inner, [part for one in lists for part in one]) for item in value)
    return any(kind_of(one) == found for one in options if one != "")


def match_call(call: Call, wanted: PossibleAnswer, tool: Tool) -> Difference | None:
    """What is wrong with a call, by BFCL's rules; None when nothing is.

    Args:
        wanted: one function and its possible arguments.
        tool: the function's description.

    Raises:
        DataError: `wanted` is no possible answer.
    """
    name, possible = _one(wanted)
    if call.name != name:
        return Difference(kind="name", detail=f"{call.name[:60]!r} is called, not {name!r}")
    try:
        given = bound(call, tool).arguments
    except DataError as error:
        return Difference(kind="unexpected", detail=str(error))
    properties = tool.parameters.get("properties", {})
    for argument in tool.parameters.get("required", ()):
        if argument not in given:
            return Difference(kind="missing", detail=f"{name} needs {argument!r}")
    for argument, value in given.items():
        if argument not in properties or argument not in possible:
            return Difference(kind="unexpected", detail=f"{name} is given {argument[:60]!r}")
        if isinstance(value, Call):
            return Difference(kind="type", detail=f"{argument!r} is a call; its result is not known here")
        options = _options(possible[argument])
        if not _typed(value, properties[argument], options):
            declared = properties[argument].get("type", "any")
            return Difference(kind="type", detail=f"{argument!r} is {kind_of(value)}, not {declared}")
        if not _any_fits(value, options):
            return Difference(kind="value", detail=f"{argument!r} is {_shown(value)}, not one of {_shown(options)}")
    for argument, options in possible.items():
        if argument not in given and not _omissible(options):
            return Difference(kind="missing", detail=f"{name} is not given {argument!r}")
    return None


def _one(wanted: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(wanted, Mapping) or len(wanted) != 1 or not isinstance(next(iter(wanted.values())), Mapping):
        raise DataError(f"a possible answer is {{function: {{argument: [values]}}}}, found {_shown(wanted)}")
    return next(iter(wanted.items()))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def pair_up(
    calls: Sequence[Call], wanted: Sequence[Any], differ: Callable[[Call, Any], Difference | None]
) -> tuple[list[int | None], Difference | None]:
    """For each wanted call the place of the call that meets it, or None; and the first thing that is wrong.

    The order of calls does not matter, and as many as possible are paired: a call that fits two is not wasted on the
    one that another could meet.
    """
    wrong = [[differ(call, one) for call in calls] for one in wanted]
    partner: dict[int, int] = {}  # call -> wanted

    def seek(one: int, seen: set[int]) -> bool:
        for place in range(len(calls)):
            if wrong[one][place] is None and place not in seen:
                seen.add(place)
                if place not in partner or seek(partner[place], seen):
                    partner[place] = one
                    return True
        return False

    for one in range(len(wanted)):
        seek(one, set())
    found: list[int | None] = [None] * len(wanted)
    for place, one in partner.items():
        found[one] = place
    if len(calls) != len(wanted):
        return found, Difference(kind="count", detail=f"{len(calls)} calls, and {len(wanted)} are wanted")
    lost = next((one for one, place in enumerate(found) if place is None), None)
    if lost is None:
        return found, None
    free = [place for place in range(len(calls)) if place not in partner]
    reasons = [wrong[lost][place] for place in free or range(len(calls))]
    # The nearest call says most: one whose name is right before one of another function.
    return found, next((one for one in reasons if one is not None and one.kind != "name"), reasons[0])


def same_call(call: Call, gold: Call, tool: Tool) -> Difference | None:
    """Exact match with a gold call: the order of arguments does not matter, and a default may be given or left out."""
    if call.name != gold.name:
        return Difference(kind="name", detail=f"{call.name[:60]!r} is called, not {gold.name!r}")
    try:
        given, wanted = _filled(call, tool), _filled(gold, tool)
    except DataError as error:
        return Difference(kind="unexpected", detail=str(error))
    for name in wanted:
        if name not in given:
            return Difference(kind="missing", detail=f"{gold.name} is not given {name!r}")
    for name, value in given.items():
        if name not in wanted:
            return Difference(kind="unexpected", detail=f"{gold.name} is given {name[:60]!r}")
        if not _same_value(value, wanted[name], tool.parameters.get("properties", {}).get(name, {})):
            return Difference(kind="value", detail=f"{name!r} is {_shown(value)}, not {_shown(wanted[name])}")
    return None


def _same_value(value: Any, wanted: Any, schema: Mapping[str, Any]) -> bool:
    if schema.get("type") == "integer" and kind_of(value) != kind_of(wanted):
        return False  # 2.0 where 2 is wanted
    return same(value, wanted)


def _filled(call: Call, tool: Tool) -> dict[str, Any]:
    known = tool.parameters.get("properties", {})
    defaults = {name: one["default"] for name, one in known.items() if "default" in one}
    return {**defaults, **bound(call, tool).arguments}


def call_violations(call: Call, tools: Mapping[str, Tool]) -> list[str]:
    """What the schema of its tool finds wrong with a call; an unknown tool is the first thing."""
    if call.name not in tools:
        return [f"there is no tool {call.name[:60]!r}"]
    try:
        given = bound(call, tools[call.name]).arguments
    except DataError as error:
        return [str(error)]
    schema = tools[call.name].parameters
    if "additionalProperties" not in schema:  # a schema that says nothing of other arguments has none
        schema = {**schema, "additionalProperties": False}
    return [f"{call.name}: {one}" for one in violations(given, schema)]


def same_result(call: Call, gold: Call, registry: Registry, *, seconds: float = 10.0) -> Difference | None:
    """Execution match: both calls run and give one value (BFCL's executable category, which v4 no longer has)."""
    wanted, given = (run_call(one, registry, seconds=seconds) for one in (gold, call))
    if wanted.error:
        raise DataError(f"the gold call of {gold.name} fails: {wanted.error}")
    if given.error:
        return Difference(kind="execution", detail=given.error)
    if not _equal(given.value, wanted.value):
        return Difference(kind="execution", detail=f"gives {_shown(given.value)}, not {_shown(wanted.value)}")
    return None


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)) and not isinstance(other, bool):
        return abs(one - other) <= 1e-9 * max(1.0, abs(other))
    return same(one, other)
