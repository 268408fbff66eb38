"""Reply forms: what a model is asked to fill in, as pydantic models, and the same as JSON schema and as words.

Strict: a number is a number or its digits in quotes, never a truth value, a word or a rounded fraction. Fields that
were not asked for are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_INTEGER = re.compile(r"\s*-?[0-9]{1,18}(\.0+)?\s*")
_TRUTHS: dict[Any, bool] = {"yes": True, "true": True, "no": False, "false": False}


class Form(BaseModel):
    """The parent of all reply forms. Each field has a description: the model reads it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


def _integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value.split(".")[0])
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def whole(low: int, high: int) -> Any:
    """The type of an integer from `low` to `high`; 7, 7.0 and "7" are seven, 7.5, "7/10" and true are refused."""
    return Annotated[int, Field(ge=low, le=high), BeforeValidator(_integer)]


def _folded(words: tuple[str, ...]) -> Callable[[Any], Any]:
    names = {word.casefold(): word for word in words}

    def fold(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return names.get(value.strip().strip("[](){}<>*_`\"'.,:").strip().casefold(), value)

    return fold


def one_of(*words: str) -> Any:
    """The type of a choice; case and marks around a word do not count."""
    return Annotated[Literal[words], BeforeValidator(_folded(words))]


def _truth(value: Any) -> Any:
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().strip(".").casefold(), value)
    if type(value) is int and value in (0, 1):
        return bool(value)
    return value


Truth = Annotated[bool, BeforeValidator(_truth)]  # true, false, their words, or 1 and 0
Words = Annotated[str, Field(min_length=1)]


@cache
def schema_of(form: type[Form]) -> dict[str, Any]:
    """The form as JSON schema: every field required, nothing else allowed, in the order of writing."""
    return _closed(form.model_json_schema())


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Only pydantic's own titles go, not a field that is called title.
    out = {key: _closed(item) for key, item in node.items() if not (key == "title" and isinstance(item, str))}
    if "properties" in out:
        out |= {"additionalProperties": False, "required": list(out["properties"])}
    return out


@cache
def told(form: type[Form]) -> str:
    """The form in words, for servers that do not enforce a schema."""
    fields = schema_of(form)["properties"]
    lines = [f'- "{name}": {_kind(node)}. {node.get("description", "")}'.rstrip() for name, node in fields.items()]
    return "Reply with one JSON object and nothing else. Its fields, in this order:\n" + "\n".join(lines)


def _kind(node: dict[str, Any]) -> str:
    if "enum" in node:
        return "one of " + ", ".join(f'"{word}"' for word in node["enum"])
    if "const" in node:
        return f'"{node["const"]}"'
    if node.get("type") == "integer":
        return f"an integer from {node['minimum']} to {node['maximum']}"
    if node.get("type") == "array":
        return f"a list; each entry is {_kind(node['items'])}"
    return {"boolean": "true or false", "string": "text"}.get(node.get("type", ""), "an object")
