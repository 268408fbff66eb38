"""The fall-back: candidate and tests in one interpreter, for tests that use classes or modules of the candidate's.

It is weaker than two programs, and its results say `together`. Three things stand in for the wall: the candidate's code
must be free of what looks into frames, modules and the interpreter (else it is unscored, with the reason); the tests'
comparisons ask no class of the candidate; and the verdict must carry a secret that arrives after the candidate's top
level has run, so that an exit, in whatever form, is no pass.
"""

from __future__ import annotations

import ast
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

from burnish.protocols import Executor, Limits
from burnish.verify.code.apart import Ended, Program, failure, message_of, sandbox_limits
from burnish.verify.code.inside import program
from burnish.verify.code.inside.plain import to_text
from burnish.verify.code.outcome import UNSCORED, Outcome, Result, error_class, failed
from burnish.verify.code.suite import Suite

MODULES = frozenset(
    [
        "__future__",
        "abc",
        "array",
        "bisect",
        "calendar",
        "cmath",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "numbers",
        "random",
        "re",
        "statistics",
        "string",
        "textwrap",
        "time",
        "typing",
        "uuid",
        "zlib",
    ]
)
DENIED = frozenset(
    [
        "exec",
        "eval",
        "compile",
        "globals",
        "locals",
        "vars",
        "dir",
        "getattr",
        "setattr",
        "delattr",
        "open",
        "input",
        "breakpoint",
        "help",
        "exit",
        "quit",
        "attrgetter",
        "methodcaller",
        "f_back",
        "f_globals",
        "f_locals",
        "f_code",
        "f_builtins",
        "gi_frame",
        "gi_code",
        "cr_frame",
        "cr_code",
        "ag_frame",
        "ag_code",
        "tb_frame",
        "tb_next",
        "with_traceback",
        "modules",
        "burnish_compare",
        "burnish_true",
        "memoryview",
    ]
)
DUNDERS = frozenset(
    f"__{name}__"
    for name in [
        "init",
        "post_init",
        "new",
        "str",
        "repr",
        "len",
        "iter",
        "next",
        "getitem",
        "setitem",
        "delitem",
        "contains",
        "call",
        "enter",
        "exit",
        "name",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "hash",
        "bool",
        "add",
        "radd",
        "iadd",
        "sub",
        "rsub",
        "isub",
        "mul",
        "rmul",
        "imul",
        "truediv",
        "rtruediv",
        "floordiv",
        "rfloordiv",
        "mod",
        "rmod",
        "pow",
        "neg",
        "pos",
        "abs",
        "invert",
        "and",
        "or",
        "xor",
        "int",
        "float",
        "index",
        "round",
        "reversed",
        "slots",
        "future",
        "main",
        "doc",
        "all",
        "version",
    ]
)
_SIGNS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def _hidden(name: str) -> bool:
    return name in DENIED or (name.startswith("__") and name not in DUNDERS)


def _reasons(tree: ast.Module) -> Iterator[str]:
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from (f"imports {name}" for name in names if name.partition(".")[0] not in MODULES)
            for alias in node.names:
                imported.add((alias.asname or alias.name).partition(".")[0])
                if _hidden(alias.name) or alias.name.startswith("_") or alias.name == "*":
                    yield f"imports {alias.name}"
        elif isinstance(node, ast.Name) and _hidden(node.id):
            yield f"uses {node.id}"
        elif isinstance(node, ast.Attribute):
            if _hidden(node.attr) or (isinstance(node.value, ast.Name) and node.value.id == "type"):
                yield f"uses .{node.attr}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and _hidden(node.name):
            yield f"defines {node.name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in DENIED - {"exit", "help"}:
            yield f"holds the text {node.value!r}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "__" in node.value:
            if node.value not in DUNDERS and not _is_docstring(tree, node):
                yield "holds a text with two underscores"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in imported and not isinstance(node.ctx, ast.Load):
            yield f"rebinds the module {node.id}"
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            if isinstance(node.value, ast.Name) and node.value.id in imported:
                yield f"changes {ast.unparse(node)}"
        # A module that gets another name could be changed under it.
        if isinstance(node, (ast.Assign, ast.Return, ast.NamedExpr)) and isinstance(node.value, ast.Name):
            if node.value.id in imported and node.value.id in MODULES:
                yield f"passes the module {node.value.id} on"


def _is_docstring(tree: ast.Module, node: ast.Constant) -> bool:
    return any(isinstance(e, ast.Expr) and e.value is node for e in ast.walk(tree))


def refusal(code: str) -> str:
    """Why a program may not share an interpreter with its tests; empty when it may."""
    try:
        return next(_reasons(ast.parse(code)), "")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"does not parse ({error})"


class _Rewrite(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        args: list[ast.expr] = [node.left]
        for sign, side in zip(node.ops, node.comparators, strict=True):
            args += [ast.Constant(_SIGNS[type(sign)]), side]
        return ast.Call(func=ast.Name(id="burnish_compare", ctx=ast.Load()), args=args, keywords=[])

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        self.generic_visit(node)
        called = ast.Call(func=ast.Name(id="burnish_true", ctx=ast.Load()), args=[node.test], keywords=[])
        return ast.Assert(test=called, msg=node.msg)


def needs_together(suite: Suite) -> bool:
    """Whether the tests use a name of the candidate as only its own interpreter can: as a base class, or as a class."""
    names = set(suite.names)
    for test in (suite.setup, *suite.tests):
        for node in ast.walk(ast.parse(test)):
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in names for b in node.bases):
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "issubclass":
                if any(isinstance(a, ast.Name) and a.id in names for a in node.args):
                    return True
    return False


def rewritten(test: str) -> str:
    """A test whose comparisons and assertions go through the functions of `inside/together.py`."""
    return ast.unparse(ast.fix_missing_locations(_Rewrite().visit(ast.parse(test))))


def run_together(executor: Executor, code: str, suite: Suite, *, limits: Limits | None = None) -> Outcome:
    """Run a suite of Python tests on a candidate in the interpreter of the tests.

    Raises:
        WorkerError: the sandbox failed, which says nothing about the candidate.
    """
    why, asked, begun = refusal(code), len(suite.tests), time.monotonic()
    if why:
        told = f"its tests need the same interpreter, which no code may share that {why}"
        return failed(UNSCORED, told, asked=asked, mode="together")
    limits = replace(limits or Limits(), seconds=suite.seconds)
    talk = executor.start(program("together"), limits=sandbox_limits(limits))
    running = Program(talk=talk, until=time.monotonic() + suite.seconds)
    secret = secrets.token_hex(16)
    results: list[Result] = []
    try:
        modules = sorted(m for m in MODULES if m in code or any(m in test for test in suite.tests))
        said = message_of(running.ask(to_text(["load", modules, code])))
        if said[0] != "loaded":
            results = [failure(said)]
        else:
            tests = [rewritten(test) for test in suite.tests]
            given = rewritten(suite.setup)
            reply = message_of(running.ask(to_text(["tests", given, tests, secret])))
            results = _results(reply, secret)
    except Ended as ended:
        results = [Result(kind=ended.kind, message=ended.message)]
    finally:
        running.stop()
    return Outcome(results=tuple(results), asked=asked, mode="together", seconds=time.monotonic() - begun)


def _results(reply: list[object], secret: str) -> list[Result]:
    if reply[0] != "done" or len(reply) != 3 or reply[1] != secret or not isinstance(reply[2], list):
        return [Result(kind="exit", message="the verdict does not carry the secret")]
    found = []
    for passed, classes, text, where in reply[2]:
        told = f"{classes[0] if classes else ''}: {text[:600]}" + (f" ({where})" if where else "")
        kind = "exit" if classes and classes[0] == "Tampered" else error_class(classes, text)
        found.append(Result() if passed is True else Result(kind=kind, message=told))
    if found and found[0].passed:
        return found[1:]
    return found[:1]
