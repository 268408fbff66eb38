"""The languages beside Python: their tools, how a program is built and started, what an answer may not hold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.verify.code.languages.cpp import cpp_program, cpp_refused
from burnish.verify.code.languages.java import java_program, java_refused
from burnish.verify.code.languages.joined import go_program, js_program
from burnish.verify.code.languages.rust import rust_program, rust_refused
from burnish.verify.code.languages.scan import without_comments

# What a C++ answer defines of the C library would stand for it in the tests as well; the object file shows it.
_CPP = (
    "g++ -std=c++17 -O0 -w -c -o main.o main.cpp && "
    "if nm -g --defined-only main.o | grep -E ' [TWi] ' | grep -vE ' (main|_Z.*|DW[.]ref.*)$'; "
    "then echo 'burnish-unscored: the answer defines a function of the library'; false; else g++ -o main main.o; fi"
)
_GO = re.compile(r"\bos\.Exit|/proc/|\bunsafe\b|TestMain|\binit\s*\(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How a program of one language is built and run.

    Args:
        tools: commands that must be there.
        file: the name of the source file.
        build: the shell command that builds it; empty when nothing is built.
        start: the command that runs it.
        joined: (prefix, candidate's text, tests' text, secret word) -> the whole program with the word at its end,
            and the same without checks of types, to tell whose fault it is when the first does not build.
        refused: (candidate's text, tests' text) -> what of it the tests could not stand beside, or nothing.
        bare: the command that tells whether the second program builds; empty when there is no second one.
        nests: how many braces a prompt leaves open, where tests begin with a closing one.
        opens: what opens as many again behind a candidate that closed its function itself.
    """

    name: str
    tools: tuple[str, ...]
    file: str
    build: str
    start: str
    joined: Callable[[str, str, str, str], tuple[str, str]]
    refused: Callable[[str, str], str] = lambda code, tests: ""
    advice: str = ""
    bare: str = ""
    nests: int = 1
    opens: str = ""


LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            name="cpp",
            tools=("g++",),
            file="main.cpp",
            build=_CPP,
            bare="g++ -std=c++17 -O0 -w -fsyntax-only bare.cpp",
            opens="void burnish_tail() {\n",
            start="./main",
            joined=cpp_program,
            refused=cpp_refused,
            advice="install g++ (Debian: apt-get install g++)",
        ),
        Language(
            name="java",
            tools=("javac", "java"),
            file="Problem.java",
            build="javac -nowarn -J-Xmx512m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 Problem.java",
            start="java -ea -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto Problem",
            joined=java_program,
            refused=java_refused,
            nests=2,
            opens="static void burnishTail() {\n",
            advice="install a JDK (Debian: apt-get install default-jdk-headless)",
        ),
        Language(
            name="javascript",
            tools=("node",),
            file="main.js",
            build="",
            start="node main.js",
            joined=js_program,
            advice="install Node.js (Debian: apt-get install nodejs)",
        ),
        Language(
            name="go",
            tools=("go",),
            file="main_test.go",
            build="go mod init x 2> /dev/null; go test -c -o main .",
            start="./main -test.v",
            joined=go_program,
            refused=lambda code, tests: "".join(_GO.findall(without_comments(code))[:1]),
            opens="func burnishTail() {\n",
            advice="install Go (Debian: apt-get install golang-go)",
        ),
        Language(
            name="rust",
            tools=("rustc",),
            file="main.rs",
            build="rustc --edition 2021 -A warnings -C opt-level=1 -o main main.rs",
            start="./main",
            joined=rust_program,
            refused=rust_refused,
            bare="rustc --edition 2021 -A warnings --emit metadata -o bare.rmeta bare.rs",
            opens="fn burnish_tail() {\n",
            advice="install Rust (https://rustup.rs, or Debian: apt-get install rustc)",
        ),
    )
}
ALIASES = {"js": "javascript", "c++": "cpp", "rs": "rust", "golang": "go", "node": "javascript", "py": "python"}


def find_language(name: str) -> Language:
    """The language of this name or alias. Raises DataError for any other."""
    name = ALIASES.get(name, name)
    if name not in LANGUAGES:
        raise DataError(f"code in {name!r} cannot be checked; known: python, {', '.join(LANGUAGES)}")
    return LANGUAGES[name]


def probe() -> dict[str, str]:
    """For each language what is missing and how to get it; an empty text when it can be checked on this machine."""
    return {name: missing(language) for name, language in LANGUAGES.items()}


def missing(language: Language) -> str:
    absent = [tool for tool in language.tools if shutil.which(tool) is None]
    return f"{language.name}: no {' and no '.join(absent)} on this machine; {language.advice}" if absent else ""
