"""Tokens to a tree, by recursive descent; no `eval`, bounded in depth, linear in the number of tokens.

A node is a tuple whose first item names it:
("num", value, step)  ("sym", name)  ("inf",)  ("add", a, b)  ("mul", a, b)  ("div", a, b)  ("pow", a, b)  ("neg", a)
("fn", name, arguments)  ("fact", a)  ("pm", a, b) for a ± b  ("mp", a, b)  ("deg", a)  ("pct", a)  ("mat", rows)
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from burnish.verify.math.reading.tokens import Token, Unreadable

Node = tuple[Any, ...]
MAX_DEPTH = 40  # ASSUMED: nested brackets, fractions and exponents; an answer nests three or four deep
_STARTS = {"frac", "sqrt", "cbrt", "binom", "infty", "|"}
_ENVIRONMENTS = {"array", "matrix", "pmatrix", "bmatrix", "smallmatrix", "vmatrix"}
ZERO: Node = ("num", Fraction(0), None)


def number(value: int | Fraction) -> Node:
    return ("num", Fraction(value), None)


class Parser:
    """One pass over a list of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0  # open absolute values
        self.inside_function = 0

    def peek(self, ahead: int = 0) -> Token:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else _END

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def is_op(self, *names: str) -> bool:
        token = self.peek()
        return token.kind == "op" and token.text in names

    def close(self, text: str) -> None:
        token = self.take()
        if token.kind != "close" or token.text != _CLOSING.get(text, text):
            raise Unreadable(f"a bracket {text!r} is not closed")

    def whole(self) -> Node:
        """The expression that all tokens form."""
        tree = self.expression()
        if self.at < len(self.tokens):
            raise Unreadable(f"{self.peek().text[:20]!r} does not fit here")
        return tree

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"it nests deeper than {MAX_DEPTH}")
        tree = self._signed()
        while self.is_op("+", "-", "pm", "mp"):
            sign = self.take().text
            right = self._term()
            if sign == "-":
                tree = ("add", tree, ("neg", right))
            else:
                tree = ({"+": "add"}.get(sign, sign), tree, right)
        self.depth -= 1
        return tree

    def _signed(self) -> Node:
        if self.is_op("+"):
            self.take()
            return self._term()
        if self.is_op("-"):
            self.take()
            return ("neg", self._term())
        if self.is_op("pm", "mp"):
            return (self.take().text, ZERO, self._term())
        return self._term()

    def _term(self) -> Node:
        tree = self._factor()
        while True:
            if self.is_op("*", "/"):
                sign = self.take().text
                tree = ("mul" if sign == "*" else "div", tree, self._factor())
            elif self._starts_factor():
                tree = self._juxtaposed(tree)
            else:
                return tree

    def _juxtaposed(self, tree: Node) -> Node:
        mixed = tree[0] == "num" and tree[2] is None and tree[1].denominator == 1
        if mixed and self.is_op("frac"):
            right = self._factor()
            proper = right[0] == "div" and right[1][0] == right[2][0] == "num" and right[1][1] < right[2][1]
            return ("add" if proper else "mul", tree, right)
        if self.peek().kind == "num":
            # "2 1/2": a mixed number in plain text. "30° 15'": degrees and minutes.
            top, slash, bottom = self.peek(), self.peek(1), self.peek(2)
            if mixed and slash.text == "/" and bottom.kind == "num" and top.value < bottom.value:
                self.at += 3
                return ("add", tree, ("div", number(top.value), number(bottom.value)))
            if tree[0] == "deg" or (tree[0] == "add" and tree[2][0] == "deg"):
                return ("add", tree, self._factor())
            if self.tokens[self.at - 1].kind != "close":
                raise Unreadable("two numbers stand side by side")
        return ("mul", tree, self._factor())

    def _starts_factor(self) -> bool:
        token = self.peek()
        if token.kind in ("sym", "fn", "num"):
            return True
        if token.kind == "open":
            return token.text in ("(", "[", "{", "group", "|", "floor", "ceil")
        if token.kind == "op" and token.text == "|":
            return self.bars == 0
        return token.kind == "op" and token.text in _STARTS

    def _names_function(self) -> bool:
        token = self.peek()
        return token.kind == "fn" and token.text not in ("sqrt", "cbrt")

    def _factor(self) -> Node:
        if self.is_op("-", "+"):
            sign = self.take().text
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable("too many signs")
            inner = self._factor()
            self.depth -= 1
            return ("neg", inner) if sign == "-" else inner
        return self._postfix(self._atom())

    def _postfix(self, tree: Node) -> Node:
        for _ in range(16):
            if self.is_op("^"):
                tree = self._power(tree)
            elif self.is_op("!"):
                self.take()
                tree = ("fact", tree)
            elif self.is_op("%"):
                self.take()
                tree = ("pct", tree)
            elif self.is_op("degree", "circ"):
                self.take()
                tree = ("deg", tree)
            elif self.is_op("'", "''"):
                self.take()
                second = self.tokens[self.at - 1].text == "''" or (self.is_op("'") and bool(self.take()))
                if tree[0] != "num":
                    raise Unreadable("a derivative is not read")
                tree = ("deg", ("div", tree, number(3600 if second else 60)))
            else:
                return tree
        raise Unreadable("too many signs after one value")

    def _power(self, base: Node) -> Node:
        self.take()
        if self.is_op("circ", "degree"):
            self.take()
            return ("deg", base)
        if self.peek() == _GROUP and self.peek(1).text in ("circ", "degree") and self.peek(2).text == "group":
            self.at += 3
            return ("deg", base)
        if self.is_op("'", "''") or (self.peek() == _GROUP and self.peek(1).text in ("'", "''")):
            return self._primed(base)
        return ("pow", base, self._exponent())

    def _primed(self, base: Node) -> Node:
        """`45^{\\prime \\prime}`: minutes and seconds of arc."""
        braced = self.peek() == _GROUP
        self.at += braced
        count = 0
        while self.is_op("'", "''"):
            count += len(self.take().text)
        if braced:
            self.close("group")
        if base[0] != "num" or count > 2:
            raise Unreadable("a derivative is not read")
        return ("deg", ("div", base, number(60**count)))

    def _exponent(self) -> Node:
        if self.is_op("-", "+"):
            sign = self.take().text
            inner = self._postfix_free()
            return ("neg", inner) if sign == "-" else inner
        inner = self._postfix_free()
        if self.is_op("^"):  # a^b^c is a^(b^c)
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise Unreadable("a tower of exponents")
            self.take()
            inner = ("pow", inner, self._exponent())
            self.depth -= 1
        return inner

    def _postfix_free(self) -> Node:
        return self._atom()

    def _atom(self) -> Node:
        token = self.take()
        if token.kind == "num":
            return ("num", token.value, token.step)
        if token.kind == "sym":
            return ("sym", token.text + self._subscript())
        if token.kind == "fn":
            return self._function(token.text)
        if token.kind == "open":
            return self._bracket(token.text)
        if token.kind == "op":
            reader = {"frac": self._frac, "binom": self._frac, "sqrt": self._root, "cbrt": self._root}.get(token.text)
            if reader:
                return reader(token.text)
            if token.text == "infty":
                return ("inf",)
            if token.text == "|":
                return self._bars()
        raise Unreadable(f"{token.text[:20]!r} does not start a value" if token.text else "it ends too early")

    def _bars(self) -> Node:
        self.bars += 1
        inner = self.expression()
        self.bars -= 1
        if not self.is_op("|"):
            raise Unreadable("a bar is not closed")
        self.take()
        return ("fn", "abs", (inner,))

    def _bracket(self, text: str) -> Node:
        if text.startswith("env."):
            return self._matrix(text)
        bars, self.bars = self.bars, 0
        inner = self.expression()
        arguments = [inner]
        while self.is_op(","):
            self.take()
            arguments.append(self.expression())
        self.bars = bars
        self.close(text)
        if len(arguments) > 1:
            raise Unreadable("a tuple inside an expression")
        if text in ("floor", "ceil"):
            return ("fn", text, (inner,))
        return ("fn", "abs", (inner,)) if text == "|" else inner

    def _matrix(self, text: str) -> Node:
        kind = text.removeprefix("env.")
        if kind not in _ENVIRONMENTS:
            raise Unreadable(f"the environment {kind[:20]} is not read")
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self.expression())
            token = self.take()
            if token.kind == "close" and token.text == text:
                break
            if token.text == "\\\\":
                if self.peek().kind == "close":
                    self.take()
                    break
                rows.append([])
            elif token.text != "&":
                raise Unreadable("a matrix with something between its entries")
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix whose rows differ in length")
        return ("mat", tuple(tuple(row) for row in rows))

    def _argument(self) -> Node:
        """What a command takes: a braced group, or one digit, letter or command."""
        token = self.peek()
        if token.kind == "num" and len(token.text) > 1 and token.text.isdigit():
            rest = token.text[1:]
            self.tokens[self.at] = Token("num", rest, Fraction(int(rest)))
            return number(int(token.text[0]))
        return self._atom()

    def _frac(self, text: str) -> Node:
        # The list of tokens changes under `\frac12`; it is this parser's own copy.
        top = self._argument()
        bottom = self._argument()
        return ("div", top, bottom) if text == "frac" else ("fn", "binom", (top, bottom))

    def _root(self, text: str) -> Node:
        index = number(3 if text == "cbrt" else 2)
        if text == "sqrt" and self.peek() == Token("open", "["):
            self.take()
            index = self.expression()
            self.close("[")
        inner = self._atom()
        if self.is_op("!"):
            inner = self._postfix(inner)
        return ("fn", "root", (inner, index))

    def _subscript(self) -> str:
        if not self.is_op("_"):
            return ""
        self.take()
        if self.peek() != _GROUP:
            return "_" + self.take().text
        self.take()
        parts: list[str] = []
        while not (self.peek().kind == "close" and self.peek().text == "group"):
            token = self.take()
            if token.kind in ("open", "close") or token is _END:
                raise Unreadable("a subscript that is not read")
            parts.append(token.text)
        self.take()
        return "_" + "".join(parts)

    def _function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        for _ in range(2):
            if self.is_op("_") and base is None:
                self.take()
                base = self._atom()
            elif self.is_op("^") and power is None:
                self.take()
                power = self._exponent()
        if power == ("neg", number(1)) and not name.startswith("arc") and name not in ("log", "ln", "exp"):
            name, power = "arc" + name, None
        arguments = self._arguments()
        if name == "sqrt":
            tree: Node = ("fn", "root", (arguments[0], number(2)))
        elif name == "cbrt":
            tree = ("fn", "root", (arguments[0], number(3)))
        elif base is not None:
            if name != "log":
                raise Unreadable(f"{name} with a subscript is not read")
            tree = ("fn", "logb", (arguments[0], base))
        else:
            tree = ("fn", {"lg": "log10"}.get(name, name), tuple(arguments))
        return tree if power is None else ("pow", tree, power)

    def _arguments(self) -> list[Node]:
        token = self.peek()
        if token.kind == "open" and token.text in ("(", "group", "[", "{"):
            self.take()
            bars, self.bars = self.bars, 0
            found = [self.expression()]
            while self.is_op(","):
                self.take()
                found.append(self.expression())
            self.bars = bars
            self.close(token.text)
            return found
        # "cos 3 x": a product of what follows, up to the next function or sign.
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("functions nest too deep")
        tree = self._factor()
        while self._starts_factor() and self.peek().text != "(" and not self._names_function():
            tree = self._juxtaposed(tree)
        self.depth -= 1
        return [tree]


_CLOSING = {"(": ")", "[": "]", "{": "}"}
_END = Token("end", "")
_GROUP = Token("open", "group")


def parse(tokens: list[Token]) -> Node:
    """The tree of an expression.

    Raises:
        Unreadable: the tokens are no expression that is read here.
    """
    if not tokens:
        raise Unreadable("it is empty")
    return Parser(list(tokens)).whole()


def symbols_of(tree: Node) -> frozenset[str]:
    """The symbols of a tree, constants left out."""
    found: set[str] = set()
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple) and node:
            if node[0] == "sym":
                found.add(node[1])
            else:
                stack.extend(node[1:] if isinstance(node[0], str) else node)
    return frozenset(found - {"pi", "e", "i"})
