"""Values and calls in JSON and in Python, read within bounds. Python goes through `ast` only; nothing is evaluated
but arithmetic of numbers, which the step-limited interpreter does.
"""

from __future__ import annotations

import ast
import json
import keyword
import math
import re
import warnings
from typing import Any

from burnish.verify.expression import ExpressionError, evaluate
from burnish.verify.tools.call import Call, Unreadable

# ASSUMED: no call of the data sets at hand is longer than 4,000 characters or nested deeper than 8.
MAX_CHARACTERS = 100_000
MAX_PYTHON = 20_000
MAX_DEPTH = 64
MAX_DIGITS = 400

NAME = re.compile(r"[^\W\d][\w-]*(?:[.:/][^\W\d][\w-]*)*")
_WORDS = {"true": True, "false": False, "null": None}
_OPENERS, _CLOSERS = "([{", ")]}"
_DIGITS = re.compile(rf"[0-9_]{{{MAX_DIGITS}}}")


def checked(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The text, unless it is too long, too deep, or holds a number too long.

    Raises:
        Unreadable: `size`.
    """
    if len(text) > limit:
        raise Unreadable("size", f"{len(text):,} characters; the limit is {limit:,}")
    depth = 0
    for character in text:
        if character in _OPENERS:
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable("size", f"more than {MAX_DEPTH} brackets within each other")
        elif character in _CLOSERS:
            depth = max(depth - 1, 0)
    if _DIGITS.search(text):
        raise Unreadable("size", f"a number of {MAX_DIGITS} digits or more")
    return text


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Unreadable("shape", f"the field {name[:40]!r} comes twice")
        found[name] = value
    return found


def _constant(text: str) -> Any:
    raise Unreadable("literal", f"{text} is no value of JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable("literal", f"the number {text[:40]} is out of range")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float, strict=False
)  # strict=False: a raw line break inside a string is read as one


def json_at(text: str, at: int) -> tuple[Any, int]:
    """(value, the place behind it) of the JSON that begins at a place.

    Raises:
        Unreadable: `json`, `cut`, `literal`, or `shape` for a field that comes twice.
    """
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        ends = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        raise Unreadable("cut" if ends else "json", f"{error.msg} at character {error.pos - at}") from None
    except RecursionError:
        raise Unreadable("size", "nested too deeply") from None
    except ValueError as error:  # an integer longer than Python reads
        raise Unreadable("size", str(error)) from None


def read_json(text: str) -> Any:
    """The one value of a text: JSON, or the same written as a Python literal (single quotes, a comma too many).

    Raises:
        Unreadable
    """
    text = checked(text).strip()
    try:
        value, end = json_at(text, 0)
        if not text[end:].strip():
            return value
        wrong = Unreadable("json", f"more text follows the value: {text[end : end + 40]!r}")
    except Unreadable as error:
        if error.reason not in ("json", "cut"):
            raise
        wrong = error
    try:
        found = read_literal(python_tree(text))
    except Unreadable as error:
        raise error if error.reason in ("size", "shape") else wrong from None
    if not isinstance(found, (dict, list)):
        raise wrong
    return found


def python_tree(text: str) -> ast.expr:
    """The syntax tree of one expression.

    Raises:
        Unreadable: `python` or `size`.
    """
    text = checked(text, MAX_PYTHON).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise Unreadable("python", f"{error.msg} at character {error.offset or 0}") from None
    except ValueError as error:
        raise Unreadable("python", str(error)) from None
    except (RecursionError, MemoryError):
        raise Unreadable("size", "nested too deeply") from None


def is_code(text: str) -> bool:
    """Whether a text is a Python program, by syntax alone."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(checked(text, MAX_PYTHON))
        return True
    except (SyntaxError, ValueError, RecursionError, MemoryError, Unreadable):
        return False


def read_literal(node: ast.expr, depth: int = 0) -> Any:
    """A value of a syntax tree: constants, lists, tuples, dicts with text keys, calls (as `Call`), arithmetic of
    numbers, and JSON's true, false and null.

    Raises:
        Unreadable: `literal`, `size`.
    """
    if depth > MAX_DEPTH:
        raise Unreadable("size", f"more than {MAX_DEPTH} levels of nesting")
    if isinstance(node, ast.Constant) and type(node.value) in (str, int, float, bool, type(None)):
        if isinstance(node.value, float) and not math.isfinite(node.value):
            raise Unreadable("literal", "a number is out of range")
        return node.value
    if isinstance(node, ast.List):
        return [read_literal(item, depth + 1) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(read_literal(item, depth + 1) for item in node.elts)
    if isinstance(node, ast.Dict):
        return _dict(node, depth)
    if isinstance(node, ast.Name) and node.id in _WORDS:
        return _WORDS[node.id]
    if isinstance(node, ast.Call):
        return read_call(node, depth + 1)
    if isinstance(node, (ast.UnaryOp, ast.BinOp)) and _only_numbers(node):
        return _arithmetic(node)
    what = f"the name {node.id!r}" if isinstance(node, ast.Name) else f"a {type(node).__name__}"
    raise Unreadable("literal", f"{what} is no literal")


def _dict(node: ast.Dict, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            raise Unreadable("literal", "a key of a dict is no text")
        if key.value in found:
            raise Unreadable("shape", f"the field {key.value[:40]!r} comes twice")
        found[key.value] = read_literal(value, depth + 1)
    return found


_ARITHMETIC = (ast.UnaryOp, ast.BinOp, ast.operator, ast.UAdd, ast.USub)


def _only_numbers(node: ast.expr) -> bool:
    return all(
        isinstance(part, _ARITHMETIC) or (isinstance(part, ast.Constant) and type(part.value) in (int, float))
        for part in ast.walk(node)
    )


def _arithmetic(node: ast.expr) -> Any:
    try:
        value = evaluate(ast.unparse(node), steps=1_000, size=1_500)
    except (ExpressionError, RecursionError) as error:
        raise Unreadable("literal", f"the arithmetic gives no value ({error})") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable("literal", "a number is out of range")
    return value


def read_call(node: ast.expr, depth: int = 0) -> Call:
    """`f(1, a=2)`, `pkg.f(a=g(b=1))`, `f(**{"from": 1})`.

    Raises:
        Unreadable: `shape`, `name`, `literal`, `size`.
    """
    if not isinstance(node, ast.Call):
        raise Unreadable("shape", f"a {type(node).__name__} is no call")
    arguments: dict[str, Any] = {}
    for given in node.keywords:
        value = read_literal(given.value, depth + 1)
        if given.arg is None and not isinstance(value, dict):
            raise Unreadable("literal", "what follows ** is no dict")
        for name, one in (value if given.arg is None else {given.arg: value}).items():
            if name in arguments:
                raise Unreadable("shape", f"the argument {name[:40]!r} comes twice")
            arguments[name] = one
    if any(isinstance(item, ast.Starred) for item in node.args):
        raise Unreadable("literal", "a starred argument is no literal")
    positional = tuple(read_literal(item, depth + 1) for item in node.args)
    return Call(name=_dotted(node.func), arguments=arguments, positional=positional)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Unreadable("name", f"what is called is a {type(node).__name__}")
    return ".".join([node.id, *reversed(parts)])


def python_name(name: str) -> bool:
    """Whether a name can stand before a parenthesis in Python."""
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))


def write_python(value: Any) -> str:
    """A value or call as Python writes it; `read_literal` gives it back."""
    if isinstance(value, Call):
        named = {n: v for n, v in value.arguments.items() if n.isidentifier() and not keyword.iskeyword(n)}
        other = {n: v for n, v in value.arguments.items() if n not in named}
        parts = [write_python(item) for item in value.positional]
        parts += [f"{name}={write_python(item)}" for name, item in named.items()]
        parts += [f"**{write_python(other)}"] if other else []
        return f"{value.name}({', '.join(parts)})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name!r}: {write_python(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(write_python, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(write_python, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def write_json(value: Any) -> str:
    """JSON as models are shown it: spaces after commas, letters as they are."""
    return json.dumps(value, ensure_ascii=False)
