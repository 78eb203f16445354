"""Shards that know nothing of each other leave, once gathered, what one run of fine-tuning leaves,
byte for byte; and what does not belong together is refused.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from configs import Experiment, InputError
from tests.trainer.conftest import change_json, one_line, variant
from trainer.fleet import folders
from trainer.fleet.folders import Fleet
from trainer.fleet.gather import gather
from trainer.fleet.plan import Shard
from trainer.fleet.shard import finetune_shard
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune

HOME, EMPTY = "scene=home", "region=r9"
OF = 3


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, less locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def without_kernels(job: Path, folder: Path) -> Job:
    """A copy of a job that has its backbone alone."""
    shutil.copytree(job / "backbone", folder / "backbone")
    return Job(folder)


@pytest.fixture(scope="module")
def sharded(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Job:
    """A job whose shards have all been trained, the last first, and none been gathered."""
    job = without_kernels(job_dir, tmp_path_factory.mktemp("sharded") / "job")
    for number in (3, 1, 2):
        said = finetune_shard(experiment, dataset_dir, job, [], Shard(number, OF))
        assert said.startswith(f"shard {number}/{OF}: ")
        assert said.endswith(" trained")
    assert not job.kernels.exists()
    return job


@pytest.fixture
def shards(sharded: Job, tmp_path: Path) -> Job:
    """A copy of it, to change."""
    return Job(shutil.copytree(sharded.folder, tmp_path / "job"))


def test_gathered_shards_are_one_run_byte_for_byte_and_gathered_twice_the_same(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, shards: Job
) -> None:
    outcomes = gather(experiment, dataset_dir, shards)
    assert [outcome.domain for outcome in outcomes] == [d.name for d in experiment.domains]
    expected = contents(Job(job_dir).kernels)
    assert any(name.endswith("weights.npz") for name in expected)
    assert contents(shards.kernels) == expected
    again = gather(experiment, dataset_dir, shards)
    assert [one.decision for one in again] == [one.decision for one in outcomes]
    assert contents(shards.kernels) == expected


def test_each_domain_with_rows_is_in_one_shard(experiment: Experiment, sharded: Job) -> None:
    plan = Fleet(sharded).plan()
    assert plan
    given = [name for share in plan.shares for name in share]
    assert len(set(given)) == len(given)
    assert set(given) == {
        d.name for d in experiment.domains if d.conditions and EMPTY not in d.name
    }
    assert [record.domain for record in plan.trained] == ["all"]


def test_an_interrupted_shard_leaves_nothing_and_is_the_same_again(
    experiment: Experiment, dataset_dir: Path, shards: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, second = Fleet(shards), Shard(2, OF)
    expected = contents(shards.fleet)
    shutil.rmtree(fleet.shard(second))
    before = contents(shards.fleet)
    with monkeypatch.context() as patch:
        patch.setattr(folders, "sha256_of", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune_shard(experiment, dataset_dir, shards, [], second)
    assert contents(shards.fleet) == before
    with pytest.raises(InputError) as error:
        gather(experiment, dataset_dir, shards)
    assert f"missing shards 2/3 of {OF}; run" in one_line(error)
    finetune_shard(experiment, dataset_dir, shards, [], second)
    assert contents(shards.fleet) == expected


def test_a_shard_that_is_there_is_not_trained_again(
    experiment: Experiment, dataset_dir: Path, shards: Job
) -> None:
    def moments() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in shards.fleet.rglob("*.npz")}

    before = moments()
    said = finetune_shard(experiment, dataset_dir, shards, [], Shard(1, OF))
    assert said.endswith(" there already")
    assert moments() == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("config", "another config than"),
        ("shards", "another number of shards than"),
        ("domains", "another list of --domains than"),
        ("dataset", "another dataset than"),
        ("backbone", "another backbone than"),
    ],
)
def test_a_shard_of_something_else_is_refused_until_these_are_gathered(
    change: str, expected: str, experiment: Experiment, dataset_dir: Path, shards: Job
) -> None:
    other, names, of = experiment, [], OF
    if change == "config":
        other = variant("finetune.beta=0.5")
    elif change == "shards":
        of = OF + 1
    elif change == "domains":
        names = ["all", HOME]
    else:
        key = {"dataset": "rows", "backbone": "backbone"}[change]
        value: Any = {"finetune": "0"} if change == "dataset" else "0" * 64
        change_json(
            Fleet(shards).base / "plan.json", lambda plan: plan["asked"].update({key: value})
        )
    before = contents(shards.fleet)
    commands = [lambda: finetune_shard(other, dataset_dir, shards, names, Shard(1, of))]
    if change in ("config", "dataset", "backbone"):
        commands.append(lambda: str(gather(other, dataset_dir, shards)))
    for command in commands:
        with pytest.raises(InputError) as error:
            command()
        assert expected in one_line(error)
    assert contents(shards.fleet) == before
    assert not shards.kernels.exists()


def test_a_gathered_plan_gives_way_to_another(
    experiment: Experiment, dataset_dir: Path, shards: Job
) -> None:
    gather(experiment, dataset_dir, shards)
    said = finetune_shard(experiment, dataset_dir, shards, [HOME], Shard(2, 2))
    assert said == "shard 2/2: no domain of 1 for 2 shards, so nothing trained"
    plan = Fleet(shards).plan()
    assert plan
    assert plan.shares == ((HOME,), ())
    assert sorted(path.name for path in shards.fleet.iterdir() if path.name[0] != ".") == [
        "base",
        "shard-2-of-2",
    ]
    # tuned without the others it is the same kernel, so it is no new version
    before = contents(shards.kernels)
    finetune_shard(experiment, dataset_dir, shards, [HOME], Shard(1, 2))
    (outcome,) = gather(experiment, dataset_dir, shards)
    assert outcome.decision
    assert outcome.decision.version == 1
    after = contents(shards.kernels)
    assert {name for name in before if "weights" in name} == {n for n in after if "weights" in n}


def test_what_is_damaged_or_of_another_plan_is_named_and_trained_anew(
    experiment: Experiment, dataset_dir: Path, shards: Job
) -> None:
    fleet, first = Fleet(shards), Shard(1, OF)
    folder, expected = fleet.shard(first), contents(shards.fleet)
    kernels = folder / "kernels.npz"
    kernels.write_bytes(kernels.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError) as error:
        gather(experiment, dataset_dir, shards)
    assert f"{kernels}: damaged" in one_line(error)
    finetune_shard(experiment, dataset_dir, shards, [], first)
    assert contents(shards.fleet) == expected
    change_json(folder / "shard.json", lambda record: record.update(plan="0" * 64))
    with pytest.raises(InputError) as error:
        gather(experiment, dataset_dir, shards)
    assert "which had another config, dataset or backbone" in one_line(error)
    taps = fleet.base / "validation" / "taps.npy"
    taps.write_bytes(taps.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError) as error:
        finetune_shard(experiment, dataset_dir, shards, [], first)
    assert f"{taps}: damaged" in one_line(error)


def test_nothing_to_gather_is_said(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    with pytest.raises(InputError) as error:
        gather(experiment, dataset_dir, Job(job_copy))
    assert "no shards to gather; run python -m trainer.task finetune --shard 1/N" in one_line(error)


def test_pinned_domains_are_left_alone(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    job = Job(job_copy)
    store = KernelStore(job)
    store.pin(HOME)
    active = store.active().get(HOME)
    finetune_shard(experiment, dataset_dir, job, [HOME, "scene=search"], Shard(1, 1))
    plan = Fleet(job).plan()
    assert plan
    assert plan.shares == (("scene=search",),)
    search, home = gather(experiment, dataset_dir, job)
    assert (search.domain, home.domain) == ("scene=search", HOME)
    assert home.note.startswith("pinned: ")
    assert store.active().get(HOME) == active


def test_a_pin_after_the_plan_holds_and_nobody_is_judged_beside_what_is_not_served(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    job = Job(job_copy)
    store, names = KernelStore(job), ["all", HOME]
    finetune_shard(experiment, dataset_dir, job, names, Shard(1, 1))
    store.deactivate("all")
    store.pin("all")
    home, everyone = gather(experiment, dataset_dir, job)
    assert (home.domain, everyone.domain) == (HOME, "all")
    assert everyone.note.startswith("pinned: ")
    assert "all" not in store.active()
    assert "better than all" not in home.note


def test_a_base_without_its_plan_is_to_be_deleted(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    fleet = Fleet(Job(job_copy))
    fleet.base.mkdir(parents=True)
    for command in (finetune_shard, gather):
        more: Any = ([], Shard(1, 1)) if command is finetune_shard else ()
        with pytest.raises(InputError) as error:
            command(experiment, dataset_dir, Job(job_copy), *more)
        assert f"delete {fleet.folder}, and run all shards again" in one_line(error)


def test_kernels_that_remember_are_the_same_and_their_memory_is_written_once(
    memory_experiment: Experiment, dataset_dir: Path, memory_job: Path, tmp_path: Path
) -> None:
    names = [HOME, "scene=search", "region=r1"]
    job = without_kernels(memory_job, tmp_path / "job")
    for number in (2, 1):
        finetune_shard(memory_experiment, dataset_dir, job, names, Shard(number, 2))
        assert not job.memory.exists()
    gather(memory_experiment, dataset_dir, job)
    assert contents(job.kernels) == contents(Job(memory_job).kernels)
    assert contents(job.memory) == contents(Job(memory_job).memory)


def test_families_that_start_from_each_other_are_as_in_one_run(
    dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """A cross starts from its first topic's kernel, which the same shard trains."""
    hierarchy = variant("finetune.warm_start=parent")
    one, many = (without_kernels(job_dir, tmp_path / name) for name in ("one", "many"))
    finetune(hierarchy, dataset_dir, one, [])
    for number in (1, 2):
        finetune_shard(hierarchy, dataset_dir, many, [], Shard(number, 2))
    gather(hierarchy, dataset_dir, many)
    assert contents(many.kernels) == contents(one.kernels)
