"""Calls written in any of the syntaxes; `syntaxes.parse_calls` gives them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.errors import SettingsError
from burnish.verify.tools.call import Call
from burnish.verify.tools.literals import python_name, write_json, write_python
from burnish.verify.tools.syntaxes import ASSISTANT, BROWSER, INTERPRETER, PYTHON_TAG, SEARCHES, SYNTAXES, TAGS


def _flat(call: Call, syntax: str) -> dict[str, Any]:
    """The arguments of a call for a syntax of JSON.

    Raises:
        SettingsError: it has what JSON cannot say.
    """
    if call.positional or nested(call):
        what = "arguments without a name" if call.positional else "a call among its arguments"
        raise SettingsError(
            f"the call of {call.name} has {what}, which the syntax {syntax} cannot write; use pythonic, or bind the "
            "arguments and run the inner call first (runner.unnested)"
        )
    return dict(call.arguments)


def nested(value: Any) -> bool:
    if isinstance(value, Call):
        value = value.arguments
    if isinstance(value, dict):
        return any(isinstance(item, Call) or nested(item) for item in value.values())
    return isinstance(value, (list, tuple)) and any(isinstance(item, Call) or nested(item) for item in value)


def render_calls(calls: Sequence[Call], syntax: str, *, said: str = "") -> str:
    """Calls as a model of this syntax writes them; `parse_calls` gives them back (tuples as lists, from JSON).

    Args:
        said: text before the calls, where the syntax has room for it (hermes, function, llama3 by its tag).

    Raises:
        SettingsError: the syntax is unknown, or cannot write such a call.
    """
    if syntax not in SYNTAXES:
        raise SettingsError(f"there is no call syntax {syntax!r}; there are {', '.join(SYNTAXES)}")
    if said and syntax not in ("hermes", "function", "llama3"):
        raise SettingsError(f"the syntax {syntax} has no room for text beside the calls")
    if syntax == "pythonic":
        for call in calls:
            if not python_name(call.name):
                raise SettingsError(f"{call.name!r} is no name in Python; use another syntax")
        return "[" + ", ".join(map(write_python, calls)) + "]"
    body = _WRITERS[syntax](calls)
    return f"{said}\n{body}" if said else body


def _write_llama3(calls: Sequence[Call]) -> str:
    if len(calls) == 1 and calls[0].name == INTERPRETER and set(calls[0].arguments) == {"code"}:
        return PYTHON_TAG + str(calls[0].arguments["code"])
    if len(calls) == 1 and calls[0].name in SEARCHES:
        inner = Call(name=f"{calls[0].name}.call", arguments=calls[0].arguments, positional=calls[0].positional)
        return PYTHON_TAG + write_python(inner)
    return PYTHON_TAG + "; ".join(
        write_json({"name": call.name, "parameters": _flat(call, "llama3")}) for call in calls
    )


def _write_json(calls: Sequence[Call]) -> str:
    found = [{"name": call.name, "parameters": _flat(call, "json")} for call in calls]
    return write_json(found[0] if len(found) == 1 else found)


def _write_openai(calls: Sequence[Call]) -> str:
    return write_json(
        [
            {
                "id": call.id or f"call_{place}",
                "type": "function",
                "function": {"name": call.name, "arguments": write_json(_flat(call, "openai"))},
            }
            for place, call in enumerate(calls, 1)
        ]
    )


def _write_glm4(calls: Sequence[Call]) -> str:
    # ASSUMED: several calls follow one another as messages do, each with the assistant's mark before it.
    return ASSISTANT.join(_one_glm4(call) for call in calls)


def _one_glm4(call: Call) -> str:
    if call.name == INTERPRETER and set(call.arguments) == {"code"}:
        return f"{INTERPRETER}\n{call.arguments['code']}"
    if call.name.startswith(BROWSER + "."):
        inner = Call(name=call.name.removeprefix(BROWSER + "."), arguments=call.arguments, positional=call.positional)
        return f"{BROWSER}\n{write_python(inner)}"
    return f"{call.name}\n{write_json(_flat(call, 'glm4'))}"


def _write_hermes(calls: Sequence[Call]) -> str:
    bodies = [write_json({"name": call.name, "arguments": _flat(call, "hermes")}) for call in calls]
    return "\n".join(f"{TAGS[0]}\n{body}\n{TAGS[1]}" for body in bodies)


def _write_function(calls: Sequence[Call]) -> str:
    bodies = [(call.name, write_json(_flat(call, "function"))) for call in calls]
    return "".join(f"<function={name}>{body}</function>" for name, body in bodies)


_WRITERS: dict[str, Callable[[Sequence[Call]], str]] = {
    "llama3": _write_llama3,
    "json": _write_json,
    "openai": _write_openai,
    "glm4": _write_glm4,
    "hermes": _write_hermes,
    "function": _write_function,
}
