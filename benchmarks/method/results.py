"""Finished cells -> differences with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.method.outcome import ABSENT, AUTO
from configs.domains import ALL, Domain

Floats = npt.NDArray[np.float64]
POINTS = 100.0
_Z = 1.96


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval, and its value under every seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]

    def cell(self, unit: str = "points") -> dict[str, Any]:
        """As ``report`` shows it."""
        return {"value": self.value, "low": self.low, "high": self.high, "unit": unit}


@dataclass(frozen=True)
class Results:
    """The finished cells of a study.

    Intervals are value +- 1.96 standard errors; the standard error has two parts: the spread over resampled users of the mean over seeds,
    and the spread over seeds of the value (nothing where there is one seed). Differences are paired in users and seeds.

    Attributes:
      outcomes: of ``cells.read_cells``.
      domains: of the experiment.
    """

    outcomes: Mapping[tuple[str, int], Any]
    domains: Sequence[Domain]

    def seeds(self, *names: str) -> list[int]:
        """Seeds under which all the methods are finished."""
        sets = [{seed for found, seed in self.outcomes if found == name} for name in names]
        return sorted(set.intersection(*sets)) if sets else []

    def scope(self, cross: bool = False) -> list[str]:
        """The single-topic domains, or the cross-topic ones."""
        return [domain.name for domain in self.domains if len(domain.conditions) == (2 if cross else 1)]

    def gain(self, method: str, against: str, split: str, slices: Sequence[str], task: str, activated: bool = False) -> Estimate | None:
        """Mean over slices of the AUC difference in points; None where nothing is finished or defined.

        Args:
          method: name, or name/suffix.
          against: what is subtracted.
          split: of the rows.
          slices: domains or other slices; those that are undefined on either side are left out.
          task: ctr or ctcvr.
          activated: a domain whose model is not active has gain 0.
        """
        seeds = self.seeds(method, against)
        by_seed = [self._difference(self.outcomes[method, s], self.outcomes[against, s], split, slices, task, activated) for s in seeds]
        known = [found for found in by_seed if found is not None]
        return estimate(known, POINTS) if known else None

    def auc(self, method: str, split: str, name: str, task: str) -> Estimate | None:
        """A method's own AUC on a slice."""
        cells = [self.outcomes[method, seed]["splits"][split][name][task] for seed in self.seeds(method)]
        known = [(cell["auc"], np.array(cell["draws"])) for cell in cells if cell["auc"] is not None]
        return estimate(known, 1.0) if known else None

    def ratio(self, method: str, reference: str, against: str, split: str, slices: Sequence[str], task: str) -> Estimate | None:
        """Share of the reference's gain (mean over seeds) that a method's gain is, 1 = all; None where the reference does not gain."""
        seeds = self.seeds(method, reference, against)
        pairs = [
            (
                self._difference(self.outcomes[method, s], self.outcomes[against, s], split, slices, task, False),
                self._difference(self.outcomes[reference, s], self.outcomes[against, s], split, slices, task, False),
            )
            for s in seeds
        ]
        known = [(above, below) for above, below in pairs if above is not None and below is not None]
        whole = float(np.mean([below[0] for _, below in known])) if known else 0.0
        if whole <= 0:
            return None
        drawn = np.mean([below[1] for _, below in known], axis=0)
        return estimate([(above[0] / whole, above[1] / drawn) for above, _ in known], 1.0)

    def mean_of(self, method: str, read: Callable[[Any], float]) -> float | None:
        """Mean over seeds of a figure of the outcome."""
        values = [read(self.outcomes[method, seed]) for seed in self.seeds(method)]
        return float(np.mean(values)) if values else None

    @staticmethod
    def _difference(
        outcome: Any, against: Any, split: str, slices: Sequence[str], task: str, activated: bool
    ) -> tuple[float, Floats] | None:
        values, draws = [], []
        for name in slices:
            first, second = outcome["splits"][split].get(name), against["splits"][split].get(name)
            if first is None or second is None or first[task]["auc"] is None or second[task]["auc"] is None:
                continue
            domain = ALL if name == AUTO else name.partition("|")[0]
            off = activated and name != AUTO and outcome["active"] is not None and domain not in outcome["active"]
            values.append(0.0 if off else first[task]["auc"] - second[task]["auc"])
            difference = np.array(first[task]["draws"]) - np.array(second[task]["draws"])
            draws.append(np.zeros_like(difference) if off else difference)
        return (float(np.mean(values)), np.mean(draws, axis=0)) if values else None


def estimate(by_seed: Sequence[tuple[float, Floats]], scale: float) -> Estimate:
    """Mean over seeds with its interval (see ``Results``)."""
    values = np.array([value for value, _ in by_seed]) * scale
    users = float(np.std(np.mean([draws for _, draws in by_seed], axis=0) * scale, ddof=1))
    seeds = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    half = _Z * (users**2 + seeds**2) ** 0.5
    mean = float(values.mean())
    return Estimate(mean, mean - half, mean + half, tuple(map(float, values)))


def absent(domain: str) -> str:
    """Slice of a domain's rows of users that the window never saw."""
    return f"{domain}|{ABSENT}"
