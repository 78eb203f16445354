"""Keys of memory: one hash for a batch of raw rows and for the served graph."""

from itertools import combinations

import numpy as np
import pyarrow as pa
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs.memory import Memory
from preprocessing.features.key_hashes import hash_keys, hash_text, keys_of_batch

MEMORY = Memory.model_validate(
    {"keys": {"user": ["user"], "pair": ["user", "place"], "triple": ["place", "user", "item"]}}
)
TEXT = st.none() | st.text(max_size=12) | st.sampled_from(["a", "b", "ab", "", "é", "\U0001d54f"])


@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=20))
def test_a_batch_and_the_graph_agree(rows: list[tuple[str | None, ...]]) -> None:
    columns = dict(zip(("user", "place", "item"), map(list, zip(*rows, strict=True)), strict=True))
    batch = pa.RecordBatch.from_pydict({n: pa.array(v, pa.string()) for n, v in columns.items()})
    of_batch = keys_of_batch(MEMORY, batch)
    texts = {name: tf.constant([v or "" for v in values]) for name, values in columns.items()}
    graph = tf.function(
        lambda raw: hash_keys(MEMORY, {name: hash_text(text) for name, text in raw.items()})
    )
    served = graph(texts)
    assert of_batch.keys() == served.keys() == {f"memory/{name}" for name in MEMORY.keys}
    for name, key in MEMORY.keys.items():
        found = of_batch[f"memory/{name}"]
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, served[f"memory/{name}"].numpy())
        there = [all(values[c] for c in key) for values in map(dict, _rows(columns))]
        np.testing.assert_array_equal(found != 0, there)


def _rows(columns: dict[str, list[str | None]]) -> list[list[tuple[str, str | None]]]:
    return [[(n, columns[n][i]) for n in columns] for i in range(len(columns["user"]))]


def test_other_keys_have_other_hashes() -> None:
    """Among them those that a join of texts, or a sum of hashes, would confuse."""
    values = ["a", "b", "ab", "ba", "aa", "bb", "1", "11", "111", "a\x1fb"]
    pairs = [(x, y) for x in values for y in values]
    batch = pa.RecordBatch.from_pydict(
        {
            "user": [x for x, _ in pairs],
            "place": [y for _, y in pairs],
            "item": ["i"] * len(pairs),
        }
    )
    hashes = keys_of_batch(MEMORY, batch)
    assert len(set(hashes["memory/pair"].tolist())) == len(pairs)
    assert len(set(hashes["memory/user"].tolist())) == len(values)
    for one, other in combinations(hashes.values(), 2):
        assert not set(one.tolist()) & set(other.tolist())


def test_the_hash_never_changes() -> None:
    """What is stored today is looked up by tomorrow's program."""
    hashes = hash_text(tf.constant(["1", "", "usér"])).numpy().tolist()
    assert hashes == [80_785_766_752_259_042, 0, 7_561_905_745_108_193_737]
    batch = pa.RecordBatch.from_pydict({"user": ["1"], "place": ["home"], "item": [""]})
    keys = keys_of_batch(MEMORY, batch)
    assert keys["memory/pair"].tolist() == [6_547_953_394_237_388_612]
    assert keys["memory/triple"].tolist() == [0]


def test_without_memory_there_are_no_keys() -> None:
    assert keys_of_batch(None, pa.RecordBatch.from_pydict({"user": ["a"]})) == {}
