"""Computes the golden cases of a version: requests and the answers it must give, as the trainer
computes them (``assets.extra/golden.json``).

The file is one JSON object::

    {"tolerance": 1e-5,
     "cases": [{"signature": "serving_default", "domain": "all", "rows": [{...}, ...],
                "expected": {"click": [...], "order": [...], "served_domain": [...]}},
               {"signature": "rank", "domain": "auto", "shared": {...}, "rows": [{...}, ...],
               "expected": {...}}, {"signature": "all_domains", "domain": null, "rows": [{...},
               ...],
                "expected": {"click": [[...], ...], "order": [[...], ...], "domains": [...]}},
               {"signature": "examples", "domain": "auto", "rows": [...], "expected": {...}}]}

``rows`` are raw rows as ``serving.client`` takes them, one domain for all of them. Under ``rank``
they hold the item's columns, and ``shared`` the others. Under ``examples`` each is sent as
``serving.wire.tf_examples.example`` makes it. ``expected`` has every output, row by row; a
number may differ by ``tolerance`` (``configs.prediction.score.largest_difference``), a name may
not.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from configs import Experiment
from configs.domains import AUTO, BACKBONE
from configs.prediction.score import SCORE
from preprocessing.features.key_hashes import PREFIX
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import served_columns
from serving.export.reference_scores import TrainerScores, frozen_rows, with_memory
from serving.wire.signatures import SERVED_DOMAIN
from serving.wire.version_files import GOLDEN
from trainer.backbone.frozen_pass import BackboneOutputs
from trainer.kernels.kernel import KernelShape, user_columns
from trainer.memory.counts import Counts
from trainer.registry.golden_scores import TOLERANCE, record_batch
from trainer.registry.kernel_registry import StoredKernel, common_memory

FILE = GOLDEN.name
TAPS = "golden_taps.npz"
"""The backbone's outputs for the golden rows: with them a version that has the same backbone
computes its cases without it.
"""

UNKNOWN = "no such domain"
_ROWS, _SIDE_BY_SIDE_ROWS, _NAMED = 16, 2, 4

Row = dict[str, Any]
Case = dict[str, Any]


def golden_rows(experiment: Experiment, requests: list[Row]) -> tuple[list[Row], list[Row], Row]:
    """The first golden requests; their items; and what the first of them has beside its item."""
    rows = requests[:_ROWS]
    items = {column.name for column in served_columns(experiment) if column.side == "item"}
    sides = [{name: value for name, value in row.items() if name in items} for row in rows]
    return rows, sides, {name: value for name, value in rows[0].items() if name not in items}


def golden_taps(
    experiment: Experiment,
    requests: list[Row],
    transform: Transform,
    backbone: keras.Model,
    shape: KernelShape,
) -> bytes:
    """What kernels read of the golden rows, then of their items for the first row's user and
    context; ``TAPS``' content.
    """
    rows, items, shared = golden_rows(experiment, requests)
    batch = record_batch(experiment, [*rows, *(item | shared for item in items)], "golden requests")
    memory = shape.remembers
    frozen = frozen_rows(backbone, transform, experiment.topics, batch, shape.tap, memory)
    kept = {name for name in frozen.columns if name.startswith(("topic/", PREFIX))}
    kept |= set(user_columns(shape))
    file = io.BytesIO()
    np.savez(
        file,
        logits=frozen.logits,
        taps=frozen.taps,
        **{name: frozen.columns[name] for name in kept},  # type: ignore[arg-type]
    )
    return file.getvalue()


def golden_cases(
    experiment: Experiment,
    requests: list[Row],
    taps: Path,
    kernels: Sequence[StoredKernel],
    served: list[str],
    changed: Sequence[str],
    counts: Counts | None = None,
) -> dict[str, Any]:
    """The content of ``FILE``.

    Args:
      experiment: the backbone's, as its kernels route it.
      requests: the job's golden ones.
      taps: file of ``golden_taps``.
      kernels: what is served.
      served: their domains, in the order of the slots.
      changed: domains that are worth a case of their own.
      counts: what the kernels remember, where they do.
    """
    rows, items, shared = golden_rows(experiment, requests)
    with np.load(taps, allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    both = BackboneOutputs(columns.pop("logits"), columns.pop("taps"), columns)
    both = with_memory(both, common_memory(kernels), counts)
    scores = [
        TrainerScores(experiment, kernels, part)
        for part in (_part(both, 0, len(rows)), _part(both, len(rows), None))
    ]
    ranked = list(experiment.scores)[:_NAMED]
    spread = [*changed[:_NAMED], *ranked, *served[:: max(1, len(served) // _NAMED)]]
    named = list(dict.fromkeys(spread))[: 2 * _NAMED + len(ranked)]
    cases = [
        _case("serving_default", domain, rows, scores[0])
        for domain in (*named, AUTO, BACKBONE, UNKNOWN)
    ]
    cases += [_case("examples", AUTO, rows, scores[0])]
    if any(items):
        cases += [
            _case("rank", domain, items, scores[1]) | {"shared": shared}
            for domain in (*named[:1], AUTO)
        ]
    few = rows[:_SIDE_BY_SIDE_ROWS]
    by_domain = [scores[0].scores_for(domain)[0] for domain in (BACKBONE, *served)]
    side_by_side = {
        task: np.stack([p[task][: len(few)] for p in by_domain], axis=1).tolist()
        for task in (*experiment.tasks.ranking, SCORE)
    }
    expected = {**side_by_side, "domains": [BACKBONE, *served]}
    cases += [{"signature": "all_domains", "domain": None, "rows": few, "expected": expected}]
    return {"tolerance": TOLERANCE, "cases": cases}


def _part(rows: BackboneOutputs, start: int, stop: int | None) -> BackboneOutputs:
    columns = {name: values[start:stop] for name, values in rows.columns.items()}
    memory = None if rows.memory is None else rows.memory[start:stop]
    return BackboneOutputs(rows.logits[start:stop], rows.taps[start:stop], columns, memory)


def _case(signature: str, domain: str, rows: list[Row], scores: TrainerScores) -> Case:
    probabilities, served = scores.scores_for(domain)
    expected = {
        **{task: values.tolist() for task, values in probabilities.items()},
        SERVED_DOMAIN: served,
    }
    return {"signature": signature, "domain": domain, "rows": rows, "expected": expected}
