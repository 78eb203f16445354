"""Explains one request: how far each input moves the predictions of each row, by what they are
where the input is missing.

An input that is taken away is what the transform gives for a missing value, in all rows of the
request at once; the row is still answered by the same domain's kernel.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.memory import Memory
from configs.prediction.score import SCORE
from preprocessing.features.key_hashes import keys_of_batch
from preprocessing.features.topic import topics_of_batch
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import served_columns
from trainer.explanation.inputs import (
    Input,
    InputRows,
    Parts,
    body_topics,
    memory_parts,
)
from trainer.explanation.scorer import Scored, Scorer, sides
from trainer.explanation.shown_values import ShownValues
from trainer.job import Job
from trainer.kernels.page_scores import PageScores
from trainer.kernels.scoring import Predictions, served_outputs
from trainer.memory.lookup import rates_of_rows
from trainer.memory.memory_store import MemoryStore
from trainer.metrics.explanation_results import ExplainedRow, InputEffect
from trainer.metrics.results import Pair
from trainer.registry.golden_scores import record_batch
from trainer.reports.text_table import show_name


class RawRows:
    """Raw rows as the model reads them: what a client sends, or nothing at all.

    Args:
      scorer: of the model.
      job: whose transform and memory are applied.

    Raises:
      InputError: the transform is of other features than the config's.
    """

    def __init__(self, scorer: Scorer, job: Job) -> None:
        self._scorer, self._job, self.fitted = scorer, job, job.fitted()
        where, advice = str(job.backbone / "transform"), "leave the features as they were"
        self.fitted.check_matches(scorer.experiment, where, advice)
        self._transform = Transform(scorer.experiment, self.fitted)

    def of(self, requests: Sequence[dict[str, Any]], where: str) -> InputRows:
        """Rows of raw values by column; memory is what is served. Columns that nobody reads are
        told on stderr.

        Args:
          requests: the rows.
          where: they came from; errors begin with it.

        Raises:
          InputError: a value cannot be read, or no row has a column that the model reads.
        """
        experiment, memory = self._scorer.experiment, self._scorer.memory
        kernels = self._scorer.kernels
        # Topics and keys of served kernels may be younger than the config.
        full = experiment.model_copy(update={"topics": dict(kernels.topics), "memory": memory})
        known = {column.name for column in served_columns(full)}
        if requests and not any(known & row.keys() for row in requests):
            raise InputError(
                f"{where}: no row has a feature; expected some of {', '.join(sorted(known))}"
            )
        others = sorted({name for row in requests for name in row} - known)
        if others:
            said = show_name(f"note: {where}: not read: {', '.join(others)}")
            print(said, file=sys.stderr)
        batch = record_batch(full, list(requests), where)
        parts: Parts = dict(self._transform.apply_batch(batch))
        columns = topics_of_batch(kernels.topics, batch) | keys_of_batch(memory, batch)
        parts |= {name: columns[name] for name in body_topics(self._scorer.model)}
        if memory:
            parts |= memory_parts(memory, self._remembered(memory, columns))
        return InputRows(parts, columns)

    def missing(self) -> Parts:
        """What stands for a missing value of every part, ``[1, ...]``."""
        nothing: list[dict[str, Any]] = [{}]
        batch = record_batch(self._scorer.experiment, nothing, "")
        parts: Parts = dict(self._transform.apply_batch(batch))
        parts |= {name: np.zeros(1, np.int32) for name in body_topics(self._scorer.model)}
        if memory := self._scorer.memory:
            towers = len(self._scorer.experiment.tasks.towers)
            parts |= memory_parts(memory, np.zeros((1, memory.width(towers)), np.float32))
        return parts

    def _remembered(
        self, memory: Memory, columns: Mapping[str, npt.NDArray[Any]]
    ) -> npt.NDArray[np.float32]:
        return rates_of_rows(memory, MemoryStore(self._job).served(memory).counts, columns)


def explained_rows(
    scorer: Scorer, inputs: Sequence[Input], rows: InputRows, raw: RawRows
) -> tuple[ExplainedRow, ...]:
    """What moved the predictions of every row.

    Args:
      scorer: of the model.
      inputs: of it; those that nobody reads are left out.
      rows: of the request.
      raw: gives what stands for missing values.
    """
    experiment, kernels = scorer.experiment, scorer.kernels
    outputs = _Outputs(experiment, scorer)
    names = (*experiment.tasks.ranking, SCORE)
    whole = scorer.scored(rows)
    full, missing = outputs.of(whole), raw.missing()
    shown = ShownValues(experiment, raw.fitted, kernels.topics)
    effects: list[list[InputEffect]] = [[] for _ in range(len(rows))]
    for one in inputs:
        if not one.about.read:
            continue
        without = one.without(rows, missing)
        left = outputs.of(scorer.scored(without, whole))
        for row, found in enumerate(effects):
            moved = {
                name: Pair(
                    **{side: float(full[side][name][row] - left[side][name][row]) for side in full}
                )
                for name in names
            }
            value = shown.of(one, rows, row)
            same = all(
                np.array_equal(rows.parts[part][row], without.parts[part][row])
                for part in one.about.parts
            )
            found.append(InputEffect(input=one.name, value=value, missing=same, effects=moved))
    served = kernels.answering(rows.columns, len(rows))
    return tuple(
        ExplainedRow(
            row=row + 1,
            served_domain=served[row],
            outputs={
                name: Pair(**{side: float(full[side][name][row]) for side in full})
                for name in names
            },
            inputs=tuple(sorted(found, key=_moved_score, reverse=True)),
        )
        for row, found in enumerate(effects)
    )


class _Outputs:
    """What a model answers, by side."""

    def __init__(self, experiment: Experiment, scorer: Scorer) -> None:
        self._pages = PageScores(experiment, scorer.kernels.topics)

    def of(self, scored: Scored) -> dict[str, Predictions]:
        """``backbone`` and ``kernel`` -> output -> of every row ``[N]``."""
        places = self._pages.of_columns(scored.rows.columns, len(scored.rows))
        return {
            side: served_outputs(self._pages, logits, places)
            for side, logits in sides(scored).items()
        }


def _moved_score(effect: InputEffect) -> float:
    kernel = effect.effects[SCORE].kernel
    return 0.0 if isinstance(kernel, str) else abs(kernel)
