"""After pre-training: through the fine-tuning split in order of time, every part scored before it
is learned.

So a backbone can learn from everything and still leave taps that are out-of-sample, which is what
kernels must train on. Test-then-train is how learners on streams are judged (Gama, Sebastiao and
Rodrigues 2013, On evaluating stream learning algorithms); to train an adapter on what it leaves is
our choice.
"""

from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.files import atomic_directory, delete
from configs.random_streams import Purpose, random_stream
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import feature_tensors
from trainer.backbone.layers.embedding import learned_tables
from trainer.backbone.saving import job_fingerprint
from trainer.backbone.stored_taps import (
    STORED,
    Files,
    create_taps,
    describe_taps,
    split_columns,
    taps_folder,
)
from trainer.data.batch_cut import part_of
from trainer.data.dataset import Columns, Dataset
from trainer.data.progress_bar import row_bar
from trainer.job import Job
from trainer.training.any_rows import for_any_rows
from trainer.training.backbone_step import Learner
from trainer.training.intercepts import A_FEW_ROWS, set_intercepts

_BATCH = 16_384
_MOMENT = "row/timestamp"

Rows = npt.NDArray[np.int64]


def learn_window(
    experiment: Experiment, dataset: Dataset, job: Job, learner: Learner, inference: keras.Model
) -> None:
    """Scores and then learns every part of ``finetune.split``, in order of time, and leaves the
    scores in ``<job>/backbone/taps``.

    The optimisers go on as pre-training left them, at its rates and batch size. Intercepts are set
    anew before every part and at the end, so that what is stored is scored as what is served. An
    interrupted pass starts again from the end of pre-training; what it left is removed. Of several
    workers all learn, and rank 0 scores and writes.

    Args:
      experiment: settings and seed.
      dataset: where the split is.
      job: where the taps go.
      learner: the pre-trained backbone with its optimisers; trained in place.
      inference: the same weights as kernels see them (``backbone.inference_model``).
    """
    split, folder = experiment.finetune.split, taps_folder(job)
    workers = learner.workers
    columns = split_columns(dataset, split, lambda name: True)
    moments = columns[_MOMENT].astype(np.int64, copy=False)
    settings = experiment.pretrain
    parts = chronological_parts(moments, settings.progressive_parts)
    with ExitStack() as stack:
        files: Files = {}
        if not workers.rank:
            delete(folder)
            aside = stack.enter_context(atomic_directory(folder))
            files = create_taps(aside, inference, len(moments))
        with row_bar("window: score, then learn", len(moments)) as bar:
            for number, rows in enumerate(parts):
                part = {name: values[rows] for name, values in columns.items()}
                fill_cold_rows(learner, experiment)
                set_intercepts(inference, dataset, experiment, A_FEW_ROWS, workers)
                if files:
                    _score(inference, part, rows, files)
                _learn(
                    learner,
                    part,
                    settings.batch_size,
                    random_stream(experiment.seed, Purpose.WINDOW_ORDER, number),
                )
                bar.update(len(rows))
        for file in files.values():
            file.flush()
        fill_cold_rows(learner, experiment)
        set_intercepts(inference, dataset, experiment, workers=workers)
        if workers.rank:
            return
        backbone = job_fingerprint(learner.model, job)["fingerprint"]
        about = [
            {"first": int(moments[rows].min()), "last": int(moments[rows].max()), "rows": len(rows)}
            for rows in parts
        ]
        describe_taps(aside, backbone, dataset, split, about)


def chronological_parts(moments: npt.NDArray[np.int64], parts: int) -> list[Rows]:
    """Rows of each part: of about equal numbers, every row of a part later than all rows of the
    part before.

    Args:
      moments: of the rows, seconds, ``[N]`` in any order, N > 0.
      parts: how many; fewer come out where too many rows share a moment.

    Returns:
      Indices of every part's rows, ascending; each row is in one part.
    """
    ordered = np.sort(moments)
    bounds = np.unique(ordered[[len(ordered) * part // parts for part in range(1, parts)]])
    part_of = np.searchsorted(bounds, moments, side="right")
    found = [np.flatnonzero(part_of == part) for part in range(len(bounds) + 1)]
    return [rows for rows in found if len(rows)]


def fill_cold_rows(learner: Learner, experiment: Experiment) -> None:
    """Gives embedding rows that no update has reached the value of their table's out-of-vocabulary
    row (our choice).

    Vocabularies hold ids that the backbone meets later, or never: until then they are read as what
    they are, unseen, instead of as random numbers. Where there are several out-of-vocabulary rows,
    the value is the mean of those that were updated, or of all where none was. Tables without them
    (hashed ids, parts of a timestamp, buckets of a number) stay as they are.

    Args:
      learner: a backbone whose optimiser counts updates; its tables are changed in place.
      experiment: features.
    """
    vocabularies = {
        f"embedding_{output}": settings.oov_ids
        for name, settings in experiment.features.items()
        for output in settings.output_names(name)
        if settings.oov_ids
    }
    names = [layer.name for layer in learned_tables(learner.model)]
    for name, table, updates in zip(names, learner.tables, learner.adagrad.updates, strict=True):
        if name not in vocabularies:
            continue
        unseen = slice(1, 1 + vocabularies[name])
        trained = tf.cast(updates[unseen] > 0, tf.float32)
        share = tf.where(tf.reduce_any(trained > 0), trained, tf.ones_like(trained))
        value = tf.linalg.matvec(table[unseen], share, transpose_a=True) / tf.reduce_sum(share)
        table.assign(tf.where((updates > 0)[:, tf.newaxis], table, value))


def _score(inference: keras.Model, columns: Columns, rows: Rows, files: Files) -> None:
    for start in range(0, len(rows), _BATCH):
        batch = {name: values[start : start + _BATCH] for name, values in columns.items()}
        heads: dict[str, Any] = inference.predict_on_batch(feature_tensors(batch, inference))
        for name in STORED:
            files[name][rows[start : start + _BATCH]] = heads[name]


def _learn(
    learner: Learner, columns: Columns, batch_size: int, generator: np.random.Generator
) -> None:
    order = generator.permutation(len(columns["row/weight"]))
    step = for_any_rows(learner.step, part_of(columns, learner.workers, in_requests=False))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = {name: tf.constant(values[chosen]) for name, values in columns.items()}
        step(part_of(batch, learner.workers, in_requests=False))
