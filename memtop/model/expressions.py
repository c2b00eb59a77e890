"""Small arithmetic on names: what a manifest's formulas are written in. Nothing in them can be called but what is here.

Numbers, strings, `None`, names, `+ - * // / **`, comparisons, `and or not`, `A if B else C`, and the functions
`min max ceil floor sqrt abs`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

Value = int | float | str | bool | None

LARGEST_POWER: Final = 64
"""The largest exponent that is computed: a formula is arithmetic on settings, not a way to fill memory."""


class ExpressionError(ValueError):
    """A formula that can't be read, names what is not there, or has no value."""


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > LARGEST_POWER:
        raise ExpressionError(f"an exponent of {exponent}")
    return base**exponent


_BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: _power,
}
_COMPARED: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "min": min,
    "max": max,
    "ceil": math.ceil,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "abs": abs,
}


def evaluate(formula: str, names: Mapping[str, Value]) -> Value:
    """The formula's value. Raises `ExpressionError`."""
    try:
        value: Value = _evaluate(_parsed(formula), names)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise ExpressionError(f"{formula.strip()!r}: {error}") from None
    return value


def written_out(formula: str, names: Mapping[str, Value]) -> str:
    """The part of a formula that applies, names replaced by their values.

    `batch_size * (128 + 10) * 4 + 8 if precision == 'fp32' else None` with batch 64 is `64 × (128 + 10) × 4 + 8`.
    """
    shown = ast.unparse(_Filled(names).visit(_parsed(formula)))
    return shown.replace("**", "^").replace("//", "÷").replace("*", "×")


class _Filled(ast.NodeTransformer):
    """Replaces names by their values, conditions by the branch taken, and `ceil(sqrt(...))` by its number."""

    def __init__(self, names: Mapping[str, Value]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(self._names.get(node.id, node.id))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        chosen: ast.AST = self.visit(node.body if _evaluate(node.test, self._names) else node.orelse)
        return chosen

    def visit_Call(self, node: ast.Call) -> ast.AST:
        return ast.Constant(_evaluate(node, self._names))


def _parsed(formula: str) -> ast.expr:
    try:
        # Parentheses let a formula run over several lines, as it may in a manifest.
        return ast.parse(f"({formula.strip()})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{formula.strip()!r} is not a formula: {error}") from None


def _evaluate(node: ast.expr, names: Mapping[str, Value]) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            if name not in names:
                raise ExpressionError(f"no setting {name!r}")
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, names)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _arithmetic(type(op), _evaluate(left, names), _evaluate(right, names))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, names) else orelse, names)
        case ast.BoolOp(op=op, values=values):
            joined = all if isinstance(op, ast.And) else any
            return joined(_evaluate(value, names) for value in values)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            return _COMPARED[type(op)](_evaluate(left, names), _evaluate(right, names))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_evaluate(argument, names) for argument in arguments))
    raise ExpressionError(f"{ast.unparse(node)!r} is not arithmetic")


def _arithmetic(kind: type[ast.operator], left: Any, right: Any) -> Any:
    """Numbers alone: `'a' * 10**9` is no formula."""
    if isinstance(left, str) or isinstance(right, str):
        raise ExpressionError("text in arithmetic")
    return _BINARY[kind](left, right)
