"""The gate: who counts as seen, how far each kernel is trusted, and the same answer by every way
to a score.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from configs import Experiment, InputError
from preprocessing.features.transform import transform_outputs
from tests.trainer.conftest import (
    MANIFEST,
    SHAPE,
    bare_job,
    change_json,
    domains_of,
    one_line,
    random_kernel,
    random_rows,
    variant,
)
from trainer.backbone.frozen_pass import BackboneOutputs, feature_tensors, run_frozen
from trainer.backbone.model import read_tap
from trainer.data.dataset import Dataset
from trainer.evaluation.comparison import compare
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.kernels.bank import SLOT, KernelBank, domain_model
from trainer.kernels.gate import (
    BUCKETS,
    GATE,
    SUPPORT,
    apply_gate,
    bucket_of,
    every_trust,
    row_trust,
)
from trainer.kernels.kernel import KernelShape, user_columns
from trainer.kernels.scoring import score_rows
from trainer.registry.kernel_registry import KernelStore
from trainer.training.finetune import finetune
from trainer.training.gate_fitting import (
    fit_gate,
    one_standard_error,
    support_table,
    with_gate,
    with_support,
)
from trainer.training.judging_users import stopping_rows

USERS = 9
GATED = replace(SHAPE, support=USERS, user="user_id")
ONES = np.ones((2, BUCKETS), np.float32)

Floats = npt.NDArray[np.float32]


def gated_kernel(seed: int, shape: KernelShape = GATED) -> dict[str, npt.NDArray[Any]]:
    """A kernel none of whose parts is trivial, its gate included."""
    generator = np.random.default_rng(seed)
    gate = generator.uniform(0.0, 0.9, (2, BUCKETS)).astype(np.float32)
    return {
        **random_kernel(shape, seed),
        GATE: gate,
        SUPPORT: generator.integers(0, BUCKETS, shape.support).astype(np.uint8),
    }


def rows_of_users(rows: int) -> BackboneOutputs:
    """Random rows whose users have ids."""
    made = random_rows(rows)
    return replace(
        made,
        columns={
            **made.columns,
            "feature/user_id": np.random.default_rng(5).integers(0, USERS, rows).astype(np.int32),
        },
    )


def test_buckets_begin_where_the_settings_say() -> None:
    np.testing.assert_array_equal(
        bucket_of(np.array([0, 1, 4, 5, 50, 51, 10_000])), [0, 1, 1, 2, 2, 3, 3]
    )


def test_users_are_counted_by_id_and_shared_ids_count_as_unseen() -> None:
    ids = np.repeat([0, 1, 2, 3, 4], [60, 60, 3, 5, 51])
    experiment = variant("kernel.gate=support")
    np.testing.assert_array_equal(
        support_table(experiment, GATED, ids), [0, 0, 1, 2, 3, 0, 0, 0, 0]
    )
    two = variant("kernel.gate=support", "features.user_id.oov_buckets=2")
    np.testing.assert_array_equal(support_table(two, GATED, ids), [0, 0, 0, 2, 3, 0, 0, 0, 0])
    hashed = variant(
        "kernel.gate=support", "features.user_id={kind: categorical, side: user, hash_buckets: 8}"
    )
    np.testing.assert_array_equal(support_table(hashed, GATED, ids), [0, 3, 1, 2, 3, 0, 0, 0, 0])


def test_trust_is_looked_up_by_kernel_task_and_bucket() -> None:
    gate = np.arange(2 * 2 * BUCKETS, dtype=np.float32).reshape(2, 2, BUCKETS)
    support = np.array([[0, 3, 1], [2, 0, 0]], np.uint8)
    found = row_trust(
        gate, support, np.array([0, 1, 0, 1], np.int32), np.array([1, 0, 2, 2], np.int32)
    )
    np.testing.assert_array_equal(found, [[3, 7], [10, 14], [1, 5], [8, 12]])
    every = every_trust(gate, support, np.array([1, 2], np.int32))
    np.testing.assert_array_equal(every, [[[3, 7], [1, 5]], [[8, 12], [8, 12]]])


def test_the_gate_is_between_backbone_and_kernel_and_full_trust_changes_nothing() -> None:
    backbone, kernel = np.array([[[1e8, 2.0, -1.0, 0.1]], [[1.0, 4.0, 3.0, 0.7]]], np.float32)
    np.testing.assert_array_equal(
        apply_gate(backbone, kernel, np.ones_like(kernel)), kernel
    )  # 1e8 + (1 - 1e8) would be 0
    np.testing.assert_array_equal(apply_gate(backbone, kernel, np.zeros_like(kernel)), backbone)
    np.testing.assert_allclose(
        apply_gate(backbone, kernel, np.array([[0.0, 0.25, 0.5, 1.0]], np.float32)),
        [[1e8, 2.5, 1.0, 0.7]],
        rtol=1e-6,
    )


def test_one_standard_error_by_hand() -> None:
    """Users 0, 1, 2 with 1, 1 and 2 rows; of the second, best candidate the first differs by 1, 2,
    0 and 1 a row, the third by 9 each.

    Mean 1; sums of deviations by user 0, 1, -1; error sqrt((0 + 1 + 1) * 3 / 2) / 4 = 0.433 < 1:
    the first is worse.
    """
    users, weights = np.array([0, 1, 2, 2]), np.ones(4)
    losses = np.array([[1.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]])
    assert one_standard_error(losses, weights, users) == 1
    losses[0] = [4.0, 0.0, -1.0, 0.5]  # mean 0.875; sums 3.125, -0.875, -2.25; error 1.205
    assert one_standard_error(losses, weights, users) == 0
    assert (
        one_standard_error(losses, np.array([0.0, 1.0, 1.0, 1.0]), users) == 0
    )  # now the first is the best itself


def noisy_kernel_rows(rows: int = 6_000) -> tuple[BackboneOutputs, npt.NDArray[Any], Floats]:
    """Backbone logits that are the truth; a kernel that is right for bucket 1, too loud by three
    for bucket 2, and noise for bucket 0.
    """
    generator = np.random.default_rng(0)
    made = random_rows(rows)
    buckets = np.arange(rows) % BUCKETS
    delta = generator.standard_normal((rows, 2)).astype(np.float32)
    right = np.array([0.0, 1.0, 1.0 / 3.0, 1.0])[buckets][:, np.newaxis] * delta
    p = 1.0 / (1.0 + np.exp(-(made.logits + right)))
    click = (generator.random(rows) < p[:, 0]).astype(np.float32)
    conversion = click * (generator.random(rows) < p[:, 1]).astype(np.float32)
    users = np.where(
        buckets == 3, 0, np.arange(rows) // BUCKETS % 50
    )  # of bucket 3 there is one user alone
    columns = {
        **made.columns,
        "label/click": click,
        "label/conversion": conversion,
        "row/user": users,
    }
    return replace(made, columns=columns), buckets, made.logits + delta


def test_alpha_finds_what_each_bucket_can_trust() -> None:
    data, buckets, kernel_logits = noisy_kernel_rows()
    gate = fit_gate(variant(), data, np.arange(len(buckets)), buckets, kernel_logits)
    assert gate.dtype == np.float32
    assert (gate[:, 0] <= 0.15).all()
    assert (gate[:, 1] >= 0.85).all()
    assert ((gate[:, 2] > 0.2) & (gate[:, 2] < 0.6)).all()
    np.testing.assert_array_equal(gate[:, 3], 1.0)


def test_without_rows_or_without_a_delta_trust_is_full() -> None:
    data, buckets, _ = noisy_kernel_rows(800)
    none = np.empty(0, np.int64)
    np.testing.assert_array_equal(
        fit_gate(variant(), data, none, none, np.empty((0, 2), np.float32)), ONES
    )
    np.testing.assert_array_equal(
        fit_gate(variant(), data, np.arange(800), buckets, data.logits), ONES
    )


def test_rows_without_weight_say_nothing_about_trust() -> None:
    data, buckets, kernel_logits = noisy_kernel_rows()
    weights = np.where(buckets == 0, 0.0, data.weights).astype(np.float32)
    silent = replace(data, columns={**data.columns, "row/weight": weights})
    gate = fit_gate(variant(), silent, np.arange(len(buckets)), buckets, kernel_logits)
    np.testing.assert_array_equal(gate[:, 0], 1.0)
    np.testing.assert_array_equal(
        gate[:, 1:],
        fit_gate(variant(), data, np.arange(len(buckets)), buckets, kernel_logits)[:, 1:],
    )


def test_with_gate_leaves_other_kernels_alone() -> None:
    kernel = random_kernel(SHAPE, 1)
    assert (
        with_gate(variant(), SHAPE, kernel, random_rows(9), random_rows(9), np.arange(9)) is kernel
    )


def test_shape_without_gate_is_written_as_before_and_old_manifests_are_read() -> None:
    assert set(SHAPE.to_json()) == {"widths", "activation", "residual", "tap"}
    assert KernelShape.from_json(SHAPE.to_json()) == SHAPE
    assert KernelShape.from_json(GATED.to_json()) == GATED
    assert GATED.variables() == SHAPE.variables()
    assert GATED.arrays()[SUPPORT] == ((USERS,), "uint8")
    assert GATED.arrays()[GATE] == ((2, BUCKETS), "float32")
    assert user_columns(SHAPE, SHAPE) == ()
    assert user_columns(GATED, SHAPE, GATED) == ("feature/user_id",)


def gated_bank(*kernels: dict[str, npt.NDArray[Any]]) -> KernelBank:
    bank = KernelBank(1 + len(kernels), GATED)
    for slot, kernel in enumerate(kernels, 1):
        bank.put(slot, kernel)
    return bank


def test_every_way_to_a_score_applies_the_same_gate() -> None:
    """Against the definition: backbone + alpha * delta, row by row."""
    rows = rows_of_users(40)
    users = rows.columns["feature/user_id"]
    kernels = [gated_kernel(seed) for seed in (1, 2, 3)]
    bank = gated_bank(*kernels)
    slots = np.arange(40, dtype=np.int32) % 4
    mixed, every = (
        bank(rows.taps, rows.logits, slots, users).numpy(),
        bank.every_slot(rows.taps, rows.logits, users).numpy(),
    )
    np.testing.assert_array_equal(every[0], rows.logits)
    np.testing.assert_array_equal(mixed[slots == 0], rows.logits[slots == 0])
    for slot, kernel in enumerate(kernels, 1):
        plain = score_rows(
            SHAPE, {name: kernel[name] for name in SHAPE.variables()}, rows, np.arange(40)
        )
        alpha = np.array(
            [[kernel[GATE][task, kernel[SUPPORT][user]] for task in (0, 1)] for user in users]
        )
        expected = rows.logits + alpha * (plain - rows.logits)
        assert np.abs(expected - plain).max() > 0.1
        np.testing.assert_allclose(
            score_rows(GATED, kernel, rows, np.arange(40)), expected, rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(every[slot], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            mixed[slots == slot], expected[slots == slot], rtol=1e-5, atol=1e-5
        )
        uniform = bank(rows.taps, rows.logits, np.full(40, slot, np.int32), users).numpy()
        np.testing.assert_allclose(uniform, expected, rtol=1e-5, atol=1e-5)


def test_full_trust_is_bit_by_bit_the_kernel_without_gate() -> None:
    rows = rows_of_users(40)
    users, slots = rows.columns["feature/user_id"], np.arange(40, dtype=np.int32) % 3
    gated = gated_bank({**gated_kernel(1), GATE: ONES}, gated_kernel(2))
    plain = KernelBank(3, SHAPE)
    for slot in (1, 2):
        plain.put(slot, random_kernel(SHAPE, slot))
    one = slots == 1
    np.testing.assert_array_equal(
        gated(rows.taps, rows.logits, slots, users)[one], plain(rows.taps, rows.logits, slots)[one]
    )
    np.testing.assert_array_equal(
        gated.every_slot(rows.taps, rows.logits, users)[1],
        plain.every_slot(rows.taps, rows.logits)[1],
    )
    open_gate = {**gated_kernel(1), GATE: ONES}
    np.testing.assert_array_equal(
        score_rows(GATED, open_gate, rows, np.arange(40)),
        score_rows(SHAPE, random_kernel(SHAPE, 1), rows, np.arange(40)),
    )


def test_a_gated_bank_survives_save_and_reload(tmp_path: Path) -> None:
    rows, bank = rows_of_users(8), gated_bank(gated_kernel(1), gated_kernel(2))
    assert not {"gate", "support"} & {weight.name for weight in bank.trainable_weights}
    inputs = [
        keras.Input((2, 5)),
        keras.Input((2,)),
        keras.Input((), dtype="int32"),
        keras.Input((), dtype="int32"),
    ]
    keras.Model(inputs, bank(*inputs)).save(tmp_path / "bank.keras")
    reloaded = keras.saving.load_model(tmp_path / "bank.keras", safe_mode=True)
    values = [
        rows.taps,
        rows.logits,
        np.arange(8, dtype=np.int32) % 3,
        rows.columns["feature/user_id"],
    ]
    np.testing.assert_array_equal(reloaded(values), bank(*values))


def test_a_gated_kernel_is_stored_whole_or_refused(tmp_path: Path) -> None:
    manifest = {
        **MANIFEST,
        "shape": GATED.to_json(),
        GATE: ONES.tolist(),
    }
    store, kernel = KernelStore(bare_job(tmp_path)), gated_kernel(1)
    store.add("all", kernel, manifest)
    np.testing.assert_equal(store.load("all", 1).weights, kernel)
    assert store.load("all", 1).shape == GATED
    assert "Gate" in (store.folder / "all" / "1" / "card.md").read_text()
    for damaged in (
        random_kernel(SHAPE, 1),
        {**kernel, SUPPORT: kernel[SUPPORT][1:]},
        {**kernel, GATE: kernel[GATE].astype(np.float64)},
    ):
        version = store.add("all", damaged, manifest)
        with pytest.raises(InputError, match="expected arrays") as error:
            store.load("all", version)
        one_line(error)
    change_json(
        store.folder / "all" / "1" / "manifest.json",
        lambda content: content["shape"].update(support=0),
    )
    with pytest.raises(InputError, match="expected arrays"):
        store.load("all", 1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["kernel.residual=false"], r"expected 'kernel\.residual: true'"),
        (["data.user=request_id"], r"reads data\.user 'request_id'; there is none"),
        (
            ["backbone.debias.feature=user_id"],
            r"reads 'user_id', which is backbone\.debias\.feature and not known at serving",
        ),
    ],
)
def test_a_gate_that_cannot_be_served_is_refused(settings: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        variant("kernel.gate=support", *settings)


@pytest.fixture(scope="module")
def gated_job(
    experiment: Experiment,
    dataset_dir: Path,
    job_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Experiment, Job]:
    """The small job with a gated kernel for all traffic and one scene."""
    folder = shutil.copytree(
        job_dir, tmp_path_factory.mktemp("gated") / "job", ignore=shutil.ignore_patterns("kernels")
    )
    gated = variant("kernel.gate=support", "finetune.epochs=2")
    finetune(gated, dataset_dir, Job(folder), ["all", "scene=home"])
    return gated, Job(folder)


def test_fine_tuning_leaves_gates_that_were_fitted_on_its_own_stopping_rows(
    gated_job: tuple[Experiment, Job], dataset: Dataset, frozen: keras.Model
) -> None:
    experiment, job = gated_job
    shape = KernelStore(job).load("scene=home", 1).shape
    assert shape.support == transform_outputs(experiment, dataset.fitted)["user_id"].size
    keep = user_columns(shape)
    window = run_frozen(frozen, dataset, "finetune", experiment.kernel.tap, "window", keep)
    validation = run_frozen(
        frozen, dataset, "validation", experiment.kernel.tap, "validation", keep
    )
    store = KernelStore(job)
    for domain in domains_of(experiment, *store.domains()):
        stored = store.load(domain.name, 1)
        assert stored.manifest.gate == tuple(map(tuple, stored.weights[GATE].tolist()))
        ids = window.columns["feature/user_id"].astype(np.int64)
        seen = np.bincount(ids[ids > 1], minlength=shape.support)
        np.testing.assert_array_equal(stored.weights[SUPPORT], bucket_of(seen))
        trained = {name: stored.weights[name] for name in shape.variables()}
        again = with_gate(
            experiment, shape, trained, window, validation, stopping_rows(validation, domain)
        )
        np.testing.assert_equal(again, stored.weights)


def test_evaluation_scores_gated_kernels_under_their_gates(
    gated_job: tuple[Experiment, Job], dataset_dir: Path, dataset: Dataset, frozen: keras.Model
) -> None:
    experiment, job = gated_job
    store = KernelStore(job)
    loud = gated_kernel(3, store.load("scene=home", 1).shape)
    store.activate(
        "scene=home", store.add("scene=home", loud, store.load("scene=home", 1).manifest)
    )
    found = evaluate(experiment, dataset_dir, job).domains["scene=home"].tasks
    shape = store.load("scene=home", 1).shape
    rows = run_frozen(frozen, dataset, "test", experiment.kernel.tap, "test", user_columns(shape))
    (domain,) = domains_of(experiment, "scene=home")
    inside = rows.domain_rows(domain)
    for kernel, same in ((loud, True), ({**loud, GATE: ONES}, False)):
        figures = compare(experiment, rows, inside, score_rows(shape, kernel, rows, inside))
        assert (figures["ctr"]["auc"].kernel == found["ctr"]["auc"].kernel) is same


def test_the_second_graph_feeds_user_ids_to_a_gated_bank(
    dataset: Dataset, frozen: keras.Model
) -> None:
    experiment = variant("kernel.gate=support")
    shape = with_support(
        KernelShape.of(experiment.kernel, read_tap(frozen.output, experiment.kernel.tap).shape[-1]),
        experiment,
        dataset.fitted,
    )
    kernel = gated_kernel(3, shape)
    bank = KernelBank(2, shape)
    bank.put(1, kernel)
    columns = next(dataset.batches("test", 300))
    rows = run_frozen(frozen, dataset, "test", experiment.kernel.tap, "test", user_columns(shape))
    np.testing.assert_array_equal(rows.columns["feature/user_id"][:300], columns["feature/user_id"])
    scores = domain_model(frozen, bank)(
        {**feature_tensors(columns, frozen), SLOT: np.ones(300, np.int32)}
    )
    np.testing.assert_allclose(
        scores, score_rows(shape, kernel, rows, np.arange(300)), rtol=1e-4, atol=1e-5
    )


def test_with_support_is_nothing_without_a_gate(experiment: Experiment, dataset: Dataset) -> None:
    assert with_support(SHAPE, experiment, dataset.fitted) is SHAPE
