"""Functions that models may call, by name: Python functions of the program's own, trusted, each with its schema."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from burnish.errors import DataError, SettingsError
from burnish.verify.tools.call import Call, Tool
from burnish.verify.tools.schema import violations
from burnish.verify.tools.signature import build, tool_from


class Registry:
    """A set of functions, their tools, and the calls of them.

        tools = Registry(get_weather, get_time)
        tools.openai()                                    # what a model is shown
        tools.invoke(Call(name="get_time", arguments={"zone": "CET"}))

    Raises:
        SettingsError: as `tool_from`, two functions have one name, or one is `async def`.
    """

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._tools: dict[str, Tool] = {}
        for function in functions:
            self.add(function)

    def add(self, function: Callable[..., Any], *, name: str = "") -> Callable[..., Any]:
        """Register a function (usable as a decorator) under its own name or another.

        Raises:
            SettingsError: as `tool_from`; the name is taken; or the function is `async def`.
        """
        if any(map(inspect.iscoroutinefunction, (function, getattr(function, "__call__", None)))):  # noqa: B004
            raise SettingsError(
                f"{name or getattr(function, '__name__', 'the function')} is `async def`, and a registry does not wait "
                "for it; register a function that calls asyncio.run(...) and returns the result"
            )
        tool = tool_from(function, name=name)
        if tool.name in self._tools:
            raise SettingsError(f"there are two functions {tool.name}; give one of them another name")
        self._functions[tool.name], self._tools[tool.name] = function, tool
        return function

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def tool(self, name: str) -> Tool:
        """The tool of this name.

        Raises:
            DataError: there is none; the message names the nearest one.
        """
        return find_tool(name, self._tools)

    def openai(self) -> list[dict[str, Any]]:
        """All tools in OpenAI's form."""
        return [tool.openai() for tool in self]

    def invoke(self, call: Call) -> Any:
        """Call the function, once its arguments are valid. What it raises goes through.

        Raises:
            DataError: there is no such function, or the arguments are not what it asks for.
        """
        tool = self.tool(call.name)
        named = bound(call, tool).arguments
        if wrong := violations(named, tool.parameters):
            raise DataError(f"{call.name}: {'; '.join(wrong[:3])}")
        function = self._functions[call.name]
        hints = typing.get_type_hints(function, include_extras=True)
        found = function(**{name: build(value, hints[name]) for name, value in named.items()})
        if inspect.iscoroutine(found):
            found.close()
            raise DataError(f"{call.name} returned a coroutine, which nobody waits for; return its result")
        return found


def find_tool(name: str, tools: Mapping[str, Tool]) -> Tool:
    """The tool of this name among several.

    Raises:
        DataError: there is none; the message names the nearest one.
    """
    if name in tools:
        return tools[name]
    near = difflib.get_close_matches(name[:100], tools, n=1, cutoff=0.0)
    raise DataError(f"there is no tool {name[:100]!r}" + (f"; the nearest is {near[0]!r}" if near else ""))


def bound(call: Call, tool: Tool) -> Call:
    """The call with all its arguments by name, in the order of the tool's properties where they had none.

    Raises:
        DataError: more arguments than the tool has, or one twice.
    """
    if not call.positional:
        return call
    names: Sequence[str] = list(tool.parameters.get("properties", {}))
    if len(call.positional) > len(names):
        raise DataError(f"{call.name}: {len(call.positional)} arguments without a name, and it has {len(names)}")
    given = dict(zip(names, call.positional, strict=False))
    twice = [name for name in given if name in call.arguments]
    if twice:
        raise DataError(f"{call.name}: the argument {twice[0]!r} is given twice")
    return Call(name=call.name, arguments={**given, **call.arguments}, id=call.id)
