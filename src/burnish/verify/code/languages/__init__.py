"""Other languages, and stdin/stdout tests in all of them.

A candidate in C++, Java, JavaScript, Go or Rust shares a process with its tests, as MultiPL-E writes them. What makes
an early exit, a redefined `assert` or a poisoned equality no pass: the verdict is a secret word that only the end of
the tests prints, written into them after the candidate's text is known; the tests' comparisons are rewritten to ones
that the candidate's own definitions do not reach; and a few constructs that no answer needs are refused. In
JavaScript the tests are a second script that arrives on stdin, so that neither file nor function text holds the word.
"""

from burnish.verify.code.languages.running import run_compiled, run_exchanges
from burnish.verify.code.languages.table import ALIASES, LANGUAGES, Language, find_language, missing, probe

__all__ = ["ALIASES", "LANGUAGES", "Language", "find_language", "missing", "probe", "run_compiled", "run_exchanges"]
