"""Commands that compute nothing load nothing that computes: no TensorFlow, no Keras, no Beam."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed.startup import Command, commands, prepare
from tests.conftest import ROOT

HEAVY = ("tensorflow", "keras", "tf_keras", "apache_beam", "scipy", "sklearn")
ARROW = ("simulate", "preprocessing_simulate")
"""Begin the names of the commands that may load Arrow: those of the simulator, which writes it."""
NAMES = list(commands(Path("place")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("startup") / "place"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_heavy_is_loaded(name: str, place: Path) -> None:
    prepare(place)
    command: Command = commands(place)[name]
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", *command.words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    marked = [line.startswith("import time:") for line in finished.stderr.splitlines()]
    lines = finished.stderr.splitlines()
    said = [line for line, is_import in zip(lines, marked, strict=True) if not is_import]
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line, is_import in zip(lines, marked, strict=True)
        if is_import
    }
    assert finished.returncode == command.code, said
    assert "configs" in loaded
    assert not loaded & set(HEAVY)
    assert name.startswith(ARROW) or "pyarrow" not in loaded
    if command.code == 2:  # one line that says what to do, nothing else
        assert len(said) == 1
        assert finished.stdout == ""
    else:
        assert not [line for line in said if not line.startswith("report: ")]
        assert finished.stdout or name == "report"
