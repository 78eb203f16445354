"""What this machine allows: the bounds that figures are read against. Measured, not looked up."""

import os
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.speed.options import Figures

_WIDE = 2048


def fastest(run: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of several runs, after one that is not counted."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def matmul_gflops(dtype: tf.DType, size: int = _WIDE) -> float:
    """Rate of wide square products on all cores: of one, or of several side by side where an
    operation has one thread.
    """
    side_by_side = (
        os.cpu_count() or 1 if tf.config.threading.get_intra_op_parallelism_threads() == 1 else 1
    )
    left, right = (tf.cast(tf.random.normal((size, size)), dtype) for _ in range(2))
    products = tf.function(
        lambda: [tf.matmul(left + index, right)[0, 0] for index in range(side_by_side)]
    )
    return (
        side_by_side
        * 2
        * size**3
        / fastest(lambda: [product.numpy() for product in products()])
        / 1e9
    )


def copy_gib_per_s(mib: int = 256) -> float:
    """Memory bandwidth of one core's copy, counted as bytes read and written."""
    source = np.ones(mib << 20, np.uint8)
    target = np.empty_like(source)
    return 2 * mib / 1024 / fastest(lambda: np.copyto(target, source))


def machine(quick: bool) -> Figures:
    """The bounds that every section's figures stand beside."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "matmul_float32_gflops": matmul_gflops(tf.float32, 256 if quick else _WIDE),
        "matmul_bfloat16_gflops": matmul_gflops(tf.bfloat16, 256 if quick else _WIDE),
        "copy_gib_per_s": copy_gib_per_s(16 if quick else 256),
    }
