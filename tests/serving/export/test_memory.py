"""Kernels that remember, served: the exported graph against the trainer's own path, a refresh that
changes nothing else of a version, and keys that were never seen.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from configs import Experiment, load_experiment
from configs.memory import Memory
from preprocessing.logs.schema import ARROW_TYPES, raw_columns, served_columns
from serving.export.export_manifest import Record
from serving.export.reference_scores import stored_scores
from serving.export.version_writer import export
from serving.server.servable_loader import load
from tests.conftest import MEMORY, QUICKSTART, SMALL
from tests.serving import jobs
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.memory.counts import Counts, KeyCounts
from trainer.memory.memory_store import MemoryStore
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes

ACTIVE = ("all", "scene=home", "region=r1,scene=home")
TASKS = ("ctr", "cvr", "ctcvr")
ROWS = 40


@pytest.fixture(scope="module")
def settings() -> Experiment:
    return load_experiment(QUICKSTART, [*SMALL, MEMORY])


@pytest.fixture(scope="module")
def memory(settings: Experiment) -> Memory:
    assert settings.memory is not None
    return settings.memory


@pytest.fixture(scope="module")
def loud(
    experiment: Experiment, settings: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> Job:
    """A backbone that knows nothing of memory, and loud kernels that read it."""
    fitted = jobs.made_up(experiment)
    job = jobs.loud_job(tmp_path_factory.mktemp("loud"), experiment, fitted)
    width = read_tap(load_frozen(job, experiment).output, experiment.kernel.tap).shape[-1]
    shape = KernelShape.of(experiment.kernel, width, settings.memory)
    for seed, domain in enumerate(ACTIVE):
        jobs.add_kernel(KernelStore(job), domain, shape, seed)
    return job


@pytest.fixture(scope="module")
def rows(loud: Job) -> pa.RecordBatch:
    """Rows of known, unknown and missing values in every column of a request."""
    routed = job_routes(KernelStore(loud), loud.experiment())
    random = np.random.default_rng(5)
    drawn = {}
    for column in raw_columns(routed).values():
        kind = column.kind
        if kind == "timestamp":
            values = random.integers(1_741_000_000, 1_742_000_000, ROWS).tolist()
        elif kind in ("number", "label", "weight"):
            values = random.gamma(2.0, 2.0, ROWS).tolist()
        elif kind == "strings":
            values = [[f"shop_id{n}" for n in random.integers(0, 9, 3)] for _ in range(ROWS)]
        else:
            known = {"scene": ["home", "search"], "region": ["r1", "r2"]}.get(
                column.name, [f"{column.name}{index}" for index in range(6)]
            )
            values = random.choice(np.array([*known, None], object), ROWS).tolist()
        drawn[column.name] = pa.array(values, ARROW_TYPES[kind])
    return pa.record_batch(drawn)


def counts_of(memory: Memory, rows: pa.RecordBatch, border: int, share: float) -> Counts:
    """Loud counts of a share of the keys that rows have."""
    from preprocessing.features.key_hashes import keys_of_batch

    random = np.random.default_rng(border)
    keys = {}
    for name, hashes in keys_of_batch(memory, rows).items():
        known = np.unique(hashes[hashes != 0])
        kept = np.sort(random.choice(known, int(len(known) * share), replace=False))
        seen = random.uniform(1.0, 300.0, (len(kept), 1))
        clicks = seen * random.uniform(0.0, 1.0, (len(kept), 1))
        orders = clicks * random.uniform(0.0, 1.0, (len(kept), 1))
        sums = np.concatenate([seen, clicks, clicks, orders], axis=1)
        keys[name.removeprefix("memory/")] = KeyCounts(kept, sums)
    return Counts(border, np.array([900.0, 200.0, 200.0, 50.0]), keys)


@pytest.fixture(scope="module")
def versions(
    loud: Job, memory: Memory, rows: pa.RecordBatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Two versions of a model: of few keys, and after a refresh with more."""
    models, store = tmp_path_factory.mktemp("models"), MemoryStore(loud)
    store.add(memory, counts_of(memory, rows, 100, 0.4))
    first = export(loud, models)
    store.add(memory, counts_of(memory, rows, 101, 0.9))
    return first, export(loud, models)


Asked = Callable[..., dict[str, np.ndarray]]


def asked(version: Path, job: Job, rows: pa.RecordBatch) -> Asked:
    """A version's ``serving_default`` in TensorFlow, of these rows under a domain."""
    module = tf.saved_model.load(str(version))
    routed = job_routes(KernelStore(job), job.experiment())
    inputs = {column.name: _tensor(rows, column.name) for column in served_columns(routed)}

    def ask(domain: str) -> dict[str, np.ndarray]:
        given = inputs | {"domain": tf.constant([domain] * rows.num_rows)}
        found = module.signatures["serving_default"](**given)
        return {name: tensor.numpy() for name, tensor in found.items()}

    ask.module, ask.inputs = module, inputs  # type: ignore[attr-defined]
    return ask


def _tensor(rows: pa.RecordBatch, name: str) -> tf.Tensor:
    column = rows.column(name)
    if pa.types.is_list(column.type):
        return tf.constant([value or [] for value in column.to_pylist()], tf.string)
    if pa.types.is_string(column.type):
        return tf.constant([value or "" for value in column.to_pylist()])
    return tf.constant(np.array(column.fill_null(np.nan) if column.null_count else column))


@pytest.mark.parametrize("domain", ["all", "scene=home", "auto", "backbone", "nobody"])
def test_served_is_what_the_trainer_computes(
    versions: tuple[Path, Path], loud: Job, rows: pa.RecordBatch, domain: str
) -> None:
    routed = job_routes(KernelStore(loud), loud.experiment())
    expected, served = stored_scores(loud, routed, rows).scores_for(domain)
    found = asked(versions[1], loud, rows)(domain)
    assert [name.decode() for name in found["served_domain"]] == served
    for task in TASKS:
        np.testing.assert_allclose(found[task], expected[task], rtol=0, atol=1e-6)


def test_a_refresh_changes_what_kernels_say_and_nothing_else(
    versions: tuple[Path, Path], loud: Job, rows: pa.RecordBatch
) -> None:
    first, second = (asked(version, loud, rows) for version in versions)
    np.testing.assert_array_equal(first("backbone")["ctr"], second("backbone")["ctr"])
    assert np.mean(first("all")["ctr"] != second("all")["ctr"]) > 0.5
    old, new = versions
    files = [path.relative_to(old) for path in old.rglob("*") if path.is_file()]
    there = [name for name in files if (new / name).exists()]
    names = {name.name for name in there if (old / name).samefile(new / name)}
    assert {"saved_model.pb", "variables.data-00000-of-00002", "backbone.index"} <= names
    assert "variables.data-00001-of-00002" not in names
    one, other = (Record.load(version) for version in versions)
    assert one.memory is not None
    assert other.memory is not None
    assert (one.memory.version, other.memory.version) == (1, 2)
    assert one.kernels == other.kernels
    assert all(other.memory.keys[name] > count for name, count in one.memory.keys.items())


def test_every_signature_remembers(
    versions: tuple[Path, Path], loud: Job, rows: pa.RecordBatch
) -> None:
    ask = asked(versions[1], loud, rows)
    by_row = ask("auto")
    inputs, module = ask.inputs, ask.module  # type: ignore[attr-defined]
    side_by_side = module.signatures["all_domains"](**inputs)
    names = [name.decode() for name in side_by_side["domains"].numpy()]
    of_all = side_by_side["ctr"].numpy()[:, names.index("all")]
    np.testing.assert_allclose(of_all, ask("all")["ctr"], rtol=0, atol=1e-6)
    sides = {column.name: column.side for column in served_columns(loud.experiment())}
    row = 3
    shared = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
    ranked = {
        name: inputs[name] if side == "item" else shared[name] for name, side in sides.items()
    }
    answer = module.signatures["rank"](**ranked, domain=tf.constant(["all"]))
    repeated = {
        name: inputs[name] if side == "item" else tf.repeat(shared[name], ROWS, axis=0)
        for name, side in sides.items()
    }
    domain = tf.constant(["all"] * ROWS)
    written_out = module.signatures["serving_default"](**repeated, domain=domain)
    np.testing.assert_array_equal(answer["ctr"].numpy(), written_out["ctr"].numpy())
    assert len(np.unique(answer["ctr"].numpy())) > 1
    assert by_row["ctr"].shape == (ROWS,)


def test_a_key_that_was_never_seen_is_the_prior(
    versions: tuple[Path, Path], loud: Job, rows: pa.RecordBatch, memory: Memory
) -> None:
    """Keys that nobody has answer alike: as if nothing were remembered of anybody."""
    ask = asked(versions[1], loud, rows)
    inputs, module = ask.inputs, ask.module  # type: ignore[attr-defined]
    domain = tf.constant(["all"] * ROWS)
    # a value that no vocabulary knows either way, so that the backbone says the same of both
    answers = [
        module.signatures["serving_default"](
            **(
                inputs | {name: tf.fill([ROWS], text) for name in memory.columns if name != "scene"}
            ),
            domain=domain,
        )["ctr"].numpy()
        for text in ("never seen", "nor this")
    ]
    np.testing.assert_array_equal(*answers)


def test_a_server_takes_it_and_checks_its_golden_scores(
    versions: tuple[Path, Path],
) -> None:
    golden = json.loads((versions[1] / "assets.extra" / "golden.json").read_text())
    assert {case["domain"] for case in golden["cases"]} >= {"all", "auto"}
    for version in versions:
        load(int(version.name), version).close()


def test_golden_scores_are_those_of_the_memory_that_is_served(
    versions: tuple[Path, Path],
) -> None:
    def scores(version: Path) -> list[float]:
        golden = json.loads((version / "assets.extra" / "golden.json").read_text())
        case = next(case for case in golden["cases"] if case["domain"] == "all")
        return list(case["expected"]["ctr"])

    first, second = map(scores, versions)
    assert first != second


def test_kernels_without_their_memory_are_not_exported(
    loud: Job, versions: tuple[Path, Path], tmp_path: Path
) -> None:
    from configs import InputError

    job = Job(shutil.copytree(loud.folder, tmp_path / "job"))
    shutil.rmtree(job.memory)
    with pytest.raises(InputError, match="no memory of the active kernels"):
        export(job, tmp_path / "models")
    for domain in ACTIVE:
        KernelStore(job).deactivate(domain)
    assert Record.load(export(job, tmp_path / "models")).memory is None
