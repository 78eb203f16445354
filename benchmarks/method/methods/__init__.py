"""The methods under study by name: each a function ``(bench, experiment, splits, options) -> {suffix: Outcome}``."""

from collections.abc import Callable
from typing import Any

from benchmarks.method.bench import Bench
from benchmarks.method.methods.backbone import backbone
from benchmarks.method.methods.tuned import kernels
from benchmarks.method.outcome import Outcome
from configs import Experiment

METHODS: dict[str, Callable[[Bench, Experiment, list[str], dict[str, Any]], dict[str, Outcome]]] = {
    "backbone": backbone,
    "kernels": kernels,
}
