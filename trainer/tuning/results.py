"""Defines ``tune.json``: every trial, and which was best. It is all that a search goes on from."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from configs.digests.sealed_json import write_sealed
from configs.errors import InputError
from configs.section import Section, read_section
from configs.tuning.ranges import Range

RESULT = "tune.json"


class Trial(Section):
    """One backbone that was trained, or is.

    Attributes:
      number: from 0, which is the config as it is.
      settings: dotted key -> value.
      state: ``running`` until it ends, also where it was interrupted; ``pruned`` where it was
        stopped for being worse than half of the others; ``failed`` where it could not be trained.
      value: the best of its figures of validation, the larger the better: mean AUC, or minus the
        loss where ``pretrain.monitor`` is that; None until it ends, and where it failed.
      curve: the same after each of its epochs.
      epochs: that it was trained.
      seconds: that took, of one that was interrupted since it went on.
      data: folder of the dataset that it is trained on.
      reason: why it failed.
    """

    number: int
    settings: dict[str, Any]
    state: Literal["running", "complete", "pruned", "failed"] = "running"
    value: float | None = None
    curve: tuple[float, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    data: str | None = None
    reason: str | None = None


class TuneResult(Section):
    """A search.

    Attributes:
      experiment: the config as it is, with its ``tune`` section.
      rows: split -> digest of the rows of the config's own dataset that teach or judge.
      validation_rows: how many rows judge.
      trials: in the order in which they were begun.
      best: number of the trial with the largest value; None until one is complete.
      gain: its value less that of trial 0.
      job: its job directory, beside this file.
    """

    experiment: dict[str, Any]
    rows: dict[str, str]
    validation_rows: int
    trials: tuple[Trial, ...] = ()
    best: int | None = None
    gain: float | None = None
    job: str | None = None

    @property
    def pretrain(self) -> Mapping[str, Any]:
        """The config's ``pretrain`` section."""
        found: dict[str, Any] = self.experiment["pretrain"]
        return found

    @property
    def ranges(self) -> dict[str, Range]:
        """What is tried, by key, in the order of the keys."""
        given = sorted(self.experiment["tune"].items())
        return {key: Range.model_validate(limits) for key, limits in given}

    @property
    def ended(self) -> list[Trial]:
        """Every trial but one that is running."""
        return [trial for trial in self.trials if trial.state != "running"]

    @property
    def complete(self) -> list[Trial]:
        """The trials that were trained to their end."""
        return [trial for trial in self.trials if trial.state == "complete"]

    def with_trial(self, trial: Trial) -> "TuneResult":
        """The same with a trial that has begun or ended, and what follows from it."""
        trials = (*(one for one in self.trials if one.number != trial.number), trial)
        found = {one.number: one.value for one in trials if one.state == "complete"}
        values = {number: value for number, value in found.items() if value is not None}
        best = max(values, key=lambda number: (values[number], -number), default=None)
        changed = {
            "trials": trials,
            "best": best,
            "gain": values[best] - values[0] if best is not None and 0 in values else None,
            "job": None if best is None else trial_folder(best),
        }
        return self.model_copy(update=changed)

    def write(self, folder: Path) -> None:
        """Writes ``tune.json``, whole or not at all."""
        write_sealed(folder / RESULT, self.model_dump(mode="json"))


def read_result(folder: Path) -> TuneResult | None:
    """The search of a folder; None where none has begun. Raises ``InputError`` where it is damaged
    (``configs.section.read_section``).
    """
    path = folder / RESULT
    if not path.exists():
        return None
    result = read_section(path, TuneResult)
    if not {"pretrain", "tune"} <= result.experiment.keys():
        raise InputError(
            f"{path}: experiment: expected a config with 'tune'; choose another folder"
        )
    return result


def trial_folder(number: int) -> str:
    """Job directory of a trial, seen from the search's."""
    return f"trials/{number}"


def best_by_epoch(
    history: Sequence[Mapping[str, Any]], values: Sequence[float]
) -> tuple[float, ...]:
    """The best value so far after each epoch.

    Args:
      history: validations, as ``backbone/history.json`` has them: at least one an epoch.
      values: of each of them.

    Returns:
      As many as there are epochs; empty where a value is no finite number.
    """
    if not all(map(isfinite, values)):
        return ()
    last = {
        entry["epoch"]: best for entry, best in zip(history, accumulate(values, max), strict=True)
    }
    return tuple(last.values())
