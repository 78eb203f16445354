"""The section of a billion weights: its configuration, its commands on small tables, and what it
says of a process.
"""

import os
import time
from pathlib import Path

import pytest

from benchmarks.method.study import ROOT
from benchmarks.speed import billion
from benchmarks.speed.options import Options
from benchmarks.speed.processes import Finished, peak_mib, run_process
from configs import InputError, load_experiment
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import transform_outputs

STAGES = (
    "simulate",
    "preprocess",
    "pretrain_until_killed",
    "resume",
    "finetune",
    "export",
    "serve",
)


def test_the_configuration_has_a_billion_weights() -> None:
    experiment = load_experiment(ROOT / "configs" / "billion.yaml")
    vocabularies: dict[str, tuple[str, ...]] = {
        name: () for name, spec in experiment.features.items() if spec.kind == "categorical"
    }
    outputs = transform_outputs(
        experiment, Fitted(Fitted.settings_of(experiment), vocabularies, {"rating": (0.0, 1.0)}, {})
    )
    rows = {output.table: output.size for output in outputs.values() if output.kind != "number"}
    assert sum(rows.values()) * experiment.backbone.embedding_dimension >= 1_000_000_000
    assert rows["user_shop"] == 60_000_001


def test_it_runs_every_stage_and_leaves_no_weights(tmp_path: Path) -> None:
    (tmp_path / "former").mkdir()
    figures = billion.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    for stage in STAGES:
        assert float(figures[f"{stage}_seconds"]) > 0
        assert (
            float(figures[f"{stage}_peak_mib"]) > 50
        )  # a Python process with NumPy holds that much
    assert figures["resumed_after_step"] == 4
    crosses = (20_001 + 1_001) * 16
    assert crosses < int(figures["parameters"]) < 2 * crosses
    assert float(figures["weights_mib"]) == pytest.approx(4 * int(figures["parameters"]) / 2**20)
    assert 1.0 <= float(figures["model_to_weights_ratio"]) < 1.5
    # The graph, and the two indices of the checkpoint, are as large as these small tables are.
    assert 1.0 <= float(figures["export_to_weights_ratio"]) < 2.1
    assert float(figures["checkpoint_mib"]) > float(figures["weights_mib"])
    left = {path.name for path in tmp_path.iterdir()}
    assert {"simulate.log", "resume.log", "data"} <= left
    assert not {"job", "models", "former"} & left


def test_a_process_is_timed_and_its_output_kept(tmp_path: Path) -> None:
    finished = run_process(
        ["timeit", "-n", "1", "-r", "1", "import time; time.sleep(0.2)"], tmp_path / "log"
    )
    assert finished.seconds > 0.2
    assert 0 < finished.peak_mib < 1_000
    assert "loop" in finished.log
    assert 0 < finished.cpu_seconds < finished.seconds  # none while it sleeps
    assert Finished(2.0, 4.0, 3.0, "").figures("a") == {
        "a_seconds": 2.0,
        "a_cpu_seconds": 4.0,
        "a_peak_mib": 3.0,
    }


def test_a_process_is_killed_when_asked(tmp_path: Path) -> None:
    begin = time.perf_counter()
    endless = ["timeit", "-n", "1", "import time; time.sleep(60)"]
    finished = run_process(
        endless, tmp_path / "log", kill_when=lambda: time.perf_counter() > begin + 0.3
    )
    assert "loop" not in finished.log


def test_a_command_that_fails_or_ends_too_early_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"timeit -n: exit code \d+; .*log ends with: ") as error:
        run_process(["timeit", "-n", "none"], tmp_path / "log")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="ended before it was to be killed"):
        run_process(["timeit", "-n", "1", "-r", "1", "0"], tmp_path / "log", lambda: False)


def test_peaks_are_of_the_process() -> None:
    assert peak_mib(os.getpid()) > 10
    assert peak_mib(2**22 + 1) == 0.0  # no such process


def test_pre_training_that_began_anew_is_told() -> None:
    assert billion._resumed_after("a\rresuming after step 25\nb") == 25
    with pytest.raises(InputError, match="began anew"):
        billion._resumed_after("pretrain 1/1")
