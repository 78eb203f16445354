"""A bank whose kernels answer a row together (``routing.composed_ranks`` says which)."""

from typing import Any

import keras

from configs.tensorflow_import import tf
from trainer.kernels.bank import KernelBank
from trainer.kernels.kernel import KernelShape


@keras.saving.register_keras_serializable(package="recommender")
class ComposedBank(KernelBank):
    """A bank that adds up a share of what several kernels change in the logits of one.

    Args:
      slots: as of ``KernelBank``.
      shape: see there.
      share: of every change that is added.
      parts: P, how many changes may be added to a row's logits.

    Inputs: as of ``KernelBank``, but slots int32 ``[N, 1 + P]``: the kernel that a row starts from
    (0: the backbone), then those whose changes are added (0: none). A page whose rows have all the
    same slots multiplies their few slices at once. Otherwise every column is worked out as the
    slots of a ``KernelBank`` are, or not at all where no row has a kernel in it.
    """

    def __init__(
        self,
        slots: int,
        shape: KernelShape | dict[str, Any],
        share: float,
        parts: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(slots, shape, **kwargs)
        self.share, self.parts = share, parts
        self.slots_of_row = (1 + parts,)

    def call(self, taps: Any, logits: Any, slots: Any, users: Any = None) -> Any:
        """See the class."""
        return tf.cond(
            tf.reduce_all(tf.equal(slots, slots[:1])),
            lambda: self._page(taps, logits, tf.reduce_max(slots, axis=0), users),
            lambda: self._by_column(taps, logits, slots, users),
        )

    def _page(self, taps: Any, logits: Any, slots: Any, users: Any) -> Any:
        """Of rows that have all the same slots, ``[1 + P]`` (below 0 where there is no row)."""
        used = tf.boolean_mask(slots, tf.concat([[True], slots[1:] > 0], axis=0))
        used = tf.maximum(used, 0)
        weights = {name: tf.gather(variable.value, used) for name, variable in self.bank.items()}
        out = self._all_rows(taps, logits, weights, used)
        if self.gates:
            each, rows = tf.shape(used)[0], tf.shape(logits)[0]
            gated = self._gated(
                tf.tile(logits, [each, 1]),
                tf.reshape(out, [-1, self.shape.towers]),
                tf.repeat(used, rows),
                tf.tile(users, [each]),
            )
            out = tf.reshape(gated, tf.shape(out))
        start = out[0]
        return start + self.share * tf.reduce_sum(out[1:] - start, axis=0)

    def _by_column(self, taps: Any, logits: Any, slots: Any, users: Any) -> Any:
        start = super().call(taps, logits, slots[:, 0], users)
        total = start
        for part in range(1, 1 + self.parts):
            total += self._change(taps, logits, slots[:, part], users, start)
        return total

    def _change(self, taps: Any, logits: Any, slots: Any, users: Any, start: Any) -> Any:
        """What one column of slots adds to the logits that rows start from, ``[N, T]``."""

        def change() -> Any:
            # Rows without a kernel take another's, so that one slot may do for the whole column.
            filled = tf.where(slots > 0, slots, tf.reduce_max(slots))
            changed = super(ComposedBank, self).call(taps, logits, filled, users) - start
            return tf.where(slots[:, tf.newaxis] > 0, self.share * changed, 0.0)

        return tf.cond(tf.reduce_any(slots > 0), change, lambda: tf.zeros_like(start))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "share": self.share, "parts": self.parts}
