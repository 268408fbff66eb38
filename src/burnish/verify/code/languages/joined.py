"""JavaScript and Go: how candidate and tests are joined."""

from __future__ import annotations

import re

_EXPORTS = re.compile(
    r"^[ \t]*export\s+(?:default\s+)?(?=(?:async\s+)?function\b|class\b|const\b|let\b|var\b)|"
    r"^[ \t]*export\s*\{[^}]*\}\s*;?|^[ \t]*export\s+default\s+\w+\s*;?",
    re.MULTILINE,
)


def js_code(code: str) -> str:
    """A candidate that is a module, as the script that the tests stand behind."""
    return _EXPORTS.sub("", code)


def js_program(prefix: str, code: str, tests: str, word: str) -> tuple[str, str]:
    return JS_DRIVER, JS_DRIVER


def go_program(prefix: str, code: str, tests: str, word: str) -> tuple[str, str]:
    whole = f'{prefix}{code}{tests}\nfunc TestZzzBurnish(t *testing.T) {{\n\tprint("{word}\\n")\n}}\n'
    return whole, whole


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
const keys = Object.keys, main = { exports: {} };
globalThis.module = main;
globalThis.exports = main.exports;
run(code, { filename: 'candidate.js' });
try {
  for (const key of keys(main.exports)) if (!(key in globalThis)) globalThis[key] = main.exports[key];
} catch {}
tested.runInThisContext()(own);
write(1, '\\n' + word + '\\n');
"""
