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

EPOCHS = 2
"""That every system learns for; rows/s and AUC are of the first."""


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
      check_batches: batches after which validation rows are scored, off the clock.
    """

    columns: tuple[Column, ...]
    dimension: int
    experts: int
    expert_layers: tuple[int, ...]
    tower_layers: tuple[int, ...]
    batch_size: int
    learning_rate: float
    warm_rows: int
    check_batches: int

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


Learn = Callable[[dict[str, Array], dict[str, Array], Callable[[], None]], None]
"""One pass over inputs and labels in the library's own training loop, which calls the third
argument after every batch.
"""


class Curve:
    """Scores of validation rows while a model learns, and the seconds that it had learned for.

    Args:
      check_batches: batches between two of them.
      score: gives the scores ``[N, 2]``.

    Attributes:
      seconds: of learning alone, before each of the scores.
      scores: float32 ``[N, 2]`` each.
    """

    def __init__(self, check_batches: int, score: Callable[[], Array]) -> None:
        self._check_batches, self._score = check_batches, score
        self._batches, self._learned, self._since = 0, 0.0, time.perf_counter()
        self.seconds: list[float] = []
        self.scores: list[Array] = []

    def start(self) -> float:
        """Starts the clock. Returns the seconds on it."""
        self._since = time.perf_counter()
        return self._learned

    def stop(self) -> float:
        """Stops the clock. Returns the seconds on it."""
        self._learned += time.perf_counter() - self._since
        return self._learned

    def after_batch(self) -> None:
        """Counts a batch, and scores after so many."""
        self._batches += 1
        if self._batches % self._check_batches == 0:
            self.stop()
            self.check()
            self.start()

    def check(self) -> None:
        """Scores; the clock stands."""
        self.seconds.append(self._learned)
        self.scores.append(self._score().astype(np.float32))


def learn_and_score(
    folder: Path,
    name: str,
    learn: Learn,
    score: Callable[[dict[str, Array]], Array],
    handed: Handed,
) -> None:
    """Learns the first rows, then the others under the clock, then all of them again; writes rows/s
    and the scores of validation rows after the first epoch, and the curve of both.

    Args:
      folder: of the rows; receives ``NAME.json``, ``NAME.npy`` and ``NAME_curve.npy``.
      name: of the peer.
      learn: a pass.
      score: probabilities ``[N, 2]``: of a click, and of a click with a conversion.
      handed: settings.
    """
    inputs, labels = load_rows(folder, "train", handed)
    validation = load_rows(folder, "validation", handed)[0]
    curve = Curve(handed.check_batches, lambda: score(validation))

    def learn_rows(part: slice) -> float:
        start = curve.start()
        learn(
            {key: values[part] for key, values in inputs.items()},
            {key: values[part] for key, values in labels.items()},
            curve.after_batch,
        )
        return curve.stop() - start

    warming = learn_rows(slice(0, handed.warm_rows))
    seconds = learn_rows(slice(handed.warm_rows, None))
    curve.check()
    np.save(folder / f"{name}.npy", curve.scores[-1])
    rows_per_s = (len(labels["click"]) - handed.warm_rows) / seconds
    for _ in range(1, EPOCHS):
        learn_rows(slice(None))
        curve.check()
    np.save(folder / f"{name}_curve.npy", np.stack(curve.scores))
    # what compiles while the first rows are learned is not counted, the rows are
    late = warming - handed.warm_rows / rows_per_s
    content = {"rows_per_s": rows_per_s, "curve_seconds": [at - late for at in curve.seconds]}
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def learn_by_fit(
    folder: Path, name: str, model: Any, callback: Callable[..., Any], handed: Handed
) -> None:
    """``learn_and_score`` of a compiled model of Keras 2 or 3, inputs by name to the two
    probabilities, by its own ``fit``; ``callback`` is that Keras's ``LambdaCallback``.
    """

    def learn(
        inputs: dict[str, Array], labels: dict[str, Array], after_batch: Callable[[], None]
    ) -> None:
        told = callback(on_train_batch_end=lambda batch, logs: after_batch())
        targets = [labels["click"], labels["conversion"]]
        size = handed.batch_size
        model.fit(inputs, targets, batch_size=size, verbose=0, callbacks=[told])

    def score(inputs: dict[str, Array]) -> Array:
        return np.concatenate(
            model.predict(inputs, batch_size=4 * handed.batch_size, verbose=0), axis=1
        )

    learn_and_score(folder, name, learn, score, handed)
