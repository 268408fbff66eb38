"""Candidate and tests joined to one program that says a secret word when all tests have passed."""

from __future__ import annotations

import re

from burnish.errors import DataError

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
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


def cpp_program(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ const int burnish_n[] = {%s}; int burnish_i = 0; for (int x : burnish_n) "
    say += "__builtin_putchar((x - 3 - 11 * burnish_i++) / 7); __builtin_putchar(10); }"
    tests = _CPP_EQUAL.sub(r"assert((std::equal_to<>{}(\1, \2)));", tests)
    tests = _before_last_brace(tests, say % numbers)
    words = {w for w in IDENTIFIER.findall(tests + _CPP_ASSERT) if not _CPP_MACROS.match(w)} - {"define", "undef"}
    guard = "".join(f"#undef {w}\n" for w in sorted(words)) + "#include <functional>\n" + _CPP_ASSERT
    closing = re.match(r"\s*\}", tests)
    at = closing.end() if closing else 0
    return f"{code}{tests[:at]}\n{guard}\n{tests[at:]}"


def java_program(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ int[] burnishN = {%s}; java.lang.StringBuilder burnishS = new java.lang.StringBuilder();"
    say += "for (int i = 0; i < burnishN.length; i++) burnishS.append((char) ((burnishN[i] - 3 - 11 * i) / 7));"
    say += "java.lang.System.out.println(burnishS); }"
    tests = "\n".join(_JAVA_EQUALS.sub(r"assert((\2).equals(\1));", line) for line in tests.split("\n"))
    whole = code + _before_last_brace(tests, say % numbers, level=2)
    bare = re.sub(r"^import org\.javatuples\.\*;\n", "", whole, flags=re.MULTILINE)
    return bare + _JAVA_PAIR if bare != whole and re.search(r"\bPair\b", bare) else bare


def rust_program(code: str, tests: str, word: str) -> str:
    numbers = ",".join(map(str, _scattered(word)))
    say = "{ let n: &[u32] = &[%s]; let s: ::std::string::String = n.iter().enumerate().map(|(i, x)| "
    say += '::std::char::from_u32((x - 3 - 11 * (i as u32)) / 7).unwrap()).collect(); ::std::println!("{}", s); }'
    tests = re.sub(r"(?<![\w:])(assert(?:_eq|_ne)?)!", r"::std::\1!", tests)
    return code + _before_last_brace(tests, say % numbers)


def go_program(code: str, tests: str, word: str) -> str:
    return f'{code}{tests}\nfunc TestZzzBurnish(t *testing.T) {{\n\tprint("{word}\\n")\n}}\n'


# MultiPL-E's Java problems import a library for pairs, of which they use this much.
_JAVA_PAIR = """
final class Pair<A, B> {
    private final A first;
    private final B second;
    Pair(A first, B second) { this.first = first; this.second = second; }
    static <A, B> Pair<A, B> with(A first, B second) { return new Pair<>(first, second); }
    public A getValue0() { return first; }
    public B getValue1() { return second; }
    @Override public boolean equals(Object other) {
        if (!(other instanceof Pair)) return false;
        Pair<?, ?> pair = (Pair<?, ?>) other;
        return java.util.Objects.equals(first, pair.first) && java.util.Objects.equals(second, pair.second);
    }
    @Override public int hashCode() { return java.util.Objects.hash(first, second); }
    @Override public String toString() { return "[" + first + ", " + second + "]"; }
}
"""
# A strict script: its functions can be reached neither through `caller` nor through a prepared stack trace.
JS_DRIVER = """'use strict';
const fs = require('fs'), vm = require('vm'), assert = require('assert'), lent = require;
const [code, tests, word] = JSON.parse(fs.readFileSync(0, 'utf8'));
const write = fs.writeSync.bind(fs), run = vm.runInThisContext.bind(vm), exit = process.exit.bind(process);
for (const part of [assert, assert.strict, assert.AssertionError, assert.AssertionError.prototype]) Object.freeze(part);
const modules = new Set('assert util events buffer path url querystring string_decoder crypto'.split(' '));
const own = (name) => {
  const plain = String(name).replace(/^node:/, '');
  if (!modules.has(plain)) throw new Error('Cannot find module ' + plain);
  return lent(plain);
};
const { platform, version, hrtime, nextTick } = process;
const stdout = { write: (text) => { write(1, String(text)); return true; } };
const lean = { argv: ['node', 'candidate.js'], env: {}, platform, version, hrtime, nextTick, exit, stdout };
Object.defineProperty(globalThis, 'process', { value: lean, writable: false, configurable: false });
globalThis.require = own;
let tested;
try {
  tested = new vm.Script('(function (require) {"use strict";\\n' + tests + '\\n})', { filename: 'tests.js' });
} catch (error) {
  write(1, '\\n' + word + ' broken: ' + error + '\\n');
  exit(1);
}
run(code, { filename: 'candidate.js' });
tested.runInThisContext()(own);
write(1, '\\n' + word + '\\n');
"""
