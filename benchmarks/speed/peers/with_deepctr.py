"""ESMM over DeepCTR's MMoE, trained by ``fit`` of the Keras 2 that it needs. Argument: the
folder of ``handed``.
"""

import sys
from pathlib import Path

import tf_keras
from deepctr.feature_column import DenseFeat, SparseFeat, VarLenSparseFeat  # type: ignore[import-not-found]
from deepctr.models import MMOE  # type: ignore[import-not-found]

from benchmarks.speed.peers.handed import Column, Handed, learn_by_fit


def feature(column: Column, dimension: int) -> object:
    """DeepCTR's description of an input."""
    if column.kind == "number":
        return DenseFeat(column.name, 1)
    ids = SparseFeat(
        column.name,
        vocabulary_size=column.size,
        embedding_dim=dimension,
        embedding_name=column.table,
    )
    return (
        VarLenSparseFeat(ids, maxlen=column.length, combiner="mean")
        if column.kind == "ids"
        else ids
    )


def main(folder: Path) -> None:
    """Trains and scores."""
    handed = Handed.load(folder)
    mmoe = MMOE(
        [feature(column, handed.dimension) for column in handed.columns],
        num_experts=handed.experts,
        expert_dnn_hidden_units=handed.expert_layers,
        tower_dnn_hidden_units=handed.tower_layers,
        l2_reg_embedding=0.0,
        task_names=("click", "conversion"),
    )
    click, conversion = mmoe.outputs
    model = tf_keras.Model(mmoe.inputs, [click, tf_keras.layers.Multiply()([click, conversion])])
    model.compile(
        optimizer=tf_keras.optimizers.Adam(handed.learning_rate), loss=["binary_crossentropy"] * 2
    )
    learn_by_fit(folder, "deepctr", model, tf_keras.callbacks.LambdaCallback, handed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
