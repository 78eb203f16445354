"""Counts the rows of domains, and names those that have none."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.domain_names import conditions_of, domain_name
from configs.domains import Domain

_SHOWN = 20  # domains in one line
_COMPARED = 10_000  # of a column's values, the most frequent: comparing is slow
_UNIT = 2**149  # the smallest float32 is one over this, so every sum of some is a multiple of it

Columns = Mapping[str, npt.NDArray[Any]]
Rows = npt.NDArray[np.intp]


def count_domains(
    columns: Columns, topics: Columns, rows: Rows, experiment: Experiment
) -> dict[str, Counter[str]]:
    """Rows and labels of every domain, one histogram for each combination of topics.

    Beside the rows (``rows``) and those that carry a label (``label/LABEL``) there are the sum of
    amounts, and of labels that are known only after a time (``sum/LABEL``), and how many rows are
    old enough to carry those (``known/LABEL``). ``mean_label`` reads them.

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

    late = experiment.known_before
    for label in experiment.label_columns:
        values = columns[f"label/{label}"][rows].astype(np.float64)
        if label in late:
            known = columns["row/timestamp"][rows] < late[label].timestamp()
            measured[f"known/{label}"], values = known, values * known
        if label in late or label in experiment.tasks.amounts:
            measured[f"sum/{label}"] = values

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
                {
                    name: _units(histogram[place])
                    if name.startswith("sum/")
                    else int(histogram[place])
                    for name, histogram in histograms.items()
                }
            )
    return counted


def mean_label(counts: Mapping[str, int], label: str) -> float | None:
    """Share of positives, or mean amount, of the rows that are old enough to carry a label; None
    where there is no such row.

    Args:
      counts: of a domain, as ``count_domains`` gives them, of one batch or of many.
      label: its column.
    """
    known = counts.get(f"known/{label}", counts["rows"])
    total = Fraction(counts.get(f"sum/{label}", _UNIT * counts[f"label/{label}"]), _UNIT)
    return float(total / known) if known else None


def _units(total: float) -> int:
    """A sum of float32 numbers in whole units, so that sums of many batches are exact."""
    numerator, denominator = float(total).as_integer_ratio()
    return numerator * (_UNIT // denominator)


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
