"""A dataset, a job and a model that version 0.1.0 wrote: everything after it can use them.

``former/job-0.1.0.tar.gz`` holds them as the commands left them, from 3,000 simulated rows: kernels
of ``all``, both scenes, both regions and lunch, three of them active, exported as version 1.
"""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest

from serving.export.version_writer import export
from serving.server.servable import Servable
from tests.serving.export.test_golden_cases import cases, worst
from tests.tasks import RANKING
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.overview import overview, overview_json
from trainer.registry.verify import verify
from trainer.reports.html_report import write_report
from trainer.training.finetune import finetune

ARCHIVE = Path(__file__).parent / "former" / "job-0.1.0.tar.gz"
ACTIVE = {"all": 1, "region=r2": 1, "scene=home": 1}


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def shared(figures: Any, keys: Any) -> Any:
    """The part of a nested result whose keys the other has, too."""
    if not isinstance(figures, dict):
        return figures
    return {name: shared(figures[name], value) for name, value in keys.items()}


def numbers(figures: Any) -> list[float]:
    """All numbers of a nested result, in the order of its keys."""
    if isinstance(figures, dict):
        return [number for _, value in sorted(figures.items()) for number in numbers(value)]
    if isinstance(figures, list):
        return [number for value in figures for number in numbers(value)]
    return [float(figures)] if isinstance(figures, int | float) else []


def test_its_kernels_are_sound(former: Path) -> None:
    job = Job(former / "job")
    assert KernelStore(job).active() == ACTIVE
    verdicts = verify(job)
    assert len(verdicts) == 6
    assert all(verdict.sound for verdict in verdicts), verdicts


def test_its_kernels_are_listed_and_pinned(former: Path, tmp_path: Path) -> None:
    """It has neither pins nor decisions."""
    store = KernelStore(Job(shutil.copytree(former / "job", tmp_path / "job")))
    assert (store.pinned(), store.decisions()) == (set(), {})
    lines = overview_json(overview(store), RANKING)
    assert {line["domain"]: line["active"] for line in lines if line["active"]} == ACTIVE
    assert all(line["reason"] and line["decision"] is None for line in lines)
    store.pin("all")
    assert store.pinned() == {"all"}
    assert store.active() == ACTIVE


def test_its_evaluation_is_repeated_and_reported(former: Path, tmp_path: Path) -> None:
    job = Job(shutil.copytree(former / "job", tmp_path / "job"))
    write_report(job.folder)  # from the figures as they were written
    stored = json.loads((job.reports / "metrics.json").read_text())
    experiment = job.experiment()
    every = {"evaluation": experiment.evaluation.model_copy(update={"minimum_positives": 0})}
    evaluate(experiment.model_copy(update=every), former / "data", job)
    again = json.loads((job.reports / "metrics.json").read_text())
    assert again.keys() >= stored.keys()
    del stored["oracle"]  # the archive holds no true probabilities
    for part in stored:
        if part == "domains":
            assert stored[part].keys() == again[part].keys()
            for name, domain in stored[part].items():
                for task in ("ctr", "cvr", "ctcvr"):
                    for metric, cell in domain[task].items():
                        same = {key: again[part][name][task][metric][key] for key in cell}
                        same.pop("ci95"), cell.pop("ci95")  # other draws of users
                        np.testing.assert_allclose(numbers(same), numbers(cell), atol=1e-6)
        else:
            same = shared(again[part], stored[part])
            np.testing.assert_allclose(numbers(same), numbers(stored[part]), atol=1e-6)


def test_its_kernels_can_be_tuned_again(former: Path, tmp_path: Path) -> None:
    job = Job(shutil.copytree(former / "job", tmp_path / "job"))
    finetune(job.experiment(), former / "data", job, ["region=r1"])
    assert KernelStore(job).versions("region=r1")[-1] in (1, 2)
    assert all(verdict.sound for verdict in verify(job))


def test_its_model_answers_as_it_did(former: Path) -> None:
    servable = Servable(1, former / "models" / "1")
    for case in cases(former / "models" / "1"):
        assert worst(servable, case) <= 1e-5, (case["signature"], case["domain"])
    servable.close()


def test_the_next_version_stands_beside_it_and_scores_the_same(
    former: Path, tmp_path: Path
) -> None:
    """The code is another, so everything is written anew; the scores are those of version 1."""
    models = shutil.copytree(former / "models", tmp_path / "models")
    version = export(Job(former / "job"), models)
    assert version.name == "2"
    servable = Servable(2, version)
    expected = {
        (case["signature"], case["domain"]): case for case in cases(former / "models" / "1")
    }
    for case in cases(version):
        assert worst(servable, case) <= 1e-5, (case["signature"], case["domain"])
        former_case = expected.get((case["signature"], case["domain"]))
        if former_case is not None and case["domain"] in ACTIVE:
            same = shared(case["expected"], former_case["expected"])  # and the score, which is new
            np.testing.assert_allclose(numbers(same), numbers(former_case["expected"]), atol=1e-6)
    servable.close()
