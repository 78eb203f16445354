"""The example package's parts, found by its entry points: installed, trained and served."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.selfcheck import TOLERANCE
from tests.conftest import QUICKSTART

ROOT = Path(__file__).parents[1]
RUN = """
import trainer, json, sys
from pathlib import Path
from serving.selfcheck import check
from tests.test_tasks_end_to_end import Run

run = Run(
    Path(sys.argv[1]),
    Path(sys.argv[2]),
    "features.cycle={kind: cyclic_time, side: context, column: timestamp}",
    "backbone.body=wide_and_deep",
    "backbone.options={width: 8}",
)
print(json.dumps(check(run.experiment, run.data, run.job, run.models, 100)))
"""


COMMAND = ("-m", "preprocessing.task", "--config", QUICKSTART, "--output", "x", "--set")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "own_parts"
    subprocess.run(["cp", "-r", ROOT / "examples" / "own_parts", source], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True)
    return {**os.environ, "PYTHONPATH": f"{target}{os.pathsep}{ROOT}"}


def python(environment: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=ROOT, env=environment
    )


def test_they_are_trained_and_served(installed: dict[str, str], logs: Path, tmp_path: Path) -> None:
    done = python(installed, "-c", RUN, tmp_path, logs)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    worst = [of["largest_difference"] for of in (*found["domains"].values(), found["rank"])]
    assert max(worst) <= TOLERANCE
    assert (tmp_path / "models" / "1" / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("features.cycle={kind: cyclic_time, side: context}", "cyclic_time"),
        (
            "backbone.body=wide_and_deep",
            "backbone.body: 'wide_and_deep' is no body",
        ),
        ("backbone.options={width: 8}", "body 'mmoe' has none"),
    ],
)
def test_where_no_package_has_them_they_are_refused(setting: str, expected: str) -> None:
    done = python(dict(os.environ), *COMMAND, setting)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr


def test_a_package_that_fails_is_named_in_one_line(
    installed: dict[str, str], tmp_path: Path
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[domain_kernels.features]\nodd = no_such_module:Odd\n"
        "[domain_kernels.bodies]\nodd = no_such_module:body\n"
    )
    environment = {**installed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{installed['PYTHONPATH']}"}
    done = python(environment, *COMMAND, "features.cycle={kind: odd, side: context}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'odd' of package broken cannot be loaded" in done.stderr
