"""When a failure in two programs may be the wall's and not the candidate's, and what may then share an interpreter.

Plain data cross the wall as they are. Where a test touched anything else - an object that stayed behind, a value that
lost its subclass, an exception with attributes, a module whose state both sides would have to share - a failure says
nothing for sure: the suite is run once more in one interpreter, and where that is not safe it is unscored.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from burnish.verify.code.extract import parsed
from burnish.verify.code.suite import SUITES, Suite

# Modules and names whose state a test shares with the candidate: patched, seeded, redirected, looked into.
SHARED = frozenset(
    ["mock", "patch", "random", "io", "sys", "os", "asyncio", "threading", "builtins", "inspect", "warnings", "logging",
     "gc", "weakref", "pickle", "signal", "locale", "numpy", "pandas", "torch", "redirect_stdout", "redirect_stderr",
     "dataclasses", "vars", "dir", "setattr", "id"]
)  # fmt: skip
SIGNS = ("eq", "ne", "lt", "le", "gt", "ge", "contains", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow",
         "and", "or", "xor")  # fmt: skip
# A value of the candidate's class is told the test's value by these, and decides what comes of it.
TOLD = frozenset(f"__{name}__" for sign in SIGNS for name in (sign, "r" + sign, "i" + sign))
_BUILDERS = frozenset({"type", "make_dataclass", "new_class"})


@lru_cache(maxsize=SUITES)
def shared_state(suite: Suite) -> str:
    """What of the tests needs more than calls and plain values of the candidate; empty when nothing does."""
    for test in (suite.setup, *suite.tests):
        for node in ast.walk(parsed(test)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                named = {source.partition(".")[0], *(a.name.partition(".")[0] for a in node.names)}
            elif isinstance(node, ast.Name):
                named = {node.id}
            elif isinstance(node, ast.Attribute):
                named = {node.attr}
                if node.attr.startswith("__"):
                    return f"the tests look at {node.attr}"
            elif isinstance(node, ast.Compare) and any(isinstance(sign, (ast.Is, ast.IsNot)) for sign in node.ops):
                if not any(isinstance(side, ast.Constant) for side in node.comparators):
                    return "the tests ask whether two values are one"
                continue
            else:
                continue
            if found := sorted(named & SHARED):
                return f"the tests use {found[0]}"
    return ""


def crossed(text: str, *, tests: bool) -> str:
    """What of one message is not plain data; empty when all of it is.

    Quotes inside texts are escaped, so that no value of the candidate can look like a handle.
    """
    if '["h",' not in text:
        return ""
    return "the tests pass an object" if tests else "the candidate gives an object"


def loaded_objects(loaded: Mapping[str, Any]) -> str:
    """Names of the candidate that are no functions and no constants."""
    for name, what in loaded.items():
        kind, data = (what[0], what[1]) if isinstance(what, list) and len(what) == 2 else ("", None)
        if kind != "function" and isinstance(data, list) and (kind == "error" or data[:1] != ["t"]):
            return f"{name} is no function"
    return ""


def stranger(code: str, suite: Suite) -> str:
    """Why a candidate may not share an interpreter with tests that were written without one in mind.

    Its classes that the tests do not name may not do anything: a method would be told the expected value.
    """
    tree, named = parsed(code), set(suite.names)
    indirect = any(
        isinstance(node, ast.Attribute) and node.attr.startswith("assert")
        for test in (suite.setup, *suite.tests)
        for node in ast.walk(parsed(test))
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = [n for n in ast.walk(node) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))]
            bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            told = {getattr(n, "name", "") for n in methods} | bound
            if node.name not in named and methods and not _raised(node):
                return f"defines the class {node.name}, which the tests do not name"
            if (node.name not in named or indirect) and told & TOLD:
                return f"defines {min(told & TOLD)}"
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in _BUILDERS and len(node.args) + len(node.keywords) > 1:
                return f"makes a class with {name}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id == "type":
            if not any(isinstance(n, ast.Call) and n.func is node for n in ast.walk(tree)):
                return "passes type on"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TOLD:
            return f"holds the text {node.value}"
    return ""


def _raised(node: ast.ClassDef) -> bool:
    """An exception class that defines no more than how it is made and written."""
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    only = all(isinstance(n, (ast.FunctionDef, ast.Expr, ast.Pass)) for n in node.body)
    names = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
    return only and bool(bases) and bases[0].endswith(("Error", "Exception")) and names <= {"__init__", "__str__"}
