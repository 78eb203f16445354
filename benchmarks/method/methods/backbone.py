"""A backbone by itself: zero-shot, retrained, or of another body; trained from scratch on its experiment's ``pretrain`` split."""

from typing import Any

from benchmarks.method.bench import Bench
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import ALL


def backbone(bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]) -> dict[str, Outcome]:
    """Scores of the backbone, no domain's model."""
    history = bench.job.backbone / "history.json"
    return {
        "": Outcome(
            logits={split: {ALL: bench.rows(split).logits} for split in splits},
            parameters=sum(int(weight.shape.num_elements()) for weight in bench.backbone.weights),
            rows=bench.dataset.rows(experiment.pretrain.split) * experiment.pretrain.epochs,
            seconds=bench.pretrain_seconds,
            notes={"history": history.read_text()},
        )
    }
