"""What a peer is given and what it gives back: files of one folder. NumPy alone, because peers
run in other environments.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

LABELS = ("click", "conversion")


@dataclass(frozen=True)
class Column:
    """One input: ``kind`` is ``id`` ``[N]``, ``ids`` ``[N, length]`` (0 is padding; pooled by
    their mean) or ``number`` ``[N]``.
    """

    name: str
    kind: str
    table: str
    size: int
    length: int


@dataclass(frozen=True)
class Handed:
    """The model's widths, the training's settings and the inputs.

    Attributes:
      columns: in the order in which the model reads them.
      dimension: of every embedding.
      experts: how many.
      expert_layers: widths.
      tower_layers: widths.
      batch_size: rows a step.
      learning_rate: of Adam.
      warm_rows: the rows learned first, which are not timed.
    """

    columns: tuple[Column, ...]
    dimension: int
    experts: int
    expert_layers: tuple[int, ...]
    tower_layers: tuple[int, ...]
    batch_size: int
    learning_rate: float
    warm_rows: int

    def save(self, folder: Path) -> None:
        """Writes it into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "handed.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Handed":
        """Reads what ``save`` wrote."""
        values: dict[str, Any] = json.loads((folder / "handed.json").read_text(encoding="utf-8"))
        columns = tuple(Column(**column) for column in values.pop("columns"))
        values |= {name: tuple(values[name]) for name in ("expert_layers", "tower_layers")}
        return cls(columns=columns, **values)


def save_rows(folder: Path, part: str, arrays: dict[str, Array]) -> None:
    """Writes rows: every column of the model and ``LABELS``, one file each."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / part / f"{name}.npy", array)


def load_rows(folder: Path, part: str, handed: Handed) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and labels of a part, in memory."""
    inputs = {
        column.name: np.load(folder / part / f"{column.name}.npy") for column in handed.columns
    }
    return inputs, {name: np.load(folder / part / f"{name}.npy") for name in LABELS}


def learn_and_score(
    folder: Path,
    name: str,
    learn: Callable[[dict[str, Array], dict[str, Array]], float],
    score: Callable[[dict[str, Array]], Array],
    handed: Handed,
) -> None:
    """Learns the first rows, then the others under the clock; writes rows/s and the scores of
    validation rows.

    Args:
      folder: of the rows; receives ``NAME.json`` and ``NAME.npy``.
      name: of the peer.
      learn: one pass over inputs and labels, in the library's own training loop; returns the
        seconds it took.
      score: probabilities ``[N, 2]``: of a click, and of a click with a conversion.
      handed: settings.
    """
    inputs, labels = load_rows(folder, "train", handed)
    warm, rest = slice(0, handed.warm_rows), slice(handed.warm_rows, None)
    learn(
        {key: values[warm] for key, values in inputs.items()},
        {key: values[warm] for key, values in labels.items()},
    )
    seconds = learn(
        {key: values[rest] for key, values in inputs.items()},
        {key: values[rest] for key, values in labels.items()},
    )
    rows = len(labels["click"]) - handed.warm_rows
    np.save(
        folder / f"{name}.npy", score(load_rows(folder, "validation", handed)[0]).astype(np.float32)
    )
    (folder / f"{name}.json").write_text(
        json.dumps({"rows_per_s": rows / seconds}), encoding="utf-8"
    )


def learn_by_fit(folder: Path, name: str, model: Any, handed: Handed) -> None:
    """``learn_and_score`` of a compiled model of Keras 2 or 3, inputs by name to the two
    probabilities, by its own ``fit``.
    """

    def learn(inputs: dict[str, Array], labels: dict[str, Array]) -> float:
        start = time.perf_counter()
        model.fit(
            inputs, [labels["click"], labels["conversion"]], batch_size=handed.batch_size, verbose=0
        )
        return time.perf_counter() - start

    def score(inputs: dict[str, Array]) -> Array:
        return np.concatenate(
            model.predict(inputs, batch_size=4 * handed.batch_size, verbose=0), axis=1
        )

    learn_and_score(folder, name, learn, score, handed)
