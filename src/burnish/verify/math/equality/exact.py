"""The exact normal form of an expression: a sum of products of powers, with rational coefficients.

A product maps atoms (primes, symbols, pi, e, i, and whole sub-expressions by their key) to rational exponents; a sum
maps products to coefficients. Two expressions with one form are equal for positive symbols; two forms may still be
equal (sin² + cos² and 1), which `compare` settles by evaluation. Symbols count as positive, so that √(x²) is x, as
schoolbooks have it (ASSUMED).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import gcd, isqrt

from burnish.verify.math.reading.parse import Node
from burnish.verify.math.reading.tokens import Unreadable

Product = tuple[tuple[str, Fraction], ...]
Sum = dict[Product, Fraction]

MAX_TERMS = 120  # ASSUMED: products in one sum
MAX_BITS = 8_000  # of one coefficient
MAX_POWER = 4_000  # an integer exponent beyond this is left to evaluation
ONE: Product = ()
HALF = Fraction(1, 2)


class Beyond(Exception):
    """The normal form would be larger than its bounds."""


def rational(value: Fraction | int) -> Sum:
    return {ONE: Fraction(value)} if value else {}


def atom(name: str, exponent: Fraction | int = 1) -> Sum:
    return {((name, Fraction(exponent)),): Fraction(1)}


def as_rational(form: Sum) -> Fraction | None:
    """The number that a form is, if it is a rational one."""
    if not form:
        return Fraction(0)
    return form[ONE] if len(form) == 1 and ONE in form else None


def key(form: Sum) -> str:
    """A text that two forms share exactly when they are one form."""
    if not form:
        return "0"
    parts = sorted(
        (repr(product and [(name, str(power)) for name, power in product]), form[product]) for product in form
    )
    return "+".join(f"{coefficient}*{product}" for product, coefficient in parts)


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise Beyond
    return value


def add(left: Sum, right: Sum, factor: int = 1) -> Sum:
    out = dict(left)
    for product, coefficient in right.items():
        total = out.get(product, Fraction(0)) + factor * coefficient
        if total:
            out[product] = _bounded(total)
        else:
            out.pop(product, None)
    if len(out) > MAX_TERMS:
        raise Beyond
    return out


def _join(left: Product, right: Product) -> tuple[Fraction, Product]:
    """The product of two products: what becomes rational, and the rest."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, Fraction(0)) + power
    scale = Fraction(1)
    for name in list(powers):
        power = powers[name]
        if name[0] == "#":  # a prime keeps an exponent in [0, 1)
            whole = power.numerator // power.denominator
            if abs(whole) > MAX_POWER:
                raise Beyond
            scale *= Fraction(int(name[1:])) ** whole
            powers[name] = power = power - whole
        elif name == "i" and power.denominator == 1:
            power = Fraction(power.numerator % 4)
            if power >= 2:
                scale, power = -scale, power - 2
            powers[name] = power
        if not power:
            del powers[name]
    return scale, tuple(sorted(powers.items()))


def multiply(left: Sum, right: Sum) -> Sum:
    if len(left) * len(right) > 40 * MAX_TERMS:
        raise Beyond
    out: Sum = {}
    for first, a in left.items():
        for second, b in right.items():
            if first and second:
                scale, product = _join(first, second)
            else:
                scale, product = Fraction(1), first or second
            total = out.get(product, Fraction(0)) + _bounded(a * b * scale)
            if total:
                out[product] = total
            else:
                out.pop(product, None)
    if len(out) > MAX_TERMS:
        raise Beyond
    return out


def _factored(value: int) -> list[tuple[int, int]]:
    """Primes and exponents of a positive integer; a cofactor without small divisors stands as one atom."""
    found: list[tuple[int, int]] = []
    divisor = 2
    while divisor * divisor <= value and divisor < 2_000:
        count = 0
        while value % divisor == 0:
            value //= divisor
            count += 1
        if count:
            found.append((divisor, count))
        divisor += 1 if divisor == 2 else 2
    if value > 1:
        root = isqrt(value)
        found.append((root, 2) if root * root == value else (value, 1))
    return found


def _number_power(value: Fraction, exponent: Fraction) -> Sum:
    if value == 0:
        if exponent > 0:
            return {}
        raise Unreadable("a division by zero")
    if exponent.denominator == 1:
        bits = (value.numerator.bit_length() + value.denominator.bit_length()) * abs(exponent.numerator)
        if abs(exponent.numerator) > MAX_POWER or bits > MAX_BITS:
            raise Beyond
        return {ONE: value**exponent.numerator}
    if value.numerator.bit_length() + value.denominator.bit_length() > 200 or exponent.denominator > 60:
        raise Beyond
    sign = rational(1)
    if value < 0:
        if exponent.denominator % 2:  # an odd root of a negative number is the real one
            sign = rational(-1 if exponent.numerator % 2 else 1)
        elif exponent.denominator == 2:
            sign = {(("i", Fraction(1)),): Fraction(1)}
            sign = _power_of_product((("i", Fraction(1)),), Fraction(exponent.numerator))
        else:
            raise Beyond
    powers = [(prime, count * exponent) for prime, count in _factored(abs(value.numerator))]
    powers += [(prime, -count * exponent) for prime, count in _factored(value.denominator)]
    out = sign
    for prime, power in powers:
        out = multiply(out, _power_of_product(((f"#{prime}", Fraction(1)),), power))
    return out


def _power_of_product(product: Product, exponent: Fraction) -> Sum:
    scale, rest = _join(ONE, tuple((name, power * exponent) for name, power in product))
    return {rest: scale}


def raised(form: Sum, exponent: Fraction) -> Sum:
    """A form to a rational power."""
    if exponent == 1:
        return form
    if exponent == 0:
        return rational(1)
    if not form:
        return _number_power(Fraction(0), exponent)
    if len(form) == 1:
        ((product, coefficient),) = form.items()
        if any(name == "i" for name, _ in product) and exponent.denominator != 1:
            raise Beyond
        return multiply(_number_power(coefficient, exponent), _power_of_product(product, exponent))
    if exponent.denominator == 1 and 1 < exponent <= 12 and len(form) ** min(int(exponent), 4) <= 4 * MAX_TERMS:
        out = form
        for _ in range(int(exponent) - 1):
            out = multiply(out, form)
        return out
    content, primitive = _primitive(form)
    if content < 0 and exponent.denominator != 1:
        content, primitive = -content, {product: -coefficient for product, coefficient in primitive.items()}
    inner = {((f"({key(primitive)})", exponent),): Fraction(1)}
    return multiply(_number_power(content, exponent), inner)


def _primitive(form: Sum) -> tuple[Fraction, Sum]:
    """A form as a number times a form with coprime integer coefficients, the first of them positive."""
    top, bottom = 0, 1
    for coefficient in form.values():
        top = gcd(top, coefficient.numerator)
        bottom = bottom * coefficient.denominator // gcd(bottom, coefficient.denominator)
        if bottom.bit_length() > MAX_BITS:
            raise Beyond
    content = Fraction(top, bottom)
    if form[min(form)] < 0:
        content = -content
    return content, {product: coefficient / content for product, coefficient in form.items()}


def _call(name: str, arguments: list[Sum]) -> Sum:
    if name == "root":
        index = as_rational(arguments[1])
        if index is None or index.denominator != 1 or index == 0:
            raise Beyond
        return raised(arguments[0], 1 / index)
    value = as_rational(arguments[0])
    if value is not None and name in ("abs", "floor", "ceil"):
        return rational({"abs": abs(value), "floor": value.__floor__(), "ceil": value.__ceil__()}[name])
    if name == "binom" and value is not None:
        below = as_rational(arguments[1])
        if below is not None and value.denominator == below.denominator == 1 and 0 <= below <= value <= 400:
            return rational(_binomial(int(value), int(below)))
    if name == "exp":
        return _exponential(atom("e"), arguments[0])
    if name in ("ln", "log", "log10") and value == 1:
        return {}
    return atom(f"{name}[{'|'.join(key(argument) for argument in arguments)}]")


def _binomial(n: int, k: int) -> int:
    out = 1
    for index in range(min(k, n - k)):
        out = out * (n - index) // (index + 1)
    return out


def _exponential(base: Sum, exponent: Sum) -> Sum:
    """base ** exponent. The rational part of the exponent is split off: e^(2+x) is e² e^x."""
    value = as_rational(exponent)
    if value is not None:
        return raised(base, value)
    constant = exponent.get(ONE, Fraction(0))
    rest = {product: coefficient for product, coefficient in exponent.items() if product != ONE}
    content, primitive = _primitive(rest)
    power = {((f"pow[{key(base)}|{key(primitive)}]", content),): Fraction(1)}
    return multiply(raised(base, constant), power) if constant else power


def exact(tree: Node) -> Sum:
    """The normal form of a tree.

    Raises:
        Beyond: it would be too large, or holds what has no such form (infinity, ±, a matrix).
        Unreadable: it divides by zero.
    """
    kind = tree[0]
    if kind == "num":
        return rational(_bounded(tree[1]))
    if kind == "sym":
        return atom(tree[1])
    reader = _READERS.get(kind)
    if reader is None:
        raise Beyond
    return reader(tree)


def _factorial(tree: Node) -> Sum:
    value = as_rational(exact(tree[1]))
    if value is None:
        return atom(f"fact[{key(exact(tree[1]))}]")
    if value.denominator != 1 or not 0 <= value <= 400:
        raise Beyond
    out = 1
    for factor in range(2, int(value) + 1):
        out *= factor
    return rational(_bounded(Fraction(out)))


def _power(tree: Node) -> Sum:
    exponent = exact(tree[2])
    value = as_rational(exponent)
    base = exact(tree[1])
    return raised(base, value) if value is not None else _exponential(base, exponent)


_READERS: dict[str, Callable[[Node], Sum]] = {
    "add": lambda tree: add(exact(tree[1]), exact(tree[2])),
    "neg": lambda tree: {product: -value for product, value in exact(tree[1]).items()},
    "mul": lambda tree: multiply(exact(tree[1]), exact(tree[2])),
    "div": lambda tree: multiply(exact(tree[1]), raised(exact(tree[2]), Fraction(-1))),
    "pow": _power,
    "fact": _factorial,
    "pct": lambda tree: multiply(exact(tree[1]), rational(Fraction(1, 100))),
    "deg": lambda tree: multiply(exact(tree[1]), {(("pi", Fraction(1)),): Fraction(1, 180)}),
    "fn": lambda tree: _call(tree[1], [exact(argument) for argument in tree[2]]),
}
