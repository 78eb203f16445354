"""A teacher's scores of the rows that a student learns from, on disk: worked out once, and found
again by a run that was interrupted.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from configs import Experiment, InputError
from configs.digests.listed_files import Listed, check_files, sha256_of
from configs.digests.sealed_json import read_sealed, write_sealed
from configs.files import atomic_directory
from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import ColumnFormat
from preprocessing.dataset.record_format import encode_blocks
from trainer.data.dataset import Dataset
from trainer.data.side_column import SideColumn
from trainer.distillation.objective import TEACHER_LOGITS
from trainer.distillation.teacher import Blocks, Teacher
from trainer.job import Job

_ABOUT = "scores.json"


def scores_folder(job: Job) -> Path:
    """Where a student's job keeps its teacher's scores while it trains."""
    return job.backbone / "teacher"


def scores_column(experiment: Experiment, dataset: Dataset, job: Job) -> SideColumn:
    """Where ``teacher_scores`` has left the scores of a student's job. Raises ``InputError`` where
    they cannot be seen.
    """
    folder = scores_folder(job)
    if not (folder / _ABOUT).exists():
        raise InputError(
            f"{folder}: not found: the teacher's scores, which the first worker has written; give"
            " all workers a --job-dir that they share"
        )
    paths = {name: _paths(folder, dataset, name) for name in experiment.fitted_on}
    return SideColumn(TEACHER_LOGITS, _format(experiment), paths)


def teacher_scores(teacher: Teacher, experiment: Experiment, dataset: Dataset, job: Job) -> None:
    """Writes the teacher's logits of every row that the student learns from, for
    ``scores_column``; leaves them as they are where they are there.

    Args:
      teacher: that scores.
      experiment: the student's.
      dataset: where the rows are.
      job: the student's.

    Raises:
      InputError: scores that are there are damaged.
    """
    folder, splits = scores_folder(job), experiment.fitted_on
    of = {
        "teacher": {name: value for name, value in teacher.record.items() if name != "job"},
        "rows": {name: dataset.manifest.rows_digest(name) for name in splits},
    }
    if not _stored(folder, of):
        with atomic_directory(folder, replace=True) as aside:
            for name in splits:
                scored = teacher.scores(experiment, dataset.folder, name)
                _write(_paths(aside, dataset, name), scored)
            written = (path for name in splits for path in _paths(aside, dataset, name))
            files = {path.name: sha256_of(path) for path in written}
            write_sealed(aside / _ABOUT, {**of, "files": files})


def _format(experiment: Experiment) -> ColumnFormat:
    return ColumnFormat(dtype="float32", length=len(experiment.tasks.towers))


def _paths(folder: Path, dataset: Dataset, split: str) -> tuple[Path, ...]:
    count = len(dataset.manifest.splits[split].files)
    return tuple(folder / f"{split}-{number:05}.tfrecord" for number in range(count))


def _stored(folder: Path, of: Mapping[str, object]) -> bool:
    """Whether scores of just this are there."""
    if not (folder / _ABOUT).exists():
        return False
    advice = f"remove {folder}: the teacher scores the rows again"
    about = read_sealed(folder / _ABOUT, advice, *of, "files")
    if any(about[name] != value for name, value in of.items()):
        return False
    listed = (Listed(folder / name, sha256) for name, sha256 in about["files"].items())
    check_files(listed, _ABOUT, advice)
    return True


def _write(paths: Sequence[Path], scored: Blocks) -> None:
    """Writes a block of scores for each block of rows, into a file for each file of theirs."""
    for number, blocks in groupby(scored, key=itemgetter(0)):
        with tf.io.TFRecordWriter(str(paths[number])) as writer:
            for _, logits in blocks:
                (block,) = encode_blocks({TEACHER_LOGITS: logits}, len(logits))
                writer.write(block)
