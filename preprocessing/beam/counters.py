"""What a pass counts for the runner to show while it runs: rows read, rejected by rule, written by
split and by domain. In the end they are what the ``Tally`` holds.

A runner may run a step twice. Its counters are then the larger ones where it does not tell which
run counted; files and tally are right all the same.
"""

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.runner import PipelineResult

from preprocessing.beam.pass_summary import Tally

NAMESPACE = "preprocessing"
REJECTED = "rejected"


def named_counts(tally: Tally) -> dict[str, int]:
    """The counters of a batch or of all: ``rows``, ``rejected/RULE``, ``written/SPLIT`` and
    ``written/SPLIT/DOMAIN``; those that are 0 left out.
    """
    counts = {"rows": tally.rows}
    counts |= {f"{REJECTED}/{rule}": rows for rule, rows in tally.rejected.items()}
    for split, files in tally.files.items():
        if split != REJECTED:
            counts[f"written/{split}"] = sum(rows for _, rows, _ in files)
    for split, domains in tally.domains.items():
        counts |= {f"written/{split}/{name}": found["rows"] for name, found in domains.items()}
    return {name: rows for name, rows in counts.items() if rows}


def count(tally: Tally) -> None:
    """Adds a batch to the counters of the step that runs."""
    for name, rows in named_counts(tally).items():
        beam.metrics.Metrics.counter(NAMESPACE, name).inc(rows)


def counted(result: PipelineResult) -> dict[str, int]:
    """The counters of a pipeline that has ended; none where its runner keeps none."""
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    return {counter.key.metric.name: counter.result for counter in found["counters"]}
