"""The walk through a parsed program: one function for each kind of expression and statement.

Used by `expression` alone, which parses the program and has refused all that the language does not have.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from burnish.verify.expression.calls import FUNCTIONS, METHODS
from burnish.verify.expression.limits import BINARY, UNARY, ExpressionError, Meter, compare

# ASSUMED: expressions and blocks within each other, calls included. Each takes up to three frames of the host, so
# that the limit is met before Python's own (1,000), whose meeting would depend on who calls.
MAX_NEST = 200


class Scope:
    """Names of one function call or comprehension; `local` are those that assignment makes its own."""

    __slots__ = ("local", "names", "outer")

    def __init__(self, outer: Scope | None, local: frozenset[str] = frozenset()) -> None:
        self.names: dict[str, Any] = {}
        self.outer = outer
        self.local = local


class _Function:
    """A `def` or `lambda` with the scope it was made in."""

    __slots__ = ("defaults", "local", "node", "scope")

    def __init__(self, node: ast.FunctionDef | ast.Lambda, defaults: list[Any], scope: Scope) -> None:
        self.node, self.defaults, self.scope = node, defaults, scope
        body = node.body if isinstance(node, ast.FunctionDef) else []
        self.local = frozenset(_assigned(body)) | {argument.arg for argument in node.args.args}


def _assigned(body: Sequence[ast.stmt]) -> set[str]:
    """The names that statements assign, without looking into functions and comprehensions inside them."""
    found: set[str] = set()
    queue: list[ast.AST] = list(body)
    while queue:
        node = queue.pop()
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.DictComp, ast.GeneratorExp)):
            queue.extend(ast.iter_child_nodes(node))
    return found


class Interpreter:
    """Walks one program. Statements answer None, or ("break",), ("continue",), ("return", value)."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.nest = 0

    def expression(self, node: ast.expr, scope: Scope) -> Any:
        self.meter.spend()
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            raise ExpressionError("forbidden", f"a {type(node).__name__} cannot stand here")
        self.deeper()
        value = handler(self, node, scope)
        self.nest -= 1
        return value

    def block(self, body: Sequence[ast.stmt], scope: Scope) -> tuple[Any, ...] | None:
        self.deeper()
        signal = None
        for statement in body:
            self.meter.spend()
            signal = _STATEMENTS[type(statement)](self, statement, scope)
            if signal is not None:
                break
        self.nest -= 1
        return signal

    def deeper(self) -> None:
        """Count one level more. A program that fails ends, so only a success counts back."""
        self.nest += 1
        if self.nest > MAX_NEST:
            raise ExpressionError("steps", f"more than {MAX_NEST} expressions and calls within each other")

    def call(self, function: Any, arguments: list[Any], named: dict[str, Any] | None = None) -> Any:
        """Call a function of the program, or a built-in one that was passed as a value."""
        named = named or {}
        if not isinstance(function, _Function):
            if function not in FUNCTIONS.values():
                raise ExpressionError("runtime", f"a value of type {type(function).__name__} cannot be called")
            return self.meter.checked(function(self.meter, self.call, *arguments, **named))
        scope = Scope(function.scope, function.local)
        scope.names.update(_bind(function, arguments, named))
        if isinstance(function.node, ast.Lambda):
            return self.expression(function.node.body, scope)
        signal = self.block(function.node.body, scope)
        if signal is not None and signal[0] != "return":
            raise ExpressionError("syntax", f"{signal[0]} stands outside a loop")
        return signal[1] if signal else None

    def assign(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = self.meter.items(value)
            if len(items) != len(target.elts):
                raise ExpressionError("runtime", f"{len(items)} values for {len(target.elts)} names")
            for part, item in zip(target.elts, items, strict=True):
                self.assign(part, item, scope)
        elif isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
            holder, index = self.expression(target.value, scope), self.expression(target.slice, scope)
            if type(holder) not in (list, dict):
                raise ExpressionError("runtime", f"a {type(holder).__name__} has no items to assign to")
            self.meter.weigh(index)
            holder[index] = value
            self.meter.checked(holder)
        else:
            raise ExpressionError("forbidden", f"cannot assign to a {type(target).__name__}")


def _bind(function: _Function, arguments: list[Any], named: dict[str, Any]) -> dict[str, Any]:
    names = [argument.arg for argument in function.node.args.args]
    bound = dict(zip(names[len(names) - len(function.defaults) :], function.defaults, strict=True))
    given = dict(zip(names, arguments, strict=False))
    if len(arguments) > len(names) or set(named) - set(names) or set(named) & set(given):
        raise ExpressionError("runtime", f"the arguments do not fit ({', '.join(names)})")
    bound = {**bound, **given, **named}
    if len(bound) < len(names):
        raise ExpressionError("runtime", f"an argument is missing of ({', '.join(names)})")
    return bound


def _name(self: Interpreter, node: ast.Name, scope: Scope) -> Any:
    place: Scope | None = scope
    while place is not None:
        if node.id in place.names:
            return place.names[node.id]
        if node.id in place.local:
            raise ExpressionError("runtime", f"{node.id!r} is read before it is assigned")
        place = place.outer
    if node.id in FUNCTIONS:
        return FUNCTIONS[node.id]
    reason = "forbidden" if hasattr(builtins, node.id) else "runtime"
    raise ExpressionError(reason, f"there is no name {node.id!r}")


def _sequence(self: Interpreter, node: ast.List | ast.Tuple, scope: Scope) -> Any:
    items = [self.expression(item, scope) for item in node.elts]
    return items if isinstance(node, ast.List) else tuple(items)


def _mapping(self: Interpreter, node: ast.Dict, scope: Scope) -> dict[Any, Any]:
    result = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise ExpressionError("forbidden", "** is not part of the language")
        name = self.expression(key, scope)
        self.meter.weigh(name)
        result[name] = self.expression(value, scope)
    return result


def _binary(self: Interpreter, node: ast.BinOp, scope: Scope) -> Any:
    left, right = self.expression(node.left, scope), self.expression(node.right, scope)
    return self.meter.checked(BINARY[type(node.op).__name__](self.meter, left, right))


def _unary(self: Interpreter, node: ast.UnaryOp, scope: Scope) -> Any:
    return UNARY[type(node.op).__name__](self.expression(node.operand, scope))


def _boolean(self: Interpreter, node: ast.BoolOp, scope: Scope) -> Any:
    value: Any = None
    for part in node.values:
        value = self.expression(part, scope)
        if bool(value) == isinstance(node.op, ast.Or):
            break
    return value


def _comparison(self: Interpreter, node: ast.Compare, scope: Scope) -> bool:
    left = self.expression(node.left, scope)
    for operator, part in zip(node.ops, node.comparators, strict=True):
        right = self.expression(part, scope)
        if not compare(self.meter, type(operator).__name__, left, right):
            return False
        left = right
    return True


def _choice(self: Interpreter, node: ast.IfExp, scope: Scope) -> Any:
    return self.expression(node.body if self.expression(node.test, scope) else node.orelse, scope)


def _subscript(self: Interpreter, node: ast.Subscript, scope: Scope) -> Any:
    holder = self.expression(node.value, scope)
    if type(holder) not in (str, list, tuple, dict, range):
        raise ExpressionError("runtime", f"a value of type {type(holder).__name__} has no items")
    if not isinstance(node.slice, ast.Slice):
        index = self.expression(node.slice, scope)
        self.meter.weigh(index)
        return holder[index]
    parts = [node.slice.lower, node.slice.upper, node.slice.step]
    bounds = [None if part is None else self.expression(part, scope) for part in parts]
    return self.meter.checked(holder[slice(*bounds)])


def _comprehension(self: Interpreter, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, scope: Scope) -> Any:
    pairs: dict[Any, Any] = {}
    items: list[Any] = []

    def loop(level: int, inner: Scope) -> None:
        if level == len(node.generators):
            if isinstance(node, ast.DictComp):
                key = self.expression(node.key, inner)
                self.meter.weigh(key)
                pairs[key] = self.expression(node.value, inner)
            else:
                items.append(self.expression(node.elt, inner))
            self.meter.fit(len(items) + len(pairs))
            return
        clause = node.generators[level]
        for item in self.meter.items(self.expression(clause.iter, inner)):
            self.assign(clause.target, item, inner)
            if all(self.expression(condition, inner) for condition in clause.ifs):
                loop(level + 1, inner)

    loop(0, Scope(scope))
    return pairs if isinstance(node, ast.DictComp) else items


def _function(self: Interpreter, node: ast.Lambda | ast.FunctionDef, scope: Scope) -> _Function:
    return _Function(node, [self.expression(default, scope) for default in node.args.defaults], scope)


def _calling(self: Interpreter, node: ast.Call, scope: Scope) -> Any:
    method: Callable[..., Any] | None = None
    if isinstance(node.func, ast.Attribute):
        holder = self.expression(node.func.value, scope)
        method = METHODS.get(type(holder), {}).get(node.func.attr)
        if method is None:
            raise ExpressionError("runtime", f"a {type(holder).__name__} has no method {node.func.attr!r}")
    else:
        function = self.expression(node.func, scope)
    arguments = [self.expression(argument, scope) for argument in node.args]
    if any(keyword.arg is None for keyword in node.keywords):
        raise ExpressionError("forbidden", "** is not part of the language")
    named = {str(keyword.arg): self.expression(keyword.value, scope) for keyword in node.keywords}
    if method is not None:
        return self.meter.checked(method(self.meter, self.call, holder, *arguments, **named))
    return self.call(function, arguments, named)


def _attribute(self: Interpreter, node: ast.Attribute, scope: Scope) -> Any:
    raise ExpressionError("forbidden", f"the method {node.attr!r} can only be called")


def _formatted(self: Interpreter, node: ast.JoinedStr, scope: Scope) -> str:
    parts = []
    for part in node.values:
        value = self.expression(part.value if isinstance(part, ast.FormattedValue) else part, scope)
        self.meter.weigh(value)
        parts.append(str(value))
    self.meter.joined(parts)
    return "".join(parts)


_EXPRESSIONS: dict[type, Callable[..., Any]] = {
    ast.Constant: lambda self, node, scope: self.meter.checked(node.value),
    ast.Name: _name,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Dict: _mapping,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _comparison,
    ast.IfExp: _choice,
    ast.Subscript: _subscript,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.Lambda: _function,
    ast.Call: _calling,
    ast.Attribute: _attribute,
    ast.JoinedStr: _formatted,
}


def _live(self: Interpreter, value: Any) -> Iterable[Any]:
    """A list or dict is walked as it is, changes in the loop included; its body pays for each turn."""
    return value if type(value) in (list, dict) else self.meter.items(value)


def _for(self: Interpreter, node: ast.For, scope: Scope) -> tuple[Any, ...] | None:
    for item in _live(self, self.expression(node.iter, scope)):
        self.assign(node.target, item, scope)
        signal = self.block(node.body, scope)
        if signal is not None and signal[0] == "break":
            break
        if signal is not None and signal[0] == "return":
            return signal
    return None


def _while(self: Interpreter, node: ast.While, scope: Scope) -> tuple[Any, ...] | None:
    while self.expression(node.test, scope):
        signal = self.block(node.body, scope)
        if signal is not None and signal[0] == "break":
            break
        if signal is not None and signal[0] == "return":
            return signal
    return None


def _if(self: Interpreter, node: ast.If, scope: Scope) -> tuple[Any, ...] | None:
    return self.block(node.body if self.expression(node.test, scope) else node.orelse, scope)


def _assign(self: Interpreter, node: ast.Assign, scope: Scope) -> None:
    value = self.expression(node.value, scope)
    for target in node.targets:
        self.assign(target, value, scope)


def _augment(self: Interpreter, node: ast.AugAssign, scope: Scope) -> None:
    """`x += y`, where a list grows in place, as in Python, and the holder of an item is evaluated once."""
    operator, holder, index = type(node.op).__name__, None, None
    if isinstance(node.target, ast.Subscript):
        holder, index = self.expression(node.target.value, scope), self.expression(node.target.slice, scope)
        self.meter.weigh(index)
        if type(holder) not in (list, dict):
            raise ExpressionError("runtime", f"a {type(holder).__name__} has no items to assign to")
        old = holder[index]
    else:
        old = _name(self, node.target, scope)
    value = self.expression(node.value, scope)
    if operator == "Add" and type(old) is list:
        METHODS[list]["extend"](self.meter, self.call, old, value)
        new = old
    else:
        new = self.meter.checked(BINARY[operator](self.meter, old, value))
    if holder is not None:
        holder[index] = new
    else:
        self.assign(node.target, new, scope)


def _define(self: Interpreter, node: ast.FunctionDef, scope: Scope) -> None:
    scope.names[node.name] = _function(self, node, scope)


def _return(self: Interpreter, node: ast.Return, scope: Scope) -> tuple[Any, ...]:
    return ("return", None if node.value is None else self.expression(node.value, scope))


def _drop(self: Interpreter, node: ast.Expr, scope: Scope) -> None:
    self.expression(node.value, scope)


_STATEMENTS: dict[type, Callable[..., Any]] = {
    ast.FunctionDef: _define,
    ast.Return: _return,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Assign: _assign,
    ast.AugAssign: _augment,
    ast.Expr: _drop,
    ast.Pass: lambda self, node, scope: None,
    ast.Break: lambda self, node, scope: ("break",),
    ast.Continue: lambda self, node, scope: ("continue",),
}
