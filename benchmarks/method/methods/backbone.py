"""A backbone by itself: zero-shot, retrained, or of another body; trained from scratch on its
experiment's ``pretrain`` split.
"""

from typing import Any

from benchmarks.method.bench import Bench
from benchmarks.method.outcome import Outcome
from configs import Experiment
from configs.domains import ALL
from configs.files import read_json


def backbone(
    bench: Bench, experiment: Experiment, splits: list[str], options: dict[str, Any]
) -> dict[str, Outcome]:
    """Scores of the backbone, no domain's model. ``rows`` ends with the epoch or the validation
    that stopped pre-training.
    """
    history, settings = bench.job.backbone / "history.json", experiment.pretrain
    steps = max(validated["step"] for validated in read_json(history))
    rows = min(bench.dataset.rows(settings.split) * settings.epochs, steps * settings.batch_size)
    if settings.progressive:
        rows += bench.dataset.rows(experiment.finetune.split)
    return {
        "": Outcome(
            logits={split: {ALL: bench.rows(split).logits} for split in splits},
            parameters=sum(int(weight.shape.num_elements()) for weight in bench.backbone.weights),
            rows=rows,
            seconds=bench.pretrain_seconds,
            notes={"history": history.read_text()},
        )
    }
