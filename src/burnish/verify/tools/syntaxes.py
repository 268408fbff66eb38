"""How models write calls, read and written.

llama3      <|python_tag|>{"name": "f", "parameters": {...}}, brave_search.call(query="..."), or a program for the
            interpreter (Llama 3 §4.3.5 and its released format; spec §3.2)
json        the same without the tag: zero-shot JSON, one object, several, or a list
pythonic    [f(a=1), g(b=h(c=2))] (Llama 3.2 and BFCL's prompt form); the only one with nested calls
glm4        the name on one line, JSON or code beneath (GLM-4, spec G17)
openai      [{"id": "...", "type": "function", "function": {"name": "f", "arguments": "{...}"}}]
hermes      <tool_call>{"name": "f", "arguments": {...}}</tool_call> (Hermes, Qwen)
function    <function=f>{...}</function> (Llama 3's custom tools)

Nothing is guessed: what looks like a call and cannot be read whole is a `CallFailure`, and prose is no call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from burnish.errors import SettingsError
from burnish.records import Message
from burnish.verify.tools import literals
from burnish.verify.tools.call import Call, CallFailure, Parsed, Unreadable

PYTHON_TAG = "<|python_tag|>"
SEARCHES = ("brave_search", "wolfram_alpha")  # Llama 3's tools that are called by `name.call(...)`
INTERPRETER = "python"  # the name of a call whose one argument is a program, `code`
BROWSER = "simple_browser"
ASSISTANT = "<|assistant|>"
ENDS = ("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|observation|>", "<|user|>", "<|endoftext|>", "<|end_of_text|>")
_THINKING = re.compile(r"\s*<think>.*?</think>", re.S)
_FENCE = re.compile(r"```(?:json|python|py|tool_call|tool_code)?[^\S\n]*\n(.*?)\n?```", re.S)
TAGS = ("<tool_call>", "</tool_call>")
_BETWEEN = re.compile(r"[\s;,]*")  # what stands between calls that follow one another
_FUNCTION = re.compile(r"<function=([^<>\n]{0,200})>")
_OBJECT = re.compile(r"""\s*\{\s*["'}]""")
_CALL = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\s*\(")
_CALL_WORDS = re.compile(r"""["'](?:name|function|tool_calls|function_call)["']\s*:""")


def _named(name: Any) -> str:
    if not isinstance(name, str) or not literals.NAME.fullmatch(name.strip()):
        raise Unreadable("name", f"{str(name)[:40]!r} is no name of a function")
    return name.strip()


def _arguments(value: Any) -> dict[str, Any]:
    """An object, or the text of one, as OpenAI's form has it; an empty text means no arguments."""
    if isinstance(value, str):
        value = literals.read_json(value) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("shape", f"the arguments are a {type(value).__name__} and must be an object")
    if any(isinstance(item, Call) for item in value.values()):
        raise Unreadable("literal", "a call stands inside JSON")
    return value


def _of_object(value: Any) -> Call:
    """{"name", "parameters" | "arguments"}, with or without {"type": "function", "function": ...} around it."""
    if not isinstance(value, dict):
        raise Unreadable("shape", f"a {type(value).__name__} is no call")
    if isinstance(inner := value.get("function"), dict):
        return Call(name=_named(inner.get("name")), arguments=_given(inner), id=str(value.get("id") or ""))
    if "name" not in value:
        raise Unreadable("shape", f"an object with {', '.join(map(str, value))[:80] or 'nothing'} is no call")
    return Call(name=_named(value["name"]), arguments=_given(value), id=str(value.get("id") or ""))


def _given(value: dict[str, Any]) -> dict[str, Any]:
    have = [name for name in ("parameters", "arguments") if name in value]
    if len(have) != 1:
        raise Unreadable("shape", "a call has one of parameters and arguments" + (", not both" if have else ""))
    return _arguments(value[have[0]])


def _unfenced(text: str) -> str:
    whole = _FENCE.fullmatch(text.strip())
    return whole.group(1).strip() if whole else text.strip()


def _objects(text: str) -> list[Any]:
    """One value, or several after one another with blanks, commas or semicolons between."""
    text = _unfenced(literals.checked(text))
    try:
        found, at = [], 0
        while at < len(text):
            value, at = literals.json_at(text, at)
            found.append(value)
            at += len(_BETWEEN.match(text, at)[0])  # type: ignore[index]
    except Unreadable as error:
        if found or error.reason not in ("json", "cut"):
            raise
        found = [literals.read_json(text)]
    if len(found) == 1 and isinstance(found[0], dict):
        for name in ("tool_calls", "function_call"):
            if name in found[0]:
                found = [found[0][name]]
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _read_json(text: str) -> Parsed:
    found = _objects(text)
    if not found:
        raise Unreadable("shape", "there is no call in it")
    return Parsed(calls=tuple(_of_object(value) for value in found))


def _read_pythonic(text: str) -> Parsed:
    tree = literals.python_tree(_unfenced(literals.checked(text)))
    items = tree.elts if hasattr(tree, "elts") else [tree]
    calls = [literals.read_call(item) for item in items]
    if not calls:
        raise Unreadable("shape", "there is no call in it")
    return Parsed(calls=tuple(map(_search, calls)))


def _search(call: Call) -> Call:
    """`brave_search.call(query="...")` is a call of brave_search."""
    name = call.name.removesuffix(".call")
    return Call(name=name, arguments=call.arguments, positional=call.positional) if name in SEARCHES else call


def _read_llama3(text: str) -> Parsed:
    said, tag, body = text.partition(PYTHON_TAG)
    body = body if tag else said
    body = literals.checked(body.strip())
    said = said.strip() if tag else ""
    if body.startswith("{") or (_CALL_WORDS.search(body[:400]) and body.startswith("[")):
        return Parsed(calls=_read_json(body).calls, said=said)
    if re.match(r"\w+\.call\(", body):
        call = literals.read_call(literals.python_tree(body))
        return Parsed(
            calls=(Call(name=call.name.removesuffix(".call"), arguments=call.arguments, positional=call.positional),),
            said=said,
        )
    if not body:
        raise Unreadable("cut", "nothing follows the python tag")
    if not literals.is_code(body):
        raise Unreadable("python", "what follows the python tag is neither JSON nor Python")
    return Parsed(calls=(Call(name=INTERPRETER, arguments={"code": body}),), said=said)


def _read_glm4(text: str) -> Parsed:
    calls, rest = [], literals.checked(text)
    while rest.strip():
        name, line, body = rest.strip().partition("\n")
        name = _named(name)
        if not line:
            raise Unreadable("cut", "the name stands alone; its arguments belong on the next line")
        if name in (INTERPRETER, "ipython", BROWSER):
            body, _, rest = body.partition(ASSISTANT)
            calls.append(_code_or_browsing(name, body))
            continue
        body = body.lstrip()
        if body.startswith("```"):
            body = _unfenced(body)
        value, rest = _glm4_arguments(body)
        calls.append(Call(name=name, arguments=_arguments(value)))
    return Parsed(calls=tuple(calls))


def _glm4_arguments(body: str) -> tuple[Any, str]:
    """(the arguments, what follows the next assistant's mark)."""
    try:
        value, end = literals.json_at(body, 0)
        rest = body[end:].lstrip()
        if not rest or rest.startswith(ASSISTANT):
            return value, rest.removeprefix(ASSISTANT)
    except Unreadable as error:
        if error.reason not in ("json", "cut"):
            raise
    text, _, rest = body.partition(ASSISTANT)
    return literals.read_json(text), rest


def _code_or_browsing(name: str, body: str) -> Call:
    if name != BROWSER:
        return Call(name=INTERPRETER, arguments={"code": _unfenced(body)})
    inner = literals.read_call(literals.python_tree(body))
    return Call(name=f"{BROWSER}.{inner.name}", arguments=inner.arguments, positional=inner.positional)


def _between(text: str, at: int, close: str) -> tuple[Any, int]:
    """(the JSON at a place, the place behind the closing tag). Only the end of the text may stand for that tag."""
    start = len(text) - len(text[at:].lstrip())
    try:
        value, end = literals.json_at(text, start)
        rest = text[end:].lstrip()
        if not rest:
            return value, len(text)
        if rest.startswith(close):
            return value, len(text) - len(rest) + len(close)
    except Unreadable as error:
        if error.reason not in ("json", "cut"):
            raise
        if error.reason == "cut" and close not in text[at:]:
            raise
    end = text.find(close, at)
    value = literals.read_json(text[at : end if end >= 0 else len(text)])
    return value, end + len(close) if end >= 0 else len(text)


def _tagged(text: str, opening: re.Pattern[str], close: str, make: Callable[[re.Match[str], Any], Call]) -> Parsed:
    """Every call between tags; a broken one is a failure, and the others are read all the same."""
    literals.checked(text)
    calls: list[Call] = []
    failures: list[CallFailure] = []
    said: list[str] = []
    at = 0
    while found := opening.search(text, at):
        said.append(text[at : found.start()])
        try:
            value, at = _between(text, found.end(), close)
            calls.append(make(found, value))
        except Unreadable as error:
            end = text.find(close, found.end())
            at = end + len(close) if end >= 0 else len(text)
            failures.append(_failure(error, text[found.start() : at]))
    said.append(text[at:])
    if not calls and not failures:
        raise Unreadable("shape", "there is no call in it")
    return Parsed(calls=tuple(calls), failures=tuple(failures), said="".join(said).strip())


def _read_hermes(text: str) -> Parsed:
    return _tagged(text, re.compile(re.escape(TAGS[0])), TAGS[1], lambda found, value: _of_object(value))


def _read_function(text: str) -> Parsed:
    return _tagged(
        text, _FUNCTION, "</function>", lambda found, v: Call(name=_named(found[1]), arguments=_arguments(v))
    )


READERS: dict[str, Callable[[str], Parsed]] = {
    "llama3": _read_llama3,
    "json": _read_json,
    "pythonic": _read_pythonic,
    "glm4": _read_glm4,
    "openai": _read_json,
    "hermes": _read_hermes,
    "function": _read_function,
}
SYNTAXES = tuple(READERS)


def _failure(error: Unreadable, text: str) -> CallFailure:
    return CallFailure(reason=error.reason, detail=error.detail, text=text[:200])


def _clean(text: str) -> str:
    """Without a model's thinking before it and the marks that end a message."""
    text = _THINKING.sub("", text, count=1) if _THINKING.match(text) else text
    text = text.strip()
    while end := next((mark for mark in ENDS if text.endswith(mark)), ""):
        text = text.removesuffix(end).rstrip()
    return text.removeprefix(ASSISTANT).lstrip()


def _detect(text: str) -> str:
    """The syntax of a text that holds calls, empty for one that holds none.

    What a text begins with goes before the marks in it, and of these the first: an argument may hold any of them.
    """
    body = _unfenced(text)
    shaped = body.startswith(("{", "[")) and bool(_CALL_WORDS.search(body))
    listed = body.startswith("[") and bool(_CALL.match(body[1:].lstrip()))
    if shaped and _is_call(body, broken=False):
        return "openai" if '"function"' in body or "tool_calls" in body else "json"
    if listed and _parses(body, broken=False):
        return "pythonic"
    name, line, rest = text.partition("\n")
    named = line and literals.NAME.fullmatch(name.strip())
    if named and _OBJECT.match(rest):
        return "glm4"
    marks = {"llama3": text.find(PYTHON_TAG), "hermes": text.find(TAGS[0])}
    marks["function"] = found.start() if (found := _FUNCTION.search(text)) else -1
    if seen := {at: syntax for syntax, at in marks.items() if at >= 0}:
        return seen[min(seen)]
    if named and name.strip() in (INTERPRETER, BROWSER):
        return "glm4"
    if shaped and _is_call(body, broken=True):
        return "json"
    single = bool(_CALL.match(body)) and body.endswith(")")
    return "pythonic" if listed or (single and _parses(body, broken=True)) else ""


def _is_call(body: str, *, broken: bool) -> bool:
    """False for JSON that can be read and is none of a call; `broken` for what names one and cannot be read."""
    try:
        values = _objects(body)
    except Unreadable:
        return broken
    keys = [set(value) for value in values if isinstance(value, dict)]
    return any("function" in have or ("name" in have and have & {"parameters", "arguments"}) for have in keys)


def _parses(body: str, *, broken: bool) -> bool:
    """Whether a text is Python of calls; `broken` takes code that is no literal for a broken call, and prose, which is
    no Python at all, never."""
    try:
        _read_pythonic(body)
        return True
    except Unreadable as error:
        return broken and error.reason != "python"


def parse_calls(text: str, syntax: str = "auto") -> Parsed:
    """The calls of a text. Never raises for what the text holds.

    Args:
        syntax: one of `SYNTAXES`, which takes the text for calls and fails where it is none; or auto, which takes
            a text without the marks of a call for prose.

    Raises:
        SettingsError: there is no such syntax.
    """
    if syntax != "auto" and syntax not in READERS:
        raise SettingsError(f"there is no call syntax {syntax!r}; there are auto, {', '.join(SYNTAXES)}")
    body = _clean(text)
    try:
        literals.checked(body)
        chosen = _detect(body) if syntax == "auto" else syntax
        if not chosen:
            return Parsed(said=body)
        found = READERS[chosen](body)
    except Unreadable as error:
        marked = syntax != "auto" or error.reason != "size" or _marked(body)
        return Parsed(failures=(_failure(error, body),) if marked else (), said=body)
    return Parsed(calls=found.calls, failures=found.failures, said=found.said, syntax=chosen)


def _marked(text: str) -> bool:
    """Whether an overlong text shows a call, rather than being a long answer."""
    return PYTHON_TAG in text or TAGS[0] in text or bool(_FUNCTION.search(text)) or text.lstrip()[:1] in ("{", "[")


def calls_of(messages: Sequence[Message], syntax: str = "auto") -> list[Parsed]:
    """What each assistant message calls, in order; prose gives an empty `Parsed`.

    The message that goes on (`end="message"`) is a call by its own word: formats keep the mark of a call, such as
    Llama 3's python tag, out of the content. What `auto` takes for prose there is read as after that tag.
    """
    found = []
    for message in messages:
        if message.role == "assistant":
            parsed = parse_calls(message.content, syntax)
            if syntax == "auto" and message.end == "message" and not parsed.calls and not parsed.failures:
                parsed = parse_calls(message.content, "llama3")
            found.append(parsed)
    return found
