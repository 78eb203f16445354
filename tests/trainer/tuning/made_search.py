"""A search that nobody ran."""

from typing import Any

from configs import load_experiment
from tests.conftest import QUICKSTART, SMALL
from trainer.tuning.results import Trial, TuneResult
from trainer.tuning.search_space import SearchSpace

RATE, BODY, CROSSES = "pretrain.learning_rate", "backbone.body", "backbone.crosses"
TUNE = (
    f"tune={{{RATE}: {{low: 0.003, high: 0.03, log: true}}, {CROSSES}: {{low: 0, high: 1}},"
    f" {BODY}: {{choices: [mmoe, shared_bottom]}}}}"
)


def space(*settings: str) -> SearchSpace:
    """Of the small experiment."""
    return SearchSpace.of_file(str(QUICKSTART), [*SMALL, TUNE, *settings])


def trial(number: int, *curve: float, state: str = "complete", **settings: Any) -> Trial:
    """One with a figure after each of its epochs."""
    own = {BODY: "mmoe", CROSSES: 0, RATE: 0.01} | settings
    return Trial.model_validate(
        {
            "number": number,
            "settings": own,
            "state": state,
            "value": curve[-1] if curve else None,
            "curve": curve,
            "epochs": len(curve),
            "seconds": 1.5,
            "data": "a place/data",
        }
    )


def search(*trials: Trial, settings: tuple[str, ...] = ()) -> TuneResult:
    """With these trials."""
    experiment = load_experiment(QUICKSTART, [*SMALL, TUNE, *settings]).model_dump(mode="json")
    result = TuneResult(experiment=experiment, rows={"validation": "0"}, validation_rows=1_234)
    for one in trials:
        result = result.with_trial(one)
    return result
