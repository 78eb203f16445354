"""Row-wise Adagrad against a dense reference in NumPy."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.optimizer import RowWiseAdagrad

ROWS, WIDTH, RATE, START, EPSILON = 12, 3, 0.1, 0.01, 1e-7
STEPS = ([4, 4, 4, 7], [0, 11, 4, 0], [7, 7, 1, 1])

Floats = npt.NDArray[np.float32]


def random_table() -> Floats:
    return np.random.default_rng(1).standard_normal((ROWS, WIDTH)).astype(np.float32)


def gradients() -> list[Floats]:
    return list(np.random.default_rng(2).standard_normal((len(STEPS), 4, WIDTH)).astype(np.float32))


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


def test_rows_outside_the_batch_stay_bit_identical() -> None:
    table = tf.Variable(random_table())
    optimizer = RowWiseAdagrad([table], RATE, START)
    optimizer.apply([tf.IndexedSlices(gradients()[0], STEPS[0])], [table])
    untouched = [row for row in range(ROWS) if row not in STEPS[0]]
    np.testing.assert_array_equal(table.numpy()[untouched], random_table()[untouched])
    np.testing.assert_array_equal(optimizer.accumulators[0].numpy()[untouched], np.float32(START))
    assert (table.numpy()[[4, 7]] != random_table()[[4, 7]]).all()


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
