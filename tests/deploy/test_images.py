"""The Dockerfile's steps, done in a clean environment where no daemon is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
TARGETS = {"trainer": "trainer.task", "server": "serving.server"}

Step = tuple[str, str]


def steps(target: str) -> Iterator[Step]:
    """Instructions of a target and of the stages that it stands on, in the order of their doing."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.partition(" ")[::2] for line in text.splitlines() if line.strip()]
    starts = [place for place, (name, _) in enumerate(lines) if name == "FROM"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        base, _, stage = lines[start][1].partition(" AS ")
        if stage == target:
            if not base.startswith("${"):
                yield from steps(base)
            yield from lines[start + 1 : end]


class Image:
    """A folder in the place of an image's root, and an environment in that of its Python.

    What its ``pip`` installs is built from what was copied; dependencies are those of the tests'
    own environment, so nothing is fetched.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.folder = folder / "root", folder / "root"
        environment = folder / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        site = sysconfig.get_path("purelib", vars={"base": str(environment)})
        (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        pip = environment / "bin" / "pip"
        command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
        pip.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        pip.chmod(0o755)
        path = f"{pip.parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
        offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        self.variables = {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **offline}
        self.command: list[str] = []

    def do(self, name: str, words: str) -> None:
        """Does one instruction."""
        if name == "WORKDIR":
            self.folder = self.root / words.lstrip("/")
            self.folder.mkdir(parents=True, exist_ok=True)
        elif name == "COPY":
            *sources, destination = words.split()
            for source in sources:
                self._copy(ROOT / source, destination)
        elif name == "RUN":
            self.run(["sh", "-c", words])
        elif name in ("ARG", "ENV"):
            for pair in words.split():
                variable, _, value = pair.partition("=")
                self.variables[variable] = value
        elif name == "CMD":
            self.command = [word.strip('" ') for word in words.strip("[]").split(",")]
        else:
            assert name in ("USER", "EXPOSE")  # of the container alone

    def _copy(self, source: Path, destination: str) -> None:
        if source.is_dir():
            hidden = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, self.folder / destination, ignore=hidden)
        else:
            shutil.copy(source, self.folder / destination)

    def run(self, words: list[str]) -> str:
        """What a command writes that is run in the image; it has to end well."""
        ended = subprocess.run(
            words,
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_its_command(target: str, tmp_path: Path) -> None:
    image = Image(tmp_path)
    done = list(steps(target))
    for name, words in done:
        image.do(name, words)
    assert ("USER", "1000:1000") in done  # not the administrator
    assert image.command[:3] == ["python", "-m", TARGETS[target]]
    assert image.run(image.command).startswith("usage:")
    where = f"import {TARGETS[target]} as module; print(module.__file__)"
    assert str(tmp_path / "environment") in image.run(["python", "-c", where])


def test_what_is_copied_is_what_the_package_holds() -> None:
    copied = {words.split()[0] for name, words in steps("trainer") if name == "COPY"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - copied == {"benchmarks", "release", "tests"}
