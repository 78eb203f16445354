"""Row-wise Adagrad and Adam against dense references in NumPy."""

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from trainer.training import optimizers
from trainer.training.optimizers import FusedAdam, RowWiseAdagrad

ROWS, WIDTH, RATE, START, EPSILON = 12, 3, 0.1, 0.01, 1e-7
STEPS = ([4, 4, 4, 7], [0, 11, 4, 0], [7, 7, 1, 1])

Floats = npt.NDArray[np.float32]


def random_table() -> Floats:
    return np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)


def gradients() -> list[Floats]:
    return list(np.random.default_rng(2).standard_normal((len(STEPS), 4, WIDTH)).astype(np.float32))


@pytest.fixture(params=["whole", "its rows"])
def touched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an update of a table touches: small tables are updated whole, large ones in the
    batch's rows.
    """
    if request.param == "its rows":
        monkeypatch.setattr(optimizers, "_DENSE_ROWS", 0)


@pytest.mark.usefixtures("touched")
def test_equals_a_dense_reference_with_duplicate_rows() -> None:
    reference, accumulator = random_table().astype(np.float64), np.full(ROWS, START)
    table = tf.Variable(random_table())
    optimizer = RowWiseAdagrad([table], RATE, START, EPSILON)
    for rows, values in zip(STEPS, gradients(), strict=True):
        dense = np.zeros((ROWS, WIDTH))
        np.add.at(dense, rows, values)  # a row that occurs twice has the sum of both gradients
        accumulator += (dense**2).mean(axis=1)
        reference -= RATE * dense / (np.sqrt(accumulator) + EPSILON)[:, None]
        optimizer.apply([tf.IndexedSlices(values, rows)], [table])
    np.testing.assert_allclose(table, reference, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optimizer.accumulators[0], accumulator, rtol=1e-5)


def test_a_small_table_is_updated_whole_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for limit in (ROWS, ROWS - 1):
        monkeypatch.setattr(optimizers, "_DENSE_ROWS", limit)
        table = tf.Variable(random_table())
        optimizer = RowWiseAdagrad([table], RATE, START, count_updates=True)
        for rows, values in zip(STEPS, gradients(), strict=True):
            optimizer.apply([tf.IndexedSlices(values, rows)], [table])
        outcomes.append(
            [table.numpy(), optimizer.accumulators[0].numpy(), optimizer.updates[0].numpy()]
        )
    for whole, rows_alone in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(whole, rows_alone)
    assert outcomes[0][2].tolist() == [1, 1, 0, 0, 2, 0, 0, 2, 0, 0, 0, 1]


@pytest.mark.usefixtures("touched")
def test_rows_outside_the_batch_stay_bit_identical() -> None:
    table = tf.Variable(random_table())
    optimizer = RowWiseAdagrad([table], RATE, START)
    optimizer.apply([tf.IndexedSlices(gradients()[0], STEPS[0])], [table])
    untouched = [row for row in range(ROWS) if row not in STEPS[0]]
    np.testing.assert_array_equal(table.numpy()[untouched], random_table()[untouched])
    np.testing.assert_array_equal(optimizer.accumulators[0].numpy()[untouched], np.float32(START))
    assert (table.numpy()[[4, 7]] != random_table()[[4, 7]]).all()


@pytest.mark.usefixtures("touched")
def test_a_table_without_gradient_is_left_alone_and_the_others_get_their_own() -> None:
    tables = [tf.Variable(random_table()) for _ in range(3)]
    optimizer = RowWiseAdagrad(tables, RATE)
    slices = tf.IndexedSlices(gradients()[0], STEPS[0])
    optimizer.apply([slices, None, slices], tables)
    np.testing.assert_array_equal(tables[1], random_table())
    np.testing.assert_array_equal(tables[0], tables[2])
    assert (tables[0].numpy() != random_table()).any()


def test_a_checkpoint_holds_the_accumulators(tmp_path: str) -> None:
    table = tf.Variable(random_table())
    optimizer, fresh = RowWiseAdagrad([table], RATE), RowWiseAdagrad([table], RATE)
    optimizer.apply([tf.IndexedSlices(gradients()[0], STEPS[0])], [table])
    saved = tf.train.Checkpoint(adagrad=optimizer).save(f"{tmp_path}/checkpoint")
    tf.train.Checkpoint(adagrad=fresh).restore(saved).assert_consumed()
    np.testing.assert_array_equal(fresh.accumulators[0], optimizer.accumulators[0])


def adams(
    *kinds: type[keras.optimizers.Adam],
) -> list[tuple[keras.optimizers.Adam, list[keras.Variable]]]:
    """Optimisers of two equal weights each, built."""
    made = []
    for kind in kinds:
        weights = [keras.Variable(random_table()), keras.Variable(random_table()[0])]
        optimizer = kind(RATE)
        optimizer.build(weights)
        made.append((optimizer, weights))
    return made


def adam_gradients() -> list[list[tf.Tensor]]:
    values = np.random.default_rng(4).standard_normal((6, ROWS + 1, WIDTH)).astype(np.float32)
    return [[tf.constant(value[:ROWS]), tf.constant(value[ROWS])] for value in values]


def test_adam_equals_its_definition() -> None:
    ((optimizer, weights),) = adams(FusedAdam)
    reference = [weight.numpy().astype(np.float64) for weight in weights]
    first, second = [[np.zeros_like(weight) for weight in reference] for _ in range(2)]
    for step, values in enumerate(adam_gradients(), 1):
        optimizer.apply(values, weights)
        for index, value in enumerate(
            values
        ):  # Kingma and Ba 2015, end of section 2, where epsilon stands beside the corrected root
            gradient = value.numpy().astype(np.float64)
            first[index] += 0.1 * (gradient - first[index])
            second[index] += 0.001 * (gradient**2 - second[index])
            rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            reference[index] -= rate * first[index] / (np.sqrt(second[index]) + 1e-7)
    for weight, expected in zip(weights, reference, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)


def test_adam_has_kerass_state_and_goes_on_from_it() -> None:
    """A checkpoint of the one is a checkpoint of the other."""
    (plain, theirs), (fused, ours) = adams(keras.optimizers.Adam, FusedAdam)
    *before, last = adam_gradients()
    for values in before:
        plain.apply(values, theirs)
    assert [variable.shape for variable in fused.variables] == [
        variable.shape for variable in plain.variables
    ]
    for pairs in (
        zip(fused.variables, plain.variables, strict=True),
        zip(ours, theirs, strict=True),
    ):
        for target, source in pairs:
            target.assign(source)
    for optimizer in (plain, fused):
        optimizer.learning_rate = RATE / 3
    plain.apply(last, theirs)
    fused.apply(last, ours)
    for mine, yours in (
        *zip(ours, theirs, strict=True),
        *zip(fused.variables, plain.variables, strict=True),
    ):
        np.testing.assert_allclose(mine, yours, rtol=1e-5, atol=1e-7)


def test_adam_leaves_a_weight_without_gradient_alone() -> None:
    ((optimizer, weights),) = adams(FusedAdam)
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        optimizer.apply([None, adam_gradients()[0][1]], weights)
    np.testing.assert_array_equal(weights[0], random_table())
    assert (weights[1].numpy() != random_table()[0]).all()
