"""Packages with parts of their own, as an environment has them that they are installed in."""

from pathlib import Path

import pytest

from configs.plugins import installed


def install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str, points: dict[str, str]
) -> Path:
    """Makes a package of one module, as if it were installed, for the rest of a test.

    Args:
      monkeypatch: of the test.
      folder: where it goes.
      name: of the package and its module.
      code: of the module.
      points: group -> lines ``name = module:attribute``.

    Returns:
      The module's file.
    """
    path = folder / f"{name}.py"
    path.write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = "".join(f"[{group}]\n{lines}\n" for group, lines in points.items())
    (info / "entry_points.txt").write_text(groups)
    monkeypatch.syspath_prepend(str(folder))
    installed.cache_clear()
    return path
