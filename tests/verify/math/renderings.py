"""Other ways to write a gold answer: what the verifier must accept beside the string that the data holds."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction

NUMBER = re.compile(r"-?(?:[1-9]\d{0,2}(?:,\d{3})+|\d+)(?:\.\d+)?")
COUNTED = re.compile(r"(-?[\d,]*\.?\d+)\s+\(([^()\d]*)\)")
FRACTION = re.compile(r"(-?)\\frac\{(\d+)\}\{(\d+)\}|(-?)(\d+)\.?\s*/\s*(\d+)")
PERCENT = re.compile(r"\$?([\d.]+) ?\\?%\$?")
# Notation without a plain form, and sentences: these are re-rendered as LaTeX only.
NO_PLAIN = re.compile(r"\\(?:begin|sum|int|lim|big|mathbf|vec|hat|bar|cdots|ldots|sim|(?:sin|cos|tan|ln) *\\frac)")
SCIENTIFIC = re.compile(r"(-?[\d.]+)e(-?\d+)")
COLON = re.compile(r"\d+(?::\d+)+")
WORDS = re.compile(r"(?<![\\A-Za-z{])(?!sin|cos|tan|log|exp)[A-Za-z]{3,}")
_PLAIN = {
    "\\left": "", "\\right": "", "\\quad": " ", "\\,": "", "\\;": " ", "\\!": "", "\\ ": " ", "~": " ",
    "\\infty": "∞", "\\cup": "∪", "\\times": "×", "\\cdot": "*", "\\pi": "π", "\\pm": "±",
    "\\prime": "′", "\\lfloor": "⌊", "\\rfloor": "⌋", "\\lceil": "⌈", "\\rceil": "⌉", "\\leqslant": "<=",
    "\\geqslant": ">=", "\\leq": "<=", "\\geq": ">=", "\\neq": "≠", "\\circ": "°", "\\theta": "θ", "\\approx": "≈",
    "\\alpha": "α", "\\beta": "β", "\\lambda": "λ", "\\mu": "μ", "\\omega": "ω", "\\sigma": "σ", "\\{": "{", "\\}": "}",
    "\\mid": "|", "\\$": "$", "\\%": "%",
}  # fmt: skip


def _braced(text: str, at: int) -> tuple[str, int]:
    depth = 0
    for index in range(at, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[at + 1 : index], index + 1
    raise ValueError("unbalanced")


def plain(text: str) -> str:
    """LaTeX as plain text: (a)/(b), sqrt(a), a^(b), no dollar signs. May leave commands that have no plain form."""
    out, at = "", 0
    text = re.sub(r"(?<!\\)\$", "", text)
    while at < len(text):
        command = re.match(r"\\d?frac\s*(?=\{)|\\sqrt\s*(\[[^\]]*\])?\s*(?=\{)|\^\s*(?=\{)|_\s*(?=\{)", text[at:])
        text_of = re.match(r"\\(?:text|mathrm|operatorname|mathbf)\s*(?=\{)", text[at:])
        if text_of:
            inside, at = _braced(text, at + text_of.end())
            out += " " + inside.replace("~", " ").strip() if inside.strip("~ ").isalpha() else inside
            continue
        if not command:
            out, at = out + text[at], at + 1
            continue
        name = command.group()
        inside, at = _braced(text, at + command.end())
        first = plain(inside)
        if name.startswith("\\sqrt"):
            root = command.group(1)
            out += f" ({first})^(1/({plain(root[1:-1])}))" if root else f" sqrt({first})"
        elif name.startswith("^"):
            sign = "°" if "circ" in inside else "′" * inside.count("prime")
            out += sign or f"^({first})"
        elif name.startswith("_"):
            out += "_{" + inside + "}"
        else:
            second, at = _braced(text, re.match(r"\s*", text[at:]).end() + at)
            mixed = re.search(r"\d\s*$", out) and first.isdigit() and second.isdigit()
            out += f" {first}/{second}" if mixed else f" (({first})/({plain(second)}))"
    for command, sign in sorted(_PLAIN.items(), key=lambda pair: -len(pair[0])):
        out = re.sub(re.escape(command) + (r"(?![A-Za-z])" if command[-1].isalpha() else ""), lambda _, s=sign: s, out)
    return re.sub(r"\\(sin|cos|tan|cot|sec|csc|ln|log|arctan|arcsin|arccos|exp|max|min)(?![A-Za-z])", r"\1", out)


def latex(text: str) -> str:
    """The same LaTeX in another hand: dfrac, no \\left and \\right, other spacing, other delimiters and synonyms."""
    out = re.sub(r"(?<!\\)\$\$?(.+?)(?<!\\)\$\$?", r"\\(\1\\)", text, flags=re.DOTALL)
    out = re.sub(r"\\(left|right)(?![A-Za-z])(?!\s*\.)", "", out) if "\\right." not in out else out
    out = out.replace("\\frac", "\\dfrac").replace(
        "\\infty", "+\\infty" if "(" in out and "-\\infty" not in out else "\\infty"
    )
    out = out.replace("\\leq ", "\\le ").replace("\\geq ", "\\ge ").replace("+\\infty", "\\infty")
    out = re.sub(r"\\mathrm\{~?([a-z]+)\}", r"\\text{ \1}", out)
    out = re.sub(r"\s*([=+,<>])\s*", r" \1 ", out)
    return out.replace("\\(", "$\\displaystyle ").replace("\\)", "$")


def number(text: str) -> list[str]:
    """Other ways to write one number."""
    value = Fraction(text.replace(",", ""))
    found = [f"\\frac{{{3 * value.numerator}}}{{{3 * value.denominator}}}", f"${text}$ units", f"\\text{{ }}{text}"]
    if value.denominator == 1:
        found += [f"{int(value)}.0", f"{int(value):,}", f"{int(value)}.00"]
        if abs(value) >= 1000:
            found.append(f"{int(value):,}".replace(",", "{,}"))
    else:
        found += [f"{value.numerator}/{value.denominator}", text + "0"]
    return [form for form in found if form != text]


def decimal(top: int, bottom: int) -> str | None:
    """A fraction as a decimal, when it ends."""
    rest = bottom
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return None
    digits = f"{top * 10**12 // bottom:0>13}" if 10**12 * top % bottom == 0 else None
    return digits and f"{digits[:-12]}.{digits[-12:].rstrip('0') or '0'}"


def renderings(gold: str) -> list[str]:
    """At least two other ways to write a gold answer; none of them is the string itself."""
    text = gold.strip().removesuffix(".")
    if re.fullmatch(r"\.\d+", text):
        text = "0" + text
    if re.fullmatch(r"\d+th", text):
        return [f"\\text{{{text}}}", text.upper(), f"**{text}**"]
    if NUMBER.fullmatch(text):
        return number(text)
    counted = COUNTED.fullmatch(text)
    if counted:
        value, noun = counted.groups()
        return [f"{value} {noun}", f"{value}\\text{{ {noun}}}", *number(value)]
    if match := SCIENTIFIC.fullmatch(text):
        exponent = int(match.group(2))
        shifted = f"{Fraction(match.group(1)) / 10} * 10^{exponent + 1}"
        return [f"{match.group(1)} \\times 10^{{{exponent}}}", f"${match.group(1)}\\cdot 10^{{{exponent}}}$", shifted]
    if match := PERCENT.fullmatch(text):
        found = [f"{match.group(1)}\\%", f"{match.group(1)} percent", str(Fraction(match.group(1)) / 100)]
        return [form for form in found if form != gold]
    if COLON.fullmatch(text):
        return [text.replace(":", " : "), f"${text}$", f"\\text{{{text}}}"]
    bare = text.strip("$")
    found = [latex(text), f"$\\boxed{{{bare}}}$"[8:-2] if bare != text else "$" + text + "$"]
    if not NO_PLAIN.search(text) and not WORDS.search(text):
        with contextlib.suppress(ValueError):
            found.append(plain(text))
    found.append(re.sub(r"(?<=[^\s\\]) (?=[^\s])", "  ", latex(text)).replace("$", "$ "))
    match = FRACTION.fullmatch(bare)
    if match:
        sign, top, bottom = (
            (match.group(1) or "", match.group(2), match.group(3)) if match.group(2) else match.groups()[3:]
        )
        found += [f"{sign}{top}/{bottom}", f"{sign}\\dfrac{{{int(top) * 2}}}{{{int(bottom) * 2}}}"]
        ended = decimal(int(top), int(bottom))
        found += [sign + ended] if ended else []
    if re.fullmatch(r"[A-Za-z' .-]+", text):
        found += [text.upper(), f"\\text{{{text}}}", f"**{text.lower()}**"]
    return list(dict.fromkeys(form for form in found if form.strip() and form != gold))
