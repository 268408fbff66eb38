"""The static stage: does it parse, and is every name it uses there? No line of the candidate's code runs here.

The stage of arXiv:2407.21783 §4.3.1 ("parser and linter ... syntax errors, uninitialised variables, non-imported
functions, style"); findings go into a feedback turn.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator
from dataclasses import dataclass

from burnish.verify.code.extract import CANDIDATE, LONGEST, parsed

ALWAYS = frozenset(dir(builtins)) | {
    "__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__", "__annotations__",
    "__class__", "__debug__", "__dict__", "__module__", "__qualname__",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark: `kind` is `syntax`, `name` (both are errors) or `style`; `line` counts from 1, 0 is unknown."""

    kind: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


def syntax_error(code: str) -> Finding | None:
    """What keeps a Python program from being compiled, or None. Never raises."""
    if len(code) > LONGEST:
        return Finding(kind="syntax", line=0, message=f"{len(code)} characters; at most {LONGEST} are read")
    try:
        compile(code, CANDIDATE, "exec", dont_inherit=True)
    except SyntaxError as error:
        return Finding(kind="syntax", line=error.lineno or 0, message=f"{type(error).__name__}: {error.msg}")
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return Finding(kind="syntax", line=0, message=f"{type(error).__name__}: {error}")
    return None


def lint(code: str) -> list[Finding]:
    """What is wrong with a Python program without running it, errors first. Never raises."""
    wrong = syntax_error(code)
    if wrong is not None:
        return [wrong]
    try:
        tree, table = parsed(code), symtable.symtable(code, CANDIDATE, "exec")
        found = (*_names(tree, table), *_style(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        return [Finding(kind="syntax", line=0, message=f"{type(error).__name__}: {error}")]
    return sorted(found, key=lambda f: (f.kind == "style", f.line, f.message))


def errors(code: str) -> list[Finding]:
    """The findings of `lint` that are errors."""
    return [finding for finding in lint(code) if finding.kind != "style"]


def _tables(top: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    waiting = [top]
    while waiting:
        table = waiting.pop()
        yield table
        waiting += table.get_children()


def _names(tree: ast.Module, top: symtable.SymbolTable) -> Iterator[Finding]:
    """Global names that are read and bound nowhere. After a star import or globals() every name is possible."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return
        if isinstance(node, ast.Name) and node.id in ("globals", "exec", "vars"):
            return
    bound, read = set(), set()
    for table in _tables(top):
        module = table.get_type() == "module"
        for symbol in table.get_symbols():
            name = symbol.get_name()
            here = module or symbol.is_declared_global()
            if here and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(name)
            if symbol.is_referenced() and (module or symbol.is_global()):
                read.add(name)
    missing = read - bound - ALWAYS
    seen: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in missing and node.id not in seen and not _guarded(tree, node.id):
            seen.add(node.id)
            yield Finding(kind="name", line=node.lineno, message=f"undefined name {node.id!r}")


def _guarded(tree: ast.Module, name: str) -> bool:
    """Whether the program asks for the name under `except NameError`, and so knows that it may be missing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try):
            continue
        caught = ["Exception" if h.type is None else ast.unparse(h.type) for h in node.handlers]
        inside = (n for part in node.body for n in ast.walk(part))
        known = any("NameError" in text or "Exception" in text for text in caught)
        if known and any(isinstance(n, ast.Name) and n.id == name for n in inside):
            return True
    return False


def _style(tree: ast.Module) -> Iterator[Finding]:
    imported: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield Finding(kind="style", line=node.lineno, message="a bare except also catches an exit")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if isinstance(default, (ast.List, ast.Dict, ast.Set)):
                    text = f"{node.name}() has a mutable default argument, shared by its calls"
                    yield Finding(kind="style", line=default.lineno, message=text)
        elif isinstance(node, ast.Compare):
            for sign, side in zip(node.ops, node.comparators, strict=True):
                if isinstance(sign, (ast.Eq, ast.NotEq)) and isinstance(side, ast.Constant) and side.value is None:
                    yield Finding(kind="style", line=node.lineno, message="compare with None by `is`")
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", "") != "__future__":
            imported |= {(a.asname or a.name).partition(".")[0]: node.lineno for a in node.names if a.name != "*"}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in sorted(set(imported) - used):
        yield Finding(kind="style", line=imported[name], message=f"{name!r} is imported and not used")
