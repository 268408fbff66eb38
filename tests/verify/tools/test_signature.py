"""Python functions as tools: schemas, words, refusals, and values built back."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict

import pytest

from burnish.errors import DataError, SettingsError
from burnish.verify.tools import Call, Registry, tool_from, tool_of
from burnish.verify.tools.signature import docstring, schema_of


class Unit(enum.Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


@dataclass(frozen=True)
class Place:
    """A place.

    Args:
        name: what people call it.
    """

    name: str
    size: tuple[float, float] = (0.0, 0.0)
    tags: list[str] = field(default_factory=list)


class Stop(TypedDict):
    place: Place
    nights: NotRequired[int]


def travel(
    route: list[Stop],
    unit: Unit = Unit.METRIC,
    mode: Literal["train", "car", 3] = "train",
    budget: Optional[float] = None,  # noqa: UP045  the old form is read as well
    notes: dict[str, int] | None = None,
    seats: Annotated[int, "how many people"] = 1,
    skip: set[str] = frozenset(),  # type: ignore[assignment]
) -> str:
    """Plan a journey.

    It may take a while.

    Args:
        route: the stops, in order;
            two or more.
        unit (Unit): of distances.

    Returns:
        A plan.
    """
    assert isinstance(unit, Unit) and isinstance(route[0]["place"], Place) and isinstance(skip, (set, frozenset))
    return (
        f"{route[0]['place'].name} {route[0]['place'].size} {unit.name} {mode} {budget} {notes} {seats} {sorted(skip)}"
    )


def test_a_signature_becomes_a_schema() -> None:
    tool = tool_from(travel)
    place = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "what people call it."},
            "size": {"type": "array", "prefixItems": [{"type": "number"}] * 2, "items": False, "minItems": 2,
                     "default": [0.0, 0.0]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }  # fmt: skip
    assert tool.description == "Plan a journey.\n\nIt may take a while."
    assert tool.parameters["required"] == ["route"]
    assert tool.parameters["properties"] == {
        "route": {
            "type": "array",
            "items": {"type": "object", "properties": {"place": place, "nights": {"type": "integer"}},
                      "required": ["place"], "additionalProperties": False},
            "description": "the stops, in order; two or more.",
        },
        "unit": {"type": "string", "enum": ["metric", "imperial"], "description": "of distances.", "default": "metric"},
        "mode": {"type": ["string", "integer"], "enum": ["train", "car", 3], "default": "train"},
        "budget": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "notes": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}],
                  "default": None},
        "seats": {"type": "integer", "description": "how many people", "default": 1},
        "skip": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "default": []},
    }  # fmt: skip
    assert tool_of(tool.openai()) == tool
    assert tool.openai()["type"] == "function"


def test_values_are_built_back() -> None:
    call = Call(
        name="travel",
        arguments={
            "route": [{"place": {"name": "Bern", "size": [1, 2]}}],
            "unit": "imperial",
            "budget": 7,
            "notes": {"a": 1},
            "skip": ["b", "a"],
        },
    )
    assert Registry(travel).invoke(call) == "Bern (1.0, 2.0) IMPERIAL train 7.0 {'a': 1} 1 ['a', 'b']"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "value.route is missing"),
        ({"route": [], "zzq": 1}, "value.zzq must not be there"),
        ({"route": [{"place": {}}]}, r"value.route\[0\].place.name is missing"),
        ({"route": [], "unit": "mile"}, r"value.unit must be one of \['metric', 'imperial'\]"),
        ({"route": [], "seats": True}, "value.seats must be of type integer, and is boolean"),
        ({"route": [], "budget": "1"}, "value.budget must fit one of `anyOf`"),
        ({"route": [], "skip": ["a", "a"]}, "value.skip must not hold equal items"),
        ({"route": [{"place": {"name": "x", "size": [1, 2, 3]}}]}, r"size\[2\] must not be there"),
    ],
)
def test_calls_that_do_not_fit_are_refused(arguments: dict[str, Any], wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        Registry(travel).invoke(Call(name="travel", arguments=arguments))


def bare(a, b: int) -> None:  # type: ignore[no-untyped-def]
    """Do."""


def silent(a: int) -> None: ...


def stars(*a: int) -> None:
    """Do."""


def bytes_(a: bytes) -> None:
    """Do."""


def keys(a: dict[int, str]) -> None:
    """Do."""


def told(a: int) -> None:
    """Do.

    Args:
        b: what is not there.
    """


def default(a: Any = object()) -> None:  # noqa: B008
    """Do."""


@dataclass
class Knot:
    """Holds itself."""

    inner: Knot


def knot(a: Knot) -> None:
    """Do."""


def unknown(a: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do."""


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (bare, "the function bare: the argument a has no type"),
        (silent, "the function silent has no docstring"),
        (stars, "the function stars: the argument a must be one that can be given by name"),
        (bytes_, "the function bytes_: the argument a has the type bytes, which JSON cannot say"),
        (keys, "the function keys: the argument a: the keys of a dict must be str"),
        (told, "the docstring of told tells of 'b', which is no argument"),
        (default, "the argument a has a default of type object"),
        (knot, "the function knot: the argument a.* a type may not hold itself"),
        (unknown, "the types of unknown cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_by_name(function: Any, wrong: str) -> None:
    with pytest.raises(SettingsError, match=wrong):
        tool_from(function)


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(SettingsError, match="two functions travel"):
        Registry(travel, travel)
    registry = Registry(travel)
    registry.add(travel, name="go")
    assert [tool.name for tool in registry] == ["travel", "go"] and "go" in registry and len(registry) == 2
    with pytest.raises(DataError, match="there is no tool 'gone'; the nearest is 'go'"):
        registry.tool("gone")


def test_docstrings_of_both_styles() -> None:
    google = "Sum up.\n\nArgs:\n    a (int): first: the one.\n        More of it.\n    *b: rest\n\nRaises:\n    x: no"
    numpy = (
        "Sum up.\n\nParameters\n----------\na : int\n    first: the one.\n    More of it.\n*b\n    rest\n\n"
        "Returns\n-------\nint"
    )
    for text in (google, numpy):
        assert docstring(text) == ("Sum up.", {"a": "first: the one. More of it.", "b": "rest"})
    assert docstring("Only this.\n\nReturns:\n    x: y") == ("Only this.", {})
    assert docstring("") == ("", {})


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Any, {}),
        (None, {"type": "null"}),
        (list, {"type": "array"}),
        (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
        (Mapping[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (dict, {"type": "object"}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    ],
)
def test_types(kind: Any, schema: dict[str, Any]) -> None:
    assert schema_of(kind) == schema
