"""ESMM over MMoE as one writes it in plain Keras: ``Embedding``, ``Dense``, Adam, ``fit``.
Argument: the folder of ``handed``.
"""

import sys
from pathlib import Path
from typing import Any

import keras
from keras import ops

from benchmarks.speed.peers.handed import Handed, learn_by_fit


def build(handed: Handed) -> keras.Model:
    """The compiled model: a dict of inputs to the probabilities of a click and of a click with a
    conversion.
    """
    inputs = {
        column.name: keras.Input(
            (column.length,) if column.kind == "ids" else (),
            dtype="float32" if column.kind == "number" else "int32",
            name=column.name,
        )
        for column in handed.columns
    }
    tables = {
        column.table: keras.layers.Embedding(column.size, handed.dimension)
        for column in handed.columns
        if column.kind == "id"
    }
    vectors = []
    for column in handed.columns:
        values = inputs[column.name]
        if column.kind == "number":
            vectors.append(ops.expand_dims(values, -1))
            continue
        vector = tables[column.table](values)
        if column.kind == "ids":
            present = ops.cast(ops.expand_dims(values > 0, -1), "float32")
            vector = ops.sum(vector * present, axis=1) / ops.maximum(ops.sum(present, axis=1), 1.0)
        vectors.append(vector)
    x = ops.concatenate(vectors, axis=-1)
    experts = ops.stack([_dense(x, handed.expert_layers) for _ in range(handed.experts)], axis=1)
    click, conversion = (_task(x, experts, handed) for _ in range(2))
    model = keras.Model(inputs, [click, click * conversion])
    model.compile(
        optimizer=keras.optimizers.Adam(handed.learning_rate), loss=["binary_crossentropy"] * 2
    )
    return model


def _dense(x: Any, widths: tuple[int, ...]) -> Any:
    for width in widths:
        x = keras.layers.Dense(width, "relu")(x)
    return x


def _task(x: Any, experts: Any, handed: Handed) -> Any:
    gate = keras.layers.Dense(handed.experts, "softmax")(x)
    mixed = ops.sum(experts * ops.expand_dims(gate, -1), axis=1)
    return keras.layers.Dense(1, "sigmoid")(_dense(mixed, handed.tower_layers))


def main(folder: Path) -> None:
    """Trains and scores."""
    handed = Handed.load(folder)
    learn_by_fit(folder, "plain_keras", build(handed), keras.callbacks.LambdaCallback, handed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
