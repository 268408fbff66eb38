"""Parallel calls merged from single ones, distractors, restraint (spec B.4)."""

from __future__ import annotations

import itertools

import pytest

from burnish.errors import DataError, SettingsError
from burnish.verify.tools import (
    Call,
    ToolCase,
    ToolsChecker,
    call_violations,
    draw_parallel,
    merge_parallel,
    render_calls,
    tool_of,
    with_distractors,
    without_oracle,
)
from burnish.verify.tools.cases import check_case
from tests.verify.tools.bfcl import bfcl, right, said

WEATHER = tool_of({"name": "weather", "description": "The weather of a city today.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string", "default": "C"}},
    "required": ["city"]}})  # fmt: skip
CLOCK = tool_of({"name": "clock", "description": "The time in a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})  # fmt: skip


def single(name: str, city: str) -> ToolCase:
    return ToolCase(
        request=f"{name} in {city}?", tools=(WEATHER, CLOCK), gold=(Call(name=name, arguments={"city": city}),)
    )


def test_k_single_requests_become_one_with_k_calls() -> None:
    cases = [single("weather", "Bern"), single("clock", "Rome"), single("weather", "Oslo")]
    merged = merge_parallel(cases)
    check_case(merged)
    assert merged.request == "weather in Bern?\nclock in Rome?\nweather in Oslo?"
    assert len(merged.gold) == 3 and merged.kind == "parallel"
    prompt = merged.prompt()
    for order in itertools.permutations(merged.gold):
        assert ToolsChecker().check(prompt, said(render_calls(order, "hermes"))).correct is True
    with_default = [Call(name=c.name, arguments={**c.arguments, **({"unit": "C"} if c.name == "weather" else {})})
                    for c in merged.gold]  # fmt: skip
    assert ToolsChecker().check(prompt, said(render_calls(with_default, "hermes"))).correct is True
    for lost in range(3):
        left = [call for place, call in enumerate(merged.gold) if place != lost]
        assert ToolsChecker().check(prompt, said(render_calls(left, "hermes"))).correct is False
        twice = [*left, left[0]]
        assert ToolsChecker().check(prompt, said(render_calls(twice, "hermes"))).correct is False


def test_what_cannot_be_merged_is_refused() -> None:
    one = single("weather", "Bern")
    other = ToolCase(request="x", tools=(WEATHER,), gold=one.gold)
    bad = ToolCase(request="x", tools=one.tools, gold=(Call(name="weather", arguments={"town": "Bern"}),))
    for cases, wrong in (
        ([one], "two requests or more"),
        ([one, merge_parallel([one, single("clock", "Bern")])], "has not one call"),
        ([one, other], "has other tools than the first"),
        ([one, single("weather", "Bern")], "ask for the same call"),
        ([one, bad], "is not valid: weather: value.city is missing"),
        (
            [one, ToolCase(request="x", tools=one.tools, possible=({"clock": {"city": ["Rome"]}},))],
            "some of the requests",
        ),
    ):
        with pytest.raises(DataError, match=wrong):
            merge_parallel(cases)


def test_drawn_merges_are_a_function_of_the_seed() -> None:
    cities = ("Bern", "Rome", "Oslo", "Wien")
    cases = [single(name, city) for name in ("weather", "clock") for city in cities]
    found = draw_parallel(cases, k=3, n=20, seed=1)
    assert found == draw_parallel(cases, k=3, n=20, seed=1) != draw_parallel(cases, k=3, n=20, seed=2)
    assert len(found) == 20 and all(len(case.gold) == len(set(map(str, case.gold))) == 3 for case in found)
    for case in found:
        tools = {tool.name: tool for tool in case.tools}
        assert not [wrong for call in case.gold for wrong in call_violations(call, tools)]
    with pytest.raises(SettingsError, match="no list of tools has 9 requests"):
        draw_parallel(cases, k=9, n=1, seed=0)
    with pytest.raises(SettingsError, match="two or more"):
        draw_parallel(cases, k=1, n=1, seed=0)


def test_real_rows_merge() -> None:
    """Single calls of BFCL over one list of tools: every merged set of calls is right in any order."""
    cases = []
    for row in bfcl("live_multiple", "live_simple"):
        tools = tuple(map(tool_of, row["function"]))
        cases.append(
            (ToolCase(request=row["question"][0][-1]["content"], tools=tools, possible=tuple(row["ground_truth"])), row)
        )
    by_request = {case.request: row for case, row in cases}
    merged = draw_parallel([case for case, _ in cases], k=3, n=30, seed=0)
    assert len(merged) == 30
    for case in merged:
        parts = [by_request[request.request] for request in (c for c, _ in cases) if request.request in case.request]
        assert len(parts) >= 3
        calls = [right(row, 0)[0] for row in parts if row["ground_truth"][0] in case.possible][:3]
        assert ToolsChecker().check(case.prompt(), said(render_calls(calls[::-1], "openai"))).correct is True
        assert ToolsChecker().check(case.prompt(), said(render_calls(calls[:2], "openai"))).correct is False


def test_distractors_are_the_nearest_and_never_the_oracle() -> None:
    pool = [
        CLOCK,
        WEATHER,
        tool_of({"name": "forecast", "description": "The weather of a city tomorrow."}),
        tool_of({"name": "tax", "description": "Work out what is owed."}),
        tool_of({"name": "twin", "description": WEATHER.description}),
    ]
    case = ToolCase(
        request="Is it wet in Bern?", tools=(WEATHER,), gold=(Call(name="weather", arguments={"city": "Bern"}),)
    )
    found = with_distractors(case, pool, n=2, seed=3)
    assert {tool.name for tool in found.tools} == {"weather", "forecast", "clock"}
    orders = {tuple(tool.name for tool in with_distractors(case, pool, n=2, seed=seed).tools) for seed in range(20)}
    assert len(orders) > 2
    check_case(found)
    with pytest.raises(SettingsError, match="the pool has 3 other tools, and 4 are asked for"):
        with_distractors(case, pool, n=4, seed=0)
    # The right tool among others: the wrong one is no match.
    for name, correct in (("weather", True), ("clock", False)):
        text = render_calls([Call(name=name, arguments={"city": "Bern"})], "glm4")
        assert ToolsChecker().check(found.prompt(), said(text)).correct is correct


def test_without_its_oracle_a_request_wants_no_call() -> None:
    case = with_distractors(single("weather", "Bern"), [tool_of({"name": "tax", "description": "t"})], n=1, seed=0)
    bare = without_oracle(case)
    assert {tool.name for tool in bare.tools} == {"clock", "tax"} and bare.kind == "irrelevance"
    assert ToolsChecker().check(bare.prompt(), said("I cannot tell.")).correct is True
    assert ToolsChecker().check(bare.prompt(), said("[clock(city='Bern')]")).correct is False
    with pytest.raises(DataError, match="no other tool than the right one"):
        without_oracle(ToolCase(request="x", tools=(WEATHER,), gold=(Call(name="weather", arguments={"city": "a"}),)))
