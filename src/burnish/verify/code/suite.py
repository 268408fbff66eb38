"""What a candidate must pass: a suite of tests, and where suites come from.

A suite is read from `Prompt.reference` (JSON), or made from a row of HumanEval (Chen et al. 2021, arXiv:2107.03374),
MBPP (Austin et al. 2021, arXiv:2108.07732) or MultiPL-E (Cassano et al. 2022, arXiv:2208.08227).
"""

from __future__ import annotations

import ast
import builtins
import json
import symtable
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from burnish.errors import DataError
from burnish.verify.code.extract import CANDIDATE, parsed

SUITES = 2048  # whose tests are kept read: many candidates share one
SECONDS = 5.0  # ASSUMED for all tests of a candidate; AutoIF's released code uses 5 s a call (arXiv:2406.13542)
LONGEST = 3600.0  # ASSUMED: seconds; more is a slip of the pen, and more than a clock of the system takes
FIELDS = ("language", "tests", "entry_point", "setup", "stdin_tests", "seconds", "given", "names", "prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One stdin/stdout test."""

    input: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests of one problem.

    Args:
        tests: each a piece of code that fails by raising (`assert ...`); in other languages than Python the text that
            makes the candidate's a whole program.
        names: what the tests take from the candidate; worked out of the tests when it is empty.
        given: code of the problem that the tests may use beside the candidate's (never the candidate's own).
        setup: runs once before the tests, with the candidate's names at hand.
        prefix: what stands before the candidate's code (the prompt of a completion).
        exchanges: stdin/stdout tests.
        seconds: for all tests of a candidate together, by the clock; of one run for stdin/stdout tests.
        entry: the function that is completed, where there is one; an answer that repeats it needs no prefix.
    """

    language: str = "python"
    tests: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    given: str = ""
    setup: str = ""
    prefix: str = ""
    exchanges: tuple[Exchange, ...] = ()
    seconds: float = SECONDS
    entry: str = ""

    def __post_init__(self) -> None:
        if not self.tests and not self.exchanges:
            raise DataError("the suite holds no tests; give `tests` (a list of asserts) or `stdin_tests`")
        if not 0 < self.seconds <= LONGEST:
            raise DataError(f"`seconds` is {self.seconds!r}; it must be more than 0 and at most {LONGEST:g}")
        if self.language == "python" and self.tests:
            for index, test in enumerate((*self.tests, self.setup, self.given)):
                try:
                    parsed(test)
                except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                    which = ("setup", "given")[index - len(self.tests)] if index >= len(self.tests) else f"test {index}"
                    raise DataError(f"{which} does not parse as Python: {error}") from None
            if not any(checks_something(test) for test in self.tests):
                raise DataError("no test of the suite asserts anything, so every answer would pass; add an `assert`")
        if self.language == "python" and not self.names:
            free = free_names("\n".join((self.setup, *self.tests)))
            own = defined_names(self.given)
            object.__setattr__(self, "names", tuple(n for n in free if n not in own or n == self.entry))


def checks_something(test: str) -> bool:
    """Whether a test can fail by itself: it asserts, raises, or calls (a test may be `check(candidate)`)."""
    kinds = (ast.Assert, ast.Raise, ast.Call)
    return any(isinstance(node, kinds) for node in ast.walk(parsed(test)))


def free_names(code: str) -> tuple[str, ...]:
    """Names that the code uses and neither binds nor finds among the built-ins, sorted."""
    used: set[str] = set()
    tables = [symtable.symtable(code, CANDIDATE, "exec")]
    bound = {s.get_name() for s in tables[0].get_symbols() if s.is_assigned() or s.is_imported()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        used |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return tuple(sorted(used - bound - set(dir(builtins))))


def defined_names(code: str) -> set[str]:
    """Names that the top level of a program binds."""
    top = symtable.symtable(code, CANDIDATE, "exec")
    return {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}


def _exchange(index: int, pair: Any) -> Exchange:
    """One stdin/stdout test of a reference; a list of lines, as APPS has it, stands for these lines."""
    texts = {}
    for key in ("input", "output"):
        text = pair.get(key) if isinstance(pair, dict) else None
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "\n".join(line.removesuffix("\n") for line in text)
        if not isinstance(text, str):
            told = '{"input": text, "output": text}; a list of lines is a text too'
            raise DataError(f"stdin test {index} must be {told}, not {pair!r:.60}")
        texts[key] = text
    return Exchange(input=texts["input"], output=texts["output"])


def _strings(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = row.get(name) or ()
    given = (given,) if isinstance(given, str) else given
    if not isinstance(given, Sequence) or not all(isinstance(item, str) for item in given):
        raise DataError(f"`{name}` of the reference must be a list of strings, not {given!r:.60}")
    return tuple(given)


def read_suite(reference: str) -> Suite:
    """The suite of a `Prompt.reference`: JSON with some of `FIELDS`.

    Raises:
        DataError: it is no such JSON, or holds no tests.
    """
    try:
        row = json.loads(reference)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the reference is no JSON ({error}); it must hold `tests` or `stdin_tests`") from None
    if not isinstance(row, dict):
        raise DataError("the reference must be a JSON object that holds `tests` or `stdin_tests`")
    unknown = sorted(set(row) - set(FIELDS))
    if unknown:
        raise DataError(f"the reference holds {unknown[0]!r}, which no code test has; known: {', '.join(FIELDS)}")
    pairs = row.get("stdin_tests") or ()
    if not isinstance(pairs, (list, tuple)):
        raise DataError(f"`stdin_tests` of the reference must be a list, not {pairs!r:.60}")
    exchanges = [_exchange(index, pair) for index, pair in enumerate(pairs)]
    seconds = row.get("seconds", SECONDS)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise DataError(f"`seconds` of the reference must be a number, not {seconds!r}")
    texts = {name: row.get(name) or "" for name in ("language", "entry_point", "setup", "given", "prefix")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"`{name}` of the reference must be a string, not {text!r:.60}")
    suite = Suite(
        language=texts["language"].lower() or "python",
        tests=_strings(row, "tests"),
        names=_strings(row, "names"),
        given=texts["given"],
        setup=texts["setup"],
        prefix=texts["prefix"],
        exchanges=tuple(exchanges),
        seconds=float(seconds),
        entry=texts["entry_point"],
    )
    if suite.entry and suite.language == "python" and suite.entry not in suite.names:
        suite = replace(suite, names=(*suite.names, suite.entry))
    return suite


def humaneval_suite(row: Mapping[str, Any], *, seconds: float = SECONDS) -> Suite:
    """A row with `prompt`, `entry_point` and `test` (which defines `check(candidate)`).

    The prompt's own helper functions are given to the tests from the prompt, so that a candidate cannot redefine them.
    """
    prompt, entry = row["prompt"], row["entry_point"]
    for stub in (prompt, prompt.rstrip() + "\n    pass\n"):
        try:
            parsed(stub)
        except SyntaxError:
            continue
        break
    else:
        raise DataError(f"{row.get('task_id', 'the row')}: the prompt does not parse, with or without a body")
    test = f"{row['test']}\ncheck({entry})\n"
    return Suite(tests=(test,), names=(entry,), given=stub, prefix=prompt, seconds=seconds, entry=entry)


def mbpp_suite(row: Mapping[str, Any], *, seconds: float = SECONDS) -> Suite:
    """A row with `test_list` and `test_setup_code`; with `code` (the reference) the names are what it defines."""
    tests = tuple(test.replace("\r\n", "\n") for test in row["test_list"])
    setup = (row.get("test_setup_code") or "").replace("\r\n", "\n")
    suite = Suite(tests=tests, setup=setup, seconds=seconds)
    top = parsed(row.get("code") or "").body
    defined = {node.name for node in top if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    used = {node.id for test in (*tests, setup) for node in ast.walk(parsed(test)) if isinstance(node, ast.Name)}
    names = tuple(sorted((defined & used) | set(suite.names)))
    return replace(suite, names=names, entry=names[0] if len(names) == 1 else "")


def multipl_e_suite(row: Mapping[str, Any], *, seconds: float = SECONDS) -> Suite:
    """A row with `language`, `prompt` and `tests`: the candidate's text stands between the two."""
    language = row["language"].removesuffix("_test.go")
    return Suite(language=language, tests=(row["tests"],), prefix=row["prompt"], seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test that is one call with literal arguments, compared with a literal: the host can decide it by itself.

    `comparison` is one of ==, !=, is, true, false.
    """

    name: str
    args: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    comparison: str = "=="
    expected: Any = None

    def holds(self, value: Any) -> bool:
        if self.comparison in ("true", "false"):
            return bool(value) == (self.comparison == "true")
        if self.comparison == "is":
            return type(value) is type(self.expected) and value == self.expected
        return (value == self.expected) == (self.comparison == "==")


def _call(node: ast.expr, names: Mapping[str, str]) -> dict[str, Any] | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in names:
        return None
    try:
        args = tuple(ast.literal_eval(argument) for argument in node.args)
        named = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return {"name": names[node.func.id], "args": args, "named": named} if len(named) == len(node.keywords) else None


def _case(test: ast.expr, names: Mapping[str, str]) -> Case | None:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        call = _call(test.operand, names)
        return Case(**call, comparison="false") if call else None
    if isinstance(test, ast.Call):
        call = _call(test, names)
        return Case(**call, comparison="true") if call else None
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    sign = {ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is"}.get(type(test.ops[0]))
    for call_side, literal in ((test.left, test.comparators[0]), (test.comparators[0], test.left)):
        call = _call(call_side, names)
        if call and sign:
            try:
                expected = ast.literal_eval(literal)
            except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                return None
            plain = sign != "is" or expected is None or isinstance(expected, bool)
            return Case(**call, comparison=sign, expected=expected) if plain else None
    return None


@lru_cache(maxsize=SUITES)
def literal_cases(suite: Suite) -> tuple[tuple[Case, ...], ...] | None:
    """For each test its cases in their order, or None when one of them is more than literal asserts about calls."""
    if suite.setup.strip():
        return None
    found = []
    for test in suite.tests:
        body = parsed(test).body
        names = {name: name for name in suite.names}
        if len(body) > 1 and isinstance(body[-2], ast.FunctionDef) and isinstance(body[-1], ast.Expr):
            body = _check_body(body, names, suite.entry)
            if body is None:
                return None
        cases = []
        for node in body:
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant) and node.test.value is True:
                continue
            case = _case(node.test, names) if isinstance(node, ast.Assert) else None
            if case is None:
                return None
            cases.append(case)
        if not cases:
            return None
        found.append(tuple(cases))
    return tuple(found)


def _check_body(body: list[ast.stmt], names: dict[str, str], entry: str) -> list[ast.stmt] | None:
    """The asserts of `def check(candidate): ...` before `check(entry)`; `candidate` becomes a name of the entry."""
    *before, check, call = body
    harmless = all(isinstance(n, ast.Assign) and isinstance(n.value, (ast.Dict, ast.Constant)) for n in before)
    targets = {t.id for n in before if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    assert isinstance(check, ast.FunctionDef) and isinstance(call, ast.Expr)
    only = len(check.args.args) == 1 and not check.decorator_list
    if not (harmless and only and ast.unparse(call) == f"{check.name}({entry})") or targets & set(names):
        return None
    names[check.args.args[0].arg] = entry
    return check.body
