"""Commands that compute nothing load nothing that computes: no TensorFlow, no Keras, no Beam."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed.startup import Command, commands, prepare
from tests.conftest import ROOT

HEAVY = ("tensorflow", "keras", "tf_keras", "apache_beam", "scipy", "sklearn")
ARROW = ("simulate", "preprocessing_simulate")
"""Begin the names of the commands that may load Arrow: those of the simulator, which writes it."""
_LOOK = """
import atexit, json, pathlib, runpy, sys
modules, module, *rest = sys.argv[1:]
loaded = lambda: json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))
atexit.register(lambda: pathlib.Path(modules).write_text(loaded()))
sys.argv = [module, *rest]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Not ``-X importtime``: TensorFlow is loaded while stderr is turned aside."""
NAMES = list(commands(Path("place")))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("startup") / "place"


def run_and_look(
    words: tuple[str, ...], modules: Path
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Runs ``python -m ...``; gives how it ended and the libraries that it had loaded."""
    flag, *rest = words
    assert flag == "-m"
    finished = subprocess.run(
        [sys.executable, "-c", _LOOK, str(modules), *rest],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return finished, set(json.loads(modules.read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_heavy_is_loaded(name: str, place: Path) -> None:
    prepare(place)
    command: Command = commands(place)[name]
    finished, loaded = run_and_look(command.words, place.with_name("modules.json"))
    assert finished.returncode == command.code, finished.stderr
    assert "configs" in loaded
    assert not loaded & set(HEAVY)
    assert name.startswith(ARROW) or "pyarrow" not in loaded
    said = finished.stderr.splitlines()
    if command.code == 2:  # one line that says what to do, nothing else
        assert len(said) == 1
        assert finished.stdout == ""
    else:
        assert not [line for line in said if not line.startswith("report: ")]
        assert finished.stdout or name == "report"


def test_what_is_loaded_is_seen(tmp_path: Path) -> None:
    """Also TensorFlow, though nothing that it says while it is loaded is shown."""
    words = ("-m", "configs.tensorflow_import")
    assert "tensorflow" in run_and_look(words, tmp_path / "modules.json")[1]
