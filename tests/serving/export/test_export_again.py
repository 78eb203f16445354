"""A version with another kernel: what it shares with the version before, what it changes, and
when everything is written anew.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from configs.digests.sealed_json import sealed
from configs.files import write_json
from serving.export import export_manifest as recording
from serving.export import version_writer as exporting
from serving.export.export_manifest import EXTRA, Record
from serving.export.golden_cases import FILE as GOLDEN
from serving.export.kernel_slots import head_room
from serving.export.sharded_checkpoint import (
    BACKBONE_DATA,
    BACKBONE_INDEX,
    INDEX,
    KERNEL_DATA,
    PREFIX,
)
from serving.export.version_writer import export
from serving.server.servable import Servable
from serving.wire.row_codec import decode_rows, encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE
from tests.serving.jobs import add_kernel, kernel_shape, loud_job, made_up
from tests.tasks import TARGETS
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

ALWAYS = ("all", "scene=home", "region=r1,scene=home")
ADDED = (  # between the others in the order of `auto`, so that it takes the slot of another domain
    "region=r2,scene=home"
)
CHANGED = {KERNEL_DATA, INDEX, f"{EXTRA}/{GOLDEN}", f"{EXTRA}/export.json"}


def activate(job: Job, *domains: str) -> None:
    store = KernelStore(job)
    for domain in store.active():
        store.deactivate(domain)
    for domain in domains:
        store.activate(domain, 1)


def files(version: Path) -> dict[str, str]:
    return {
        path.relative_to(version).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in version.rglob("*")
        if path.is_file()
    }


@cache
def loaded(version: Path) -> Servable:
    """By the loader that TensorFlow Serving uses; versions never change."""
    return Servable(int(version.name), version)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    loaded.cache_clear()


def scores(version: Path, job: Job, domain: str) -> list[dict[str, Any]]:
    """Answers for the golden requests."""
    servable, rows = loaded(version), job.golden_requests()
    signature = servable.signatures[DEFAULT_SIGNATURE]
    return decode_rows(
        signature,
        servable.predict(DEFAULT_SIGNATURE, encode_rows(signature, rows, domain)),
        len(rows),
    )


def tensors(version: Path) -> dict[str, np.ndarray]:
    stored = tf.train.load_checkpoint(str(version / PREFIX))
    return {name: stored.get_tensor(name) for name in stored.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def job(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Kernels that are far apart."""
    job = loud_job(tmp_path_factory.mktemp("again"), experiment, made_up(experiment))
    shape = kernel_shape(job)
    for seed, domain in enumerate((*ALWAYS, ADDED)):
        add_kernel(KernelStore(job), domain, shape, seed)
    return job


@pytest.fixture(scope="module")
def models(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 without the added domain, 2 with it, and 3 without it again, each but the first
    built on the one before.
    """
    models = tmp_path_factory.mktemp("models")
    for domains in (ALWAYS, (*ALWAYS, ADDED), ALWAYS):
        activate(job, *domains)
        export(job, models)
    return models


@pytest.fixture
def copied(job: Job, models: Path, tmp_path: Path) -> tuple[Job, Path]:
    """A job and the model of its first version, to change."""
    changed = Job(shutil.copytree(job.folder, tmp_path / "job"))
    activate(changed, *ALWAYS)
    shutil.copytree(models / "1", tmp_path / "models" / "1")
    return changed, tmp_path / "models"


def test_only_the_kernels_and_the_domain_table_differ(models: Path) -> None:
    first, second = files(models / "1"), files(models / "2")
    assert {name for name in first if first[name] != second.get(name)} - {
        "fingerprint.pb"
    } == CHANGED
    assert set(first) - set(second) == {
        "fingerprint.pb"
    }  # TensorFlow's digest of the first version's own checkpoint
    assert {"saved_model.pb", BACKBONE_DATA, "assets/shop_id.txt"} < set(second) - CHANGED
    for name in (BACKBONE_DATA, BACKBONE_INDEX):
        assert (models / "1" / name).samefile(models / "2" / name)
    before, after = tensors(models / "1"), tensors(models / "2")
    assert before.keys() == after.keys()
    different = {
        name
        for name in before
        if np.array(before[name]).tobytes() != np.array(after[name]).tobytes()
    }
    assert different
    assert {name.partition("/")[0] for name in different} == {"kernels"}


def test_other_domains_are_answered_bit_for_bit_as_before(job: Job, models: Path) -> None:
    for domain in (*ALWAYS, "backbone"):
        before = scores(models / "1", job, domain)
        assert before == scores(models / "2", job, domain) == scores(models / "3", job, domain)
        assert {answer["served_domain"] for answer in before} == {domain}


def test_the_added_domain_is_served_and_routed_to(job: Job, models: Path) -> None:
    assert {answer["served_domain"] for answer in scores(models / "1", job, ADDED)} == {
        "scene=home"
    }
    asked, automatic, before = (
        scores(models / "2", job, ADDED),
        scores(models / "2", job, "auto"),
        scores(models / "1", job, "auto"),
    )
    assert {answer["served_domain"] for answer in asked} == {ADDED}
    matching = [row["region"] == "r2" and row["scene"] == "home" for row in job.golden_requests()]
    assert any(matching)
    for found, one, other, matches in zip(automatic, asked, before, matching, strict=True):
        expected = one if matches else other
        assert found["served_domain"] == expected["served_domain"]
        # Rows of other slots are in the batch here: what is added up in another order may differ.
        assert [found[task] for task in TARGETS] == pytest.approx(
            [expected[task] for task in TARGETS], abs=1e-6
        )
    assert scores(models / "3", job, "auto") == before


def test_it_answers_as_a_version_that_is_written_anew(
    job: Job, models: Path, tmp_path: Path
) -> None:
    activate(job, *ALWAYS, ADDED)
    anew = export(job, tmp_path, full=True)
    for domain in ("auto", ADDED, "all"):
        assert scores(anew, job, domain) == scores(models / "2", job, domain)
    assert tensors(anew).keys() == tensors(models / "2").keys()
    activate(job, *ALWAYS)


def test_a_version_says_what_it_is_made_of(job: Job, models: Path) -> None:
    for version, domains in ((1, ALWAYS), (2, (*ALWAYS, ADDED)), (3, ALWAYS)):
        record = Record.read(models / str(version))
        assert record is not None
        assert set(record.kernels) == set(domains)
        assert [kernel.slot for kernel in record.kernels.values()] == list(
            range(1, 1 + len(domains))
        )
        assert record.sources["backbone"] == job.fingerprint()["fingerprint"]
        digests = files(models / str(version))
        assert {name: known.sha256 for name, known in record.files.items()} == {
            name: digest for name, digest in digests.items() if name != f"{EXTRA}/export.json"
        }


def test_earlier_versions_may_go(models: Path, job: Job, tmp_path: Path) -> None:
    left = shutil.copytree(models, tmp_path / "models")
    shutil.rmtree(left / "1")
    shutil.rmtree(left / "2")
    assert scores(left / "3", job, "all") == scores(models / "3", job, "all")
    export(job, left)
    assert Record.read(left / "4") is not None


def said(job: Job, models: Path, capsys: pytest.CaptureFixture[str], **settings: Any) -> str:
    capsys.readouterr()
    export(job, models, **settings)
    return capsys.readouterr().err.splitlines()[0]


def test_where_files_cannot_be_linked_they_are_copied(
    copied: tuple[Job, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no links here")

    job, models = copied
    monkeypatch.setattr(os, "link", refuse)
    assert said(job, models, capsys) == "new kernels and domain table; the rest is version 1's"
    assert not (models / "1" / BACKBONE_DATA).samefile(models / "2" / BACKBONE_DATA)
    assert files(models / "1")[BACKBONE_DATA] == files(models / "2")[BACKBONE_DATA]


def why(
    job: Job,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    **settings: Any,
) -> str:
    """The reason that an export gives for writing everything anew, which it is then spared."""

    def stop(*arguments: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(exporting, "_write_all", stop)
    capsys.readouterr()
    with pytest.raises(InterruptedError):
        export(job, models, **settings)
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("full export: ")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def few_slots(path: Path) -> None:
    content = json.loads(path.read_text())
    content["layout"]["slots"] = 4
    path.write_text(json.dumps(sealed(content)))


def flip(path: Path) -> None:
    """A bit, in place of the file, which other versions may share."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("saved_model.pb", damage, "is damaged: saved_model.pb"),
        ("assets/shop_id.txt", Path.unlink, "is damaged: assets/shop_id.txt"),
        ("assets/shop_id.txt", flip, "is damaged: assets/shop_id.txt"),
        (BACKBONE_DATA, flip, f"is damaged: {BACKBONE_DATA}"),
        (BACKBONE_DATA, lambda path: path.write_bytes(b""), f"is damaged: {BACKBONE_DATA}"),
        (f"{EXTRA}/export.json", few_slots, "has 4 slots"),
        (f"{EXTRA}/export.json", Path.unlink, "does not say what it is made of"),
        (
            f"{EXTRA}/export.json",
            lambda path: path.write_text("{}"),
            "does not say what it is made of",
        ),
    ],
)
def test_a_version_that_is_not_what_it_was_is_not_built_on(
    copied: tuple[Job, Path],
    name: str,
    change: Callable[[Path], None],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job, models = copied
    change(models / "1" / name)
    KernelStore(job).activate(ADDED, 1)
    assert why(job, models, monkeypatch, capsys) == f"version 1 {reason}"
    assert [path.name for path in models.iterdir()] == ["1"]


def test_what_is_made_of_something_else_is_not_built_on(
    copied: tuple[Job, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job, models = copied
    assert why(job, models, monkeypatch, capsys, slots=5) == "version 1 has 16 slots"
    assert why(job, models, monkeypatch, capsys, full=True) == "asked for"
    monkeypatch.setattr(recording, "code_digest", lambda: "other")
    assert why(job, models, monkeypatch, capsys) == "version 1 was made of another code"
    settings = job.experiment().model_dump(mode="json")
    write_json(job.backbone / "experiment.json", {**settings, "seed": 99})
    job.golden.write_text(job.golden.read_text().partition("\n")[2])
    assert (
        why(job, models, monkeypatch, capsys)
        == "version 1 was made of another experiment, golden requests, code"
    )


def test_a_version_without_its_backbones_own_index_is_not_built_on(
    copied: tuple[Job, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Older code, which wrote none, left such."""
    job, models = copied
    (models / "1" / BACKBONE_INDEX).unlink()
    record = models / "1" / EXTRA / "export.json"
    content = json.loads(record.read_text())
    del content["files"][BACKBONE_INDEX]
    content["sources"]["code"] = "older"
    record.write_text(json.dumps(sealed(content)))
    assert said(job, models, capsys) == "full export: version 1 was made of another code"
    assert scores(models / "2", job, "all") == scores(models / "1", job, "all")
    assert said(job, models, capsys) == "new kernels and domain table; the rest is version 2's"


def test_kernels_of_another_shape_are_not_put_into_its_slots(
    copied: tuple[Job, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job, models = copied
    store = KernelStore(job)
    shape = store.load("all", 1).shape
    for domain in store.active():
        store.deactivate(domain)
    add_kernel(store, "scene=search", replace(shape, widths=(shape.widths[0], 3, 1)), 4)
    assert why(job, models, monkeypatch, capsys) == "version 1 has kernels of another shape"


def test_a_domain_that_only_another_config_crosses(
    copied: tuple[Job, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph learns it once; its kernel is then as any other."""
    job, models = copied
    crossed = "period=lunch,scene=home"
    assert crossed not in {domain.name for domain in job.experiment().domains}
    add_kernel(KernelStore(job), crossed, KernelStore(job).load("all", 1).shape, 5)
    assert (
        said(job, models, capsys) == f"full export: version 1 does not know the domain '{crossed}'"
    )
    assert {answer["served_domain"] for answer in scores(models / "2", job, crossed)} == {crossed}
    KernelStore(job).deactivate(crossed)
    assert said(job, models, capsys) == "new kernels and domain table; the rest is version 2's"
    KernelStore(job).activate(crossed, 1)
    assert said(job, models, capsys) == "new kernels and domain table; the rest is version 3's"
    assert scores(models / "4", job, "auto") == scores(models / "2", job, "auto")


def test_kernels_that_do_not_fit_the_slots_are_refused(job: Job, tmp_path: Path) -> None:
    activate(job, *ALWAYS)
    with pytest.raises(InputError, match="--slots 3: expected at least 4"):
        export(job, tmp_path / "models", slots=3)
    assert not (tmp_path / "models").exists()


def test_a_job_without_golden_requests_is_refused_before_anything_is_written(
    copied: tuple[Job, Path], tmp_path: Path
) -> None:
    job, _ = copied
    job.golden.unlink()
    with pytest.raises(InputError, match="golden_requests"):
        export(job, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("kernels", "slots"), [(0, 16), (11, 16), (12, 32), (200, 256), (204, 512), (1_000, 2_048)]
)
def test_slots_leave_head_room(kernels: int, slots: int) -> None:
    assert head_room(kernels) == slots
    assert slots >= 1.25 * (1 + kernels) or slots == 16
