"""Reads expressions of named numbers: what a page is ranked by, and numbers made of columns.

They are read as Python's grammar has it, and what is not in the short list below is refused;
nothing of it is ever run by Python.
"""

import ast
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

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

_SHAPE = (
    "numbers, names of {}s, + - * / **, parentheses, and"
    f" {', '.join(name + '(' + ', '.join('xy'[:count]) + ')' for name, count in FUNCTIONS.items())}"
)


def names_in(text: str, what: str) -> tuple[str, ...]:
    """The names that an expression reads, each once.

    Args:
      text: the expression.
      what: a name stands for, in a word, for messages.

    Raises:
      ValueError: it is none, or reads no name; says what was expected.
    """
    found = [node.id for node in ast.walk(_parsed(text, what)) if isinstance(node, ast.Name)]
    names = tuple(dict.fromkeys(name for name in found if name not in FUNCTIONS))
    if not names:
        raise ValueError(f"it reads no {what}; expected {_SHAPE.format(what)}")
    return names


def value_of(
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


@lru_cache(maxsize=256)
def _parsed(text: str, what: str = "number") -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"expected at most {LONGEST} characters, received {len(text)}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"'{text}' is no expression; expected {_SHAPE.format(what)}") from None
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    if len(parts) > _MOST_PARTS:
        raise ValueError(f"expected at most {_MOST_PARTS} numbers, names and operations")
    called = {id(node.func) for node in parts if isinstance(node, ast.Call)}
    for node in parts:
        if not _is_known(node, id(node) in called):
            raise ValueError(
                f"'{ast.unparse(node)}' cannot be computed; expected {_SHAPE.format(what)}"
            )
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
