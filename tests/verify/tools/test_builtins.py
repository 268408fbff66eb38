"""The tools that come along: calculator, search, browser, Python session."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from burnish.errors import DataError, WorkerError
from burnish.protocols import Limits, Ran
from burnish.verify.tools import Call, Registry, run_call
from burnish.verify.tools.builtins import Bm25, Browser, Corpus, Page, PythonSession, calculator, page_of_html
from burnish.verify.tools.builtins.search import K1, B, tokens
from burnish.verify.tools.builtins.session import HOUR


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 2 =", 4),
        ("347*28", 9716),
        ("1,234,567 + 1", 1234568),
        ("max(1,234)", 234),
        ("2^10", 1024),
        ("15% * 200", 30.0),
        ("10 % 4", 2),
        ("7 × 6 ÷ 2 − 1", 20.0),
        ("sqrt(2)**2", math.sqrt(2) ** 2),
        ("sin(-1)**2", math.sin(-1) ** 2),
        ("ln(e)", 1.0),
        ("log(8, 2)", math.log(8, 2)),
        ("2*pi", 2 * math.pi),
        ("round(2.5) + abs(-3)", 5),
        ("-3 ** 2", -9),
    ],
)
def test_the_calculator(expression: str, value: float) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["", "2 +", "1/0", "sqrt(-1)", "__import__('os')", "9**9**9", "x", "[1]", "True", "exp(10000)", "1" * 2_000,
     "open('x')", "sqrt(x=1)", "10.0**400", "'a' * 3"],
)  # fmt: skip
def test_what_the_calculator_refuses(expression: str) -> None:
    with pytest.raises(DataError):
        calculator(expression)


def test_the_calculator_as_a_tool() -> None:
    tools = Registry(calculator)
    assert run_call(Call(name="calculator", arguments={"expression": "6*7"}), tools).content == "42"
    assert "1/0" in run_call(Call(name="calculator", arguments={"expression": "1/0"}), tools).content


def test_tokens_of_any_script() -> None:
    assert tokens("The GLM-4 模型（很好）, ひらがな!") == [
        "the",
        "glm",
        "4",
        "模",
        "型",
        "很",
        "好",
        "ひ",
        "ら",
        "が",
        "な",
    ]


def test_bm25_by_the_formula() -> None:
    texts = ["the cat sat on the mat", "the dog sat", "a cat and a dog and a bird", "北京天气晴", "上海天气雨"]
    index = Bm25(texts)
    split = [tokens(text) for text in texts]
    mean = sum(map(len, split)) / len(split)

    def by_hand(query: str, place: int) -> float:
        total = 0.0
        for word in tokens(query):
            n, f = sum(word in words for words in split), split[place].count(word)
            idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
            total += idf * f * (K1 + 1) / (f + K1 * (1 - B + B * len(split[place]) / mean))
        return total

    for query in ("cat", "the cat", "dog bird", "北京天气", "cat cat"):
        found = index.rank(query)
        assert all(score == pytest.approx(by_hand(query, place)) for place, score in found)
        assert {place for place, _ in found} == {p for p in range(5) if by_hand(query, p) > 0}
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert index.rank("北京")[0][0] == 3
    assert index.rank("zzq") == [] and Bm25([]).rank("x") == []


def test_a_corpus_as_a_tool() -> None:
    corpus = Corpus({"bern": "x " * 200 + "Bern has bears in a pit.", "rome": "Rome has cats.", "北京": "北京有长城。"})
    tools = Registry(corpus.search)
    assert [tool.name for tool in tools] == ["search"]
    found = run_call(Call(name="search", arguments={"query": "bears of Bern", "top": 1}), tools).value
    assert found[0]["name"] == "bern" and "bears" in found[0]["text"] and len(found) == 1
    assert corpus.search("长城")[0]["name"] == "北京"
    assert corpus.search("zzq") == []
    with pytest.raises(DataError, match="the corpus is empty"):
        Corpus({})


def test_bm25_finds_a_known_document_among_many() -> None:
    rng = random.Random(0)
    words = [f"w{n}" for n in range(500)]
    texts = [" ".join(rng.choices(words, k=60)) for _ in range(400)]
    index = Bm25(texts)
    hits = sum(index.rank(" ".join(rng.sample(text.split(), 6)))[0][0] == place for place, text in enumerate(texts))
    assert hits >= 390


HOME = """<html><head><title> A  home </title><style>p {x: y}</style></head><body><script>var no = 1;</script>
<h1>Welcome</h1><p>Bears &amp; cats live <b>here</b>.</p><ul><li>one<li>two</ul>
<a href="/bern#pit">the pit</a> <a href="https://other.example/x">else</a><a>none</a></body></html>"""


def browser(window: int = 40) -> Browser:
    home = page_of_html("https://example.org/", HOME)
    bern = Page(url="https://example.org/bern", title="Bern", text="".join(f"line {n} of bears.\n" for n in range(20)))
    return Browser([home, bern], window=window)


def test_pages_of_html() -> None:
    page = page_of_html("https://example.org/", HOME)
    assert page.title == "A home"
    assert page.text == "Welcome\nBears & cats live here.\none\ntwo\nthe pit elsenone"
    assert page.links == (("the pit", "https://example.org/bern"), ("else", "https://other.example/x"))
    assert page_of_html("u", "<p>a<a href='x'>open").text == "aopen"


def test_the_browser_opens_scrolls_finds_and_follows() -> None:
    here = browser()
    assert here.search("cats").startswith("[0] A home (https://example.org/)")
    assert here.mclick([0]).startswith("【0†A home】 0 to 40 of")
    assert here.links() == "the pit: https://example.org/bern\nelse: https://other.example/x"
    assert here.open_url("/bern#pit").startswith("【1†Bern】 0 to 40 of")
    assert here.scroll(2).startswith("【1†Bern】 80 to 120")
    assert here.scroll(-9).startswith("【1†Bern】 0 to 40")
    assert here.scroll(900).partition(" of ")[0].endswith(str(len(browser()._pages["https://example.org/bern"].text)))
    assert here.find("LINE 7").splitlines()[1].startswith("line 7")
    assert here.find("line 3").splitlines()[1].startswith("line 3")
    assert here.find("zzq") == "'zzq' is not in Bern"
    assert here.search("zzq") == "nothing found"
    assert here.links() == "the page has no links"
    assert here.citations("So【1†Bern】 and【0†A home】, not【7†no】.") == {
        1: "https://example.org/bern",
        0: "https://example.org/",
        7: None,
    }


def test_what_the_browser_refuses_is_told_to_the_model() -> None:
    here = browser()
    tools = Registry(here.search, here.open_url, here.mclick, here.scroll, here.find, here.links)
    for call, wrong in (
        (Call(name="links"), "no page is open"),
        (Call(name="mclick", arguments={"ids": [0]}), "there is no result 0"),
        (Call(name="mclick", arguments={"ids": []}), "give 1 to 10"),
        (Call(name="open_url", arguments={"url": "https://evil.example"}), "there is no page https://evil.example"),
    ):
        assert wrong in run_call(call, tools).error
    run_call(Call(name="open_url", arguments={"url": "https://example.org/bern"}), tools)
    assert "blank" in run_call(Call(name="find", arguments={"text": " "}), tools).error
    with pytest.raises(DataError, match="the browser has no page"):
        Browser([])


# ---- the Python session, over a stand-in for an executor ---------------------------------------------------------


def _live(code: str, pipe: Any) -> None:
    exec(code, {"ask": pipe.recv, "answer": pipe.send, "__name__": "__main__"})


class Talk:
    """A conversation with a process of its own. It isolates nothing: the test's own code alone goes into it."""

    def __init__(self, code: str) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("fork").Process(target=_live, args=(code, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, message: str, *, seconds: float = 5.0) -> str:
        try:
            self.pipe.send(message)
            if not self.pipe.poll(seconds):
                raise WorkerError(f"no answer within {seconds:g} s")
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerError("the program is gone") from error

    def stop(self) -> Ran:
        self.process.join(0.3)
        alive = self.process.is_alive()
        self.process.kill()
        self.process.join()
        return Ran(status=-9, stdout="", stderr="", limit="time" if alive else "")


class Machine:
    """Counts the programs that it started."""

    def __init__(self) -> None:
        self.started: list[Talk] = []

    def start(self, code: str, *, files: Mapping[str, bytes] = {}, limits: Limits = HOUR) -> Talk:
        self.started.append(Talk(code))
        return self.started[-1]

    def run(self, code: str, **more: Any) -> Ran:
        raise NotImplementedError

    def command(self, argv: Sequence[str], **more: Any) -> Ran:
        raise NotImplementedError


def test_a_session_keeps_its_variables_and_its_tracebacks() -> None:
    machine = Machine()
    with PythonSession(machine, seconds=5.0) as session:
        tools = Registry(session.python)
        assert (
            run_call(Call(name="python", arguments={"code": "x = [1, 2]\nprint('so')\nx"}), tools).value
            == "so\n[1, 2]\n"
        )
        assert session.python("x.append(3); x[-1]") == "3\n"
        assert session.python("y = 1") == ""
        said = session.python("def f():\n    return 1 // 0\nf()")
        assert "line 2, in f\n    return 1 // 0" in said and said.endswith(
            "ZeroDivisionError: integer division or modulo by zero\n"
        )
        assert "SyntaxError" in session.python("for in")
        assert "SystemExit" in session.python("raise SystemExit(3)")
        assert session.python("len(x)") == "3\n"
        assert len(machine.started) == 1
    assert not machine.started[0].process.is_alive()
    session.close()


def test_a_session_that_ends_says_so_and_starts_again() -> None:
    machine = Machine()
    with PythonSession(machine, seconds=0.5) as session:
        session.python("x = 1")
        with pytest.raises(WorkerError, match="the session ended: over the limit of time"):
            session.python("while True: pass")
        assert session.python("print('again')").startswith(
            "[the session was started again; earlier variables are gone]"
        )
        with pytest.raises(WorkerError, match="the session ended: status"):
            session.python("import os; os._exit(4)")
        tools = Registry(session.python)
        assert "NameError" in run_call(Call(name="python", arguments={"code": "x"}), tools).content
    assert len(machine.started) == 3
    assert json.loads(run_call(Call(name="python"), Registry(PythonSession(machine).python)).content)["error"]
