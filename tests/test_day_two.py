"""The second day of a finished job: domains that its backbone has never heard of, and logs of new
days alone. Nothing of pre-training is read again, and no other score moves.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import shutil
from pathlib import Path

import pytest

from benchmarks.reliability.hot_add import Answers
from configs import Experiment, load_experiment
from configs.domain_definitions import definition_of
from configs.domain_names import AUTO, BACKBONE
from configs.domains import Domain
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.task import parse_arguments
from serving.export.version_writer import export
from tests.conftest import QUICKSTART, SMALL
from tests.trainer.conftest import MANIFEST, random_kernel
from trainer.job import Job
from trainer.registry.decision import Decision
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune

LATER = (
    "topics.region.values=[r1, r2, r9, 'New York, NY']",
    "topics.period.hours={lunch: 11-13, dinner: 17-20, night: 22-02}",
    "topics.tier={column: city_tier, values: ['1', '2', '3']}",
    "cross_topics=[[region, scene], [tier, period]]",
)
"""What the first day's config did not have, all on columns that its dataset holds."""

BY_NEW_COLUMNS = (
    *LATER,
    "topics.rated={column: rating, ranges: {low: [null, 4.0], high: [4.0, null]}}",
    "topics.visited={column: history, contains: [s1, s2, s3]}",
)
"""Topics that need columns which only a dataset of this config holds."""


def config(*settings: str) -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, *settings])


def tuned(experiment: Experiment, data: Path, job: Job, *names: str) -> None:
    """Tunes domains, and serves them whether or not they help; one whose kernel was not worth
    storing is served by a made-up one.
    """
    finetune(experiment, data, job, list(names))
    store = KernelStore(job)
    shape = store.load("all", 1).shape
    for name in names:
        if not store.versions(name):
            what = definition_of(Domain.parse(name, experiment.topics), experiment.topics)
            record = MANIFEST | {"shape": shape.to_json(), "definition": what}
            store.add(name, random_kernel(shape, 1), record)
        store.activate(name, store.versions(name)[-1])


def not_worth_storing(experiment: Experiment, job: Job, name: str) -> None:
    """Decides a domain as a run does whose kernel never left its start."""
    why = {"outcome": "keep", "reason": "no better than tier=2", "against": "tier=2"}
    definition = definition_of(Domain.parse(name, experiment.topics), experiment.topics)
    store = KernelStore(job)
    store.decide({name: Decision.model_validate(why | {"definition": definition})}, store.active())


def unchanged(before: Answers, after: Answers, domains: list[str]) -> bool:
    return all(before.scores(domain) == after.scores(domain) for domain in domains) and (
        before.side_by_side(domains) == after.side_by_side(domains)
    )


@pytest.fixture
def models(models_dir: Path, tmp_path: Path) -> Path:
    return shutil.copytree(models_dir, tmp_path / "models")


def test_domains_are_added_to_a_finished_job(
    dataset_dir: Path, job_copy: Path, models: Path, tmp_path: Path
) -> None:
    job = Job(job_copy)
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    shutil.rmtree(data / "pretrain")  # whoever reads it fails
    first = [*KernelStore(job).active(), BACKBONE]
    before = Answers(models / "1", job)
    added, unstored = ["tier=2", "period=night", "tier=1,period=lunch"], "tier=2,period=dinner"
    tuned(config(*LATER), data, job, *added)
    not_worth_storing(config(*LATER), job, unstored)
    after = Answers(export(job, models), job)
    assert unchanged(before, after, first)
    assert [after.served(domain) for domain in added] == [{domain} for domain in added]
    assert after.served("period=lunch,tier=1") == {"tier=1,period=lunch"}
    assert after.served(AUTO) & set(added)
    assert after.served(unstored) <= {"tier=2", "period=dinner"}
    served = set(KernelStore(job).active())
    assert after.served("tier=1") == {"all" if "all" in served else BACKBONE}
    nobodys = 'region="New York, NY"'  # of the config, but no kernel of a run defines it
    assert after.served(nobodys) == after.served(AUTO)


def test_logs_of_new_days_alone_will_do(
    experiment: Experiment, logs: Path, job_copy: Path, models: Path, tmp_path: Path
) -> None:
    job, later = Job(job_copy), config(*BY_NEW_COLUMNS)
    new = tmp_path / "logs"
    new.mkdir()
    start = f"{experiment.splits['finetune'].start:%Y-%m-%d}"
    for path in sorted(logs.glob("*.parquet")):
        if path.stem[-10:] >= start:
            shutil.copy(path, new)
    _, flags = parse_arguments(["--config", str(QUICKSTART), "--output", "-"])
    data = tmp_path / "data"
    manifest = DatasetJob(later, str(new), str(data), tuple(flags), transform=str(job.folder)).run()
    assert manifest.splits["pretrain"].rows == 0
    assert manifest.transform_digest == job.fitted().digest
    first = [*KernelStore(job).active(), BACKBONE]
    before = Answers(models / "1", job)
    added = ["rated=low", "visited=s1", "tier=3"]
    tuned(later, data, job, *added)
    after = Answers(export(job, models), job)
    assert unchanged(before, after, first)
    assert [after.served(domain) for domain in added] == [{domain} for domain in added]
