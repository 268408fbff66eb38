"""The code in chat replies, and the static stage."""

# ruff: noqa: E501
from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.verify.code import extract_code, fenced_blocks, lint, whole_program
from burnish.verify.code.extract import parsed
from burnish.verify.code.lint import errors

F = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (F, F),
        (f"```python\n{F}```", F),
        (f"Here:\n\n```python\n{F}```\nIt works.", F),
        (f"Here:\n\n```py\n{F}\n", F + "\n"),
        (f"```\n{F}```", F),
        (f"~~~python\n{F}~~~", F),
        (f"````python\n{F}````", F),
        (f"```{{.python}}\n{F}```", F),
        (f"```python title='a.py'\n{F}```", F),
        ("  ```python\n  def f(x):\n      return x\n  ```", F),
        (f"```python\r\n{F}```".replace("\n", "\r\n").replace("\r\r", "\r"), F),
        (f"```bash\npip install x\n```\n```python\n{F}```", F),
        (f"```python\n{F}```\nUse it:\n```python\nprint(f(1))\n```", F),
        (f"```python\ndef f(x): return 0\n```\nBetter:\n```python\n{F}```", F),
        (f"```python\n{F}```\nOutput:\n```\n1\n```", F),
        (f"```text\nan example\n```\n```\n{F}```", F),
        (f"Sure, here it is:\n{F}\nThis returns its argument.", F + "\n"),
        (f"LIMIT = 3\n{F}", f"LIMIT = 3\n{F}"),
        (f"Code:\n# first\nLIMIT: int = 3\n{F}", f"# first\nLIMIT: int = 3\n{F}"),
        (f"With n = 3 it is\nn = 3 words\n{F}", F),
        (f"import math\n\n{F}", f"import math\n\n{F}"),
        (f"The code:\nimport math\n{F}", f"import math\n{F}"),
        (f"```python\n{F}", F),
        ("```python\n```", "```python\n```"),
        ("I cannot do that.", "I cannot do that."),
        ("", ""),
    ],
)
def test_python_code_is_found(reply: str, code: str) -> None:
    assert extract_code(reply) == code


def test_the_entry_decides_among_blocks() -> None:
    reply = f"```python\n{F}```\nTests:\n```python\ndef test_f():\n    assert f(1) == 1\n```"
    assert extract_code(reply, entry="f") == F
    assert extract_code(reply) != F
    assert extract_code(f"```python\ng = 1\n```\n```python\n{F}```\n```python\nh = 2\n```", entry="f") == F


def test_other_languages_go_by_their_fence() -> None:
    reply = "```python\nx = 1\n```\n```c++\nint x;\n```\n```js\nlet x;\n```"
    assert extract_code(reply, language="cpp") == "int x;\n"
    assert extract_code(reply, language="javascript") == "let x;\n"
    assert extract_code("int main() {}", language="cpp") == "int main() {}"
    assert extract_code("```zig\nconst x = 1;\n```", language="zig") == "const x = 1;\n"


def test_blocks_tell_language_and_end() -> None:
    blocks = fenced_blocks("```Python\na\n```\n~~~\nb\n```\n~~~\n```js\nc")
    assert [(b.language, b.code, b.closed) for b in blocks] == [
        ("python", "a\n", True),
        ("", "b\n```\n", True),
        ("js", "c", False),
    ]


PROMPT = 'import math\n\ndef f(x):\n    """Its argument."""\n'


@pytest.mark.parametrize(
    "code",
    ["    return math.floor(x)\n", PROMPT + "    return math.floor(x)\n", "def f(x):\n    return math.floor(x)\n"],
)
def test_a_completion_gets_its_prompt(code: str) -> None:
    space: dict[str, object] = {}
    exec(whole_program(code, prefix=PROMPT, entry="f"), space)
    assert space["f"](2.5) == 2  # type: ignore[operator]


def test_a_prompt_without_a_docstring_still_gives_a_program() -> None:
    space: dict[str, object] = {}
    exec(whole_program("def f(x):\n    return x\n", prefix="def g(x): return x\ndef f(x):\n", entry="f"), space)
    assert space["f"](3) == 3  # type: ignore[operator]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="`~ \n\tdefx():#python\\\"'\u00e9\ud800", max_size=200))
def test_extraction_and_lint_take_anything(reply: str) -> None:
    for language in ("python", "java"):
        code = extract_code(reply, language=language, entry="f")
        assert isinstance(code, str)
        whole_program(code, prefix=PROMPT, entry="f")
        lint(code)


@pytest.mark.parametrize(
    "code",
    ["(" * 5000, "-" * 100_000 + "1", "[" * 300 + "]" * 300, "x = " + "1+" * 20_000 + "1", "a\x00b", "9" * 5000, "\ud800",
     "if x:\n" * 500, "x" * 300_000, "lambda: " * 5000 + "1", "f(" * 900 + ")" * 900, "'" + "\\" * 1000, "\f\v\t", "del f()"],
)  # fmt: skip
def test_monstrous_code_is_a_finding_or_nothing(code: str) -> None:
    assert all(finding.kind in ("syntax", "name", "style") for finding in lint(code))


def test_a_parser_that_other_threads_disturb_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = ast.parse, [SystemError("AST constructor recursion depth mismatch")] * 3

    def disturbed(*args: object, **named: object) -> ast.AST:
        if left:
            raise left.pop()
        return real(*args, **named)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(ast, "parse", disturbed)
    assert len(parsed("x = 1\ny = 2").body) == 2 and not left
    with pytest.raises(SyntaxError):
        parsed("x = (")


@pytest.mark.parametrize(
    ("code", "kinds", "words"),
    [
        ("x = 1\n", [], ""),
        ("def f(:\n", ["syntax"], "invalid syntax"),
        ("def f():\nreturn 1\n", ["syntax"], "IndentationError"),
        ("return 1\n", ["syntax"], "outside function"),
        ("def f():\n    return y\n", ["name"], "undefined name 'y'"),
        ("def f():\n    return math.pi\n", ["name"], "'math'"),
        ("import math\ndef f():\n    return math.pi\n", [], ""),
        ("def f():\n    global y\n    y = 1\n    return y\n", [], ""),
        ("def f():\n    return [z for z in range(3)]\n", [], ""),
        ("def f():\n    return g()\ndef g():\n    return f\n", [], ""),
        ("class A:\n    b = 1\n    def f(self):\n        return b\n", ["name"], "'b'"),
        ("class A:\n    b = 1\n    c = b\n", [], ""),
        ("from math import *\nprint(pi)\n", [], ""),
        ("try:\n    unicode\nexcept NameError:\n    unicode = str\n", [], ""),
        ("try:\n    old\nexcept NameError:\n    pass\n", [], ""),
        ("def f(x=[]):\n    return x\n", ["style"], "mutable default"),
        ("import os\n", ["style"], "not used"),
        ("try:\n    x = 1\nexcept:\n    pass\n", ["style"], "bare except"),
        ("x = 1\ny = x == None\n", ["style"], "`is`"),
        ("print(__name__, __file__)\n", [], ""),
        ("with open('a') as f, open('b') as g:\n    print(f, g)\n", [], ""),
        ("for i in range(3):\n    pass\nprint(i)\n", [], ""),
        ("match 3:\n    case n:\n        print(n)\n", [], ""),
        ("print((n := 3), n)\n", [], ""),
        ("def f():\n    return __class__\n", [], ""),
        ("import os.path as p, json\nprint(p, json)\n", [], ""),
        ("def f[T](x): return x\n", None, ""),
    ],
)
def test_lint(code: str, kinds: list[str] | None, words: str) -> None:
    found = lint(code)
    if kinds is not None:
        assert [f.kind for f in found] == kinds, found
        assert words in " ".join(map(str, found))
    assert errors(code) == [f for f in found if f.kind != "style"]
