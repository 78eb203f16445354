"""ESMM over torch-rechub's MMoE, by its own trainer, on the CPU. Argument: the folder of
``handed``.

Its own ``DataGenerator`` collates batches row by row in Python, several times slower than the
model; here its ``TorchDataset`` is read a batch at a time, by PyTorch's loader. Threads: as many as
are faster, one or one a core; on a machine that others use too, OpenMP's threads wait for each
other.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]
from torch.utils.data import BatchSampler, DataLoader, RandomSampler  # type: ignore[import-not-found]
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature  # type: ignore[import-not-found]
from torch_rechub.models.multi_task import MMOE  # type: ignore[import-not-found]
from torch_rechub.trainers import MTLTrainer  # type: ignore[import-not-found]
from torch_rechub.utils.data import TorchDataset  # type: ignore[import-not-found]

from benchmarks.speed.peers.handed import Array, Column, Handed, learn_and_score, load_rows


class EntireSpace(MMOE):
    """Its MMoE, with the probability of a conversion multiplied by that of a click."""

    def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
        """Probabilities ``[B, 2]``."""
        both = super().forward(x)
        return torch.cat([both[:, :1], both[:, :1] * both[:, 1:]], dim=1)


def feature(column: Column, dimension: int) -> object:
    """torch-rechub's description of an input."""
    if column.kind == "number":
        return DenseFeature(column.name)
    if column.kind == "id":
        return SparseFeature(column.name, vocab_size=column.size, embed_dim=dimension)
    return SequenceFeature(
        column.name,
        vocab_size=column.size,
        embed_dim=dimension,
        pooling="mean",
        shared_with=column.table,
        padding_idx=0,
    )


def choose_threads(model: EntireSpace, batch: dict[str, torch.Tensor]) -> None:
    """Sets the number of threads with which the gradients of a batch take less time."""
    seconds = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        start = time.perf_counter()
        for _ in range(3):
            model(batch).sum().backward()
        seconds[threads] = time.perf_counter() - start
    torch.set_num_threads(min(seconds, key=lambda threads: seconds[threads]))


def main(folder: Path) -> None:
    """Trains and scores."""
    handed = Handed.load(folder)
    model = EntireSpace(
        [feature(column, handed.dimension) for column in handed.columns],
        task_types=["classification"] * 2,
        n_expert=handed.experts,
        expert_params={"dims": list(handed.expert_layers)},
        tower_params_list=[{"dims": list(handed.tower_layers)}] * 2,
    )
    first = {
        name: torch.from_numpy(values[: handed.batch_size])
        for name, values in load_rows(folder, "train", handed)[0].items()
    }
    choose_threads(model, first)
    trainer = MTLTrainer(
        model,
        ["classification"] * 2,
        optimizer_params={"lr": handed.learning_rate},
        model_path=str(folder),
    )

    def learn(
        inputs: dict[str, Array], labels: dict[str, Array], after_batch: Callable[[], None]
    ) -> None:
        y = np.stack([labels["click"], labels["conversion"]], axis=1)
        batches = BatchSampler(RandomSampler(y), handed.batch_size, drop_last=False)
        rows = DataLoader(TorchDataset(inputs, y), sampler=batches, batch_size=None)

        class Told:
            """The loader, which says when the trainer is done with a batch: it asks for the
            next.
            """

            def __len__(self) -> int:
                return len(rows)

            def __iter__(self) -> Iterator[Any]:
                for batch in rows:
                    yield batch
                    after_batch()
                    model.train()  # scoring leaves it in evaluation

        trainer.train_one_epoch(Told())

    def score(inputs: dict[str, Array]) -> Array:
        model.eval()
        step, rows = 4 * handed.batch_size, len(next(iter(inputs.values())))
        with torch.no_grad():
            parts = [
                model(
                    {
                        name: torch.from_numpy(values[start : start + step])
                        for name, values in inputs.items()
                    }
                ).numpy()
                for start in range(0, rows, step)
            ]
        return np.concatenate(parts)

    learn_and_score(folder, "torch_rechub", learn, score, handed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
