"""The rows of BFCL v4 and what can be made of them: right calls, and twins with one thing wrong."""

from __future__ import annotations

import copy
import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from burnish.records import Message, Prompt, Response
from burnish.verify.tools import Call, Tool, tool_of

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
CLASSES = {
    "GorillaFileSystem": "gorilla_file_system",
    "TwitterAPI": "posting_api",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
ODD = "zzq"  # stands in no row


def rows_of(name: str) -> list[dict[str, Any]]:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds it")
    return [json.loads(line) for line in gzip.open(path, "rt", encoding="utf-8")]


@cache
def bfcl(*categories: str) -> tuple[dict[str, Any], ...]:
    return tuple(row for row in rows_of("bfcl/bfcl_v4") if row["category"] in categories)


@cache
def class_tools(name: str) -> tuple[Tool, ...]:
    return tuple(map(tool_of, rows_of(f"bfcl/multi_turn_func_doc_{CLASSES[name]}")))


def real(options: Any) -> list[Any]:
    options = options if isinstance(options, list) else [options]
    return [one for one in options if one != ""] or options


def pick(value: Any, which: int) -> Any:
    """A concrete value of a possible one: the fields of dicts hold lists of possible values."""
    if isinstance(value, dict):
        made = {}
        for name, options in value.items():
            if which and isinstance(options, list) and "" in options:
                continue
            made[name] = pick(real(options)[which % len(real(options))], which)
        return made
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return [pick(one, which) for one in value]
    return value


def right(row: dict[str, Any], which: int) -> list[Call]:
    """Calls that a row accepts: the first values with all arguments, or later values without those that may lack."""
    made = []
    for wanted in row["ground_truth"]:
        ((name, possible),) = wanted.items()
        required = next(spec for spec in row["function"] if spec["name"] == name)["parameters"]["required"]
        arguments = {}
        for argument, options in possible.items():
            if options == [""] or (which and "" in options and argument not in required):
                continue
            found = real(options) or [[]]
            arguments[argument] = pick(found[which % len(found)], which)
        made.append(Call(name=name, arguments=arguments))
    return made


def reference(row: dict[str, Any], **more: Any) -> str:
    return json.dumps({"tools": row["function"], "kind": row["category"], **more}, ensure_ascii=False)


def asked(reference: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content="q"),), checker="tools", reference=reference)


def said(*texts: str) -> Response:
    return Response(prompt="p", messages=tuple(Message(role="assistant", content=text) for text in texts))


def other_value(value: Any) -> Any:
    """A value of the same type that is another one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1017
    if isinstance(value, str):
        return value + " " + ODD
    if isinstance(value, list):
        return [*value, other_value(value[0]) if value else ODD]
    return {**value, ODD: 1} if isinstance(value, dict) else ODD


def other_type(value: Any) -> Any:
    """The value as another type: a number as text, a text as a number, a list as its text."""
    if isinstance(value, str):
        return 90817
    return json.dumps(value) if not isinstance(value, bool) else str(value)


def twins(row: dict[str, Any], calls: list[Call]) -> Iterator[tuple[str, list[Call]]]:
    """(what is wrong, the calls with it)."""
    first = calls[0]
    possible = next(iter(row["ground_truth"][0].values()))

    def with_first(**arguments: Any) -> list[Call]:
        return [Call(name=first.name, arguments=arguments), *calls[1:]]

    yield "renamed", [Call(name=first.name + "_" + ODD, arguments=first.arguments), *calls[1:]]
    wanted = {name for one in row["ground_truth"] for name in one}
    for spec in row["function"]:
        if spec["name"] not in wanted:
            yield "other tool", [Call(name=spec["name"], arguments=first.arguments), *calls[1:]]
            break
    yield "extra call", [*calls, first]
    yield "no call", []
    if len(calls) > 1:
        yield "a call less", calls[1:]
        yield "one call twice", [*calls[:-1], calls[0]] if calls[-1] != calls[0] else calls[1:]
    yield "extra argument", with_first(**first.arguments, **{ODD: 1})
    for name, value in first.arguments.items():
        left = {one: copy.deepcopy(v) for one, v in first.arguments.items() if one != name}
        options = possible[name]
        if "" not in options:
            yield "dropped argument", with_first(**left)
        if other_value(value) not in options:
            yield "changed argument", with_first(**{**left, name: other_value(value)})
        if other_type(value) not in options:
            yield "changed type", with_first(**{**left, name: other_type(value)})
