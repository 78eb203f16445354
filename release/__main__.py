"""``python -m release``: builds wheel and sdist of a release, and checks them with twine."""

import subprocess
import sys
import tempfile
from pathlib import Path

from configs.cli import CommandParser, run
from configs.errors import InputError
from configs.files import atomic_directory
from release.tree import NAMESPACE, lay_out

ROOT = Path(__file__).parents[1]


def build(output: Path, *, isolated: bool = True) -> list[Path]:
    """Builds a release from this checkout: first the sdist, and from it the wheel.

    Args:
      output: new folder for both, or one of a former release, which is replaced.
      isolated: whether build tools are installed for it; else those of this environment are used.

    Returns:
      Both files.

    Raises:
      InputError: the checkout cannot be released, or something else is in the folder.
    """
    if output.exists() and not all(
        path.suffix in (".whl", ".gz")
        for path in (output.iterdir() if output.is_dir() else [output])
    ):
        raise InputError(f"{output}: holds other files; expected a new folder, or a former release")
    alone = [] if isolated else ["--no-isolation", "--skip-dependency-check"]
    with (
        tempfile.TemporaryDirectory(prefix="release-") as folder,
        atomic_directory(output.resolve(), replace=True) as aside,
    ):
        lay_out(ROOT, Path(folder))
        _run("build", folder, "--outdir", str(aside), *alone)
        _run("twine", "check", "--strict", *map(str, sorted(aside.iterdir())))
    return sorted(output.iterdir())


def _run(*words: str) -> None:
    """Runs a module of Python. Raises ``InputError`` with the end of what it says if it fails."""
    finished = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        said = (finished.stdout + finished.stderr).strip().splitlines()[-3:]
        raise InputError(f"{words[0]} failed: {' '.join(said)}")


def main() -> None:
    """The command."""
    parser = CommandParser(
        prog="python -m release",
        description=f"Build the wheel and the sdist, all of it under '{NAMESPACE}'.",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), metavar="DIR", help="folder of both (dist)"
    )
    parser.add_argument(
        "--no-isolation",
        action="store_true",
        help="build with the tools of this environment; nothing is installed",
    )
    arguments = parser.parse_args()
    for path in build(arguments.output, isolated=not arguments.no_isolation):
        print(path)


if __name__ == "__main__":
    run(main)
