"""Lets the graph itself refuse inputs whose first dimensions do not belong together: the stock
server looks at data types and names alone, and gathers and look-ups take what they get.
"""

from collections.abc import Collection

from configs.tensorflow_import import tf


def check_rows(inputs: dict[str, tf.Tensor], once: Collection[str] = ()) -> dict[str, tf.Tensor]:
    """The inputs, which cannot be read before they are found to fit: as many rows in each as in
    every other, one in those of ``once``, and lists as long as the signature says where it does.
    What does not fit is INVALID_ARGUMENT.

    Shapes are asked for by data type, and all compared at once: a comparison for each of dozens of
    columns would take as long as a small model.
    """
    each = _rows([tensor for name, tensor in inputs.items() if name not in once])
    conditions = [(_equal(each), "inputs must have the same number of rows, received", each)]
    if once:
        shared = _rows([inputs[name] for name in inputs if name in once])
        fits = tf.reduce_all(tf.equal(shared, 1))
        names = ", ".join(sorted(once))
        conditions.append((fits, f"expected one row in each of {names}, received", shared))
    for name, tensor in inputs.items():
        if tensor.shape.rank == 2 and tensor.shape[1] is not None:
            length = tf.shape(tensor)[1:]
            words = f"expected {tensor.shape[1]} numbers in each row of {name}, received"
            conditions.append((tf.reduce_all(tf.equal(length, tensor.shape[1])), words, length))
    checks = [
        tf.debugging.Assert(fits, [words, received], summarize=100)
        for fits, words, received in conditions
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in inputs.items()}


def _rows(tensors: list[tf.Tensor]) -> tf.Tensor:
    """First dimensions, ``[len(tensors)]``."""
    kinds: dict[tuple[tf.DType, int], list[tf.Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.shape.rank), []).append(tensor)
    found = []
    for (_, rank), alike in kinds.items():
        shapes = tf.concat(tf.shape_n(alike), 0)
        found.append(shapes[::rank] if rank > 1 else shapes)
    return tf.concat(found, 0)


def _equal(rows: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.equal(rows, rows[:1]))
