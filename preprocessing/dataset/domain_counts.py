"""Counts the rows of domains, and names those that have none."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domain_names import conditions_of, domain_name
from configs.domains import Domain

_SHOWN = 20  # domains in one line
_COMPARED = 10_000  # of a column's values, the most frequent: comparing is slow

Columns = Mapping[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.intp]


def count_domains(
    columns: Columns, topics: Columns, rows: Rows, experiment: Experiment
) -> dict[str, Counter[str]]:
    """Rows and labels of every domain, one histogram for each combination of topics.

    Args:
      columns: of the record format, of a batch.
      topics: ``topic/NAME``, of the same batch.
      rows: those that are counted.
      experiment: names domains and labels.
    """
    counted: dict[str, Counter[str]] = {}
    measured: dict[str, npt.NDArray[Any] | None] = {"rows": None}
    measured.update(
        {
            f"label/{label}": columns[f"label/{label}"][rows] > threshold
            for label, threshold in experiment.tasks.thresholds.items()
        }
    )

    def topics_of(domain: Domain) -> tuple[str, ...]:
        return tuple(topic for topic, _ in domain.conditions)

    for names, domains in groupby(experiment.domains, key=topics_of):
        sizes = [len(experiment.topics[topic].names) + 1 for topic in names]
        indices = [topics[f"topic/{topic}"][rows].astype(np.intp) for topic in names]
        cell = np.ravel_multi_index(indices, sizes) if names else np.zeros(len(rows), np.intp)
        histograms = {
            name: np.bincount(cell, weights, int(np.prod(sizes, dtype=int)))
            for name, weights in measured.items()
        }
        for domain in domains:
            place = (
                np.ravel_multi_index([index for _, index in domain.conditions], sizes)
                if names
                else 0
            )
            counted[domain.name] = Counter(
                {name: int(histogram[place]) for name, histogram in histograms.items()}
            )
    return counted


def domains_without_rows(
    experiment: Experiment, with_rows: Iterable[str], dictionaries: Mapping[str, list[str]]
) -> str | None:
    """Names the domains that no row is of, in one line; None where there is none. A cross is left
    out where one of its topics' values has no row either.

    Args:
      experiment: has the domains.
      with_rows: names of the domains that have rows.
      dictionaries: the values that a column of text has, the most frequent first; the nearest one
        is named.
    """
    found = set(with_rows)
    empty = []
    for domain in experiment.domains:
        conditions = conditions_of(domain.name)
        singles = {domain_name([condition]) for condition in conditions}
        if domain.name not in found and (len(conditions) == 1 or singles <= found):
            empty.append(domain.name)
    if not empty:
        return None
    shown = [f"{name}{_meant(experiment, name, dictionaries)}" for name in empty[:_SHOWN]]
    more = f", and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
    return f"no row of any split is of {', '.join(shown)}{more}"


def _meant(experiment: Experiment, name: str, dictionaries: Mapping[str, list[str]]) -> str:
    (topic, value), *others = conditions_of(name)
    column = experiment.topics[topic].column
    if others or value in dictionaries.get(column, [value]):
        return ""
    near = difflib.get_close_matches(value, dictionaries[column][:_COMPARED], n=1)
    meant = f"; did you mean '{near[0]}'?" if near else ""
    return f" (column '{column}' never holds '{value}'{meant})"
