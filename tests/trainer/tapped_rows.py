"""Made-up rows whose labels a kernel can read off the taps, and kernels that read them rightly,
wrongly or not at all.
"""

from dataclasses import replace

import numpy as np

from tests.trainer.conftest import random_rows
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.kernel import KernelShape, KernelWeights


def tapped_rows(rows: int = 1_500, users: int = 300, seed: int = 5) -> BackboneOutputs:
    """Rows of many users whose labels follow the first number of their taps; the backbone's logits
    say nothing.
    """
    generator = np.random.default_rng(seed)
    made = random_rows(rows, seed=seed)
    signal = made.taps[:, 0, 0]
    made.taps[:, 1, 0] = signal
    click = (signal + generator.standard_normal(rows) > 0).astype(np.float32)
    conversion = click * (signal + generator.standard_normal(rows) > 0)
    labels = {
        "label/click": click,
        "label/conversion": conversion.astype(np.float32),
        "row/user": generator.integers(0, users, rows),
    }
    return replace(made, columns=made.columns | labels)


def tapped_kernel(shape: KernelShape, strength: float, seed: int = 0) -> KernelWeights:
    """A residual kernel that adds ``strength`` times the first number of the tap: it helps where
    that is above 0 and harms where it is below. Seeds differ by what hardly matters.
    """
    generator = np.random.default_rng(seed)
    made = {
        name: 1e-4 * generator.standard_normal(size, np.float32)
        for name, size in shape.variables().items()
    }
    made["weight_0"][:, 0, 0], made["weight_0"][:, 0, 1] = 1.0, -1.0  # relu(x) and relu(-x)
    made["weight_1"][:, 0, 0], made["weight_1"][:, 1, 0] = strength, -strength
    return made
