"""The row-wise optimiser of embedding tables."""

import tensorflow as tf


class RowWiseAdagrad(tf.Module):
    """Adagrad with one accumulator a row, touching only the rows of the batch (as in DLRM, Naumov et al. 2019).

    For a row with summed gradient g:  a <- a + mean(g^2),  row <- row - rate * g / (sqrt(a) + epsilon).
    Keras optimisers are dense on embeddings: their step grows with the table; this one's does not, and its state is one float a row.

    Args:
      tables: embedding variables ``[rows, dimension]``.
      learning_rate: default rate.
      initial_accumulator: where every accumulator starts.
    """

    def __init__(self, tables: list[tf.Variable], learning_rate: float, initial_accumulator: float = 0.01, epsilon: float = 1e-7) -> None:
        super().__init__(name="row_wise_adagrad")
        self._rate, self._epsilon = learning_rate, epsilon
        self.accumulators = [tf.Variable(tf.fill([table.shape[0]], initial_accumulator), trainable=False) for table in tables]

    def apply(self, gradients: list[tf.IndexedSlices | None], tables: list[tf.Variable]) -> None:
        """Updates ``tables`` (those of the constructor, in its order) in place. A row that occurs several times is updated once."""
        for gradient, table, accumulator in zip(gradients, tables, self.accumulators, strict=True):
            if gradient is None:
                continue
            rows, position = tf.unique(gradient.indices)
            summed = tf.math.unsorted_segment_sum(gradient.values, position, tf.size(rows))
            accumulator.scatter_add(tf.IndexedSlices(tf.reduce_mean(tf.square(summed), axis=1), rows))
            scale = self._rate / (tf.sqrt(tf.gather(accumulator, rows)) + self._epsilon)
            table.scatter_sub(tf.IndexedSlices(summed * scale[:, tf.newaxis], rows))
