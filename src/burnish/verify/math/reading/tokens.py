"""The text of an answer as tokens: LaTeX, plain mathematics and unicode in one alphabet. Linear in its length.

A token is a named tuple of kind, text and value. The kinds: `num` (value: the number; `step`: the unit of its last
written place, None for an integer), `sym` (a symbol, subscript included), `fn` (a known function), `op` (one character
or a name such as `frac`, `leq`, `or`), `open`, `close`, `word` (a word or a unit; never part of an expression).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from burnish.verify.math.reading.units import UNITS

MAX_CHARACTERS = 4_000  # ASSUMED: a longer statement is prose, not an answer
MAX_DIGITS = 400  # ASSUMED: longer runs of digits are noise; also below CPython's limit of 4,300


class Unreadable(ValueError):
    """This text is no mathematics that is read here; the message says why."""


class Token(NamedTuple):
    kind: str
    text: str
    value: Fraction | None = None
    step: Fraction | None = None
    grouped: bool = False  # written with thousands separators


_FUNCTIONS_NAMES = (
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch "
    "arcsinh arccosh arctanh log ln lg exp sqrt abs max min gcd lcm det floor ceil cbrt"
)
FUNCTIONS = frozenset(_FUNCTIONS_NAMES.split())
_ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "arctg": "arctan", "tg": "tan", "ctg": "cot"}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar nabla "
    "partial aleph imath jmath Re Im odot oplus otimes angle triangle"
)
_GREEK = frozenset(_GREEK_NAMES.split())
_VULGAR = (
    (0xBC, 1, 4), (0xBD, 1, 2), (0xBE, 3, 4), (0x2150, 1, 7), (0x2151, 1, 9), (0x2152, 1, 10), (0x2153, 1, 3),
    (0x2154, 2, 3), (0x2155, 1, 5), (0x2156, 2, 5), (0x2157, 3, 5), (0x2158, 4, 5), (0x2159, 1, 6), (0x215A, 5, 6),
    (0x215B, 1, 8), (0x215C, 3, 8), (0x215D, 5, 8), (0x215E, 7, 8),
)  # fmt: skip
# What typography writes in one character.
_UNICODE = {
    **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
    **dict.fromkeys("\u2212\u2012\u2013\uff0d\ufe63\u2010\u2011", "-"),
    **dict.fromkeys("\u2009\u202f\u00a0\u2007", "\\,"),
    **dict.fromkeys("\u3000\u2003\u2002\u200b\ufeff", " "),
    **dict.fromkeys("×✕⋅·∗•⋆", " \\cdot "),
    **{sub: f"_{{{digit}}}" for sub, digit in zip("₀₁₂₃₄₅₆₇₈₉ₙ", "0123456789n")},
    **{chr(code): f"\\frac{{{top}}}{{{bottom}}}" for code, top, bottom in _VULGAR},
    "÷": "/", "∕": "/", "⁄": "/", "√": "\\sqrt ", "∛": "\\cbrt ", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ",
    "∩": "\\cap ", "°": "^\\circ ", "º": "^\\circ ", "≤": "\\leq ", "≥": "\\geq ", "≠": "\\neq ", "≈": "\\approx ",
    "∈": "\\in ", "±": "\\pm ", "∓": "\\mp ", "∅": "\\emptyset ", "ℝ": "\\mathbb{R}", "⌊": "\\lfloor ",
    "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "′": "'", "″": "''", "’": "'", "‘": "'", "“": '"', "”": '"',
    "，": ", ", "；": ";", "：": ":", "（": "(", "）": ")", "［": "[", "］": "]", "｛": "\\{", "｝": "\\}", "＝": "=",
    "＋": "+", "％": "%", "．": ".", "。": ".", "、": ", ", "＜": "<", "＞": ">", "｜": "|", "⇒": "\\Rightarrow ",
    "→": "\\to ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "λ": "\\lambda ", "μ": "\\mu ",
    "ω": "\\omega ", "φ": "\\phi ", "σ": "\\sigma ", "Δ": "\\Delta ", "ρ": "\\rho ", "℃": "^\\circ C ", "∣": "|",
}  # fmt: skip
_TABLE = str.maketrans(_UNICODE)
_RAISED = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ]+")  # ²³ is one exponent
_DIGITS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ", "+-0123456789n")
_TIMES = re.compile(r"(?<=[0-9])\s?[xX]\s?(?=10\s?(?:\^|\*\*))")  # 7.5 x 10^-3

# Commands that only space, size or style what follows.
_SILENT_NAMES = (
    "displaystyle textstyle limits nolimits quad qquad big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr "
    "left right middle bf rm it mathstrut nonumber notag hfill thinspace enspace space smallskip par hline "
    "phantom therefore because"
)
_SILENT = frozenset(_SILENT_NAMES.split())
_STYLED_NAMES = (
    "mathbf mathit mathcal mathfrak mathscr boldsymbol bm vec overrightarrow overline bar hat widehat tilde dot "
    "mathbb underline textcircled mathring overleftarrow"
)
_STYLED = frozenset(_STYLED_NAMES.split())
_TEXTUAL_NAMES = "text textbf textit textrm mathrm mbox hbox operatorname textsf texttt mathop mathsf rm"
_TEXTUAL = frozenset(_TEXTUAL_NAMES.split())
NAMED = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "pm": "pm", "mp": "mp", "le": "leq", "leq": "leq",
    "leqslant": "leq", "ge": "geq", "geq": "geq", "geqslant": "geq", "lt": "<", "gt": ">", "ne": "neq", "neq": "neq",
    "approx": "approx", "simeq": "approx", "sim": "approx", "thickapprox": "approx", "cong": "approx",
    "equiv": "=", "cup": "cup", "bigcup": "bigcup", "cap": "cap", "in": "in", "mid": "mid", "colon": ":",
    "Rightarrow": "arrow", "rightarrow": "arrow", "to": "arrow", "implies": "arrow", "Longrightarrow": "arrow",
    "setminus": "setminus", "backslash": "setminus", "frac": "frac", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac",
    "sqrt": "sqrt", "cbrt": "cbrt", "binom": "binom", "dbinom": "binom", "tbinom": "binom", "prime": "'",
    "degree": "degree", "circ": "circ", "infty": "infty", "emptyset": "emptyset", "varnothing": "emptyset",
    "oslash": "emptyset", "lor": "or", "vee": "or", "land": "and", "wedge": "and", "vert": "|", "lvert": "|",
    "rvert": "|", "cents": "cent",
}  # fmt: skip
_BRACKETS = {
    "{": ("open", "{"), "}": ("close", "}"), "lbrace": ("open", "{"), "rbrace": ("close", "}"),
    "lbrack": ("open", "["), "rbrack": ("close", "]"), "lfloor": ("open", "floor"), "rfloor": ("close", "floor"),
    "lceil": ("open", "ceil"), "rceil": ("close", "ceil"), "langle": ("open", "("), "rangle": ("close", ")"),
}  # fmt: skip

_GROUP = r"(?:,(?:\\!)?|\{,\}|\\,|\\!,?)"
_SCAN = re.compile(
    rf"""
    (?P<space>(?:\s|~|\\[,;:!>\ /]|\\[()\[\]])++)
  | (?P<grouped>(?<![0-9.])[0-9]{{1,3}}(?:{_GROUP}[0-9]{{3}})++(?![0-9])(?:\.[0-9]++)?)
  | (?P<number>(?:[0-9]++(?:\.(?:[0-9]++|(?=\s*+[-+/*)}}\]^])))?|\.[0-9]++)(?:[eE][-+]?[0-9]{{1,3}}(?![0-9A-Za-z.]))?)
  | (?P<command>\\(?:[A-Za-z]++|.))
  | (?P<letters>[A-Za-z]++)
  | (?P<han>[\u3400-\u9fff]++)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_JOINERS = {"or": "or", "and": "and", "oo": "infty", "inf": "infty", "infinity": "infty", "Infinity": "infty"}
# Short words that are never a product of symbols, whatever stands around them.
_SMALL_NAMES = "is if for all the has then are any yes not let get sq cu st nd rd th"
_SMALL = frozenset(_SMALL_NAMES.split())
_TEXT_UNIT = re.compile(r"[A-Za-z]{1,8}(?:\s*[/^]\s*[A-Za-z0-9]{1,8})*")


def plain(text: str) -> str:
    """Typographic characters as the LaTeX or ASCII that they stand for."""
    if text.isascii():
        return text
    return _RAISED.sub(lambda run: f"^{{{run.group().translate(_DIGITS)}}}", text).translate(_TABLE)


class _Reader:
    """Cuts one text; the state is the position and the tokens so far."""

    def __init__(self, text: str, grouped: bool, letters: bool = False) -> None:
        self.text = _TIMES.sub(r" \\cdot ", plain(text))
        if len(self.text) > MAX_CHARACTERS:
            raise Unreadable(f"it is longer than {MAX_CHARACTERS:,} characters")
        self.grouped = grouped
        # Dollar signs in pairs delimit mathematics; an odd one is money.
        self.money = (self.text.count("$") - self.text.count("\\$")) % 2 == 1
        self.letters = letters
        self.latex = letters or any(mark in self.text for mark in "\\^_") or ("$" in self.text and not self.money)
        self.out: list[Token] = []
        self.at = 0
        self.spaced = False
        self.pending = ""  # `left` or `right`, for the bar that follows

    def add(self, kind: str, text: str) -> None:
        self.out.append(Token(kind, text))

    def read(self) -> list[Token]:
        while self.at < len(self.text):
            match = _SCAN.match(self.text, self.at)
            if match is None:  # every character is some mark; this guards the scanner itself
                raise Unreadable("it holds a character that is not read")
            self.at = match.end()
            kind = match.lastgroup or "mark"
            if kind == "space":
                self.spaced = True
                continue
            getattr(self, f"_{kind}")(match.group())
            self.spaced = False
        return self.out

    def _grouped(self, text: str) -> None:
        if not self.grouped or text[0] == "0":
            if set(text) & set("\\{"):
                raise Unreadable("separators in a number that starts with 0")
            for part in re.split(r"(,)", text):
                self._comma() if part == "," else self._number(part)
            return
        digits = re.sub(r"[^0-9.]", "", text)
        self._number(digits, separated="," in text)

    def _comma(self) -> None:
        self.add("op", ",")

    def _number(self, text: str, separated: bool = False) -> None:
        if len(text) > MAX_DIGITS:
            raise Unreadable(f"a number has more than {MAX_DIGITS} digits")
        digits, _, power = text.lower().partition("e")
        scale = Fraction(10) ** int(power) if power else Fraction(1)
        whole, dot, decimals = digits.partition(".")
        value = Fraction(int(whole + decimals or "0"), 10 ** len(decimals)) * scale
        step = scale / 10 ** len(decimals) if (dot and decimals) or power else None
        self.out.append(Token("num", text, value, step, separated))

    def _han(self, text: str) -> None:
        for word in re.split(r"([或和与])", text):
            if word in ("或", "和", "与"):
                self.add("op", "or" if word == "或" else "and")
            elif word:
                self.add("word", word)

    def _mark(self, mark: str) -> None:
        if mark in "([":
            self.add("open", mark)
        elif mark in ")]":
            self.add("close", mark)
        elif mark in "{}":
            self.add("open" if mark == "{" else "close", "group")
        elif mark == "|":
            side = {"left": "open", "right": "close"}.get(self.pending)
            self.add(side or "op", "|")
        elif mark in "€£¥₹¢" or (mark == "$" and self.money):
            self.add("word", mark)
        elif mark == "<" and self.text.startswith("=", self.at):
            self.at += 1
            self.add("op", "leq")
        elif mark == ">" and self.text.startswith("=", self.at):
            self.at += 1
            self.add("op", "geq")
        elif mark == "!" and self.text.startswith("=", self.at) and not self.text.startswith("==", self.at):
            self.at += 1
            self.add("op", "neq")
        elif mark == "*" and self.text.startswith("*", self.at):
            self.at += 1
            self.add("op", "^")
        elif mark in "+-*/^_=<>,;:!%&'.":
            self.add("op", mark)
        elif mark == '"':
            self.add("op", "''")
        elif mark not in "`$":
            raise Unreadable(f"{mark!r} is not read")
        self.pending = ""

    def _letters(self, run: str) -> None:
        start = max(0, self.at - len(run) - 2)
        last = self.out[-1] if self.out else None
        after_value = last is not None and (last.kind in ("num", "close") or last.text in ("circ", "'", "''"))
        if last is not None and last.text == "/" and len(self.out) > 1 and self.out[-2].kind == "word":
            after_value = True  # "lb / in"
        if last is not None and last.kind == "word" and len(run) > 1:
            after_value = True  # "square cm"
        bracketed = last is not None and last.text == "(" and self.text.startswith(")", self.at)
        if bracketed and len(self.out) > 1 and self.out[-2].kind == "num" and run in UNITS and self.text[start] == " ":
            self.add("word", run)  # "18 (cm)"
            return
        run = _ALIASES.get(run, run)
        if len(run) == 1:
            # "5 m" is five metres in plain text; in LaTeX a bare letter is a symbol.
            unit = not self.latex and self.spaced and after_value and run in UNITS
            self.add("word" if unit else "sym", run)
        elif run == "min" and after_value and not self.text.startswith("(", self.at):
            self.add("word", run)
        elif run in FUNCTIONS:
            self.add("fn", run)
        elif run == "pi":
            self.add("sym", "pi")
        elif run in _JOINERS:
            self.add("op", _JOINERS[run])
        elif run in _GREEK:
            self.add("sym", run)
        elif run.lower() in _SMALL or (after_value and (run.lower() in UNITS or run in UNITS)):
            self.add("word", run)
        elif (len(run) <= 4 and run.isupper() and self.latex) or (
            len(run) <= 3 and (self.latex or not self._wordlike(run, after_value))
        ):
            self._product(run)
        else:
            self._name(run)

    def _wordlike(self, run: str, after_value: bool) -> bool:
        """In plain text: "5 red" and "Jim" hold words, "xy" and "3ab" hold products."""
        if after_value and self.spaced:
            return True
        return run[0].isupper() or any(vowel in run for vowel in "aeiou")

    def _product(self, run: str) -> None:
        for letter in run:
            self.add("sym", letter)

    def _name(self, run: str) -> None:
        for size in range(min(len(run) - 1, 6), 1, -1):
            if run[:size] in FUNCTIONS and len(run) - size <= 2:
                self.add("fn", run[:size])
                self._letters(run[size:])
                return
        self.add("word", run)

    def _command(self, text: str) -> None:
        name = text[1:]
        if name in ("left", "right"):
            self.pending = name
            if self.text.startswith(".", self.at):
                self.at += 1
            return
        if name in _SILENT:
            return
        if name in _BRACKETS:
            self.out.append(Token(*_BRACKETS[name]))
        elif name in NAMED:
            self.add("op", NAMED[name])
        elif name in FUNCTIONS or name in _ALIASES:
            self.add("fn", _ALIASES.get(name, name))
        elif name == "pi" or name in _GREEK:
            self.add("sym", name)
        elif name in _TEXTUAL:
            self._textual(self._argument(), name)
        elif name in _STYLED:
            self.add("sym", f"{name}.{self._argument().strip()}")
        elif name in ("begin", "end"):
            self._environment(name)
        elif name == "\\":
            self.add("op", "\\\\")
        elif name in ("%", "&", "#"):
            self.add("op" if name != "#" else "word", name)
        elif name == "$":
            self.add("word", "$")
        elif name == "|":
            self.add("op", "norm")
        else:
            raise Unreadable(f"\\{name[:20]} is not read")
        self.pending = ""

    def _environment(self, name: str) -> None:
        kind = self._argument().strip().rstrip("*")
        if kind == "array" and name == "begin":
            while self.text.startswith(" ", self.at):
                self.at += 1
            self._argument()
        self.add("open" if name == "begin" else "close", f"env.{kind}")

    def _argument(self) -> str:
        """The braced argument at this place, or the one character that stands for it."""
        start = self.at
        while start < len(self.text) and self.text[start] in " \t\n":
            start += 1
        if start >= len(self.text):
            raise Unreadable("a command has no argument")
        if self.text[start] != "{":
            match = _SCAN.match(self.text, start)
            self.at = start + 1 if match is None or match.lastgroup != "command" else match.end()
            return self.text[start : self.at]
        depth = 0
        for index in range(start, len(self.text)):
            depth += {"{": 1, "}": -1}.get(self.text[index], 0)
            if depth == 0:
                self.at = index + 1
                return self.text[start + 1 : index]
        raise Unreadable("a brace is never closed")

    def _textual(self, content: str, name: str) -> None:
        inside = content.strip().strip("~").replace("~", " ").replace("\\", " ").strip()
        last = self.out[-1] if self.out else None
        after = last is not None and (last.kind in ("num", "close", "word") or last.text in ("/", "circ", "!"))
        if after and inside in UNITS and (len(inside) > 1 or content.startswith("~")):
            self.add("word", inside)
        elif inside in FUNCTIONS or inside in _ALIASES:
            self.add("fn", _ALIASES.get(inside, inside))
        elif inside in _JOINERS:
            self.add("op", _JOINERS[inside])
        elif len(inside) == 1 and inside.isalpha() and not content.startswith("~"):
            unit = last is not None and (last.kind in ("word", "num") or last.text == "/") and not self.letters
            self.add("word" if unit and inside in UNITS else "sym", inside)
        elif _TEXT_UNIT.fullmatch(inside) and name != "mathrm":
            self.add("word", inside)
        elif name in ("mathrm", "operatorname") and inside.isalpha() and len(inside) <= 3:
            self._product(inside)
        elif re.fullmatch(r"[-+0-9.,/ ]+", inside):
            self.out.extend(_Reader(inside, self.grouped).read())
        elif inside:
            for word in re.findall(r"[^\s,;]+|[,;]", inside):
                if word in _JOINERS:
                    self.add("op", _JOINERS[word])
                else:
                    self.add("op" if word in ",;" else "word", word)


def tokens(text: str, *, grouped: bool = True, letters: bool = False) -> list[Token]:
    """Cut an answer into tokens.

    Args:
        text: LaTeX, plain text or a mixture; dollar signs and spacing are dropped.
        grouped: read `1,234` as one number (else as a list of two).
        letters: read letters as symbols also where plain text may mean a unit or a word.

    Raises:
        Unreadable: a command or character that is not read here, or a text beyond the bounds.
    """
    return _Reader(text, grouped, letters).read()
