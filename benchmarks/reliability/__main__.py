"""``python -m benchmarks.reliability``: what must hold while versions change, writers are killed
and requests are damaged.

Every section runs in a process of its own. Figures that must be zero are counts of what went wrong.
"""

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.sections import run_sections
from configs.cli import run

SECTIONS = (
    "reload",
    "registry",
    "fuzz",
    "damage",
    "kills",
    "portable",
    "fleet",
    "remote",
    "workers",
    "hot_add",
    "thousand_domains",
    "zero_shot_calibration",
    "activation_rules",
    "drift",
    "day_two",
    "score",
    "every_day",
)
"""Modules of this package, each as ``run_sections`` takes it."""

if __name__ == "__main__":
    run(lambda: run_sections("benchmarks.reliability", SECTIONS, __doc__))
