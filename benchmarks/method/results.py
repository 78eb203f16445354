"""Finished cells -> differences with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.method.outcome import ABSENT, AUTO, SERVED
from configs import InputError
from configs.domains import ALL, Domain

Floats = npt.NDArray[np.float64]
POINTS = 100.0
MILLI = 1_000.0
_Z = 1.96

Metric = Literal["auc", "gauc", "log_loss"]
_DRAWS = {"auc": "draws", "gauc": "gauc_draws", "log_loss": "log_loss_draws"}
"""Where a cell keeps a figure's draws."""


@dataclass(frozen=True)
class Estimate:
    """A figure, the mean over seeds, with its 95% interval over users, and its value under every
    seed.
    """

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def above_zero(self) -> bool:
        """Whether its interval lies above 0 and its value under every seed does."""
        return self.low > 0 and min(self.seeds) > 0

    def cell(self, unit: str = "points") -> dict[str, Any]:
        """As ``report`` shows it."""
        return {"value": self.value, "low": self.low, "high": self.high, "unit": unit}

    def percent(self) -> str:
        """A share as ``report`` shows it."""
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}]"


@dataclass(frozen=True)
class Results:
    """The finished cells of a study.

    Intervals are value +- 1.96 standard errors over resampled users (drawn whole) of the mean over
    seeds: they speak of these trained models on other users. What another seed would change is not
    in them, since two or three seeds say too little about their spread; the value under every seed
    is shown beside them instead. Differences are paired in users and seeds.

    Attributes:
      outcomes: of ``cells.read_cells``.
      domains: of the experiment.
      tasks: those over all rows, which have figures.
    """

    outcomes: Mapping[tuple[str, int], Any]
    domains: Sequence[Domain]
    tasks: Sequence[str]

    def seeds(self, *names: str) -> list[int]:
        """Seeds under which all the methods are finished."""
        sets = [{seed for found, seed in self.outcomes if found == name} for name in names]
        return sorted(set.intersection(*sets)) if sets else []

    def scope(self, cross: bool = False) -> list[str]:
        """The single-topic domains, or the cross-topic ones."""
        return [
            domain.name for domain in self.domains if len(domain.conditions) == (2 if cross else 1)
        ]

    def gain(
        self,
        method: str,
        against: str,
        split: str,
        slices: Sequence[str],
        task: str,
        activated: bool = False,
        metric: Metric = "auc",
    ) -> Estimate | None:
        """Mean over slices of the difference of AUC or GAUC in points, or of what log loss goes
        down by, in thousandths of a nat; None where nothing is finished or defined.

        Args:
          method: name, or name/suffix.
          against: what is subtracted.
          split: of the rows.
          slices: domains or other slices; those that are undefined on either side are left out.
          task: one over all rows.
          activated: a domain whose model is not active counts as what answers it: the nearest
            active model above, else the backbone, which is gain 0.
          metric: whose gain.
        """
        by_seed = [
            self._difference(method, against, seed, split, slices, task, activated, metric)
            for seed in self.seeds(method, against)
        ]
        known = [found for found in by_seed if found is not None]
        return estimate(known, MILLI if metric == "log_loss" else POINTS) if known else None

    def level(
        self, method: str, split: str, name: str, task: str, metric: Metric = "auc"
    ) -> Estimate | None:
        """A method's own figure on a slice; None where nothing is finished or defined."""
        cells = [
            self.outcomes[method, seed]["splits"][split].get(name) for seed in self.seeds(method)
        ]
        known = [
            (cell[task][metric], np.array(cell[task][_DRAWS[metric]]))
            for cell in cells
            if cell and cell[task].get(metric) is not None
        ]
        return estimate(known, 1.0) if known else None

    def ratio(
        self,
        method: str,
        reference: str,
        against: str,
        split: str,
        slices: Sequence[str],
        task: str,
        activated: bool = False,
        metric: Metric = "auc",
    ) -> Estimate | None:
        """Share of the reference's gain (mean over seeds) that a method's gain is, 1 = all; None
        where the reference does not gain.

        The spread is that of ``gain - share * reference's gain`` over the reference's mean gain
        (the delta method), so a draw or a seed whose reference happens to gain nothing does no
        harm.
        """
        pairs = [
            (
                self._difference(method, against, seed, split, slices, task, activated, metric),
                self._difference(reference, against, seed, split, slices, task, metric=metric),
            )
            for seed in self.seeds(method, reference, against)
        ]
        known = [
            (above, below) for above, below in pairs if above is not None and below is not None
        ]
        whole = float(np.mean([below[0] for _, below in known])) if known else 0.0
        if whole <= 0:
            return None
        share = float(np.mean([above[0] for above, _ in known])) / whole
        rest = [
            (above[0] - share * below[0], above[1] - share * below[1]) for above, below in known
        ]
        return estimate(
            [(share + value / whole, share + draws / whole) for value, draws in rest], 1.0
        )

    def mean_of(self, method: str, read: Callable[[Any], float | None]) -> float | None:
        """Mean over seeds of a figure of the outcome; None where there is none."""
        values = [
            value
            for seed in self.seeds(method)
            if (value := read(self.outcomes[method, seed])) is not None
        ]
        return float(np.mean(values)) if values else None

    def _difference(
        self,
        method: str,
        against: str,
        seed: int,
        split: str,
        slices: Sequence[str],
        task: str,
        activated: bool = False,
        metric: Metric = "auc",
    ) -> tuple[float, Floats] | None:
        outcome, other = self.outcomes[method, seed], self.outcomes[against, seed]
        values, draws = [], []
        for name in slices:
            first, second = outcome["splits"][split].get(name), other["splits"][split].get(name)
            if first is None or second is None:
                continue
            if first["rows"] != second["rows"]:
                raise InputError(
                    f"'{method}' and '{against}', seed {seed}: {first['rows']} and {second['rows']}"
                    f" rows of '{name}' in split '{split}'; only figures of the same rows can be"
                    " compared"
                )
            if first[task].get(metric) is None or second[task].get(metric) is None:
                continue  # undefined, or of a cell that is older than the metric
            domain = ALL if name == AUTO else name.partition("|")[0]
            off = (
                activated
                and name != AUTO
                and outcome["active"] is not None
                and domain not in outcome["active"]
            )
            answered = outcome["splits"][split].get(f"{domain}|{SERVED}")
            if off and answered and name == domain:
                first, off = answered, False
            if metric == "log_loss":  # the lower, the better
                first, second = second, first
            values.append(0.0 if off else first[task][metric] - second[task][metric])
            drawn = [np.array(side[task][_DRAWS[metric]]) for side in (first, second)]
            difference = drawn[0] - drawn[1]
            draws.append(np.zeros_like(difference) if off else difference)
        return (float(np.mean(values)), np.mean(draws, axis=0)) if values else None


def estimate(by_seed: Sequence[tuple[float, Floats]], scale: float) -> Estimate:
    """Mean over seeds, each with its value and its draws, with its interval (see ``Results``)."""
    values, drawn = (
        np.array([value for value, _ in by_seed]) * scale,
        np.mean([draws for _, draws in by_seed], axis=0) * scale,
    )
    half, mean = _Z * float(np.std(drawn, ddof=1)), float(values.mean())
    return Estimate(mean, mean - half, mean + half, tuple(map(float, values)))


def absent(domain: str) -> str:
    """Slice of a domain's rows of users that the window never saw."""
    return f"{domain}|{ABSENT}"
