"""Are the tests any good? Small faults are planted in a passing solution; tests that notice none of them are vacuous.

The guard of arXiv:2407.21783 §4.3.1's branch in which the model may edit the tests (spec §3.11a): each kept suite must
reach the solution and kill at least one trivial mutant.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from burnish.verify.code.extract import parsed
from burnish.verify.code.outcome import Outcome
from burnish.verify.code.suite import Suite

MUTANTS = 12  # ASSUMED: tried for one solution
_SWAPS: dict[type, type] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.BitXor: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A program with one planted fault, and what it is."""

    code: str
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What became of the mutants: `killed` of `tried`, and the faults that no test noticed."""

    tried: int
    killed: int
    survivors: tuple[str, ...]
    reason: str = ""

    @property
    def vacuous(self) -> bool:
        """True when the tests let every mutant pass, or could not be tried on any."""
        return self.killed == 0


def _edits(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """The faults that can be planted at one node: what it is called, and what does it in place."""
    line = f"line {getattr(node, 'lineno', 0)}"
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
        new = _SWAPS[type(node.ops[0])]()
        yield f"{line}: {type(node.ops[0]).__name__} becomes {type(new).__name__}", lambda: node.ops.__setitem__(0, new)
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in _SWAPS:
        new = _SWAPS[type(node.op)]()
        yield f"{line}: {type(node.op).__name__} becomes {type(new).__name__}", lambda: setattr(node, "op", new)
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        turned = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield f"{line}: the condition is turned round", lambda: setattr(node, "test", turned)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{line}: {node.value} becomes {not node.value}", lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{line}: {node.value} becomes one more", lambda: setattr(node, "value", node.value + 1)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield f"{line}: returns None", lambda: setattr(node, "value", ast.Constant(None))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _emptied(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """The trivial mutants: each function of the top level with its body gone."""
    for index, node in enumerate(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            changed = copy.copy(node)
            changed.body = [ast.Return(value=ast.Constant(None))]
            yield (
                f"{node.name}() is empty",
                ast.Module(body=[*tree.body[:index], changed, *tree.body[index + 1 :]], type_ignores=[]),
            )


def mutants(code: str, *, limit: int = MUTANTS) -> list[Mutant]:
    """Up to `limit` programs with one fault each, the emptied functions first, the rest spread over the whole program.

    The same code gives the same mutants. None of a program that does not parse.
    """
    try:
        tree = parsed(code)
        found = [Mutant(code=_text(changed), fault=fault) for fault, changed in _emptied(tree)]
        places = [(i, j) for i, node in enumerate(ast.walk(tree)) for j, _ in enumerate(_edits(node))]
        room = max(limit - len(found), 0)
        step = max(len(places) / room, 1.0) if room else 1.0
        for index in range(min(room, len(places))):
            i, j = places[int(index * step)]
            fresh = parsed(code)
            node = next(n for at, n in enumerate(ast.walk(fresh)) if at == i)
            fault, plant = list(_edits(node))[j]
            plant()
            found.append(Mutant(code=_text(fresh), fault=fault))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    original = _text(parsed(code))
    return [mutant for mutant in found[:limit] if mutant.code != original]


def _text(tree: ast.Module) -> str:
    return ast.unparse(ast.fix_missing_locations(tree))


def guard(
    code: str, suite: Suite, check: Callable[[str, Suite], Outcome], *, limit: int = MUTANTS, enough: int | None = None
) -> Guard:
    """Try a suite on mutants of a solution that passes it.

    Args:
        check: (program, suite) -> its outcome.
        enough: stop when so many are killed; None tries all.

    Raises:
        WorkerError: the sandbox failed.
    """
    killed, tried, survivors = 0, 0, []
    for mutant in mutants(code, limit=limit):
        passed = check(mutant.code, suite).passed
        tried += 1
        killed += passed is False
        if passed is not False:
            survivors.append(mutant.fault)
        if enough is not None and killed >= enough:
            break
    reason = "" if killed else f"the tests let all {tried} mutants pass" if tried else "the solution has no mutants"
    return Guard(tried=tried, killed=killed, survivors=tuple(survivors), reason=reason)
