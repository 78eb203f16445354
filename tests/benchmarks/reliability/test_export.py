"""The reliability sections of the export: what their figures say of small versions; no time and
no memory is asserted.
"""

import math
from pathlib import Path

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import pytest

from benchmarks.reliability import hot_add, thousand_domains
from benchmarks.speed.options import Options
from benchmarks.speed.processes import Finished
from benchmarks.speed.serving import activate
from configs import Experiment
from serving.export.version_writer import export
from tests.serving.jobs import kernel_shape, loud_job, made_up
from trainer.job import Job

DOMAINS = 20


class MadeUp:
    """In the place of a trained backbone."""

    def __init__(self, experiment: Experiment, logs: str | None, folder: Path) -> None:
        self.experiment = experiment
        self.job = loud_job(folder / "job", experiment, made_up(experiment))


def exported_here(words: list[str], log: Path) -> Finished:
    module, _, job, _, models = words
    assert module == "serving.export"
    export(Job(Path(job)), Path(models))
    return Finished(1.0, 1.0, 1.0, "")


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    for section in (hot_add, thousand_domains):
        monkeypatch.setattr(section, "Bench", MadeUp)
    monkeypatch.setattr(hot_add, "run_process", exported_here)
    monkeypatch.setattr(thousand_domains, "_loaded", thousand_domains._load)
    monkeypatch.setattr(thousand_domains, "_REPEATS", 1)
    return Options(tmp_path, tmp_path, quick=True)


def test_an_added_domain_changes_no_other(options: Options) -> None:
    figures = hot_add.measure(options)
    assert figures["domains"] == DOMAINS
    assert {name: value for name, value in figures.items() if name.endswith("_changed")} == {
        "other_domains_changed": 0,
        "other_columns_of_all_domains_changed": 0,
        "graph_and_backbone_files_changed": 0,
    }
    assert 0 < float(figures["re_export_written_mib"]) < 2


def test_a_version_that_changes_others_is_counted(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second version lacks a kernel that the first one had."""

    def fewer(job: Job, domains: list[str]) -> None:
        activate(job, domains if len(domains) == DOMAINS else domains[1:])

    monkeypatch.setattr(hot_add, "activate", fewer)
    figures = hot_add.measure(options)
    assert figures["other_domains_changed"] == 1
    assert figures["other_columns_of_all_domains_changed"] == 1
    assert figures["graph_and_backbone_files_changed"] == 0


def test_kernels_take_the_bytes_of_their_slots(options: Options) -> None:
    figures = thousand_domains.measure(options)
    assert figures["domains"] == 40
    assert figures["slots"] == 64
    assert float(figures["kernels_on_disk_mib"]) == pytest.approx(
        float(figures["kernels_on_paper_mib"]), rel=0.02
    )
    shape = kernel_shape(Job(options.folder / "bank"))
    assert float(figures["kernel_kib"]) == pytest.approx(
        4 * sum(map(math.prod, shape.variables().values())) / 1024
    )
