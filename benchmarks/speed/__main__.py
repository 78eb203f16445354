"""``python -m benchmarks.speed``: how fast every stage is, beside the peers and beside what the
machine allows.

Every section runs in a process of its own, so that its peak memory is its own and no section warms
another's caches.
"""

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.sections import run_sections
from benchmarks.speed.options import Figures
from configs.cli import run

SECTIONS = (
    "startup",
    "preprocessing",
    "distinct_values",
    "input",
    "step",
    "vocabulary",
    "billion",
    "kernels",
    "serving",
    "memory",
)
"""Modules of this package; each has ``measure(options: Options) -> Figures``."""


def _machine(quick: bool) -> Figures:
    from benchmarks.speed.hardware import machine  # TensorFlow: not for --help

    return machine(quick)


if __name__ == "__main__":
    run(lambda: run_sections("benchmarks.speed", SECTIONS, __doc__, _machine))
