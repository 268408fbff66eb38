"""A small mutator of the counting rules. Every mutant that changes a verdict must be found out by the corpus.

Run by itself it lists the survivors: `python -m tests.verify.constraints.mutation [rules.lengths ...]`.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.abc
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import burnish.verify.constraints as constraints
from tests.verify.constraints.corpus import Case, corpus

PACKAGE = "burnish.verify.constraints"
MODULES = (
    *(
        f"{PACKAGE}.{folder}.{path.stem}"
        for folder in ("rules", "library")
        for path in sorted(Path(constraints.__file__).with_name(folder).glob("*.py"))
        if path.stem != "__init__"
    ),
    f"{PACKAGE}.checking",
)
VERDICTS = {"check_constraint", "check_loosely", "loose_variants"}
FLIPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
SWAPS: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}
CALLS = {"any": "all", "all": "any", "startswith": "endswith", "endswith": "startswith", "lstrip": "rstrip",
         "rstrip": "lstrip", "max": "min", "min": "max"}  # fmt: skip
DROPPED = {"strip", "lstrip", "rstrip", "lower", "removeprefix", "removesuffix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change to one module: what it does, in which line of its source, and the changed tree."""

    module: str
    line: str
    change: str
    tree: ast.Module

    def __str__(self) -> str:
        return f"{self.module.removeprefix(PACKAGE + '.')} | {self.change} | {self.line}"


def _edits(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    """Every change to one node: its name, and what makes it of a copy of the node."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if other := FLIPS.get(type(op)):
                yield f"{type(op).__name__} -> {other.__name__}", _set(("ops", i), other())
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{type(node.op).__name__} -> {type(other_op).__name__}", _set(("op",), other_op)
        for i in range(len(node.values)):
            yield f"without operand {i + 1}", lambda found, i=i: _without(found, i)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "without not", lambda found: found.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        yield f"{type(node.op).__name__} swapped", _set(("op",), SWAPS[type(node.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", _set(("value",), not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        for step in (1, -1):
            yield f"{node.value} -> {node.value + step}", _set(("value",), node.value + step)
    elif isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in CALLS:
            where = ("func", "id") if isinstance(node.func, ast.Name) else ("func", "attr")
            yield f"{name} -> {CALLS[name]}", _set(where, CALLS[name])
        if isinstance(node.func, ast.Attribute) and name in DROPPED:
            yield f"without .{name}()", lambda found: found.func.value  # type: ignore[attr-defined]
        if name in ("not", "bool") and len(node.args) == 1:
            yield f"{name} negated", lambda found: ast.UnaryOp(ast.Not(), found.args[0])  # type: ignore[attr-defined]
    elif isinstance(node, ast.IfExp):
        yield "branches swapped", lambda found: ast.IfExp(found.test, found.orelse, found.body)  # type: ignore[attr-defined]
    elif isinstance(node, ast.If):
        yield "condition negated", lambda found: _negated(found)


def _set(path: tuple[str | int, ...], value: Any) -> Callable[[ast.AST], ast.AST]:
    def edit(node: ast.AST) -> ast.AST:
        target: Any = node
        for step in path[:-1]:
            target = target[step] if isinstance(step, int) else getattr(target, step)
        if isinstance(path[-1], int):
            target[path[-1]] = value
        else:
            setattr(target, path[-1], value)
        return node

    return edit


def _without(node: Any, i: int) -> ast.AST:
    rest = [value for at, value in enumerate(node.values) if at != i]
    if len(rest) == 1:
        return rest[0]
    node.values = rest
    return node


def _negated(node: Any) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


class _At(ast.NodeTransformer):
    """Applies an edit to the nth node in the order of `ast.walk`."""

    def __init__(self, target: ast.AST, edit: Callable[[ast.AST], ast.AST]) -> None:
        self.target, self.edit = target, edit

    def visit(self, node: ast.AST) -> ast.AST:
        return self.edit(node) if node is self.target else self.generic_visit(node)


def _checks(tree: ast.Module, module: str) -> set[int]:
    """The nodes that decide verdicts: whole modules of rules; elsewhere the functions that are given a text."""
    within: list[ast.AST] = [tree] if ".rules." in module else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and within[:1] != [tree]:
            first = node.args.args[0].arg if node.args.args else ""
            named = isinstance(node, ast.FunctionDef) and node.name in VERDICTS
            if named or (first == "text" and ".library." in module):
                within.append(node.body if isinstance(node, ast.Lambda) else node)
    found = {id(inner) for one in within for inner in ast.walk(one)}
    for node in ast.walk(tree):
        aside = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.ImportFrom | ast.Import):
            aside.append(node)
        found -= {id(inner) for one in aside if isinstance(one, ast.AST) for inner in ast.walk(one)}
    return found


def mutants(module: str) -> list[Mutant]:
    """All changes to what decides verdicts in one module; annotations and documentation stay as they are."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    source = Path(spec.origin).read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    checks = _checks(tree, module)
    found = []
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in checks:
            continue
        for which, (change, _) in enumerate(_edits(node)):
            changed = copy.deepcopy(tree)
            target = next(one for at, one in enumerate(ast.walk(changed)) if at == place)
            edit = list(_edits(target))[which][1]
            changed = ast.fix_missing_locations(_At(target, edit).visit(changed))
            line = lines[getattr(node, "lineno", 1) - 1].strip()
            found.append(Mutant(module=module, line=line, change=change, tree=changed))
    return found


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self.mutant.module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.tree, self.mutant.module, "exec"), module.__dict__)


def loaded(mutant: Mutant) -> ModuleType:
    """The room `constraints` as it is with the mutant in it; the true one stays in place for everyone else."""
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith(PACKAGE)}
    finder = _Instead(mutant)
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(PACKAGE)
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.modules["burnish.verify"].constraints = kept[PACKAGE]  # type: ignore[attr-defined]


LOOSE: list[Case] = [
    ("punctuation:no_comma", {}, "Sure, yes\nno marks", True),
    ("punctuation:no_comma", {}, "no marks\nBye, now", True),
    ("punctuation:no_comma", {}, "a, b\nno marks\nc, d", True),
    ("punctuation:no_comma", {}, "a, b\nno, marks\nc, d", False),
    ("startend:quotation", {}, '**"yes"**', True),
    ("startend:quotation", {}, 'Sure:\n**"yes"**', True),
    ("startend:quotation", {}, '**"yes"**\nBye', True),
    ("startend:quotation", {}, 'Sure:\n**"yes"**\nBye', True),
    ("startend:quotation", {}, '"yes"\nBye\nnow', False),
    ("ja:length_constraints:number_letters", {"num_letters": 2, "relation": "未満"}, "海山空川\n 海 ", True),
    ("punctuation:no_comma", {}, "a, b\n \nc, d", False),
    ("punctuation:no_comma", {}, "a, b", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a\n* b\n- c", True),
]


def whole_corpus() -> list[Case]:
    """The texts counted by hand, and two complying and two violating ones of every kind; blank texts."""
    cases = [*corpus(), ("punctuation:no_comma", {}, " \n", False), ("punctuation:no_comma", {}, "", False)]
    for id, kind in constraints.CONSTRAINTS.items():
        for seed in range(2):
            kwargs = kind.sample(Random(seed))
            cases += [(id, kwargs, kind.comply(kwargs, seed), True), (id, kwargs, kind.violate(kwargs, seed), False)]
    return cases


def killed(mutant: Mutant, cases: list[Case]) -> bool:
    """Whether a verdict on the corpus changes, or the mutant cannot run."""
    try:
        room = loaded(mutant)
        if any(room.check_loosely(id, kwargs, text) is not holds for id, kwargs, text, holds in LOOSE):
            return True
        return any(room.check_constraint(id, kwargs, text) is not holds for id, kwargs, text, holds in cases)
    except Exception:
        return True


def survivors(modules: tuple[str, ...] = MODULES, share: float = 1.0, seed: int = 0) -> tuple[int, list[Mutant]]:
    """How many mutants were tried, and those that no text of the corpus tells from the true rule."""
    cases = whole_corpus()
    every = [mutant for module in modules for mutant in mutants(module)]
    chosen = every if share >= 1 else Random(seed).sample(every, max(1, int(len(every) * share)))
    return len(chosen), [mutant for mutant in chosen if not killed(mutant, cases)]


if __name__ == "__main__":
    names = tuple(f"{PACKAGE}.{name}" for name in sys.argv[1:]) or MODULES
    start = time.perf_counter()
    tried, left = survivors(names)
    for mutant in left:
        print(mutant)
    print(f"{tried} mutants, {len(left)} survive, {time.perf_counter() - start:.0f} s")
