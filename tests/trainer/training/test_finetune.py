"""Fine-tuning: the backbone stays as it was, kernels that do not help are kept but not served,
and the same seed gives the same kernels.
"""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs import Experiment, InputError
from configs.files import read_json
from tests.trainer.conftest import domains_of, one_line, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.registry.kernel_registry import KernelStore
from trainer.training import finetune as module
from trainer.training.finetune import finetune
from trainer.training.judging_users import judging_rows, stopping_rows
from trainer.training.kernel_training import train_kernels

SHAPE = KernelShape((5, 4, 1), "relu", residual=True, tap="tower")
HOME = "scene=home"
EMPTY = "region=r9"


def backbone_files(job: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (job / "backbone").iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def validation(experiment: Experiment, dataset: Any, frozen: Any) -> BackboneOutputs:
    """The validation split behind the frozen backbone."""
    return run_frozen(frozen, dataset, "validation", None, "validation")


@pytest.fixture(scope="module")
def again(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy of the job whose kernels were thrown away and trained again."""
    folder = shutil.copytree(
        job_dir, tmp_path_factory.mktemp("again") / "job", ignore=shutil.ignore_patterns("kernels")
    )
    finetune(experiment, dataset_dir, Job(folder), [])
    return folder


def test_the_backbone_is_unchanged_by_fine_tuning(again: Path, job_dir: Path) -> None:
    """Byte for byte; that the files still hold their own fingerprint is checked by every load."""
    before, after = backbone_files(job_dir), backbone_files(again)
    assert "model.keras" in before
    assert before == after


def test_the_same_seed_gives_the_same_kernels(again: Path, job_dir: Path) -> None:
    first, second = KernelStore(Job(job_dir)), KernelStore(Job(again))
    assert first.active() == second.active() != {}
    assert first.domains() == second.domains()
    for domain in first.domains():
        np.testing.assert_equal(second.load(domain, 1).weights, first.load(domain, 1).weights)
        assert second.load(domain, 1).manifest == first.load(domain, 1).manifest


def test_every_domain_with_rows_has_a_kernel_and_an_honest_manifest(
    experiment: Experiment, job_dir: Path, window: Any, dataset: Any, validation: BackboneOutputs
) -> None:
    store = KernelStore(Job(job_dir))
    assert set(store.domains()) == {
        domain.name for domain in experiment.domains if EMPTY not in domain.name
    }
    for domain in experiment.domains:
        if domain.name not in store.domains():
            continue
        manifest = store.load(domain.name, 1).manifest
        assert manifest.backbone == Job(job_dir).fingerprint()["fingerprint"]
        assert manifest.rows.train == len(window.domain_rows(domain))
        assert manifest.rows.train == dataset.manifest.splits["finetune"].domains[domain.name].rows
        assert manifest.rows.validation == len(judging_rows(validation, domain))
        assert manifest.activated is (domain.name in store.active())
        assert manifest.finetune == experiment.finetune.model_dump(mode="json")


def test_kernels_that_do_not_help_are_kept_but_not_served(
    experiment: Experiment, job_dir: Path
) -> None:
    """The small experiment has both kinds."""
    store = KernelStore(Job(job_dir))
    activated = {domain: store.load(domain, 1).manifest.activated for domain in store.domains()}
    assert set(activated.values()) == {True, False}
    assert {domain for domain, active in activated.items() if active} == set(store.active())
    card = next(domain for domain, active in activated.items() if not active)
    assert "Not activated" in (store.folder / card / "1" / "card.md").read_text()


@pytest.mark.parametrize("helpful", [True, False])
def test_the_rule_alone_decides_what_is_served(
    helpful: bool,
    experiment: Experiment,
    dataset_dir: Path,
    job_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One domain, warm-started from the stored kernel of all traffic, which is not trained
    again; what is served elsewhere stays.
    """
    store = KernelStore(Job(job_copy))
    if HOME in store.active():
        store.deactivate(HOME)
    before = store.active()
    monkeypatch.setattr(module, "passes_activation_rule", lambda figures: helpful)
    faster = experiment.model_copy(
        update={"finetune": experiment.finetune.model_copy(update={"epochs": 1})}
    )
    finetune(faster, dataset_dir, Job(job_copy), [HOME])
    assert store.versions(HOME) == [1, 2]
    assert store.versions("all") == [1]
    assert store.active() == ({**before, HOME: 2} if helpful else before)


def test_a_domain_without_rows_gets_a_message_and_no_kernel(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(experiment, dataset_dir, Job(job_copy), [EMPTY])
    assert f"{EMPTY}: no rows in split 'finetune'; no kernel" in capsys.readouterr().err
    assert KernelStore(Job(job_copy)).versions(EMPTY) == []


def test_an_unknown_domain_is_refused_before_any_work(
    experiment: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError,
        match=r"--domains: 'scene=hme' is no domain of this config; did you mean 'scene=home'\?;"
        " there are: all, scene=home",
    ) as error:
        finetune(experiment, tmp_path, Job(tmp_path), [HOME, "scene=hme"])
    one_line(error)


def test_without_a_backbone_there_is_nothing_to_tune(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"fingerprint\.json: not found") as error:
        finetune(experiment, dataset_dir, Job(tmp_path), [])
    one_line(error)


def test_a_backbone_from_before_a_head_is_refused_where_the_head_is_read_and_used_where_it_is_not(
    experiment: Experiment, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    """As jobs are that were written before ``input`` was a head."""
    job = Job(shutil.copytree(job_dir, tmp_path / "job", ignore=shutil.ignore_patterns("kernels")))
    path = job.backbone / "model.keras"
    model = keras.saving.load_model(path)
    keras.Model(
        model.input,
        {name: head for name, head in model.output.items() if name != "input"},
        name=model.name,
    ).save(path)
    with pytest.raises(InputError, match="the backbone has no head 'input'; it has: ") as error:
        finetune(experiment, dataset_dir, job, [HOME])
    one_line(error)
    assert (
        evaluate(experiment, dataset_dir, job).overall["ctr"]["auc"].backbone > 0.5
    )  # no kernel, so no tap is read
    finetune(variant("kernel.tap=tower", "finetune.epochs=1"), dataset_dir, job, [HOME])
    assert (
        evaluate(experiment, dataset_dir, job).domains[HOME].tasks["ctr"]["auc"].kernel
        != "undefined"
    )


def test_a_dataset_that_the_backbone_was_not_trained_for_is_refused(
    experiment: Experiment, other_dataset_dir: Path, job_dir: Path
) -> None:
    with pytest.raises(InputError, match="is not the one the backbone was trained on") as error:
        finetune(experiment, other_dataset_dir, Job(job_dir), [HOME])
    assert str(other_dataset_dir) in one_line(error)


ROWS = random_rows(300)


def trained(
    scores: list[float], monkeypatch: pytest.MonkeyPatch, *settings: str
) -> tuple[Any, int]:
    """The kernel of ``all`` where validation gives these scores, the first one before training;
    and the epochs that were trained.
    """
    experiment = variant("finetune.epochs=6", "finetune.patience=2", *settings)
    given = iter(scores)
    epochs = []
    original = module.schedule
    monkeypatch.setattr(module, "mean_auc", lambda *_: next(given))
    monkeypatch.setattr(
        module, "schedule", lambda *arguments: epochs.append(1) or original(*arguments)
    )
    (kernel,) = train_kernels(experiment, SHAPE, ROWS, ROWS, domains_of(experiment, "all"))
    return kernel, len(epochs)


def test_a_kernel_that_never_gets_better_is_the_one_it_started_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, epochs = trained([0.6, 0.5, 0.6], monkeypatch)
    np.testing.assert_equal(kernel, SHAPE.initial(17, "all"))
    assert epochs == 2


def test_the_best_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    best_first, epochs = trained([0.5, 0.6, 0.55, 0.56], monkeypatch)
    assert epochs == 3
    with pytest.MonkeyPatch.context() as patch:
        one_epoch, _ = trained([0.5, 0.6], patch, "finetune.epochs=1")
    np.testing.assert_equal(best_first, one_epoch)
    assert (best_first["weight_0"] != SHAPE.initial(17, "all")["weight_0"]).any()


def test_validation_that_is_undefined_keeps_the_last_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, epochs = trained([None] * 7, monkeypatch)  # type: ignore[list-item]
    assert epochs == 6
    assert np.any(kernel["weight_1"] != SHAPE.initial(17, "all")["weight_1"])


def test_no_user_both_stops_and_judges_a_kernel(
    experiment: Experiment, validation: BackboneOutputs
) -> None:
    for domain in experiment.domains:
        stopping, judging = stopping_rows(validation, domain), judging_rows(validation, domain)
        assert sorted([*stopping, *judging]) == list(validation.domain_rows(domain))
        users = validation.columns["row/user"]
        assert not set(users[stopping]) & set(users[judging])


def test_domains_start_from_the_kernel_of_all_traffic_unless_told_otherwise(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Any] = []

    def remember(*arguments: Any) -> list[Any]:
        starts.append(arguments[5])
        return [arguments[1].initial(17, domain.name) for domain in arguments[4]]

    monkeypatch.setattr(module, "train_kernels", remember)
    finetune(experiment, dataset_dir, Job(job_copy), [HOME])
    cold = experiment.model_copy(
        update={"finetune": experiment.finetune.model_copy(update={"warm_start": "none"})}
    )
    finetune(cold, dataset_dir, Job(job_copy), [HOME])
    np.testing.assert_equal(starts[0], KernelStore(Job(job_copy)).load("all", 1).weights)
    assert starts[1:] == [None]


def test_active_json_names_stored_versions_only(job_dir: Path) -> None:
    store = KernelStore(Job(job_dir))
    assert read_json(store.folder / "active.json") == dict.fromkeys(sorted(store.active()), 1)
