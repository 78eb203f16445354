"""The optimisers of a backbone: row-wise Adagrad for embedding tables, Adam in one operation a
weight for the rest.
"""

from typing import Any, TypeAlias

import keras

from configs.tensorflow_import import tf
from trainer.distribution.workers import Rows

_DENSE_ROWS = 1 << 14
"""Tables of at most so many rows are updated whole: their sums are soon made, and no batch's
rows need to be told apart.
"""

RowSums: TypeAlias = tf.Tensor | Rows | None
"""A table's gradient with one value a row: of all rows, or of those of the batch; None where there
is no gradient.
"""


def summed_by_row(
    gradients: list[tf.IndexedSlices | None], tables: list[tf.Variable]
) -> list[RowSums]:
    """The gradients of tables, a row's values summed where it occurs several times."""
    found: list[RowSums] = []
    for gradient, table in zip(gradients, tables, strict=True):
        if gradient is None:
            found.append(None)
        elif table.shape[0] <= _DENSE_ROWS:
            found.append(
                tf.math.unsorted_segment_sum(gradient.values, gradient.indices, table.shape[0])
            )
        else:
            numbers, position = tf.unique(gradient.indices)
            sums = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(numbers))
            found.append(Rows(numbers, sums))
    return found


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam (Kingma and Ba 2015) with its state and its formula, each weight updated by one
    operation instead of some twenty.

    Those of a batch's some thirty small weights are more than half of a step's operations, and
    every one is scheduled.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a dense TensorFlow ``variable`` in place; Keras calls this for every weight
        that has a gradient.
        """
        step = tf.cast(self.iterations.value + 1, tf.float32)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class RowWiseAdagrad(tf.Module):
    """Adagrad with one accumulator a row, touching only the rows of the batch (as in DLRM, Naumov
    et al. 2019).

    For a row with summed gradient g:  a <- a + mean(g^2),  row <- row - rate * g / (sqrt(a) +
    epsilon). Keras optimisers are dense on embeddings: their step grows with the table; this one's
    does not, and its state is one float a row.

    Args:
      tables: embedding variables ``[rows, dimension]``.
      learning_rate: default rate.
      initial_accumulator: where every accumulator starts.
      count_updates: whether to count every row's updates of other than zero in ``updates`` (float32
        ``[rows]`` a table, empty where not asked for). Accumulators do not tell: squares of small
        gradients are lost in their rounding.
    """

    def __init__(
        self,
        tables: list[tf.Variable],
        learning_rate: float,
        initial_accumulator: float = 0.01,
        epsilon: float = 1e-7,
        count_updates: bool = False,
    ) -> None:
        super().__init__(name="row_wise_adagrad")
        self._rate, self._epsilon = learning_rate, epsilon
        self.accumulators = [
            tf.Variable(tf.fill([table.shape[0]], initial_accumulator), trainable=False)
            for table in tables
        ]
        self.updates = (
            [tf.Variable(tf.zeros([table.shape[0]]), trainable=False) for table in tables]
            if count_updates
            else []
        )

    def apply(self, gradients: list[tf.IndexedSlices | None], tables: list[tf.Variable]) -> None:
        """Updates ``tables`` (those of the constructor, in its order) in place. A row that
        occurs several times is updated once.
        """
        self.apply_sums(summed_by_row(gradients, tables), tables)

    def apply_sums(self, sums_by_row: list[RowSums], tables: list[tf.Variable]) -> None:
        """``apply``, of gradients that have been summed (``summed_by_row``)."""
        for index, (gradient, table, accumulator) in enumerate(
            zip(sums_by_row, tables, self.accumulators, strict=True)
        ):
            if gradient is None:
                continue
            if not isinstance(gradient, Rows):
                summed = gradient
                sums = accumulator.assign_add(tf.reduce_mean(tf.square(summed), axis=1))
                table.assign_sub(
                    self._change(summed, sums)
                )  # a sum of 0 moves neither the row nor its accumulator
                row_index = tf.range(table.shape[0])
            else:
                row_index, summed = gradient
                accumulator.scatter_add(
                    tf.IndexedSlices(tf.reduce_mean(tf.square(summed), axis=1), row_index)
                )
                table.scatter_sub(
                    tf.IndexedSlices(
                        self._change(summed, tf.gather(accumulator, row_index)), row_index
                    )
                )
            if self.updates:
                changed = tf.cast(tf.reduce_any(summed != 0.0, axis=1), tf.float32)
                self.updates[index].scatter_add(tf.IndexedSlices(changed, row_index))

    def _change(self, summed: tf.Tensor, accumulated: tf.Tensor) -> tf.Tensor:
        return summed * (self._rate / (tf.sqrt(accumulated) + self._epsilon))[:, tf.newaxis]
