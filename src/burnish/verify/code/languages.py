"""Other languages, and stdin/stdout tests in all of them.

A candidate in C++, Java, JavaScript, Go or Rust shares a process with its tests, as MultiPL-E writes them. What makes
an early exit, a redefined `assert` or a poisoned equality no pass: the verdict is a secret word that only the end of
the tests prints, written into them after the candidate's text is known; the tests' comparisons are rewritten to ones
that the candidate's own definitions do not reach; and a few constructs that no answer needs are refused. In
JavaScript the tests are a second script that arrives on stdin, so that neither file nor function text holds the word.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from burnish.errors import DataError
from burnish.protocols import Executor, Limits, Ran
from burnish.verify.code.outcome import UNSCORED, Outcome, Result, error_class, failed
from burnish.verify.code.suite import Exchange, Suite

COMPILE = 60.0  # ASSUMED: seconds of a compiler; the header that MultiPL-E includes in C++ is a large one
BROKEN = 97  # the status of the script below when the compiler refuses
MEMORY = 2048  # ASSUMED: MiB for a compiler or a Java machine, which reserve more than they use
PROCESSES = 128
MARK = "@@burnish@@"


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
    words: Mapping[str, str] = field(default_factory=dict)


_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# Macros of the standard headers that tests may use; all other words of the tests are freed of the candidate's macros.
_CPP_MACROS = re.compile(r"^[A-Z][A-Z0-9_]*$")
_CPP_EQUAL = re.compile(r"assert\((candidate\(.*\)) == (\(.*\))\);")
_JAVA_EQUALS = re.compile(r"assert\((.+)\.equals\((\(.*\))\)\);")
_CPP_ASSERT = """
#undef assert
#define assert(x) do { if (!(x)) { __builtin_printf("@@failed@@\\n"); for (;;) __builtin_trap(); } } while (0)
"""


def _before_last_brace(tests: str, line: str, *, level: int = 1) -> str:
    place = len(tests)
    for _ in range(level):
        place = tests.rfind("}", 0, place)
        if place < 0:
            raise DataError("the tests hold no closing brace of `main`; they must make the candidate a whole program")
    return tests[:place] + line + "\n" + tests[place:]


def _scattered(word: str) -> list[int]:
    """The word as numbers that are not its letters: the binary does not hold its text."""
    return [ord(letter) * 7 + 3 + 11 * index for index, letter in enumerate(word)]


def _cpp(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ const int burnish_n[] = {%s}; int burnish_i = 0; for (int x : burnish_n) "
    say += "__builtin_putchar((x - 3 - 11 * burnish_i++) / 7); __builtin_putchar(10); }"
    undo = sorted({w for w in _IDENTIFIER.findall(tests) if not _CPP_MACROS.match(w)})
    guard = "".join(f"#undef {w}\n" for w in undo) + "#include <functional>\n" + _CPP_ASSERT
    tests = _CPP_EQUAL.sub(r"assert((std::equal_to<>{}(\1, \2)));", tests)
    tests = _before_last_brace(tests, say % numbers)
    closing = re.match(r"\s*\}", tests)
    at = closing.end() if closing else 0
    return f"{code}{tests[:at]}\n{guard}\n{tests[at:]}"


def _java(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ int[] burnishN = {%s}; java.lang.StringBuilder burnishS = new java.lang.StringBuilder();"
    say += "for (int i = 0; i < burnishN.length; i++) burnishS.append((char) ((burnishN[i] - 3 - 11 * i) / 7));"
    say += "java.lang.System.out.println(burnishS); }"
    tests = "\n".join(_JAVA_EQUALS.sub(r"assert((\2).equals(\1));", line) for line in tests.split("\n"))
    whole = code + _before_last_brace(tests, say % numbers, level=2)
    return re.sub(r"^import org\.javatuples\.\*;\n", "", whole, flags=re.MULTILINE)


def _rust(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ let n: &[u32] = &[%s]; let s: ::std::string::String = n.iter().enumerate().map(|(i, x)| "
    say += '::std::char::from_u32((x - 3 - 11 * (i as u32)) / 7).unwrap()).collect(); ::std::println!("{}", s); }'
    tests = re.sub(r"(?<![\w:])(assert(?:_eq|_ne)?)!", r"::std::\1!", tests)
    return code + _before_last_brace(tests, say % numbers)


def _go(code: str, tests: str, word: str) -> str:
    return f'{code}{tests}\nfunc TestZzzBurnish(t *testing.T) {{\n\tprint("{word}\\n")\n}}\n'


_JS_DRIVER = """
const fs = require('fs'), vm = require('vm'), assert = require('assert');
const [code, tests, word] = JSON.parse(fs.readFileSync(0, 'utf8'));
const write = fs.writeSync.bind(fs), run = vm.runInThisContext.bind(vm);
for (const part of [assert, assert.strict, assert.AssertionError.prototype]) Object.freeze(part);
const lent = require;
const own = (name) => /^(node:)?assert(\\/strict)?$/.test(name) ? assert : lent(name);
globalThis.require = lent;
run(code, {filename: 'candidate.js'});
run('(function (require) {"use strict";\\n' + tests + '\\n})', {filename: 'tests.js'})(own);
write(1, '\\n' + word + '\\n');
"""

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        Language(
            name="cpp",
            tools=("g++",),
            file="main.cpp",
            build="g++ -std=c++17 -O1 -w -o main main.cpp",
            start="./main",
            joined=_cpp,
            refused=r"namespace\s+std\b|#\s*include\s*[\"<]/|\basm\b|__asm|/proc/|%:|\?\?=|\bmain\s*\(",
            advice="install g++ (Debian: apt-get install g++)",
        ),
        Language(
            name="java",
            tools=("javac", "java"),
            file="Problem.java",
            build="javac -nowarn -J-Xmx512m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 Problem.java",
            start="java -ea -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto Problem",
            joined=_java,
            refused=r"getResource|ClassLoader|AssertionStatus|\.class\"|java\.lang\.instrument|sun\.misc",
            advice="install a JDK (Debian: apt-get install default-jdk-headless)",
        ),
        Language(
            name="javascript",
            tools=("node",),
            file="main.js",
            build="",
            start="node main.js",
            joined=lambda code, tests, word: _JS_DRIVER,
            refused=r"child_process|inspector|process\.binding|node:vm|['\"]vm['\"]|worker_threads|v8['\"]",
            advice="install Node.js (Debian: apt-get install nodejs)",
        ),
        Language(
            name="go",
            tools=("go",),
            file="main_test.go",
            build="go mod init x 2> /dev/null; go test -c -o main .",
            start="./main -test.v",
            joined=_go,
            refused=r"\bos\.Exit|/proc/|\bunsafe\b|TestMain|\binit\s*\(",
            advice="install Go (Debian: apt-get install golang-go)",
        ),
        Language(
            name="rust",
            tools=("rustc",),
            file="main.rs",
            build="rustc --edition 2021 -A warnings -C opt-level=1 -o main main.rs",
            start="./main",
            joined=_rust,
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


def _found(tool: str, command: str) -> str:
    """A command with the tool's full path, for a sandbox whose PATH is a short one."""
    path = shutil.which(tool)
    return command.replace(tool, path, 1) if path and command.startswith(tool) else command


def _script(language: Language, runs: Sequence[tuple[str, str]], seconds: float) -> str:
    """Build, then run once for each (stdin file, name of the results); a build that fails ends it with BROKEN."""
    lines = []
    if language.build:
        lines.append(f"{_found(language.tools[0], language.build)} > build.txt 2>&1 || exit {BROKEN}")
    start = _found(language.tools[-1], language.start)
    for source, name in runs:
        limited = f"timeout -s KILL {seconds:g} {start} < {source} > {name}.out 2> {name}.err"
        lines.append(f"{limited}; echo $? > {name}.rc")
    return "\n".join(lines) + "\n"


def _limits(limits: Limits, seconds: float) -> Limits:
    return replace(
        limits,
        seconds=seconds,
        memory_mib=max(limits.memory_mib, MEMORY),
        processes=max(limits.processes, PROCESSES),
    )


def _built_badly(ran: Ran) -> Result | None:
    """The result when the program was never built; None when it was."""
    told = ran.files.get("build.txt", b"").decode("utf-8", "replace")
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
    if language.refused and (bad := re.search(language.refused, code.removeprefix(suite.prefix))):
        return failed("exit", f"an answer may not use {bad[0]!r} here", asked=asked, mode="compiled")
    results, seconds = [], 0.0
    for test in suite.tests:
        word = secrets.token_hex(12)
        files = {language.file: language.joined(code, test, word).encode("utf-8", "replace"), "in.txt": b""}
        if language.name == "javascript":
            files["in.txt"] = _js_input(code, test, word)
        script = _script(language, [("in.txt", "run")], suite.seconds)
        if language.name == "javascript":
            # stdin is the shell's own, so that no file holds the tests.
            script = script.replace("< in.txt", "")
        stdin = files.pop("in.txt").decode() if language.name == "javascript" else ""
        ran = executor.command(
            ["/bin/sh", "-c", script],
            stdin=stdin,
            files=files,
            keep=("build.txt", "run.out", "run.err", "run.rc"),
            limits=_limits(limits or Limits(), COMPILE + suite.seconds),
        )
        seconds += ran.seconds
        results.append(_judged(ran, word))
        if results[-1].kind:
            break
    return Outcome(results=tuple(results), asked=asked, mode="compiled", seconds=seconds)


def _js_input(code: str, test: str, word: str) -> bytes:
    import json

    return json.dumps([code, test, word]).encode()


def _judged(ran: Ran, word: str) -> Result:
    bad = _built_badly(ran)
    if bad is not None:
        return bad
    status = int(ran.files["run.rc"].decode().strip() or "1")
    out = ran.files.get("run.out", b"").decode("utf-8", "replace")
    error = ran.files.get("run.err", b"").decode("utf-8", "replace")
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
        name = public[1] if public else "Main"
        build, start = (text.replace("Problem", name) for text in (language.build, language.start))
        language = replace(language, file=f"{name}.java", build=build, start=start)
    files = {f"in{i}.txt": e.input.encode("utf-8", "replace") for i, e in enumerate(suite.exchanges)}
    files[language.file] = code.encode("utf-8", "replace")
    runs = [(f"in{i}.txt", f"r{i}") for i in range(asked)]
    keep = [f"r{i}.{end}" for i in range(asked) for end in ("out", "err", "rc")]
    total = _limits(limits, COMPILE + suite.seconds * asked)
    script = _script(language, runs, suite.seconds)
    ran = executor.command(["/bin/sh", "-c", script], files=files, keep=("build.txt", *keep), limits=total)
    if (bad := _built_badly(ran)) is not None:
        return Outcome(results=(bad,), asked=asked, mode="stdio", seconds=ran.seconds)
    for index, exchange in enumerate(suite.exchanges):
        told = {end: ran.files.get(f"r{index}.{end}", b"").decode("utf-8", "replace") for end in ("out", "err", "rc")}
        status = int(told["rc"].strip() or "137")
        bad = _ran_badly(status, told["err"]) if status else _compared(told["out"], exchange)
        results.append(bad)
        if bad.kind and not every:
            break
    return Outcome(results=tuple(results), asked=asked, mode="stdio", seconds=ran.seconds)
