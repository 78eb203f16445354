"""Fine-tuning: the backbone stays as it was, the same seed gives the same kernels, and what is
served afterwards is what was decided.
"""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from configs import Experiment, InputError
from configs.domains import Domain
from configs.files import read_json
from tests.preprocessing.shop_logs import digests
from tests.tasks import RANKING
from tests.trainer.conftest import as_before_lists, domains_of, one_line, random_rows, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.evaluation import deciding
from trainer.evaluation.activation import Verdict
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import score_rows
from trainer.registry.kernel_registry import KernelStore
from trainer.training import domain_training, kernel_training
from trainer.training import finetune as module
from trainer.training.finetune import finetune
from trainer.training.judging_users import judging_rows, run_key, stopping_rows, with_judges
from trainer.training.kernel_training import TrainedKernel, train_kernels
from trainer.training.outcome import render_outcomes
from trainer.training.warm_start import possible_starts

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


def test_every_domain_is_decided_and_what_was_stored_has_an_honest_manifest(
    experiment: Experiment, job_dir: Path, window: Any, dataset: Any, validation: BackboneOutputs
) -> None:
    store, key = KernelStore(Job(job_dir)), run_key(experiment, dataset)
    judged = with_judges(validation, key)
    decisions = store.decisions()
    assert set(decisions) == {domain.name for domain in experiment.domains}
    for domain in experiment.domains:
        decision = decisions[domain.name]
        assert decision.active == store.active().get(domain.name)
        if domain.name not in store.domains():
            assert decision.version is None
            said = "no rows in split" if EMPTY in domain.name else "no better than all, from which"
            assert said in decision.reason
            continue
        manifest = store.load(domain.name, 1).manifest
        assert manifest.backbone == Job(job_dir).fingerprint()["fingerprint"]
        assert manifest.rows.train == len(window.domain_rows(domain))
        assert manifest.rows.train == dataset.manifest.splits["finetune"].domains[domain.name].rows
        assert manifest.rows.validation == len(judging_rows(judged, domain))
        assert manifest.judges == key
        assert manifest.decision
        assert manifest.decision.reason == decision.reason == manifest.reason
        assert manifest.decision.tests.keys() == {"ctr", "ctcvr"}
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


def test_no_stored_kernel_is_one_that_stands_above_it(job_dir: Path) -> None:
    store = KernelStore(Job(job_dir))
    kernels = {domain: store.load(domain, 1).weights for domain in store.domains()}
    assert len(kernels) < len(store.decisions()), "some were no better than where they started"
    for domain, weights in kernels.items():
        for above in {*Domain(domain).parents} & kernels.keys() - {domain}:
            assert any(np.any(weights[name] != kernels[above][name]) for name in weights)


ONE_EPOCH = ("finetune.epochs=1", "finetune.child_epochs=1")


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel leaves its start: what is newest counts as better."""
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: None)


def says(monkeypatch: pytest.MonkeyPatch, helps: bool, harms: bool = False) -> None:
    """What is compared with what would answer otherwise is found better, or not."""
    verdict = Verdict(helps, harms, "said so")
    monkeypatch.setattr(deciding, "judge", lambda evidence, *_: dict.fromkeys(evidence, verdict))


@pytest.mark.parametrize("helpful", [True, False])
@pytest.mark.usefixtures("moved")
def test_the_rule_alone_decides_what_is_served(
    helpful: bool, dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One domain, warm-started from the stored kernel of all traffic, which is not trained
    again; what is served elsewhere stays.
    """
    store = KernelStore(Job(job_copy))
    if HOME in store.active():
        store.deactivate(HOME)
    before = store.active()
    says(monkeypatch, helpful)
    (outcome,) = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert store.versions(HOME) == [1, 2]
    assert store.versions("all") == [1]
    assert store.active() == ({**before, HOME: 2} if helpful else before)
    assert outcome.decision == store.decisions()[HOME]
    assert (outcome.decision.version, outcome.decision.active) == (2, store.active().get(HOME))
    # The manifest is written before versions have numbers, and holds the definition itself.
    later = {"version": None, "active": None, "definition": None}
    manifest = store.load(HOME, 2).manifest
    assert manifest.decision == outcome.decision.model_copy(update=later)
    assert manifest.definition == outcome.decision.definition


@pytest.mark.usefixtures("moved")
def test_a_served_version_that_is_below_its_fallback_is_deactivated(
    dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KernelStore(Job(job_copy))
    store.activate(HOME, 1)
    says(monkeypatch, helps=False, harms=True)
    (outcome,) = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert outcome.decision
    assert outcome.decision.words == "deactivated"
    assert "said so" in outcome.decision.reason
    assert HOME not in store.active()
    assert store.versions(HOME) == [1, 2], "the versions stay"


def test_the_same_run_again_stores_nothing_twice_and_changes_nothing(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    store = KernelStore(Job(job_copy))
    before = digests(store.folder)
    finetune(experiment, dataset_dir, Job(job_copy), [])
    after = digests(store.folder)
    assert after.keys() == before.keys()
    assert {name for name in before if after[name] != before[name]} <= {"decisions.json"}


@pytest.mark.usefixtures("moved")
def test_a_run_that_died_before_it_decided_is_finished_by_the_next(
    dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KernelStore(Job(job_copy))
    says(monkeypatch, helps=True)
    with monkeypatch.context() as patch:
        patch.setattr(KernelStore, "decide", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert store.versions(HOME) == [1, 2]
    finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert store.versions(HOME) == [1, 2]
    assert store.active()[HOME] == 2


def test_what_is_pinned_is_neither_trained_nor_decided(
    dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KernelStore(Job(job_copy))
    active = next(name for name in store.active() if name != HOME)
    store.deactivate(HOME)
    for domain in (HOME, active):
        store.pin(domain)
    before = digests(store.folder)
    monkeypatch.setattr(module, "open_frozen", lambda *_: pytest.fail("nothing is to be done"))
    first, second = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME, active])
    assert "pinned: it stays off" in first.note
    assert "pinned: version 1 stays active" in second.note
    assert digests(store.folder) == before


@pytest.mark.usefixtures("moved")
def test_kernels_of_another_shape_never_block_an_export(
    dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuned alone, a domain of another width is refused before any work; tuned together, all that
    is served has the new one, or is no longer served.
    """
    store, other = KernelStore(Job(job_copy)), variant(*ONE_EPOCH, "kernel.width=5")
    before = store.active()
    with pytest.raises(InputError, match="has another shape than this config's kernels") as error:
        finetune(other, dataset_dir, Job(job_copy), [HOME])
    one_line(error)
    pinned = next(iter(before))
    store.pin(pinned)
    with pytest.raises(InputError, match=f"'{pinned}' has another shape.*; unpin and tune it"):
        finetune(other, dataset_dir, Job(job_copy), [])
    store.unpin(pinned)
    assert store.active() == before
    says(monkeypatch, helps=False)
    outcomes = finetune(other, dataset_dir, Job(job_copy), [])
    assert store.active() == {}
    gone = [o.decision for o in outcomes if o.domain in before]
    assert all(d and d.outcome == "deactivate" and "another shape" in d.reason for d in gone)
    says(monkeypatch, helps=True)
    finetune(other, dataset_dir, Job(job_copy), [])
    shapes = {store.load(*item).shape.widths[1] for item in store.active().items()}
    assert shapes == {5}


@pytest.mark.usefixtures("moved")
def test_a_damaged_version_that_was_served_is_replaced_or_deactivated(
    dataset_dir: Path, job_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KernelStore(Job(job_copy))
    store.activate(HOME, 1)
    (store.folder / HOME / "1" / "weights.npz").write_bytes(b"half")
    says(monkeypatch, helps=False)
    with pytest.raises(InputError, match=r"weights\.npz: damaged.*; tune all domains") as error:
        finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), ["region=r1"])
    one_line(error)
    (outcome,) = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert outcome.decision
    assert outcome.decision.words == "deactivated"
    assert "version 1, which was served, cannot be read" in outcome.decision.reason
    assert "\n" not in outcome.decision.reason
    assert HOME not in store.active()


@pytest.mark.usefixtures("moved")
def test_a_damaged_kernel_is_no_start(
    dataset_dir: Path, job_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of all traffic is then trained anew, and decided, too."""
    store = KernelStore(Job(job_copy))
    if "all" in store.active():
        store.deactivate("all")
    (store.folder / "all" / "1" / "weights.npz").write_bytes(b"half")
    outcomes = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [HOME])
    assert [outcome.domain for outcome in outcomes] == ["all", HOME]
    assert store.versions("all") == [1, 2]
    assert "warning: no domain starts from 'all'" in capsys.readouterr().err


@pytest.mark.usefixtures("moved")
def test_active_domains_below_one_that_changed_are_named(
    dataset_dir: Path,
    job_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = KernelStore(Job(job_copy))
    says(monkeypatch, helps=True)
    finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), ["all"])
    below = ", ".join(sorted(set(store.active()) - {"all"}))
    assert f"note: what answers above {below} has changed" in capsys.readouterr().err


def test_a_domain_without_rows_says_so_and_what_answers(
    dataset_dir: Path, job_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = finetune(variant(*ONE_EPOCH), dataset_dir, Job(job_copy), [EMPTY])
    said = "not activated: no rows in split 'finetune'; all answers"
    assert said in render_outcomes(outcomes, RANKING)
    assert KernelStore(Job(job_copy)).versions(EMPTY) == []
    assert KernelStore(Job(job_copy)).decisions()[EMPTY].outcome == "keep"


def test_an_unknown_domain_is_refused_before_any_work(
    experiment: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError,
        match=r"--domains: 'scene=hme' is no domain of this config; did you mean 'scene=home'\?",
    ) as error:
        finetune(experiment, tmp_path, Job(tmp_path), [HOME, "scene=hme"])
    one_line(error)


def test_without_a_backbone_there_is_nothing_to_tune(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="holds no finished backbone") as error:
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
    as_before_lists(job)
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
    with pytest.raises(InputError, match="is not the one that the backbone of") as error:
        finetune(experiment, other_dataset_dir, Job(job_dir), [HOME])
    assert str(other_dataset_dir) in one_line(error)


ROWS = random_rows(300)


def trained(
    scores: list[float], monkeypatch: pytest.MonkeyPatch, *settings: str
) -> tuple[Any, int]:
    """The kernel of ``all`` where validation gives these scores, the first one before training;
    and the epochs that were trained.
    """
    experiment = variant(
        "finetune.rates=constant", "finetune.epochs=6", "finetune.patience=2", *settings
    )
    given = iter(scores)
    epochs = []
    original = kernel_training.schedule
    monkeypatch.setattr(kernel_training, "mean_auc", lambda *_: next(given))
    monkeypatch.setattr(
        kernel_training, "schedule", lambda *arguments: epochs.append(1) or original(*arguments)
    )
    (kernel,) = train_kernels(experiment, SHAPE, ROWS, ROWS, domains_of(experiment, "all"))
    return kernel, len(epochs)


def test_a_kernel_that_never_gets_better_is_the_one_it_started_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, epochs = trained([0.6, 0.5, 0.6], monkeypatch)
    assert not kernel.moved
    scored = score_rows(SHAPE, kernel.weights, ROWS, np.arange(len(ROWS.logits)))
    np.testing.assert_array_equal(scored, ROWS.logits)
    assert epochs == 2


def test_a_cycle_of_rates_is_not_left_before_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores fall while rates are high, whatever comes of it."""
    kernel, epochs = trained(
        [0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6], monkeypatch, "finetune.rates=one_cycle"
    )
    assert epochs == 6
    assert kernel.moved


def test_the_best_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    best_first, epochs = trained([0.5, 0.6, 0.55, 0.56], monkeypatch)
    assert epochs == 3
    with pytest.MonkeyPatch.context() as patch:
        one_epoch, _ = trained([0.5, 0.6], patch, "finetune.epochs=1")
    np.testing.assert_equal(best_first.weights, one_epoch.weights)
    assert best_first.moved
    assert best_first.weights["weight_1"].any()


def test_validation_that_is_undefined_keeps_the_last_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, epochs = trained([None] * 7, monkeypatch)  # type: ignore[list-item]
    assert epochs == 6
    assert kernel.moved
    assert kernel.weights["weight_1"].any()


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
        return [
            TrainedKernel(arguments[1].initial(17, domain.name), moved=True)
            for domain in arguments[4]
        ]

    monkeypatch.setattr(domain_training, "train_kernels", remember)
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


def test_a_domain_tuned_alone_is_the_same_from_its_own_rows(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only its rows, and those that say how inputs are standardised, go through the backbone."""
    monkeypatch.setattr(kernel_training, "_SCALING_ROWS", 50)
    computed: dict[str, dict[str, Any]] = {"own": {}, "every": {}}
    kernels = {}
    for name in computed:
        folder = shutil.copytree(job_dir, tmp_path / name / "job")
        if name == "every":
            monkeypatch.setattr(module, "_reads_every_row", lambda *_: True)
        train, keep = domain_training.train_kernels, computed[name]

        def remember(*given: Any, train: Any = train, keep: Any = keep) -> list[TrainedKernel]:
            keep |= {"window": given[2], "validation": given[3]}
            keep["kernels"] = train(*given)
            return keep["kernels"]

        monkeypatch.setattr(domain_training, "train_kernels", remember)
        kernels[name] = finetune(experiment, dataset_dir, Job(folder), [HOME])
        monkeypatch.setattr(domain_training, "train_kernels", train)
    assert render_outcomes(kernels["own"], RANKING) == render_outcomes(kernels["every"], RANKING)
    (own,), (every,) = (computed[name]["kernels"] for name in computed)
    for name, weights in every.weights.items():
        np.testing.assert_array_equal(own.weights[name], weights)
    (home,) = domains_of(experiment, HOME)
    for split, also in (("window", kernel_training.scaling_rows), ("validation", lambda _: [])):
        rows = computed["own"][split]
        n_rows = len(rows.logits)
        expected = np.union1d(rows.domain_rows(home), also(n_rows)).astype(np.int64)
        found = np.flatnonzero(np.isfinite(rows.logits).all(axis=1))
        np.testing.assert_array_equal(found, expected)
        assert len(found) < n_rows
        assert np.isfinite(computed["every"][split].logits).all()


@pytest.mark.parametrize(
    ("settings", "tuned", "stored", "every"),
    [
        ([], {HOME}, {"all"}, False),
        ([], {HOME}, set(), True),
        ([], {HOME, "all"}, set(), True),
        (["finetune.warm_start=none"], {HOME}, set(), False),
        (["finetune.mixing=fixed"], {HOME}, {"all"}, True),
    ],
)
def test_every_row_is_read_where_a_kernel_trains_on_others_rows(
    settings: list[str], tuned: set[str], stored: set[str], every: bool
) -> None:
    start: Any = dict.fromkeys(stored)
    assert module._reads_every_row(variant(*settings), tuned, start) == every


@pytest.mark.parametrize(
    ("warm_start", "tuned", "expected"),
    [
        ("none", {HOME}, set()),
        ("all", {HOME}, {"all"}),
        ("all", {HOME, "all"}, set()),
        ("parent", {HOME}, {"all"}),
        ("parent", {"scene=home,period=lunch"}, {"all", HOME, "period=lunch"}),
        ("parent", {"scene=home,period=lunch", "all", HOME}, {HOME, "period=lunch"}),
    ],
)
def test_what_tuned_domains_may_start_from(
    warm_start: str, tuned: set[str], expected: set[str]
) -> None:
    assert possible_starts(warm_start, tuned) == expected
