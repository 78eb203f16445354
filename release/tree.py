"""Lays out a folder that a release is built from: the checkout, all packages under one name."""

import shutil
from pathlib import Path

from configs.digests.code import OF_THE_CHECKOUT, digest_below
from configs.errors import InputError
from release.renaming import Namespace, module_names

NAMESPACE = "domain_kernels"
STOREYS = ("configs", "preprocessing", "trainer", "serving", "operations")
"""The packages of a checkout that stand under ``NAMESPACE`` in a release, beside what is in it."""
_BESIDE = ("setup.py", "pyproject.toml", "MANIFEST.in", "requirements-worker.txt", "LICENSE")
_PROSE = ("README.md", "CHANGELOG.md")
_WRITTEN = (".md", ".yaml")
"""Kinds of files beside code that name modules."""


def lay_out(checkout: Path, folder: Path) -> None:
    """Writes the tree of a release.

    Args:
      checkout: the root of this repository.
      folder: an empty folder for the tree.

    Raises:
      InputError: this is no checkout, or a module of it cannot be renamed.
    """
    for name in (*STOREYS, NAMESPACE, *_BESIDE, *_PROSE):
        if not (checkout / name).exists():
            raise InputError(f"{checkout / name}: not found; run this in a checkout")
    code = {
        path.relative_to(checkout).as_posix()
        for name in STOREYS
        for path in (checkout / name).rglob("*.py")
    }
    namespace = Namespace(NAMESPACE, module_names(code))
    for name in (*STOREYS, NAMESPACE):
        above = folder / NAMESPACE if name in STOREYS else folder
        for path in sorted((checkout / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                _copy(path, above / path.relative_to(checkout), namespace)
    for name in (*_BESIDE, *_PROSE):
        _copy(checkout / name, folder / name, namespace, as_text=name in _PROSE)
    digest = folder / NAMESPACE / "configs" / "digests" / OF_THE_CHECKOUT
    digest.write_text(f"{digest_below(checkout)}\n", encoding="utf-8")


def _copy(source: Path, target: Path, namespace: Namespace, *, as_text: bool = True) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if as_text and source.suffix == ".py":
        code = namespace.in_code(source.read_text(encoding="utf-8"), str(source))
        target.write_text(code, encoding="utf-8")
    elif as_text and source.suffix in _WRITTEN:
        target.write_text(namespace.in_text(source.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        shutil.copy(source, target)
