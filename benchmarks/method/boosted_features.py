"""What boosted trees read of a row: the transform's outputs, with numbers in place of the ids
that are too many to branch on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.memory import Memory
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import transform_outputs
from trainer.backbone.frozen_pass import BackboneOutputs, Floats

_CATEGORIES = 256  # our choice: more ids than LightGBM has bins are no category but two rates
_DAY = 86_400
_PRIOR_ROWS = 20.0  # our choice


class BoostedFeatures:
    """Features of trees.

    - Numbers as they are; ids of at most 256 values, topics among them, as categories.
    - Ids of more values (users, items) as the rate of every label among the rows of that id in
      training days strictly before the row's own day, so that no row reads a label of its day or of
      a later one; smoothed by 20 rows of the mean of those days, NaN on the first day. Rows after
      training read all of its days.
    - Vectors, and the numbers of lists, as a feature for each place.
    - A list as the number of its entries, and whether the candidate is among them where both share
      a vocabulary.
    - The debias feature is left out: serving does not know it.
    - With ``memory``, what each row remembers, as kernels read it.
    - With ``frozen``, the frozen backbone's logits in the place of all that the transform
      gives; topics and memory stay.

    Args:
      experiment: features, topics and labels.
      fitted: of the dataset.
      data: the training rows.
      splits: their splits, whose earliest start is where days are counted from.
      memory: that rows hold; None for none.
      frozen: whether to read the backbone's logits, which rows then hold.
    """

    def __init__(
        self,
        experiment: Experiment,
        fitted: Fitted,
        data: BackboneOutputs,
        splits: Sequence[str],
        memory: Memory | None = None,
        frozen: bool = False,
    ) -> None:
        debias = experiment.backbone.debias
        self._frozen, self._memory = frozen, memory
        self._outputs = [
            output
            for output in transform_outputs(experiment, fitted).values()
            if not frozen and (not debias or output.feature != debias.feature)
        ]
        self._topics, self._tasks = list(experiment.topics), experiment.tasks.towers
        self._start = int(min(experiment.splits[split].start for split in splits).timestamp())
        wide, days = (
            [
                output
                for output in self._outputs
                if output.kind == "id" and output.size > _CATEGORIES
            ],
            self._days(data),
        )
        self._rates = {
            output.name: {
                label: DailyRates.of(
                    data.columns[f"feature/{output.name}"],
                    output.size,
                    days,
                    data.labels(label),
                    data.weights,
                )
                for label in experiment.label_columns
            }
            for output in wide
        }
        self.categorical = [
            *(
                output.name
                for output in self._outputs
                if output.kind == "id" and output not in wide
            ),
            *(f"topic_{name}" for name in self._topics),
        ]
        self.names: list[str] = list(self._columns(_head(data)))

    def matrix(self, data: BackboneOutputs) -> Floats:
        """The features ``[N, len(names)]`` of rows that hold the columns of
        ``columns.read_rows``.
        """
        x = np.empty((len(data.logits), len(self.names)), np.float32)
        for place, values in enumerate(self._columns(data).values()):
            x[:, place] = values
        return x

    def _days(self, data: BackboneOutputs) -> npt.NDArray[np.int64]:
        seconds = data.columns["row/timestamp"].astype(np.int64, copy=False)
        return (seconds - self._start) // _DAY

    def _columns(self, data: BackboneOutputs) -> dict[str, npt.NDArray[np.generic]]:
        columns: dict[str, npt.NDArray[np.generic]] = {}
        days = self._days(data)
        for output in self._outputs:
            name, values = output.name, data.columns[f"feature/{output.name}"]
            if output.kind == "ids":
                columns[f"{name}_length"] = (values != 0).sum(axis=1)
                if output.table != name:
                    wanted = data.columns[f"feature/{output.table}"]
                    columns[f"{name}_has_{output.table}"] = (
                        (values == wanted[:, np.newaxis]) & (values != 0)
                    ).any(axis=1)
            elif output.kind == "numbers":
                columns |= {f"{name}_{place}": part for place, part in enumerate(values.T)}
            elif name in self._rates:
                columns |= {
                    f"{name}_{label}_rate": rates.read(values, days)
                    for label, rates in self._rates[name].items()
                }
            else:
                columns[name] = values
        if self._frozen:
            columns |= {
                f"logit_{task}": data.logits[:, place] for place, task in enumerate(self._tasks)
            }
        if self._memory and data.memory is not None:
            names = memory_names(self._memory, self._tasks)
            columns |= dict(zip(names, data.memory.T, strict=True))
        return columns | {f"topic_{name}": data.columns[f"topic/{name}"] for name in self._topics}


def memory_names(memory: Memory, tasks: Sequence[str]) -> list[str]:
    """A name for each number that a row remembers of tasks, in their order
    (``trainer.memory.rates``).
    """
    return [f"memory_{key}_{what}" for key in memory.keys for what in (*tasks, "rows")]


@dataclass(frozen=True)
class DailyRates:
    """Smoothed rates of a label by id, known at the beginning of each day.

    Attributes:
      table: float32 ``[days + 1, ids]``; row d comes of the days before d, and is NaN where those
        have no rows.
    """

    table: Floats

    @classmethod
    def of(
        cls,
        ids: npt.NDArray[np.generic],
        size: int,
        days: npt.NDArray[np.int64],
        labels: Floats,
        weights: Floats,
    ) -> "DailyRates":
        """Rates of training rows: their ``ids`` below ``size``, ``days`` from 0, labels 0 or 1,
        and sample weights, each ``[N]``.
        """
        count = 1 + int(days.max(initial=-1))
        place = days * size + ids.astype(np.int64)

        def before(values: Floats) -> npt.NDArray[np.float64]:
            by_day = np.bincount(place, values, count * size).reshape(count, size)
            return np.vstack([np.zeros((1, size)), np.cumsum(by_day, axis=0)])

        rows, positives = before(weights), before(labels * weights)
        with np.errstate(invalid="ignore"):
            mean = positives.sum(axis=1, keepdims=True) / rows.sum(axis=1, keepdims=True)
        return cls(((positives + _PRIOR_ROWS * mean) / (rows + _PRIOR_ROWS)).astype(np.float32))

    def read(self, ids: npt.NDArray[np.generic], days: npt.NDArray[np.int64]) -> Floats:
        """The rate of every row ``[N]`` as known before its day began."""
        found: Floats = self.table[np.clip(days, 0, len(self.table) - 1), ids.astype(np.int64)]
        return found


def _head(data: BackboneOutputs) -> BackboneOutputs:
    return BackboneOutputs(
        data.logits[:1],
        data.taps[:1],
        {name: values[:1] for name, values in data.columns.items()},
        None if data.memory is None else data.memory[:1],
    )
