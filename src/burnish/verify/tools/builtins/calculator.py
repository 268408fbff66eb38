"""A calculator: arithmetic of numbers by the step-limited interpreter, with the functions of a pocket calculator."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from typing import Any

from burnish.errors import DataError
from burnish.verify.expression import ExpressionError, evaluate

MAX_EXPRESSION = 1_000  # characters
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "^", "，": ",", "（": "(", "）": ")"})
_PERCENT = re.compile(r"(\d(?:[\d.]*\d)?)\s*%(?!\s*[\d(])")
_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")
_FUNCTIONS: dict[str, Callable[..., float]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log10", "log2", "sin", "cos", "tan", "asin", "acos", "atan", "radians", "degrees")
} | {"log": math.log, "ln": math.log}
_CONSTANTS = {"pi": math.pi, "e": math.e}


def calculator(expression: str) -> float | int:
    """Work out an arithmetic expression exactly as written.

    Args:
        expression: numbers with + - * / // % ** ^ and parentheses, 15% for 0.15, pi, e, and sqrt, exp, ln, log,
            log10, sin, cos, tan, abs, min, max, round.
    """
    text = expression.strip().rstrip("=").translate(_SIGNS)
    if len(text) > MAX_EXPRESSION:
        raise DataError(f"the expression has {len(text)} characters; the limit is {MAX_EXPRESSION}")
    if "(" not in text:  # within parentheses a comma may divide arguments
        text = _GROUPED.sub(lambda found: found.group().replace(",", ""), text)
    text = _PERCENT.sub(r"(\1/100)", text).replace("^", "**")
    try:
        value = evaluate(ast.unparse(_Fold().visit(ast.parse(text, mode="eval"))))
    except ExpressionError as error:
        raise DataError(f"{expression[:60]!r} has no value: {error}") from None
    except (SyntaxError, ValueError, OverflowError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"{expression[:60]!r} cannot be worked out: {error}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise DataError(f"{expression[:60]!r} gives no number")
    return value


class _Fold(ast.NodeTransformer):
    """Calls of functions that the interpreter does not have, and constants, become their values."""

    def visit_Name(self, node: ast.Name) -> Any:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            return node
        if node.keywords:
            raise ValueError(f"{node.func.id} takes numbers alone")
        values = [evaluate(ast.unparse(argument)) for argument in node.args]
        value = float(_FUNCTIONS[node.func.id](*values))
        # A negative constant would be written without parentheses, and -x ** 2 is not (-x) ** 2.
        return ast.Constant(value) if value >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-value))
