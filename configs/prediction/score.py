"""Reads the expression by which a page is ranked from what is predicted for its rows.

It is read as Python's grammar has it, and what is not in the short list below is refused; nothing
of it is ever run by Python.
"""

import ast
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

SCORE = "score"
"""The output of a model that a page is ranked by."""

LONGEST = 1_000
"""Characters of an expression."""

_MOST_PARTS = 200
_LARGEST = 1e30
_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
}
FUNCTIONS = {"log": 1, "exp": 1, "sqrt": 1, "minimum": 2, "maximum": 2}
"""Functions, and how many arguments they take."""

OPERATIONS = (*_BINARY.values(), "negative", *FUNCTIONS)
"""Names of all that an expression is made of, numbers and names aside."""

_EXPECTED = (
    "numbers, names of tasks, + - * / **, parentheses, and"
    f" {', '.join(name + '(' + ', '.join('xy'[:count]) + ')' for name, count in FUNCTIONS.items())}"
)


def check_score(text: str, names: Collection[str], where: str) -> None:
    """Checks an expression over these names.

    Args:
      text: the expression.
      names: of tasks.
      where: it stands; the message begins with it.

    Raises:
      ValueError: it is none; says what was expected.
    """
    try:
        _check(text, names)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check(text: str, names: Collection[str]) -> None:
    used = [node.id for node in ast.walk(_parsed(text)) if isinstance(node, ast.Name)]
    for name in used:
        if name not in names and name not in FUNCTIONS:
            raise ValueError(f"'{name}' is no task; expected one of {', '.join(names)}")
    if not any(name in names for name in used):
        raise ValueError(f"it reads no task; expected one of {', '.join(names)}")


def score_of(
    text: str, values: Mapping[str, Any], operations: Mapping[str, Callable[..., Any]]
) -> Any:
    """The value of an expression that was checked.

    Args:
      text: the expression.
      values: of the names.
      operations: of ``OPERATIONS``, as the caller computes them.
    """

    def of(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=number):
                return float(number)  # type: ignore[arg-type]
            case ast.Name(id=name):
                return values[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return operations["negative"](of(operand))
            case ast.UnaryOp(operand=operand):
                return of(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return operations[_BINARY[type(op)]](of(left), of(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return operations[name](*map(of, arguments))
        raise AssertionError(node)

    return of(_parsed(text))


def largest_difference(received: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """By how much two sets of answers differ at most; of values beyond 1 as a share of them, since
    amounts may be large. 0 where there are none.
    """
    wanted = np.asarray(expected, np.float64)
    shares = np.abs(np.asarray(received, np.float64) - wanted) / np.maximum(1.0, np.abs(wanted))
    return float(shares.max(initial=0.0))


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} characters, received {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"'{text}' is no expression; expected {_EXPECTED}") from None
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"expected at most {_MOST_PARTS} numbers, names and operations")
    called = {id(node.func) for node in parts if isinstance(node, ast.Call)}
    for node in parts:
        if not _is_known(node, id(node) in called):
            raise ValueError(f"'{ast.unparse(node)}' cannot be computed; expected {_EXPECTED}")
    return tree


def _is_known(node: ast.expr, is_called: bool) -> bool:
    match node:
        case ast.Constant(value=number):
            if isinstance(number, bool) or not isinstance(number, int | float):
                return False
            return abs(number) <= _LARGEST
        case ast.Name(id=name):
            return (name in FUNCTIONS) == is_called
        case ast.UnaryOp(op=op):
            return isinstance(op, ast.USub | ast.UAdd)
        case ast.BinOp(op=op):
            return type(op) in _BINARY
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return len(arguments) == FUNCTIONS.get(name)
    return False
