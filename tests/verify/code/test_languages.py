"""Other languages: MultiPL-E's own tests, hostile candidates in each, compilers that are not there, stdin/stdout."""

# ruff: noqa: E501
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from burnish.errors import DataError
from burnish.protocols import Executor
from burnish.verify.code import Exchange, Suite, multipl_e_suite, probe, run_suite
from burnish.verify.code.languages import table

Rows = Callable[[str], list[dict[str, Any]]]

# Written by hand: continuations of MultiPL-E's prompts. What follows the body (a brace or not) is in the data's tests.
SOLUTIONS = {
    "cpp": {
        "HumanEval_23_strlen": "    return string.length();\n",
        "HumanEval_53_add": "    return x + y;\n",
        "HumanEval_34_unique": (
            "    std::set<long> kept(l.begin(), l.end());\n    return std::vector<long>(kept.begin(), kept.end());\n"
        ),
        "HumanEval_28_concatenate": "    std::string all;\n    for (auto& s : strings) all += s;\n    return all;\n",
        "HumanEval_0_has_close_elements": (
            "    for (size_t i = 0; i < numbers.size(); i++)\n        for (size_t j = 0; j < i; j++)\n"
            "            if (std::abs(numbers[i] - numbers[j]) < threshold) return true;\n    return false;\n"
        ),
        "HumanEval_20_find_closest_elements": (
            "    std::sort(numbers.begin(), numbers.end());\n    size_t at = 1;\n"
            "    for (size_t i = 1; i < numbers.size(); i++)\n"
            "        if (numbers[i] - numbers[i - 1] < numbers[at] - numbers[at - 1]) at = i;\n"
            "    return std::make_tuple(numbers[at - 1], numbers[at]);\n"
        ),
    },
    "java": {
        "HumanEval_23_strlen": "        return string.length();\n",
        "HumanEval_53_add": "        return x + y;\n",
        "HumanEval_34_unique": "        return new ArrayList<Long>(new TreeSet<Long>(l));\n",
        "HumanEval_28_concatenate": '        return String.join("", strings);\n',
        "HumanEval_20_find_closest_elements": (
            "        Collections.sort(numbers);\n        int at = 1;\n"
            "        for (int i = 1; i < numbers.size(); i++)\n"
            "            if (numbers.get(i) - numbers.get(i - 1) < numbers.get(at) - numbers.get(at - 1)) at = i;\n"
            "        return Pair.with(numbers.get(at - 1), numbers.get(at));\n"
        ),
    },
    "js": {
        "HumanEval_23_strlen": "  return string.length;\n}\n",
        "HumanEval_53_add": "  return x + y;\n}\n",
        "HumanEval_34_unique": "  return [...new Set(l)].sort((a, b) => a - b);\n}\n",
        "HumanEval_28_concatenate": "  return strings.join('');\n}\n",
        "HumanEval_22_filter_integers": "  return values.filter(Number.isInteger);\n}\n",
    },
    "go": {"HumanEval_23_strlen": "    return len(myString)\n}\n", "HumanEval_53_add": "    return x + y\n}\n"},
}
NAMES = {"js": "javascript"}
WRONG = {"cpp": "    return {};\n", "js": "}\n", "go": "    return 0\n}\n"}
BROKEN = {("js", "HumanEval_51_remove_vowels")}  # a text in its tests goes over the end of the line
EMPTY_JAVA = {"long": "0L", "boolean": "false", "float": "0f", "double": "0.0"}


def _lacks(language: str) -> str:
    return probe()[NAMES.get(language, language)]


@pytest.fixture
def problems(rows: Rows) -> Callable[[str], dict[str, dict[str, Any]]]:
    return lambda language: {row["name"]: row for row in rows(f"human_eval/multipl_e_{language}")}


@pytest.mark.parametrize("language", SOLUTIONS)
def test_multipl_e(executor: Executor, problems: Any, language: str) -> None:
    """Right bodies pass; an empty one fails; without the compiler it is unscored and says what to install."""
    found = problems(language)
    for name, body in list(SOLUTIONS[language].items())[: 2 if language in ("cpp", "java") else None]:
        suite = multipl_e_suite(found[name], seconds=10.0)
        outcome = run_suite(executor, suite.prefix + body, suite)
        if _lacks(language):
            assert outcome.passed is None and "install" in outcome.message
            return
        assert outcome.passed is True, (name, outcome)
    for name in list(SOLUTIONS[language])[:1]:
        suite = multipl_e_suite(found[name], seconds=10.0)
        body = WRONG.get(language, f"        return {'0L' if name.endswith(('add', 'strlen')) else 'null'};\n")
        outcome = run_suite(executor, suite.prefix + body, suite)
        assert outcome.passed is False and outcome.kind in ("wrong_answer", "exception"), (name, outcome)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["cpp", "java"])
def test_more_of_multipl_e(executor: Executor, problems: Any, language: str) -> None:
    if why := _lacks(language):
        pytest.skip(why)
    for name, body in list(SOLUTIONS[language].items())[2:]:
        suite = multipl_e_suite(problems(language)[name], seconds=10.0)
        assert run_suite(executor, suite.prefix + body, suite).passed is True, name


@pytest.mark.slow
@pytest.mark.parametrize("language", ["cpp", "java", "js"])
def test_every_multipl_e_problem_fails_an_empty_body(executor: Executor, problems: Any, language: str) -> None:
    if why := _lacks(language):
        pytest.skip(why)
    for name, row in problems(language).items():
        suite = multipl_e_suite(row, seconds=10.0)
        result = suite.prefix.rstrip().rpartition("\n")[2].strip().split()
        empty = {"cpp": "    return {};\n", "js": "}\n"}.get(language) or (
            f"        return {EMPTY_JAVA.get(result[2], 'null')};\n"
        )
        outcome = run_suite(executor, suite.prefix + empty, suite)
        if (language, name) in BROKEN:
            assert outcome.passed is None and "SyntaxError" in outcome.message, (name, outcome)
        else:
            assert outcome.passed is False and outcome.kind != "syntax", (name, outcome)


def test_published_tests_that_do_not_parse_are_unscored(executor: Executor, problems: Any) -> None:
    if why := _lacks("js"):
        pytest.skip(why)
    ((language, name),) = BROKEN
    suite = multipl_e_suite(problems(language)[name])
    outcome = run_suite(executor, suite.prefix + "  return text.replace(/[aeiou]/gi, '');\n}\n", suite)
    assert outcome.passed is None and "fault of the test: SyntaxError" in outcome.message


HOSTILE = {
    "cpp": [
        "    exit(0);\n",
        "    _Exit(0);\n",
        "    std::quick_exit(0);\n",
        "    __builtin_trap();\n",
        "    while (true) {}\n",
        "    throw 1;\n",
        "#undef assert\n#define assert(x)\n    return {};\n",
        "#define candidate(...) 0\n    return {};\n",
        "#define equal_to not_equal_to\n    return {};\n",
        "#define NDEBUG\n    return {};\n",
        "    return {};\n}\nbool operator==(const std::vector<long>&, const std::vector<long>&)"
        " { return true; }\nvoid o() {\n",
        "    return {};\n}\nnamespace std {\nbool operator==(const vector<long>&, const vector<long>&) { return true; }\n}\n"
        "void o() {\n",
        '    return {};\n}\nextern "C" void __assert_fail(const char*, const char*, unsigned, const char*)'
        " { for (;;); }\nvoid o() {\n",
        "    return {};\n}\nstruct A { ~A() { _Exit(0); } A() { atexit([] { _Exit(0); }); } } a;\nvoid o() {\n",
        "    signal(SIGILL, [](int) { _Exit(0); });\n    return {};\n",
        "    return {};\n}\nint main() { return 0; }\nvoid o() {\n",
        '    puts("@@failed@@ @@burnish@@ OK");\n    return {};\n',
        "    not C++ at all\n",
    ],
    "java": [
        "        System.exit(0); return null;\n",
        "        Runtime.getRuntime().halt(0); return null;\n",
        "        return new ArrayList<Long>() { public boolean equals(Object o) { return true; } };\n",
        "        return new ArrayList<Long>() { public Iterator<Long> iterator() "
        "{ return new ArrayList<Long>().iterator(); } public boolean equals(Object o) { return true; } };\n",
        "        return null;\n    }\n    static class ArrayList<E> extends java.util.ArrayList<E> { ArrayList() {} "
        "ArrayList(java.util.Collection<E> c) {} public boolean equals(Object o) { return true; }\n",
        "        return null;\n    }\n    static { System.exit(0); }\n    static void o() {\n",
        "        while (true) {}\n",
        "        throw new AssertionError();\n",
        "        ClassLoader.getSystemClassLoader().setDefaultAssertionStatus(false); return null;\n",
        "        return null;\n    }\n    public static void main(String a) {\n",
        "        return nothing;\n",
    ],
    "js": [
        "  process.exit(0);\n}\n",
        "}\nprocess.exit(0);\n",
        "}\nrequire('assert').deepEqual = () => {};\n",
        "}\nconst a = require('node:assert'); a.deepEqual = a.strictEqual = () => {};\n",
        "}\nObject.defineProperty(require('node:assert'), 'deepEqual', { value: () => {} });\n",
        "  return { valueOf() { return 0; }, toString() { return '0'; } };\n}\n",
        "  return new Proxy([], { get: () => 1, has: () => true });\n}\n",
        "  return unique.caller.toString();\n}\n",
        "  return eval(arguments.callee.caller.toString().match(/,(\\[.*\\])\\)/)[1]);\n}\n",
        "  Error.prepareStackTrace = (e, s) => s;\n"
        "  return new Error().stack.map((c) => String(c.getFunction())).join();\n}\n",
        "  return JSON.parse(require('fs').readFileSync(0, 'utf8'))[2];\n}\n",
        "}\nrequire('fs').writeSync = () => {};\n",
        "}\nglobalThis.process.mainModule.require('v8');\n",
        "}\nprocess.on('exit', () => process.exit(0));\n",
        "}\nArray.prototype[Symbol.iterator] = function* () {}; Object.is = () => true; JSON.stringify = () => '';\n",
        "}\nfunction test() {} globalThis.test = test;\n",
        "  while (true) {}\n}\n",
        "  console.log('OK'); throw 0;\n}\n",
        "}\n});//\n",
    ],
}  # fmt: skip


QUICK = {"cpp": 3, "java": 3, "js": 100}  # how many are tried by default; each C++ one compiles a large header


@pytest.mark.slow
@pytest.mark.parametrize("language", HOSTILE)
def test_no_false_pass_of_all(executor: Executor, problems: Any, language: str) -> None:
    refute(executor, problems, language, HOSTILE[language])


@pytest.mark.parametrize("language", HOSTILE)
def test_no_false_pass(executor: Executor, problems: Any, language: str) -> None:
    step = max(len(HOSTILE[language]) // QUICK[language], 1)
    refute(executor, problems, language, HOSTILE[language][::step])


def refute(executor: Executor, problems: Any, language: str, bodies: list[str]) -> None:
    if why := _lacks(language):
        pytest.skip(why)
    suite = multipl_e_suite(problems(language)["HumanEval_34_unique"], seconds=2.0)
    for body in bodies:
        outcome = run_suite(executor, suite.prefix + body, suite)
        assert outcome.passed is not True, (body, outcome)
        broken = ("not C++", "nothing", "main(", "#", "});//", "namespace", "ArrayList<E>")
        assert outcome.kind != "syntax" or any(mark in body for mark in broken), (body, outcome)


RUST = """fn double(x: i64) -> i64 {{
    {body}
}}
"""
RUST_TESTS = "fn main() {\n    assert_eq!(double(2), 4);\n    assert_eq!(double(-3), -6);\n}\n"


@pytest.mark.parametrize(
    ("body", "passed"),
    [
        ("x * 2", True),
        ("x", False),
        ("std::process::exit(0)", False),
        ("x }\nmacro_rules! assert_eq { ($($x:tt)*) => {} }\nfn o() -> i64 { 0", None),
        ("loop {}", False),
        ("no rust", False),
    ],
)
def test_rust(executor: Executor, body: str, passed: bool | None) -> None:
    if why := _lacks("rust"):
        pytest.skip(why)
    outcome = run_suite(executor, RUST.format(body=body), Suite(language="rust", tests=(RUST_TESTS,), seconds=2.0))
    assert outcome.passed is passed, outcome


def test_a_missing_compiler_is_unscored(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.shutil, "which", lambda name: None)
    for language in ("cpp", "java", "javascript", "go", "rust"):
        suite = Suite(language=language, tests=("x",), exchanges=(Exchange(input="", output=""),))
        outcome = run_suite(executor, "x", suite)
        assert outcome.passed is None and "install" in outcome.message
        assert outcome.verdict().correct is None and "install" in outcome.verdict().reason
    assert all(probe().values())


def test_an_unknown_language_is_an_error(executor: Executor) -> None:
    with pytest.raises(DataError, match=r"'cobol'.*python, cpp, java"):
        run_suite(executor, "x", Suite(language="cobol", tests=("x",)))


STDIN = {
    "python": "n = int(input())\nprint(n * n)",
    "cpp": "#include <iostream>\nint main() { long n; std::cin >> n; std::cout << n * n << std::endl; }",
    "java": "import java.util.*;\npublic class Square { public static void main(String[] a) "
    "{ long n = new Scanner(System.in).nextLong(); System.out.println(n * n); } }",
    "javascript": "const n = Number(require('fs').readFileSync(0, 'utf8'));\nconsole.log(n * n);",
    "go": 'package main\nimport "fmt"\nfunc main() { var n int; fmt.Scan(&n); fmt.Println(n * n) }',
    "rust": "use std::io;\nfn main() { let mut s = String::new(); io::stdin().read_line(&mut s).unwrap(); "
    'let n: i64 = s.trim().parse().unwrap(); println!("{}", n * n); }',
}


@pytest.mark.parametrize("language", STDIN)
def test_stdin_and_stdout(executor: Executor, language: str) -> None:
    exchanges = tuple(Exchange(input=f"{n}\n", output=f"{n * n}  \n\n") for n in (3, 12, -5))
    suite = Suite(language=language, exchanges=exchanges, seconds=10.0)
    outcome = run_suite(executor, STDIN[language], suite, every=True)
    if language != "python" and _lacks(language):
        assert outcome.passed is None
        return
    assert outcome.passed is True and outcome.mode == "stdio" and len(outcome.results) == 3, outcome
    wrong = Suite(language=language, exchanges=(*exchanges[:1], Exchange(input="4", output="17")), seconds=10.0)
    outcome = run_suite(executor, STDIN[language], wrong, every=True)
    assert [r.kind for r in outcome.results] == ["", "wrong_answer"]
    assert run_suite(executor, "this is no program (", wrong).kind == "syntax"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import sys; sys.exit(0)", "wrong_answer"),
        ("print(9); raise SystemExit(3)", "exit"),
        ("while True: pass", "timeout"),
        ("while True: print('9' * 1000)", "output"),
        ("x = [0] * 10**10", "memory"),
        ("print(undefined)", "name"),
        ("import nosuchpackage", "environment"),
        ("from math import nosuchname", "import"),
        ("print(int('x'))", "exception"),
        ("open('/expected.txt').read()", "exception"),
        ("import os; os.kill(os.getpid(), 9)", "exit"),
    ],
)
def test_stdin_failures_have_classes(executor: Executor, code: str, kind: str) -> None:
    outcome = run_suite(executor, code, Suite(exchanges=(Exchange(input="3", output="9"),), seconds=1.0))
    assert outcome.passed is (None if kind == "environment" else False) and outcome.kind == kind, outcome


def test_results_are_json_ready(executor: Executor) -> None:
    outcome = run_suite(executor, "print(9)", Suite(exchanges=(Exchange(input="3", output="9"),)))
    assert json.loads(json.dumps([r.kind for r in outcome.results])) == [""]
