"""What changed between two versions of a domain's kernel: their weights, and what both say of the
same rows. Figures that each was stored with are of its own validation day, and never stand side by
side.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from configs.section import Section
from configs.terminal.plain_text import fit, wrap
from trainer.metrics.formatting import METRIC_TITLES, is_number
from trainer.metrics.results import TaskComparisons
from trainer.metrics.score_shift import TOP, shift_figures
from trainer.registry.kernel_registry import KernelStore, StoredKernel

_SHIFTS = {
    "kl": "KL(first || second), nats",
    "shift_mean": "mean shift",
    "shift_p95": "shift, 95th percentile",
    "shift_max": "largest shift",
    "kendall_tau": "Kendall's tau",
    "top_changed": f"changed in the top {TOP}",
}

Difference = dict[str, Any]
"""JSON-ready: ``domain``, ``first``, ``second`` (versions); ``weights``: name -> Euclidean norms
``first``, ``second`` and that of the ``change`` (null where an array is missing or its shape
changed); ``definition``: null where both mean the same rows, else ``first``, ``second``, each a
list of its conditions in words (null in versions that are older than definitions); ``rows``: part
-> ``first``, ``second``; ``scored``: the rows that both were scored on, ``data``, ``split``,
``rows``; ``validation``: their figures there, task -> metric -> ``first``,
``second``, ``change`` (a number or "undefined"), ``ci95`` of the change (both null where no dataset
was given); ``golden``: task -> ``shift.shift_figures`` of the golden requests, null where the
versions were not scored on the same ones."""


class ScoredRows(Section):
    """Both versions on the same rows.

    Attributes:
      data: folder of the dataset.
      split: its split.
      rows: of the domain in it.
      figures: task -> metric -> comparison of the second version with the first, which stands in
        the backbone's place.
    """

    data: str
    split: str
    rows: int
    figures: TaskComparisons


def kernel_diff(
    store: KernelStore, domain: str, first: int, second: int, scored: ScoredRows | None = None
) -> Difference:
    """Two versions side by side.

    Args:
      store: of the job directory.
      domain: exact name.
      first: a version.
      second: the version it is compared with.
      scored: what both say of the same rows of a dataset, where one was given.

    Raises:
      InputError: one of them is not there or is damaged.
    """
    one, other = store.load(domain, first), store.load(domain, second)
    return {
        "domain": domain,
        "first": first,
        "second": second,
        "weights": {
            name: _norms(one, other, name)
            for name in sorted(one.weights.keys() | other.weights.keys())
        },
        "definition": _definitions(one, other),
        "rows": {
            part: {"first": rows, "second": getattr(other.manifest.rows, part)}
            for part, rows in one.manifest.rows.model_dump().items()
        },
        "scored": scored and scored.model_dump(mode="json", include={"data", "split", "rows"}),
        "validation": scored and _figures(scored.figures),
        "golden": _golden(one, other),
    }


def render_diff(difference: Difference) -> str:
    """The same as text."""
    lines = [
        f"{difference['domain']}: version {difference['first']} -> version {difference['second']}",
        "",
    ]
    if means := difference["definition"]:
        lines += ["the two versions are of different rows:"]
        lines += [f"  {side}: {_means(means[side])}" for side in ("first", "second")] + [""]
        if difference["scored"]:
            lines += ["both are scored on the rows of the second", ""]
    for title, rows in _tables(difference):
        columns = ["first", "second", "change"]
        intervals = ["95% interval"] if any(len(row) > 1 + len(columns) for row in rows) else []
        lines += [*fit([[title, *columns, *intervals], *rows], columns), ""]
    if difference["scored"] is None:
        lines += ["no figures: give --data, and both versions are scored on its rows", ""]
    golden = difference["golden"]
    if golden is None:
        lines.append("golden requests: the two versions were not scored on the same ones")
    else:
        table = [["golden requests", *golden]]
        table += [
            [title, *(_number(golden[task][name]) for task in golden)]
            for name, title in _SHIFTS.items()
        ]
        lines += fit(table, list(golden))
    return "\n".join(part for line in lines for part in wrap(line))


def _tables(difference: Difference) -> Iterator[tuple[str, list[list[str]]]]:
    yield (
        "weights (Euclidean norm)",
        [[name, *_cells(cell)] for name, cell in difference["weights"].items()],
    )
    yield (
        "rows",
        [
            [part, *(f"{cell[side]:,}" for side in ("first", "second")), ""]
            for part, cell in difference["rows"].items()
        ],
    )
    if scored := difference["scored"]:
        figures = [
            [f"{task} {METRIC_TITLES[metric]}", *_cells(cell), _interval(cell["ci95"])]
            for task, metrics in difference["validation"].items()
            for metric, cell in metrics.items()
        ]
        where = f"{scored['rows']:,} rows of split '{scored['split']}' of {scored['data']}"
        yield where, figures


def _cells(cell: Mapping[str, Any]) -> list[str]:
    return [_number(cell["first"]), _number(cell["second"]), _number(cell["change"])]


def _number(value: Any) -> str:
    if not is_number(value):
        return "-" if value is None else str(value)
    return (
        str(value)
        if isinstance(value, int)
        else f"{value:.4f}"
        if abs(value) >= 1e-3 or not value
        else f"{value:.2e}"
    )


def _norms(one: StoredKernel, other: StoredKernel, name: str) -> dict[str, float | None]:
    a, b = one.weights.get(name), other.weights.get(name)
    change = (
        b.astype(np.float32) - a.astype(np.float32)
        if a is not None and b is not None and a.shape == b.shape
        else None
    )
    norms = [
        None if array is None else float(np.linalg.norm(array.astype(np.float32)))
        for array in (a, b, change)
    ]
    return dict(zip(("first", "second", "change"), norms, strict=True))


def _figures(figures: TaskComparisons) -> dict[str, dict[str, Any]]:
    return {
        task: {
            metric: {
                "first": figure.backbone,
                "second": figure.kernel,
                "change": figure.delta,
                "ci95": figure.ci95 if isinstance(figure.ci95, str) else list(figure.ci95),
            }
            for metric, figure in metrics.items()
        }
        for task, metrics in figures.items()
    }


def _interval(ends: Any) -> str:
    return ends if isinstance(ends, str) else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def _definitions(one: StoredKernel, other: StoredKernel) -> dict[str, list[str] | None] | None:
    means = {"first": one.manifest.definition, "second": other.manifest.definition}
    if means["first"] == means["second"]:
        return None
    return {
        side: None if meant is None else [condition.words for condition in meant]
        for side, meant in means.items()
    }


def _means(conditions: list[str] | None) -> str:
    return "as the backbone's experiment says" if conditions is None else "; ".join(conditions)


def _golden(one: StoredKernel, other: StoredKernel) -> dict[str, dict[str, float]] | None:
    if not one.golden or not other.golden or one.golden["requests"] != other.golden["requests"]:
        return None
    pairs = {
        task: (scores, other.golden["scores"][task])
        for task, scores in one.golden["scores"].items()
    }
    return {task: shift_figures(*pair) for task, pair in pairs.items()}
