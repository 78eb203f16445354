"""The methods under study by name: each a function ``(bench, experiment, splits, options) ->
{suffix: Outcome}``.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.method.adapters.bottleneck import Bottleneck
from benchmarks.method.adapters.last_layers import LastLayers
from benchmarks.method.adapters.lora import LoRA
from benchmarks.method.adapters.prompt import Prompt
from benchmarks.method.bench import Bench
from benchmarks.method.methods.backbone import backbone
from benchmarks.method.methods.boosted import boosted
from benchmarks.method.methods.calibration import calibration
from benchmarks.method.methods.full import full
from benchmarks.method.methods.history import history
from benchmarks.method.methods.id_biases import id_biases
from benchmarks.method.methods.oracle import oracle
from benchmarks.method.methods.scratch import scratch
from benchmarks.method.methods.tower_input import tower_input
from benchmarks.method.methods.tuned import baseline, kernels
from benchmarks.method.methods.update import update
from benchmarks.method.outcome import Outcome
from configs import Experiment

METHODS: dict[str, Callable[[Bench, Experiment, list[str], dict[str, Any]], dict[str, Outcome]]] = {
    "backbone": backbone,
    "oracle": oracle,
    "kernels": kernels,
    "last_layers": baseline(LastLayers.of),
    "bottleneck": baseline(Bottleneck.of),
    "lora": baseline(LoRA.of),
    "prompt": baseline(Prompt.of),
    "history": history,
    "tower_input": tower_input,
    "id_biases": id_biases,
    "calibration": calibration,
    "full": full,
    "update": update,
    "scratch": scratch,
    "lightgbm": boosted,
}
