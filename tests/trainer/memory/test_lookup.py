"""What is served of memory: by NumPy, by the graph, and worked out one by one."""

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs.memory import Memory
from trainer.memory.counts import Counts, KeyCounts
from trainer.memory.lookup import MemoryTables, rates_of_rows
from trainer.memory.rates import rates

MEMORY = Memory.model_validate({"keys": {"user": ["user"], "shop": ["shop"]}})
HASHES = st.integers(-(2**63), 2**63 - 2).filter(bool)


@st.composite
def stored(draw: st.DrawFn) -> Counts:
    def of_key() -> KeyCounts:
        hashes = np.array(sorted(draw(st.sets(HASHES, max_size=6))), np.int64)
        rows = np.array(
            draw(st.lists(st.floats(0.1, 1e6), min_size=len(hashes), max_size=len(hashes)))
        )
        shares = np.linspace(0.0, 1.0, len(hashes)) if len(hashes) else np.empty(0)
        sums = np.stack([rows, rows * shares, rows * shares, rows * shares / 2], axis=1)
        return KeyCounts(hashes, sums)

    total = np.array([100.0, 30.0, 30.0, draw(st.sampled_from([0.0, 10.0]))])
    return Counts(3, total, {name: of_key() for name in MEMORY.keys})


@given(counts=stored(), data=st.data())
def test_numpy_and_the_graph_find_the_same(counts: Counts, data: st.DataObject) -> None:
    keys = {}
    for name, held in counts.keys.items():
        known = st.sampled_from([0, *held.hashes.tolist()]) | HASHES
        keys[f"memory/{name}"] = np.array(
            data.draw(st.lists(known, min_size=4, max_size=4)), np.int64
        )
    found = rates_of_rows(MEMORY, counts, keys)
    tables = MemoryTables(MEMORY, counts)
    graph = tf.function(tables.rates)
    served = graph({name: tf.constant(values) for name, values in keys.items()})
    np.testing.assert_array_equal(found, served.numpy())
    assert found.shape == (4, MEMORY.width(2))
    by_key = found.reshape(4, len(MEMORY.keys), 3)
    for index, (name, held) in enumerate(counts.keys.items()):
        of_all = rates(MEMORY, held.sums, counts.total)
        for row, key in enumerate(keys[f"memory/{name}"].tolist()):
            place = np.flatnonzero(held.hashes == key)
            expected = of_all[place[0]] if len(place) else np.zeros(3, np.float32)
            np.testing.assert_array_equal(by_key[row, index], expected)


def test_a_key_of_all_rows_is_that_of_each() -> None:
    sums = np.array([[9.0, 3.0, 3.0, 1.0], [20.0, 9.0, 9.0, 4.0]])
    held = KeyCounts(np.array([5, 7]), sums)
    counts = Counts(0, np.array([90.0, 20.0, 20.0, 9.0]), dict.fromkeys(MEMORY.keys, held))
    tables, shops = MemoryTables(MEMORY, counts), tf.constant([5, 8, 7], tf.int64)
    for user in (7, 6):
        once = {"memory/user": tf.constant([user], tf.int64), "memory/shop": shops}
        each = once | {"memory/user": tf.fill([3], tf.constant(user, tf.int64))}
        np.testing.assert_array_equal(tables.rates(once, tf.constant(3)), tables.rates(each))
    single = {name: tf.constant([7], tf.int64) for name in once}
    assert tables.rates(single).shape == (1, MEMORY.width(2))
    np.testing.assert_array_equal(
        tables.rates(single, tf.constant(2)), np.tile(tables.rates(single), (2, 1))
    )


@given(
    all_rows=st.lists(st.floats(0.0, 1e9), min_size=2, max_size=2),
    shares=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2),
)
def test_rates_are_finite_and_nothing_is_read_of_what_was_never_seen(
    all_rows: list[float], shares: list[float]
) -> None:
    total = [*all_rows, *np.multiply(all_rows, shares)]
    sums = np.array([[0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    read = rates(MEMORY, sums, np.array(total))
    assert np.isfinite(read).all()
    np.testing.assert_array_equal(read[0], np.zeros(3))
    assert read[1, 1] == 0.0, "no row of the task's sample space says nothing of the task"


def test_a_rate_by_hand() -> None:
    """Ten prior rows of a fifth, and ten rows of which six are clicks: eight of twenty."""
    memory = Memory.model_validate({"keys": {"user": ["user"]}, "prior_rows": 10})
    read = rates(memory, np.array([[10.0, 6.0, 6.0, 3.0]]), np.array([500.0, 100.0, 100.0, 50.0]))
    np.testing.assert_allclose(
        read[0], [np.log(0.4 / 0.6) - np.log(0.2 / 0.8), 0.0, np.log(11.0)], rtol=1e-6, atol=1e-7
    )


def test_another_number_of_keys_is_the_same_graph() -> None:
    """A refresh changes the length of the variables, and nothing else of a version."""

    def counts(size: int) -> Counts:
        hashes = np.arange(1, size + 1)
        sums = np.tile([9.0, 3.0, 3.0, 1.0], (size, 1))
        return Counts(
            0, np.array([9.0, 2.0, 2.0, 1.0]), dict.fromkeys(MEMORY.keys, KeyCounts(hashes, sums))
        )

    small, large = (MemoryTables(MEMORY, counts(size)) for size in (2, 50))
    graph = tf.function(small.rates)
    keys = {f"memory/{name}": tf.constant([1, 40]) for name in MEMORY.keys}
    keys = {name: tf.cast(values, tf.int64) for name, values in keys.items()}
    assert not graph(keys).numpy()[1].any()
    for name, variable in small.variables().items():
        variable.assign(large.variables()[name])
    assert graph(keys).numpy()[1].all()
    assert graph.experimental_get_tracing_count() == 1
