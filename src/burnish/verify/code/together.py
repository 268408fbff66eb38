"""The fall-back: candidate and tests in one interpreter, for tests that use classes or modules of the candidate's.

It is weaker than two programs, and its results say `together`. Three things stand in for the wall: the candidate's code
must be free of what looks into frames, modules and the interpreter (else it is unscored, with the reason); the tests'
comparisons ask no class of the candidate; and the verdict must carry a secret that arrives after the candidate's top
level has run, so that an exit, in whatever form, is no pass.
"""

from __future__ import annotations

import ast
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from burnish.protocols import Executor, Limits
from burnish.verify.code.apart import Ended, Program, failure, message_of, sandbox_limits
from burnish.verify.code.doubt import stranger
from burnish.verify.code.extract import parsed
from burnish.verify.code.inside import begin
from burnish.verify.code.inside.plain import to_text
from burnish.verify.code.outcome import UNSCORED, Outcome, Result, error_class, failed
from burnish.verify.code.suite import SUITES, Suite, defined_names

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
        "burnish_binary",
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
PROSE = frozenset({"dir", "exit", "help", "input", "modules", "open", "quit"})  # words that a text may hold
_SIGNS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Is: "is",
    ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip


def _hidden(name: str) -> bool:
    return name in DENIED or (name.startswith("__") and name not in DUNDERS)


def _imports(tree: ast.Module) -> Iterator[tuple[str, str, bool]]:
    """For each import: the module, the name that it binds, whether that name is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((a.name, (a.asname or a.name).partition(".")[0], True) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", a.asname or a.name, False) for a in node.names)


def _reasons(tree: ast.Module) -> Iterator[str]:
    modules = {bound for _, bound, whole in _imports(tree) if whole}
    for source, bound, _ in _imports(tree):
        if source.partition(".")[0] not in MODULES or _hidden(bound) or bound.startswith("_") or bound == "*":
            yield f"imports {source}.{bound}"
    docstrings = {id(e.value) for e in ast.walk(tree) if isinstance(e, ast.Expr)}
    owners = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if _hidden(node.id):
                yield f"uses {node.id}"
            if node.id in modules and id(node) not in owners:
                yield f"passes the module {node.id} on"
        elif isinstance(node, ast.Attribute):
            if _hidden(node.attr) or (isinstance(node.value, ast.Name) and node.value.id == "type"):
                yield f"uses .{node.attr}"
            if not isinstance(node.ctx, ast.Load) and _not_its_own(node, tree):
                yield f"changes {ast.unparse(node)}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and _hidden(node.name):
            yield f"defines {node.name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words = set(re.findall(r"\w+", node.value))
            if words & (DENIED - PROSE) or ("__" in node.value and node.value not in DUNDERS):
                yield "holds a text that names what may not be used"


def _not_its_own(node: ast.Attribute, tree: ast.Module) -> bool:
    """Whether a changed attribute is one of an import, or a method of how objects compare, print and hash."""
    imported = {bound for _, bound, _ in _imports(tree)}
    return node.attr.startswith("__") or (isinstance(node.value, ast.Name) and node.value.id in imported)


def refusal(code: str) -> str:
    """Why a program may not share an interpreter with its tests; empty when it may."""
    try:
        return next(_reasons(parsed(code)), "")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"does not parse ({error})"


class _Rewrite(ast.NodeTransformer):
    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        args: list[ast.expr] = [node.left]
        for sign, side in zip(node.ops, node.comparators, strict=True):
            args += [ast.Constant(_SIGNS[type(sign)]), side]
        return ast.Call(func=ast.Name(id="burnish_compare", ctx=ast.Load()), args=args, keywords=[])

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        args = [ast.Constant(type(node.op).__name__), node.left, node.right]
        return ast.Call(func=ast.Name(id="burnish_binary", ctx=ast.Load()), args=args, keywords=[])

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        self.generic_visit(node)
        called = ast.Call(func=ast.Name(id="burnish_true", ctx=ast.Load()), args=[node.test], keywords=[])
        return ast.Assert(test=called, msg=node.msg)


@lru_cache(maxsize=SUITES)
def needs_together(suite: Suite) -> bool:
    """Whether the tests use a name of the candidate as only its own interpreter can: as a base class, or as a class."""
    names = set(suite.names)
    for test in (suite.setup, *suite.tests):
        for node in ast.walk(parsed(test)):
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in names for b in node.bases):
                return True
            asks = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "issubclass"
            if asks and any(isinstance(a, ast.Name) and a.id in names for a in node.args):
                return True
    return False


def rewritten(test: str) -> str:
    """A test whose comparisons and assertions go through the functions of `inside/together.py`."""
    return ast.unparse(ast.fix_missing_locations(_Rewrite().visit(parsed(test))))


def run_together(
    executor: Executor, code: str, suite: Suite, *, limits: Limits | None = None, fallback: bool = False
) -> Outcome:
    """Run a suite of Python tests on a candidate in the interpreter of the tests.

    Args:
        fallback: the tests do not name what they need; then more of the candidate's code is unscored, and so is a
            value of its own class where a test needs plain data.

    Raises:
        WorkerError: the sandbox failed, which says nothing about the candidate.
    """
    asked, begun = len(suite.tests), time.monotonic()
    why = refusal(code) or (stranger(code, suite) if fallback else "")
    if why:
        told = f"its tests need the same interpreter, which no code may share that {why}"
        return failed(UNSCORED, told, asked=asked, mode="together")
    limits = replace(limits or Limits(), seconds=suite.seconds)
    talk = begin(executor, "together", limits=sandbox_limits(limits))
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
            given = [suite.given, sorted(defined_names(suite.given) - set(suite.names)), rewritten(suite.setup)]
            reply = message_of(running.ask(to_text(["tests", given, tests, secret])))
            results = _results(reply, secret, UNSCORED if fallback else "exit")
    except Ended as ended:
        results = [Result(kind=ended.kind, message=ended.message)]
    finally:
        running.stop()
    return Outcome(results=tuple(results), asked=asked, mode="together", seconds=time.monotonic() - begun)


def _results(reply: list[object], secret: str, tampered: str) -> list[Result]:
    if reply[0] != "done" or len(reply) != 3 or reply[1] != secret or not isinstance(reply[2], list):
        return [Result(kind="exit", message="the verdict does not carry the secret")]
    found = []
    for passed, classes, text, where in reply[2]:
        told = f"{classes[0] if classes else ''}: {text[:600]}" + (f" ({where})" if where else "")
        kind = tampered if classes and classes[0] == "Tampered" else error_class(classes, text)
        found.append(Result() if passed is True else Result(kind=kind, message=told))
    if found and found[0].passed:
        return found[1:]
    return found[:1]
