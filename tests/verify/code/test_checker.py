"""The checker, and the suites that it reads."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from burnish.errors import DataError, SettingsError, WorkerError
from burnish.protocols import Checker, Executor
from burnish.records import Message, Prompt, Response
from burnish.verify.code import CodeChecker, Suite, checker, humaneval_suite, mbpp_suite, read_suite
from burnish.verify.code.suite import Exchange, free_names, literal_cases

ADD = {"tests": ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"], "entry_point": "add"}
GOOD = "Here you are:\n```python\ndef add(a, b):\n    return a + b\n```"


def asked(reference: Any) -> Prompt:
    text = reference if isinstance(reference, str) else json.dumps(reference)
    return Prompt(messages=(Message(role="user", content="Add."),), checker="code", reference=text)


def answer(text: str) -> Response:
    return Response(prompt="p", messages=(Message(role="assistant", content=text),))


@pytest.mark.parametrize(
    ("reply", "correct", "words"),
    [
        (GOOD, True, "2 tests pass"),
        ("def add(a, b):\n    return a + b", True, ""),
        (GOOD.replace("+", "*"), False, "wrong_answer"),
        (GOOD.replace("return", "retrun"), False, "syntax"),
        (GOOD.replace("add", "plus"), False, "name"),
        ("", False, "no code"),
        ("I would rather not.", False, "syntax"),
        ("```python\nimport os\nos._exit(0)\n```", False, "exit"),
        ("```python\nadd = lambda a, b: a + b\n```", True, ""),
    ],
)
def test_verdicts(executor: Executor, reply: str, correct: bool, words: str) -> None:
    verdict = CodeChecker(executor=executor).check(asked(ADD), answer(reply))
    assert verdict.correct is correct and words in verdict.reason, verdict


def test_it_is_a_checker_with_a_name() -> None:
    found: Checker = CodeChecker()
    assert found.name == "code"


def test_it_finds_an_executor_by_itself(executor: Executor) -> None:
    assert CodeChecker().check(asked(ADD), answer(GOOD)).correct is True


def test_without_a_sandbox_it_is_unscored_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Executor:
        raise SettingsError("no program 'bwrap' on PATH: install bubblewrap")

    monkeypatch.setattr(checker, "_found", none)
    verdict = CodeChecker().check(asked(ADD), answer(GOOD))
    assert verdict.correct is None and "install bubblewrap" in verdict.reason


class Broken:
    """A sandbox that fails at each step in turn."""

    def run(self, *_: Any, **__: Any) -> Any:
        raise WorkerError("the sandbox broke")

    command = start = run


@pytest.mark.parametrize("reference", [ADD, {"stdin_tests": [{"input": "", "output": ""}]}])
def test_a_fault_of_the_sandbox_is_no_score(reference: Any) -> None:
    verdict = CodeChecker(executor=Broken()).check(asked(reference), answer(GOOD))
    assert verdict.correct is None and "the sandbox broke" in verdict.reason


def test_stdin_tests_and_function_tests_together(executor: Executor) -> None:
    both = {**ADD, "stdin_tests": [{"input": "2", "output": "4"}]}
    code = "def add(a, b):\n    return a + b\nif __name__ == '__main__':\n    print(int(input()) * 2)"
    found = CodeChecker(executor=executor)
    assert found.check(asked(both), answer(code)).correct is True
    assert found.check(asked(both), answer(code.replace("* 2", "* 3"))).correct is False
    assert found.check(asked(both), answer(code.replace("a + b", "a"))).correct is False


def test_tests_that_need_the_candidates_interpreter(executor: Executor) -> None:
    reference = {"tests": ["class B(A):\n    pass\nassert B().f() == 1"]}
    code = "class A:\n    def f(self):\n        return 1"
    verdict = CodeChecker(executor=executor).check(asked(reference), answer(code))
    assert verdict.correct is True and "together" in verdict.reason
    verdict = CodeChecker(executor=executor, together=False).check(asked(reference), answer(code))
    assert verdict.correct is None and "interpreter" in verdict.reason
    for risky in ("import sys\n", "x = ().__class__\n", "f = open\n", "x = 'f_back'\n", "import math\ny = math\n"):
        verdict = CodeChecker(executor=executor).check(asked(reference), answer(risky + code))
        assert verdict.correct is None and "same interpreter" in verdict.reason, verdict


def test_a_test_that_passes_what_cannot_cross_moves_together(executor: Executor) -> None:
    reference = {"tests": ["import io\nassert f(io.StringIO('abc')) == 'abc'"]}
    found = CodeChecker(executor=executor)
    verdict = found.check(asked(reference), answer("def f(file):\n    return file.read()"))
    assert verdict.correct is True and "together" in verdict.reason, verdict
    assert found.check(asked(reference), answer("def f(file):\n    return 'ab'")).correct is False


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("", "no JSON"),
        ("[]", "JSON object"),
        ("{}", "holds no tests"),
        ({"tests": []}, "holds no tests"),
        ({"tests": ["x = 1"]}, "asserts anything"),
        ({"tests": ["assert ("]}, "test 0 does not parse"),
        ({"tests": [1]}, "list of strings"),
        ({"tests": ["assert f()"], "setup": "("}, "setup does not parse"),
        ({"tests": ["assert f()"], "given": "("}, "given does not parse"),
        ({"tests": ["assert f()"], "seconds": "3"}, "must be a number"),
        ({"tests": ["assert f()"], "seconds": 0}, "more than 0"),
        ({"tests": ["assert f()"], "seconds": 1e12}, "at most 3600"),
        ({"stdin_tests": {"input": "1"}}, "must be a list"),
        ({"stdin_tests": [{"input": [1], "output": "1"}]}, "stdin test 0"),
        ({"tests": ["assert f()"], "entry": "f"}, "'entry'"),
        ({"tests": ["assert f()"], "language": 3}, "must be a string"),
        ({"stdin_tests": [{"input": "1"}]}, "stdin test 0"),
        ({"tests": ["x"], "language": "cobol"}, "cobol"),
    ],
)
def test_a_bad_reference_is_an_error_that_names_the_fault(executor: Executor, reference: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        CodeChecker(executor=executor).check(asked(reference), answer(GOOD))


def test_a_suite_reads_its_names_off_its_tests() -> None:
    assert free_names("import math\nx = f(1)\ndef t():\n    return g(x) + math.pi + len('')\nt()") == ("f", "g")
    assert Suite(tests=("assert f(1)",), setup="root = Node(1)").names == ("Node", "f")
    assert read_suite(json.dumps(ADD)).names == ("add",)
    assert read_suite(json.dumps({**ADD, "entry_point": "plus"})).names == ("add", "plus")


def test_rows_become_suites() -> None:
    row = {
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "test": "def check(c):\n    assert c(1) == 1\n",
        "task_id": "T/1",
    }
    suite = humaneval_suite(row)
    assert suite.given.endswith("pass\n") and suite.names == ("f",) and suite.prefix == row["prompt"]
    with pytest.raises(DataError, match="T/1"):
        humaneval_suite({**row, "prompt": "def f(("})
    row = {
        "test_list": ["assert len2(f(1)) == 1"],
        "code": "def f(x): return [x]\r\ndef sum(x): return 1",
        "test_setup_code": "",
    }
    assert mbpp_suite(row).names == ("f", "len2")
    assert mbpp_suite({**row, "test_list": ["assert sum(1) == 1"]}).names == ("sum",)
    assert Suite(exchanges=(Exchange(input="", output=""),)).names == ()


@pytest.mark.parametrize(
    ("test", "cases"),
    [
        ("assert f(1) == 2", [("f", (1,), "==", 2)]),
        ("assert f(-1, [2], {'a': (1, 2)}) != {3}", [("f", (-1, [2], {"a": (1, 2)}), "!=", {3})]),
        ("assert f()", [("f", (), "true", None)]),
        ("assert not f(), 'why'", [("f", (), "false", None)]),
        ("assert True == f(1)", [("f", (1,), "==", True)]),
        ("assert f(1) is None", [("f", (1,), "is", None)]),
        ("assert f(1) is 3", None),
        ("assert f(1) == g(1)", None),
        ("assert f(1) < 2", None),
        ("assert f(x) == 2", None),
        ("assert f(*[1]) == 2", None),
        ("assert f(1) == 2 and f(2) == 3", None),
        ("x = 1\nassert f(1) == 1", None),
        ("f(1)", None),
        ("def check(c):\n    assert c(1) == 2\n    assert True\ncheck(f)", [("f", (1,), "==", 2)]),
        ("def check(c):\n    assert c(1) == 2\ncheck(g)", None),
        ("f = 1\ndef check(c):\n    assert c(1) == 2\ncheck(f)", None),
        ("@deco\ndef check(c):\n    assert c(1) == 2\ncheck(f)", None),
    ],
)
def test_literal_tests_are_decided_by_the_host(test: str, cases: list[Any] | None) -> None:
    found = literal_cases(Suite(tests=(test,), names=("f",), entry="f"))
    told = found and [(c.name, c.args, c.comparison, c.expected) for c in found[0]]
    assert told == cases


def test_it_is_safe_in_threads_and_asyncio(executor: Executor) -> None:
    found = CodeChecker(executor=executor)
    replies = [GOOD if n % 2 else GOOD.replace("+", "*") for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda reply: found.check(asked(ADD), answer(reply)).correct, replies))
    assert verdicts == [n % 2 == 1 for n in range(16)]

    async def several() -> list[bool | None]:
        told = await asyncio.gather(*(asyncio.to_thread(found.check, asked(ADD), answer(r)) for r in replies[:6]))
        return [verdict.correct for verdict in told]

    assert asyncio.run(several()) == verdicts[:6]
