"""Builds and runs candidates in other languages, and stdin/stdout tests in all of them."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from burnish.protocols import Executor, Limits, Ran
from burnish.verify.code.languages.java import java_name
from burnish.verify.code.languages.joined import js_code
from burnish.verify.code.languages.scan import blanked, depth
from burnish.verify.code.languages.table import ALIASES, Language, find_language, missing
from burnish.verify.code.outcome import UNSCORED, Outcome, Result, error_class, failed
from burnish.verify.code.suite import Exchange, Suite

COMPILE = 60.0  # ASSUMED: seconds of a compiler; the header that MultiPL-E includes in C++ is a large one
ABSENT, BROKEN = 96, 97  # how the script below ends when there are no tools, and when the compiler refuses
# A package that is not installed, as compilers word it; what the languages bring along themselves is none.
_ABSENT = re.compile(
    r"fatal error: [\w./+-]+: No such file or directory|error: package (?!javax?\.)[\w.]+ does not exist|"
    r"unresolved import `(?!std|core|alloc|crate|self|super)\w+|can't find crate for `\w+`|"
    r"cannot find package \"[^\"]+|no required module provides package [\w./-]+"
)
MEMORY = 2048  # ASSUMED: MiB for a compiler or a Java machine, which reserve more than they use
PROCESSES = 128


def _script(language: Language, runs: Sequence[tuple[str, str]], seconds: float) -> str:
    """Build, then run once for each (stdin file, name of the results).

    It ends with ABSENT when the sandbox does not show the tools, and with BROKEN when the build fails.
    """
    places = dict.fromkeys(str(Path(path).parent) for tool in language.tools if (path := shutil.which(tool)))
    lines = [f"PATH=$PATH:{':'.join(places)}"]
    lines += [f"command -v {tool} > /dev/null || exit {ABSENT}" for tool in language.tools]
    if language.name == "rust":  # rustup's stand-in for the compiler is there even where the compiler is not
        lines.append(f"rustc --version > build.txt 2>&1 || exit {ABSENT}")
    if language.build:
        lines.append(f"{{ {language.build}; }} > build.txt 2>&1 || {{ {_whose(language, runs)} exit {BROKEN}; }}")
    for source, name in runs:
        given = f"< {source}" if source else ""
        lines.append(f"timeout -s KILL {seconds:g} {language.start} {given} > {name}.out 2> {name}.err")
        lines.append(f"echo $? > {name}.rc")
    return "\n".join(lines) + "\n"


def _whose(language: Language, runs: Sequence[tuple[str, str]]) -> str:
    """The command that says so when a program builds but for the checks of types that were put into its tests."""
    if not language.bare or runs[0][0]:
        return ""
    told = "burnish-unscored: a result is of a type that decides itself how it compares"
    return f"{language.bare} > bare.txt 2>&1 && echo '{told}' >> build.txt;"


def _limits(limits: Limits, seconds: float) -> Limits:
    return replace(
        limits,
        seconds=seconds,
        memory_mib=max(limits.memory_mib, MEMORY),
        processes=max(limits.processes, PROCESSES),
    )


def _built_badly(ran: Ran, language: Language) -> Result | None:
    """The result when the program was never built; None when it was."""
    told = ran.files.get("build.txt", b"").decode("utf-8", "replace")
    if ran.status == ABSENT:
        name = language.name
        why = (
            f"{name}: {' and '.join(language.tools)} cannot be run inside the sandbox; {language.advice} for all users"
        )
        return Result(kind=UNSCORED, message=why)
    if ran.status == BROKEN and (cause := re.search(r"burnish-unscored: (.*)", told)):
        return Result(kind=UNSCORED, message=f"{language.name}: {cause[1][:200]}")
    if ran.status == BROKEN and (absent := _ABSENT.search(told)):
        return Result(kind="environment", message=f"not installed: {absent[0][:300]}")
    if ran.status == BROKEN:
        first = next((line for line in told.splitlines() if "error" in line), told[:300])
        return Result(kind="syntax", message=f"the compiler refuses: {first[:500]}")
    if not any(name.endswith(".rc") for name in ran.files):
        kind = {"time": "timeout", "memory": "memory", "output": "output"}.get(ran.limit, UNSCORED)
        return Result(kind=kind, message=f"nothing was run: {ran.limit or ran.stderr[-300:] or told[-300:]}")
    return None


def _ran_badly(status: int, error: str) -> Result:
    if status in (124, 137):
        kind = "memory" if "OutOfMemory" in error or "bad_alloc" in error else "timeout"
        return Result(kind=kind, message="the time is up")
    if "OutOfMemoryError" in error or "bad_alloc" in error or "heap out of memory" in error:
        return Result(kind="memory", message=error[-300:])
    if status == 0:
        return Result(kind="exit", message="the program ended before its tests did")
    if missed := re.search(r"Cannot find module '?(?![./])[\w@/-]+", error):
        return Result(kind="environment", message=missed[0][:300])
    if "SyntaxError" in error:
        line = next(line for line in error.splitlines() if "SyntaxError" in line)
        return Result(kind="syntax", message=line[:400])
    wrong = "Assert" in error or "assertion" in error or status == 132
    told = next((line for line in error.splitlines() if "rror" in line or "panicked" in line), error[-300:])
    return Result(kind="wrong_answer" if wrong else "exception", message=f"status {status}: {told[:400]}")


def run_compiled(executor: Executor, code: str, suite: Suite, *, limits: Limits | None = None) -> Outcome:
    """Function tests in another language than Python: each test makes a whole program with the candidate's text.

    A compiler that is not there gives an unscored outcome, never a failed one.

    Raises:
        WorkerError: the sandbox failed.
    """
    language = find_language(suite.language)
    asked = len(suite.tests)
    if lacking := missing(language):
        return failed(UNSCORED, lacking, asked=asked, mode="compiled")
    results, seconds = [], 0.0
    for test in suite.tests:
        prefix, own = split(code, suite.prefix)
        if bad := language.refused(own, test):
            told = f"{language.name}: candidate and tests share a program, which no answer may that holds {bad!r}"
            return failed(UNSCORED, told, asked=asked, mode="compiled")
        word = secrets.token_hex(12)
        own = _closed(language, prefix, own, test)
        ran = _run(executor, language, (prefix, own, test, word), suite.seconds, limits)
        seconds += ran.seconds
        results.append(_judged(ran, word, language))
        if results[-1].kind:
            break
    return Outcome(results=tuple(results), asked=asked, mode="compiled", seconds=seconds)


def _run(
    executor: Executor, language: Language, parts: tuple[str, str, str, str], seconds: float, limits: Limits | None
) -> Ran:
    """Build and run one test on one candidate."""
    prefix, own, test, word = parts
    if language.name == "java":
        language = named(language, java_name(test))
    whole, bare = language.joined(prefix, own, test, word)
    files = {language.file: whole.encode("utf-8", "replace")}
    if language.bare:
        files[f"bare.{language.file.partition('.')[2]}"] = bare.encode("utf-8", "replace")
    # The driver of JavaScript reads candidate and tests from stdin, so that no file holds the tests.
    stdin = json.dumps([js_code(prefix + own), test, word]) if language.name == "javascript" else ""
    return executor.command(
        ["/bin/sh", "-c", _script(language, [("", "run")], seconds)],
        stdin=stdin,
        files=files,
        keep=("build.txt", "run.out", "run.err", "run.rc"),
        limits=_limits(limits or Limits(), COMPILE + seconds),
    )


def named(language: Language, name: str) -> Language:
    """Java with another class to start."""
    build, start = (re.sub(r"\bProblem\b", name, text) for text in (language.build, language.start))
    return replace(language, file=f"{name}.java", build=build, start=start)


def split(code: str, prefix: str) -> tuple[str, str]:
    """What of a program is the problem's, and what is the candidate's own: the lines that both begin with."""
    if code.startswith(prefix):
        return prefix, code[len(prefix) :]
    size = 0
    for one, two in zip(code.splitlines(keepends=True), prefix.splitlines(keepends=True), strict=False):
        if one != two:
            break
        size += len(one)
    return code[:size], code[size:]


def _closed(language: Language, prefix: str, own: str, test: str) -> str:
    """A candidate's text that leaves open what the test closes: MultiPL-E's tests begin with a closing brace."""
    if not language.opens or not test.lstrip().startswith("}"):
        return own
    level = depth(prefix + own)
    if language.nests == 2 and level == 0:  # a whole class
        own, level = own[: blanked(own).rfind("}")], 1
    return f"{own}\n{language.opens}" if level == language.nests - 1 else own


def _judged(ran: Ran, word: str, language: Language) -> Result:
    bad = _built_badly(ran, language)
    if bad is not None:
        return bad
    status = int(ran.files["run.rc"].decode().strip() or "1")
    out = ran.files.get("run.out", b"").decode("utf-8", "replace")
    error = ran.files.get("run.err", b"").decode("utf-8", "replace")
    if f"{word} broken" in out:
        told = out.partition(f"{word} broken: ")[2].strip()[:300]
        return Result(kind=UNSCORED, message=f"fault of the test: {told}")
    # Go prints the word on stderr and goes on after a failed test.
    said = word in out or word in error
    return Result() if said and status == 0 else _ran_badly(status, error + out[-200:])


def same_output(given: str, expected: str) -> bool:
    """Whether two outputs are equal but for spaces at line ends and empty lines at the end."""
    lines = [[line.rstrip() for line in text.replace("\r\n", "\n").split("\n")] for text in (given, expected)]
    for part in lines:
        while part and not part[-1]:
            part.pop()
    return lines[0] == lines[1]


def _python_exchange(executor: Executor, code: str, exchange: Exchange, limits: Limits) -> Result:
    ran = executor.run(code, stdin=exchange.input, limits=limits)
    if ran.limit:
        kind = {"time": "timeout", "disk": "output"}.get(ran.limit, ran.limit)
        return Result(kind=kind, message=f"the limit on {ran.limit} was reached")
    if ran.status != 0:
        last = next((line for line in reversed(ran.stderr.splitlines()) if re.match(r"\w", line)), "")
        name = last.partition(":")[0].rpartition(".")[2]
        kind = error_class([name], last) if last else "exit"
        if name in ("IndentationError", "TabError"):
            kind = "syntax"
        if "No module named" in last:
            kind = error_class(["ModuleNotFoundError"], last)
        return Result(kind=kind, message=last[:400] or f"status {ran.status}")
    return _compared(ran.stdout, exchange)


def _compared(given: str, exchange: Exchange) -> Result:
    if same_output(given, exchange.output):
        return Result()
    told = f"for the input {exchange.input[:200]!r} it printed {given[:200]!r}, expected {exchange.output[:200]!r}"
    return Result(kind="wrong_answer", message=told)


def run_exchanges(
    executor: Executor, code: str, suite: Suite, *, every: bool = False, limits: Limits | None = None
) -> Outcome:
    """Stdin/stdout tests in any language. The expected outputs never enter the sandbox.

    Raises:
        WorkerError: the sandbox failed.
    """
    limits, asked = limits or Limits(), len(suite.exchanges)
    results: list[Result] = []
    if ALIASES.get(suite.language, suite.language) == "python":
        for exchange in suite.exchanges:
            results.append(_python_exchange(executor, code, exchange, replace(limits, seconds=suite.seconds)))
            if results[-1].kind and not every:
                break
        return Outcome(results=tuple(results), asked=asked, mode="stdio")
    language = find_language(suite.language)
    if lacking := missing(language):
        return failed(UNSCORED, lacking, asked=asked, mode="stdio")
    if language.name == "go":
        language = replace(language, file="main.go", build="go build -o main main.go", start="./main")
    if language.name == "java":
        public = re.search(r"public\s+(?:final\s+)?class\s+(\w+)", code) or re.search(r"\bclass\s+(\w+)", code)
        language = named(language, public[1] if public else "Main")
    if language.name == "cpp":  # a program of its own may define what it likes
        language = replace(language, build="g++ -std=c++17 -O0 -w -o main main.cpp")
    files = {f"in{i}.txt": e.input.encode("utf-8", "replace") for i, e in enumerate(suite.exchanges)}
    files[language.file] = code.encode("utf-8", "replace")
    runs = [(f"in{i}.txt", f"r{i}") for i in range(asked)]
    keep = [f"r{i}.{end}" for i in range(asked) for end in ("out", "err", "rc")]
    total = _limits(limits, COMPILE + suite.seconds * asked)
    script = _script(language, runs, suite.seconds)
    ran = executor.command(["/bin/sh", "-c", script], files=files, keep=("build.txt", *keep), limits=total)
    if (bad := _built_badly(ran, language)) is not None:
        return Outcome(results=(bad,), asked=asked, mode="stdio", seconds=ran.seconds)
    for index, exchange in enumerate(suite.exchanges):
        told = {end: ran.files.get(f"r{index}.{end}", b"").decode("utf-8", "replace") for end in ("out", "err", "rc")}
        status = int(told["rc"].strip() or "137")
        bad = _ran_badly(status, told["err"]) if status else _compared(told["out"], exchange)
        results.append(bad)
        if bad.kind and not every:
            break
    return Outcome(results=tuple(results), asked=asked, mode="stdio", seconds=ran.seconds)
