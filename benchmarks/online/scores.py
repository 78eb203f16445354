"""What a running server says of every candidate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from benchmarks.online.traffic import Traffic
from preprocessing.logs.schema import Column
from preprocessing.simulator.world import Floats
from serving.client import Client
from trainer.data.progress_bar import row_bar

_ROWS = 1_024
"""Rows of a request to the server: rows are independent, so it carries many slates."""
_THREADS = 3

Scores = dict[str, Floats]
"""Scores ``[requests, candidates]`` by the domain that was asked for."""
Served = dict[str, Counter[str]]
"""Rows by the domain that served them, by the domain that was asked for."""


def server_scores(
    target: str,
    model_name: str,
    traffic: Traffic,
    columns: list[Column],
    domains: Sequence[str],
    rank_by: str,
) -> tuple[Scores, Served]:
    """Asks a server for the scores of every candidate under each of ``domains``; shows a bar on
    stderr.

    Args:
      target: ``HOST:PORT``.
      model_name: the model, as the server calls it.
      traffic: whose candidates.
      columns: what a request carries.
      domains: asked for one after the other, so each costs as much; one named twice is asked once.
      rank_by: the output to take.

    Raises:
      InputError: the model takes other columns.
      StatusError: the server failed.
    """
    asked = list(dict.fromkeys(domains))
    parts: dict[str, list[Floats]] = {domain: [] for domain in asked}
    served: Served = {domain: Counter() for domain in asked}

    with Client(target, model_name, batch_size=_ROWS) as client:

        def ask(piece: pa.Table) -> list[tuple[Floats, Counter[str]]]:
            rows = piece.to_pylist()
            answers = (client.predict(rows, domain) for domain in asked)
            return [
                (
                    np.array([row[rank_by] for row in answer], np.float32),
                    Counter(row["served_domain"] for row in answer),
                )
                for answer in answers
            ]

        rows_asked = traffic.order_rate.size * len(asked)
        with ThreadPoolExecutor(_THREADS) as pool, row_bar("ask the server", rows_asked) as bar:
            for table in traffic.tables(columns):
                for answers in pool.map(ask, _pieces(table)):
                    for domain, (scores, by_domain) in zip(asked, answers, strict=True):
                        parts[domain].append(scores)
                        served[domain] += by_domain
                        bar.update(len(scores))
    return {
        domain: np.concatenate(parts[domain]).reshape(traffic.order_rate.shape) for domain in asked
    }, served


def _pieces(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, _ROWS):
        yield table.slice(start, _ROWS)
