"""Holds the bank: kernels in slots, to which rows are routed; and joins backbone and bank into one
model.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from configs.tensorflow_import import tf
from trainer.backbone.model import read_tap
from trainer.kernels.gate import GATE, SUPPORT, apply_gate, every_trust, row_trust
from trainer.kernels.kernel import KernelShape, kernel_logits

_GATHERED_ROWS = 512


SLOT = "kernel/slot"
"""Input of the domain model that says which kernel answers each row; no feature can have this
name.
"""


MEMORY = "kernel/memory"
"""Input of the domain model: what each row remembers, where kernels read it."""


@keras.saving.register_keras_serializable(package="recommender")
class KernelBank(keras.layers.Layer):
    """Kernels in slots; slot 0 is the identity, the pure backbone.

    Args:
      slots: number of slots, the identity included.
      shape: of every kernel (a ``KernelShape``, or its JSON form).

    Inputs: taps ``[N, T, d_in]`` (or ``[N, 1, d_in]``), backbone logits ``[N, T]``, slots int32
    ``[N]``, and user ids int32 ``[N]`` where kernels are gated. Output: logits ``[N, T]``. Rows of
    one slot multiply one slice; a mixed batch gathers a slice a row. Neither grows with the number
    of slots.

    Attributes:
      slots_of_row: shape of a row's slots: one here.
    """

    slots_of_row: tuple[int, ...] = ()

    def __init__(self, slots: int, shape: KernelShape | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.slots = slots
        self.shape = shape if isinstance(shape, KernelShape) else KernelShape.from_json(shape)
        self.bank = {
            name: self.add_weight(shape=(slots, *size), initializer="zeros", name=name)
            for name, size in self.shape.variables().items()
        }
        self.gates = {
            name: self.add_weight(
                (slots, *size),
                "ones" if name == GATE else "zeros",
                dtype,
                trainable=False,
                name=name,
            )
            for name, (size, dtype) in self.shape.arrays().items()
            if name not in self.bank
        }
        self.built = True

    def put(self, slot: int, kernel: dict[str, npt.NDArray[np.float32]]) -> None:
        """Writes a kernel into a slot from 1 on."""
        if not 1 <= slot < self.slots:
            raise ValueError(f"slot {slot}: expected 1 to {self.slots - 1}; slot 0 is the backbone")
        for name, variable in (self.bank | self.gates).items():
            variable.value[slot].assign(kernel[name])  # in place: the other slots are not copied

    def call(self, taps: Any, logits: Any, slots: Any, users: Any = None) -> Any:
        """See the class."""
        first = slots[:1]
        out = tf.cond(
            tf.reduce_all(tf.equal(slots, first)),
            lambda: self._grouped(
                tf.transpose(taps, [1, 0, 2])[tf.newaxis], tf.transpose(logits)[tf.newaxis], first
            ),
            lambda: self._mixed(taps, logits, slots),
        )
        return self._gated(logits, out, slots, users)

    def every_slot(self, taps: Any, logits: Any, users: Any = None, used: Any = None) -> Any:
        """Logits of every row under each of the first ``used`` slots, ``[used, N, T]``; under
        every slot where None.
        """
        rows, count = logits, self.slots if used is None else used
        weights = {name: variable.value[:count] for name, variable in self.bank.items()}
        out = self._all_rows(taps, logits, weights, tf.range(count))
        if not self.gates:
            return out
        gate, support = (self.gates[name].value[:count] for name in (GATE, SUPPORT))
        return apply_gate(rows, out, every_trust(gate, support, users))

    def _gated(self, logits: Any, out: Any, slots: Any, users: Any) -> Any:
        """Logits under the gates of the slots that gave them, all ``[N, T]``."""
        if not self.gates:
            return out
        gate, support = self.gates[GATE].value, self.gates[SUPPORT].value
        return apply_gate(logits, out, row_trust(gate, support, slots, users))

    def _all_rows(self, taps: Any, logits: Any, weights: Any, slots: Any) -> Any:
        """Logits of every row under each of M slots, whose weights these are, ``[M, N, T]``; gates
        are left out.
        """
        taps, logits = tf.transpose(taps, [1, 0, 2])[tf.newaxis], tf.transpose(logits)[tf.newaxis]
        out = kernel_logits(self.shape, weights, taps, logits, self._residual(slots))
        return tf.transpose(out, [0, 2, 1])

    def _mixed(self, taps: Any, logits: Any, slots: Any) -> Any:
        """A slice is gathered for every row, so rows go in parts: what a request makes us
        allocate must not grow with its rows.
        """
        rows = tf.shape(slots)[0]
        parts = (rows + _GATHERED_ROWS - 1) // _GATHERED_ROWS
        size = (rows + parts - 1) // parts
        padding = parts * size - rows

        def in_parts(tensor: Any) -> Any:
            padded = tf.pad(tensor, [[0, padding], *([[0, 0]] * (len(tensor.shape) - 1))])
            return tf.reshape(padded, tf.concat([[parts, size], tf.shape(tensor)[1:]], axis=0))

        out = tf.map_fn(
            lambda part: self._grouped(
                part[0][:, :, tf.newaxis, :], part[1][:, :, tf.newaxis], part[2]
            ),
            (in_parts(taps), in_parts(logits), in_parts(slots)),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec([None, self.shape.towers], tf.float32),
        )
        return tf.reshape(out, [-1, self.shape.towers])[:rows]

    def _grouped(self, taps: Any, logits: Any, slots: Any) -> Any:
        weights = {name: tf.gather(variable.value, slots) for name, variable in self.bank.items()}
        out = kernel_logits(self.shape, weights, taps, logits, self._residual(slots))
        return tf.reshape(tf.transpose(out, [0, 2, 1]), [-1, self.shape.towers])

    def _residual(self, slots: Any) -> Any:
        """1 where the backbone's logit is added, ``[M, 1, 1]``; slot 0 always adds it."""
        added = (
            tf.ones_like(slots) if self.shape.residual else tf.cast(tf.equal(slots, 0), slots.dtype)
        )
        return tf.cast(added, tf.float32)[:, tf.newaxis, tf.newaxis]

    def compute_output_spec(
        self, taps: Any, logits: Any, slots: Any, users: Any = None
    ) -> keras.KerasTensor:
        """Shape of the output; given here because a symbolic call cannot route."""
        return keras.KerasTensor((logits.shape[0], self.shape.towers), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "slots": self.slots, "shape": self.shape.to_json()}


def kernel_inputs(shape: KernelShape, heads: dict[str, Any], memory: Any = None) -> Any:
    """What kernels read, ``[N, T, d_in]``: the tap, and beside it what each row remembers.

    Args:
      shape: of the kernels.
      heads: of the backbone.
      memory: float32 ``[N, w]``, where the kernels read it.
    """
    tap = read_tap(heads, shape.tap)
    if not shape.memory:
        return tap
    by_task = keras.ops.stack([memory] * tap.shape[1], axis=1)  # one operation, unlike `repeat`
    return keras.ops.concatenate([tap, by_task], axis=-1)


def domain_model(backbone: keras.Model, bank: KernelBank) -> keras.Model:
    """The second graph: the frozen backbone's inputs, ``SLOT`` int32 ``[N]`` (of a
    ``ComposedBank`` ``[N, 1 + P]``), and ``MEMORY`` float32 ``[N, w]`` where kernels read it ->
    domain logits ``[N, T]``.
    """
    shape, slot = bank.shape, keras.Input(bank.slots_of_row, dtype="int32", name="slot")
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for name, tensor in backbone.input.items()
    }
    heads = backbone(inputs, training=False)
    users = (inputs[shape.user],) if shape.support else ()
    remembered = {}
    if shape.remembers:
        width = shape.remembers.width(shape.towers)
        remembered[MEMORY] = keras.Input((width,), dtype="float32", name="memory")
    taps = kernel_inputs(shape, heads, remembered.get(MEMORY))
    logits = bank(taps, heads["logits"], slot, *users)
    return keras.Model({**inputs, **remembered, SLOT: slot}, logits, name="domain_model")
