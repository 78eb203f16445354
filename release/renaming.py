"""Puts the modules of a checkout under one namespace: in imports, and wherever a text names one.

Code is renamed by its syntax tree and its tokens, never as a text: imports by where the tree says
that they are, names such as ``trainer.task`` in strings and comments where they name a module that
there is. Everything else has to be as it was: the trees are compared afterwards.
"""

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from configs.errors import InputError

_TEXTS = (tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", -1))


@dataclass(frozen=True)
class Namespace:
    """One name above all modules.

    Attributes:
      name: of the package that holds them.
      modules: dotted names of all modules and packages in the checkout.
    """

    name: str
    modules: frozenset[str]

    @cached_property
    def tops(self) -> set[str]:
        """The packages that others could have, too."""
        return {module.partition(".")[0] for module in self.modules}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w./\\-])(?:{'|'.join(sorted(self.tops))})\.\w+")

    def in_text(self, text: str) -> str:
        """A text with the modules that it names renamed: every dotted name that begins with one
        (``trainer.job.Job`` does), but for parts of paths and longer names.
        """
        return self._pattern.sub(
            lambda found: f"{self.name}.{found[0]}" if found[0] in self.modules else found[0],
            text,
        )

    def in_code(self, source: str, where: str) -> str:
        """The source of a module, renamed.

        Args:
          source: Python.
          where: names it in errors.

        Raises:
          InputError: an import that cannot be renamed, or renaming has changed something else.
        """
        tree = ast.parse(source)
        lines = source.splitlines(keepends=True)
        edits = [*self._of_imports(tree, where), *self._of_texts(source, lines)]
        for row, column, old, new in sorted(edits, reverse=True):
            line = lines[row - 1]
            if line[column : column + len(old)] != old:
                raise InputError(f"{where}:{row}: expected {old!r} in column {column}")
            lines[row - 1] = line[:column] + new + line[column + len(old) :]
        renamed = "".join(lines)
        if list(_code(ast.parse(renamed))) != list(_code(tree)):
            raise InputError(f"{where}: renaming has changed more than imports and texts")
        return renamed

    def _of_imports(self, tree: ast.AST, where: str) -> Iterator[tuple[int, int, str, str]]:
        """Row (from 1), column, what is there and what shall be, of each import of ours."""
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and self._is_ours(node.module or ""):
                name = f"from {node.module} "
                yield node.lineno, node.col_offset, name, f"from {self.name}.{node.module} "
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    if not self._is_ours(alias.name):
                        continue
                    top = alias.name.partition(".")[0]
                    if alias.asname is None and top in used:
                        raise InputError(
                            f"{where}:{node.lineno}: 'import {alias.name}' gives the name '{top}',"
                            " which a release does not have; expected 'from ... import ...'"
                        )
                    yield alias.lineno, alias.col_offset, alias.name, f"{self.name}.{alias.name}"

    def _of_texts(self, source: str, lines: list[str]) -> Iterator[tuple[int, int, str, str]]:
        """The same of strings and comments, line by line."""
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _TEXTS:
                continue
            (row, column), (last, end) = token.start, token.end
            for number, line in enumerate(lines[row - 1 : last]):
                first = column if number == 0 else 0
                old = line[first : end if row + number == last else None]
                if (new := self.in_text(old)) != old:
                    yield row + number, first, old, new

    def _is_ours(self, module: str) -> bool:
        return module.partition(".")[0] in self.tops


def _code(tree: ast.AST) -> Iterator[str]:
    """What renaming must leave alone: the kinds of all nodes, and every name in them that is of no
    import and in no text.
    """
    for node in ast.walk(tree):
        yield type(node).__name__
        if isinstance(node, ast.Import | ast.ImportFrom | ast.alias):
            continue
        for field, value in ast.iter_fields(node):
            text = isinstance(node, ast.Constant) and isinstance(value, str)
            if isinstance(value, str | int | float | bool | complex | bytes | None) and not text:
                yield f"{field}={value!r}"


def module_names(files: Collection[str]) -> frozenset[str]:
    """Dotted names of Python files by their paths, and of the packages that they are in."""
    names = set()
    for file in files:
        parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
        names |= {".".join(parts[: length + 1]) for length in range(len(parts))}
    return frozenset(names)
