"""Which settings are tried next, and which trial is not worth its end: Optuna's tree-structured
Parzen estimator (Bergstra et al. 2011) and its median rule (Golovin et al. 2017).

Optuna keeps nothing on disk here: every question is put to a study that is made anew of the trials
that have ended, by a sampler whose seed is the trial's. So a search that was interrupted goes on as
if it had not been, and ``tune.json`` is all there is of it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from configs.random_streams import Purpose, integer_seed
from trainer.tuning.results import Trial
from trainer.tuning.search_space import SearchSpace, Settings

_ATTEMPTS = 100
"""To draw settings that were not tried yet."""
_DRAWN_FREELY = 10
"""Trials before the estimator has enough to go by (Optuna's default)."""
_NEVER_PRUNED = 5
"""Trials that end before others may be pruned (Optuna's default)."""
_EPOCHS_AT_LEAST = 2
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def next_settings(space: SearchSpace, ended: Sequence[Trial], number: int) -> Settings | None:
    """The settings of a trial.

    Args:
      space: what may be tried.
      ended: the trials before it.
      number: of the trial; 0 is the config as it is.

    Returns:
      A value for every key, which no other trial has had together; None where no such settings were
      found.
    """
    if not number:
        return dict(space.own)
    tried = [_text(trial.settings) for trial in ended]
    distributions = {key: _distribution(space, key) for key in space.ranges}
    for attempt in range(_ATTEMPTS):
        seed = integer_seed(space.base.seed, Purpose.TRIED_SETTINGS, number, attempt)
        sampler = optuna.samplers.TPESampler(n_startup_trials=_DRAWN_FREELY, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([_told(trial, distributions) for trial in ended if trial.state in _STATES])
        drawn = study.ask(distributions).params
        settings = {key: _decoded(space, key, drawn[key]) for key in space.ranges}
        if _text(settings) not in tried:
            return settings
    return None


class Pruner:
    """Says of a trial in training whether it goes on.

    After its second epoch, and where five others have come to their end, a trial is stopped whose
    best figure is below the median of theirs after as many epochs. Who stopped earlier for want of
    improvement keeps its best figure for the epochs that it did not need (our choice).

    Args:
      ended: the trials before it.
      epochs: the most that a trial may have.
    """

    def __init__(self, ended: Sequence[Trial], epochs: int) -> None:
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=_NEVER_PRUNED, n_warmup_steps=_EPOCHS_AT_LEAST
        )
        study = optuna.create_study(direction="maximize", pruner=pruner)
        study.add_trials([_told(trial, {}, epochs) for trial in ended if trial.state == "complete"])
        self._trial = study.ask({})
        self._epochs = 0

    def stops(self, curve: Sequence[float]) -> int | None:
        """The first epoch after which the trial is not worth its end; None where there is none.

        Args:
          curve: the best figure after each of its epochs, the earlier ones included.
        """
        while self._epochs < len(curve):
            self._epochs += 1
            self._trial.report(curve[self._epochs - 1], self._epochs)
            if self._trial.should_prune():
                return self._epochs
        return None


def _distribution(space: SearchSpace, key: str) -> BaseDistribution:
    limits = space.ranges[key]
    if limits.low is None or limits.high is None:
        return CategoricalDistribution([json.dumps(choice) for choice in limits.choices])
    if space.is_whole(key):
        return IntDistribution(int(limits.low), int(limits.high), log=limits.log)
    return FloatDistribution(limits.low, limits.high, log=limits.log)


def _decoded(space: SearchSpace, key: str, drawn: Any) -> Any:
    return json.loads(drawn) if space.ranges[key].choices else space.rounded(key, drawn)


def _told(
    trial: Trial, distributions: Mapping[str, BaseDistribution], epochs: int = 0
) -> FrozenTrial:
    """A trial as Optuna knows it, without the settings of the config that lie outside their
    ranges.
    """
    params: dict[str, Any] = {}
    for key, distribution in distributions.items():
        value = trial.settings[key]
        if isinstance(distribution, CategoricalDistribution):
            if (text := json.dumps(value)) in distribution.choices:
                params[key] = text
        elif (
            isinstance(distribution, IntDistribution | FloatDistribution)
            and isinstance(value, int | float)
            and distribution.low <= value <= distribution.high
        ):
            params[key] = value
    curve = [*trial.curve, *[trial.curve[-1]] * max(epochs - len(trial.curve), 0)]
    return optuna.create_trial(
        state=_STATES[trial.state],
        value=trial.value,
        params=params,
        distributions={key: distributions[key] for key in params},
        intermediate_values=dict(enumerate(curve, 1)),
    )


def _text(settings: Settings) -> str:
    return json.dumps(settings, sort_keys=True)
