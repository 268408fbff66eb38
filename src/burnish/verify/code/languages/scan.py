"""Reading programs in C-like languages without a compiler: comments, braces, calls, the end of `main`."""

from __future__ import annotations

import re
from collections.abc import Callable

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
# One token each, so that no quote inside another token starts a text: a raw text, a word, a number, texts, comments.
_LEX = re.compile(
    r'(?P<raw>(?:u8|[uUL])?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"|\bb?r(?P<hash>#+)".*?"(?P=hash)|"""(?:\\.|[^\\])*?""")'
    r"|(?P<word>[A-Za-z_]\w*)|(?P<number>\.?\d(?:'?[\w.])*)"
    r'|(?P<text>"(?:\\.|[^"\\])*")'
    r"|(?P<life>'[A-Za-z_]\w*\b(?!'))|(?P<char>'(?:\\.|[^'\\\n])+')"
    r"|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))",
    re.DOTALL,
)
_CALL = re.compile(r"\b(\w+)\s*\(")
_CHAIN = re.compile(r"(?<![\w.:>])((?:\w+(?:\([^()]*\))?\s*(?:::|\.|->)\s*)*)$")
_DECLARES = re.compile(
    r"(?<!\w)(?!return\b|throw\b|else\b|do\b|case\b|and\b|or\b|not\b|in\b)[A-Za-z_]\w*[&*\s]+$|[>\]]\s*[&*]?\s*$"
)
CHAIN = 400  # characters before a call in which its object is looked for
KEYWORDS = frozenset("if for while switch return sizeof catch decltype assert main static_assert match fn loop".split())  # noqa: SIM905


def without_comments(code: str) -> str:
    """The code with a space for each comment and for each run of spaces; lines that end in a backslash are joined."""
    joined = re.sub(r"\\[ \t]*\r?\n", "", code)
    bare = _LEX.sub(lambda m: " " if m.lastgroup == "comment" or m["comment"] else m[0], joined)
    return re.sub(r"[ \t]+", " ", bare)


def blanked(code: str) -> str:
    """The code, as long as it was, with spaces for what stands in comments and texts."""

    def blank(match: re.Match[str]) -> str:
        if match["word"] or match["number"] or match["life"]:
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return _LEX.sub(blank, code)


def depth(code: str) -> int:
    """Braces that are open at the end."""
    bare = blanked(code)
    return bare.count("{") - bare.count("}")


def closing(bare: str, start: int) -> int:
    """The place of the bracket that closes the one at `start` in blanked code; -1 when none does."""
    pairs = {"(": ")", "{": "}"}
    opened, closed, level = bare[start], pairs[bare[start]], 0
    for place in range(start, len(bare)):
        level += (bare[place] == opened) - (bare[place] == closed)
        if level == 0:
            return place
    return -1


def wrapped(tests: str, names: set[str], before: str, after: str) -> str:
    """Tests with `before` and `after` around each call of one of the names, of a method of that name too."""
    bare, edits = blanked(tests), []
    for match in _CALL.finditer(bare):
        name, chain = match[1], _CHAIN.search(bare, max(match.start() - CHAIN, 0), match.start())
        if name not in names or name in KEYWORDS or chain is None:
            continue
        line = bare[: chain.start()].rpartition("\n")[2]
        if re.match(r"\s*(?:std|java|core|alloc)\b", chain[1]) or _DECLARES.search(line):
            continue
        end = closing(bare, match.end() - 1)
        if end > 0:
            edits += [(chain.start(), before), (end + 1, after)]
    for place, text in sorted(edits, key=lambda edit: edit[0], reverse=True):
        tests = tests[:place] + text + tests[place:]
    return tests


def main_body(tests: str, pattern: str) -> tuple[int, int, int] | None:
    """Where the definition of `main` starts, its opening brace and its closing one."""
    bare = blanked(tests)
    match = re.search(pattern, bare)
    if match is None:
        return None
    opened = bare.find("{", match.end())
    closed = closing(bare, opened) if opened >= 0 else -1
    return (match.start(), opened, closed) if closed >= 0 else None


def edit_body(tests: str, body: tuple[int, int, int], edit: Callable[[str], str]) -> str:
    return tests[: body[1]] + edit(tests[body[1] : body[2]]) + tests[body[2] :]
