"""The languages beside Python: their tools, how a program is built and started, what an answer may not hold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.verify.code.languages.joined import (
    IDENTIFIER,
    JS_DRIVER,
    cpp_program,
    go_program,
    java_program,
    rust_program,
)

_DECLARED = re.compile(r"\b(class|interface|enum|record|struct|type|trait|union|mod|macro_rules!|as)\s+(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How a program of one language is built and run.

    Args:
        tools: commands that must be there.
        file: the name of the source file.
        build: the shell command that builds it; empty when nothing is built.
        start: the command that runs it.
        joined: (candidate's text, tests' text, secret word) -> the whole program with the word at its end.
        refused: what a candidate's text must not hold, as a pattern.
    """

    name: str
    tools: tuple[str, ...]
    file: str
    build: str
    start: str
    joined: Callable[[str, str, str], str]
    refused: str = ""
    advice: str = ""


LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            name="cpp",
            tools=("g++",),
            file="main.cpp",
            build="g++ -std=c++17 -O0 -w -o main main.cpp",
            start="./main",
            joined=cpp_program,
            refused=r"namespace\s+std\b|#\s*include\s*[\"<]/|\basm\b|__asm|/proc/|%:|\?\?=|\bmain\s*\(",
            advice="install g++ (Debian: apt-get install g++)",
        ),
        Language(
            name="java",
            tools=("javac", "java"),
            file="Problem.java",
            build="javac -nowarn -J-Xmx512m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 Problem.java",
            start="java -ea -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto Problem",
            joined=java_program,
            refused=r"getResource|ClassLoader|AssertionStatus|\.class\"|java\.lang\.instrument|sun\.misc",
            advice="install a JDK (Debian: apt-get install default-jdk-headless)",
        ),
        Language(
            name="javascript",
            tools=("node",),
            file="main.js",
            build="",
            start="node main.js",
            joined=lambda code, tests, word: JS_DRIVER,
            advice="install Node.js (Debian: apt-get install nodejs)",
        ),
        Language(
            name="go",
            tools=("go",),
            file="main_test.go",
            build="go mod init x 2> /dev/null; go test -c -o main .",
            start="./main -test.v",
            joined=go_program,
            refused=r"\bos\.Exit|/proc/|\bunsafe\b|TestMain|\binit\s*\(",
            advice="install Go (Debian: apt-get install golang-go)",
        ),
        Language(
            name="rust",
            tools=("rustc",),
            file="main.rs",
            build="rustc --edition 2021 -A warnings -C opt-level=1 -o main main.rs",
            start="./main",
            joined=rust_program,
            refused=r"include(?:_str|_bytes)?!|/proc/|\bextern\b|no_mangle|#!\[|mod\s+std\b|fn\s+main\b",
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


def refused(language: Language, code: str, tests: Sequence[str]) -> str:
    """What of a candidate's text its tests could not stand beside, empty when there is nothing.

    That is what no answer needs (a language's `refused`), and a type, module or macro of a name that the tests use.
    """
    found = re.search(language.refused, code) if language.refused else None
    if found:
        return found[0]
    used = set(IDENTIFIER.findall("\n".join(tests)))
    for match in _DECLARED.finditer(code) if language.name in ("java", "rust") else ():
        if match[2] in used:
            return match[0]
    return ""
