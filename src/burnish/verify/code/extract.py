"""The code in a chat reply.

A reply may hold prose around a fenced block, several blocks, a fence that is never closed, code without any fence, or
the prompt once more before the answer. What is found is a guess about the form only; nothing is repaired.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

LONGEST = 200_000  # ASSUMED: characters of a reply's code; more is no answer
TRIES = 20
NAMES = {
    "python": ("python", "py", "python3", "py3", "ipython", "python-repl"),
    "cpp": ("cpp", "c++", "cc", "cxx", "c"),
    "java": ("java",),
    "javascript": ("javascript", "js", "node", "jsx", "ecmascript"),
    "go": ("go", "golang"),
    "rust": ("rust", "rs"),
}
_FENCE = re.compile(r"^([ \t]{0,3})(`{3,}|~{3,})[ \t]*([^\n`]*?)[ \t]*$", re.MULTILINE)
_START = re.compile(r"^(?:from\s+[\w.]+\s+import\s|import\s+\w|def\s+\w|async\s+def\s+\w|class\s+\w|@\w)", re.MULTILINE)
_WIDE = re.compile(rf"{_START.pattern}|^[A-Za-z_]\w*(?:\s*,\s*\w+)*\s*(?::[^=\n]+)?=(?!=)|^#", re.MULTILINE)
_CLASSES = re.compile(r"^\{?\.?([\w+#-]+)")
# Invalid escapes in foreign code are not worth a line on stderr each.
CANDIDATE = "<candidate>"
warnings.filterwarnings("ignore", category=SyntaxWarning, module=re.escape(CANDIDATE))
warnings.filterwarnings("ignore", category=DeprecationWarning, module=re.escape(CANDIDATE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: its language as written, in lower case; `closed` is False when the reply ends in it."""

    language: str
    code: str
    closed: bool


def fenced_blocks(reply: str) -> list[Block]:
    """The fenced blocks of a reply, in their order. Never raises."""
    blocks, opened = [], None
    for match in _FENCE.finditer(reply):
        indent, marks, info = match.groups()
        if opened is None:
            told = _CLASSES.match(info)
            opened = (marks, told[1].lower() if told else "", match.end() + 1, len(indent))
        elif marks[0] == opened[0][0] and len(marks) >= len(opened[0]) and not info:
            blocks.append(
                Block(language=opened[1], code=_cut(reply[opened[2] : match.start()], opened[3]), closed=True)
            )
            opened = None
        elif info and _CLASSES.match(info) and marks == opened[0]:
            # A new fence with a language inside an open one: the one before was never closed.
            blocks.append(
                Block(language=opened[1], code=_cut(reply[opened[2] : match.start()], opened[3]), closed=False)
            )
            told = _CLASSES.match(info)
            opened = (marks, told[1].lower() if told else "", match.end() + 1, len(indent))
    if opened is not None:
        blocks.append(Block(language=opened[1], code=_cut(reply[opened[2] :], opened[3]), closed=False))
    return blocks


def _cut(code: str, indent: int) -> str:
    if not indent:
        return code
    return "".join(line[indent:] if line[:indent].isspace() else line for line in code.splitlines(keepends=True))


def parsed(code: str) -> ast.Module:
    """The tree of a program that others wrote. Raises what `ast.parse` does.

    CPython 3.11 keeps the depth of the tree that it builds in one place for all threads, and gives a SystemError when
    two threads build at once (python/cpython#106905); another try is all it takes.
    """
    for _ in range(TRIES):
        try:
            return ast.parse(code, CANDIDATE)
        except SystemError:
            continue
    return ast.parse(code, CANDIDATE)


def parses(code: str) -> bool:
    """Whether a text is a Python program. Never raises."""
    if len(code) > LONGEST:
        return False
    try:
        compile(code, CANDIDATE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return False
    return True


def _unfenced(reply: str) -> str:
    """Code without a fence: from its first line on, up to the last line with which it parses."""
    start, wide = _START.search(reply), _WIDE.search(reply)
    if wide is not None and parses(reply[wide.start() :]):
        return reply[wide.start() :]
    if start is None:
        return reply
    lines = reply[start.start() :].splitlines(keepends=True)
    if parses("".join(lines)):
        return "".join(lines)
    # Prose after the code starts in the first column: try to end before each such line, the longest code first.
    ends = [i for i, line in enumerate(lines) if i and line[:1] not in (" ", "\t", "\n", "\r", ")", "]", "}")]
    for end in reversed(ends[-40:]):
        text = "".join(lines[:end])
        if parses(text):
            return text
    return "".join(lines)


def _defines(code: str, name: str) -> bool:
    return bool(re.search(rf"\b{re.escape(name)}\b", code))


def extract_code(reply: str, *, language: str = "python", entry: str = "") -> str:
    """The code of a chat reply.

    Of the fenced blocks in the asked language (or without one, or, if there is none of these, in any), those that
    mention `entry` go first; of them the last one wins, unless it is a mere use of an earlier one: then the longest.
    Without a fence it is the text from the first line that looks like code. Never raises; an empty text when the reply
    is empty or longer than LONGEST.

    Args:
        language: a key of NAMES, or any other name of a language.
        entry: the function that the code must define, if one is known.
    """
    if len(reply) > LONGEST:
        return ""
    text = reply.replace("\r\n", "\n").replace("\r", "\n")
    blocks = [block for block in fenced_blocks(text) if block.code.strip()]
    if not blocks:
        return _unfenced(text) if language == "python" else text
    wanted = NAMES.get(language, (language,))
    for group in (
        [b for b in blocks if b.language in wanted],
        [b for b in blocks if not b.language],
        blocks,
    ):
        if group:
            blocks = group
            break
    if entry:
        defining = [b for b in blocks if re.search(rf"\b(?:def|class)\s+{re.escape(entry)}\b", b.code)]
        blocks = defining or [b for b in blocks if _defines(b.code, entry)] or blocks
    if language == "python":
        blocks = [b for b in blocks if parses(b.code)] or blocks
    last, longest = blocks[-1], max(blocks, key=lambda b: len(b.code))
    substantial = entry or last is longest or re.search(r"^\s*(?:def|class|async def)\s", last.code, re.MULTILINE)
    return (last if substantial or language != "python" else longest).code


def headless(prefix: str) -> str:
    """A prompt that ends in the opening line of a function, without that line; else nothing."""
    head, _, last = prefix.rstrip().rpartition("\n")
    return f"{head}\n" if last.rstrip().endswith("{") and "(" in last else ""


def _repeats(code: str, prefix: str, language: str) -> bool:
    """Whether code in a language of braces defines the function that the prompt opens."""
    last = prefix.rstrip().rpartition("\n")[2]
    words = re.findall(r"(\w+)\s*(?:<[^()]*>)?\s*\(", last)
    if not words or not headless(prefix):
        return False
    name = re.escape(words[0])
    keywords = {"rust": r"\bfn\s+", "go": r"\bfunc\s+", "javascript": r"\b(?:function|const|let|var)\s+"}
    keyword = keywords.get(language)
    line = r"^[ \t]*(?!(?:return|else|throw|new|case|if|while)\b)[\w:<>,\[\]&* \t]*[\w>&*\]][&* \t]+"
    opening = rf"{keyword}{name}\b" if keyword else rf"{line}{name}\s*\([^;{{}}]*\)[^;{{}}()]*\{{"
    return bool(re.search(opening, code, re.MULTILINE))


def whole_program(code: str, *, prefix: str, entry: str = "", language: str = "python") -> str:
    """A candidate's program: the code with the prompt of a completion before it.

    A prompt that the reply repeats is dropped from it. Code that continues the prompt's last line is put right behind
    it; code that defines `entry` itself stands after the prompt, whose imports it may use, and overrides its stub. In
    a language of braces it stands in the place of the prompt's last line. A whole program stays what it is.
    """
    if not prefix or code.startswith(prefix):
        return code
    stripped = prefix.strip()
    if code.lstrip().startswith(stripped):
        code = code[code.index(stripped) + len(stripped) :]
        return stripped + code
    if entry and re.search(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", code, re.MULTILINE):
        stub = prefix.rstrip() + "\n    pass\n"
        before = prefix.rstrip() + "\n" if parses(prefix) else stub
        whole = f"{before}\n{code}"
        return whole if parses(whole) else code
    if language != "python" and headless(prefix) and code.startswith(headless(prefix)):
        return code
    if language != "python" and _repeats(code, prefix, language):
        # A class that is written whole brings its own opening.
        opened = re.search(r"^[ \t]*(?:public\s+)?class\s+(\w+)", headless(prefix), re.MULTILINE)
        again = opened and re.search(rf"\bclass\s+{opened[1]}\b", code)
        return (headless(prefix)[: opened.start()] if opened and again else headless(prefix)) + code
    return prefix + code
