"""A small language of Python expressions and functions, run step by step within limits.

It is parsed by `ast` and walked by this module; nothing is compiled or executed by Python itself, no attribute is
read and no name of the host is visible. The language: numbers, strings, lists, tuples, dicts; arithmetic,
comparison, boolean logic; `x if c else y`; indexing and slicing; comprehensions; `lambda` and `def` with `return`,
`if`, `for`, `while` and assignment; the functions and methods of `calls`. Comprehensions, `zip`, `map`
and the like give lists. There are no sets, because their order is no property of the program.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Sequence
from typing import Any

from burnish.verify.expression.calls import METHOD_NAMES
from burnish.verify.expression.limits import ExpressionError, Meter
from burnish.verify.expression.walk import Interpreter, Scope

# fmt: off
_ALLOWED = frozenset((
    "Module", "Expr", "Constant", "Name", "Load", "Store", "List", "Tuple", "Dict", "BinOp", "UnaryOp",
    "BoolOp", "And", "Or", "Compare", "IfExp", "Subscript", "Slice", "ListComp", "DictComp", "GeneratorExp",
    "comprehension", "Lambda", "arguments", "arg", "Call", "keyword", "Attribute", "JoinedStr",
    "FormattedValue", "FunctionDef", "Return", "If", "For", "While", "Assign", "AugAssign", "Pass", "Break",
    "Continue", "Eq", "NotEq", "Lt", "LtE", "Gt", "GtE", "Is", "IsNot", "In", "NotIn", "Add", "Sub", "Mult",
    "Div", "FloorDiv", "Mod", "Pow", "LShift", "RShift", "BitAnd", "BitOr", "BitXor", "UAdd", "USub", "Not",
    "Invert",
))
# fmt: on
_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, AssertionError)


def evaluate(source: str, *, steps: int = 10_000, size: int = 10_000) -> Any:
    """The value of an expression, or of the last expression of a program (None when it ends in no expression).

    Args:
        steps: the most nodes visited and items walked.
        size: the most characters of the source and of a string, items of a container, bits of an integer.

    Raises:
        ExpressionError: there is no value; `reason` is syntax, forbidden, steps, size or runtime.
    """
    return _run(source, None, (), steps, size)


def call_function(source: str, name: str, args: Sequence[Any], *, steps: int = 10_000, size: int = 10_000) -> Any:
    """Run the program, then call its function `name` with the arguments; these are copied, never changed.

    Raises:
        ExpressionError: as `evaluate`; `runtime` too when the program defines no such function.
    """
    return _run(source, name, args, steps, size)


def _run(source: str, name: str | None, args: Sequence[Any], steps: int, size: int) -> Any:
    tree = _parse(source, size)
    walker = Interpreter(Meter(steps, size))
    scope = Scope(None)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    try:
        if walker.block(tree.body, scope) is not None:
            raise ExpressionError("syntax", "return, break or continue stands outside its place")
        value = None if last is None else walker.expression(last.value, scope)
        if name is not None:
            if name not in scope.names:
                raise ExpressionError("runtime", f"the program defines no {name!r}")
            value = walker.call(scope.names[name], [copy.deepcopy(argument) for argument in args])
        # What is handed out can be compared and printed in a time that `size` bounds.
        Meter(size, size).weigh(value)
        return value
    except ExpressionError:
        raise
    except RecursionError:
        raise ExpressionError("steps", "the program is nested too deeply") from None
    except MemoryError:
        raise ExpressionError("size", "the program took too much memory") from None
    except _FAILURES as error:
        raise ExpressionError("runtime", f"{type(error).__name__}: {error}") from None


def _parse(source: str, size: int) -> ast.Module:
    if len(source) > size:
        raise ExpressionError("size", f"the program has {len(source)} characters; the limit is {size}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip("\n"))
    except (SyntaxError, ValueError) as error:
        raise ExpressionError("syntax", str(error)) from None
    except (RecursionError, MemoryError):
        raise ExpressionError("size", "the program is nested too deeply") from None
    for node in ast.walk(tree):
        _allow(node)
    return tree


def _allow(node: ast.AST) -> None:
    """Refuse what the language does not have, before anything runs."""
    name = type(node).__name__
    refused = name not in _ALLOWED
    if isinstance(node, ast.Constant):
        refused = type(node.value) not in (int, float, str, bool, type(None))
    elif isinstance(node, ast.Attribute):
        refused, name = node.attr not in METHOD_NAMES, f"the attribute {node.attr!r}"
    elif isinstance(node, ast.arguments):
        refused = bool(node.vararg or node.kwarg or node.kwonlyargs or node.posonlyargs)
    elif isinstance(node, ast.FunctionDef):
        refused = bool(node.decorator_list)
    elif isinstance(node, (ast.For, ast.While)):
        refused = bool(node.orelse)
    elif isinstance(node, ast.comprehension):
        refused = bool(node.is_async)
    elif isinstance(node, ast.FormattedValue):
        refused = node.format_spec is not None or node.conversion not in (-1, 115)
    elif isinstance(node, (ast.Name, ast.arg)):
        identifier = node.id if isinstance(node, ast.Name) else node.arg
        refused, name = identifier.startswith("__"), f"the name {identifier!r}"
    if refused:
        raise ExpressionError("forbidden", f"{name} is not part of the language")
