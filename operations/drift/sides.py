"""The two sides of a comparison: rows of a dataset, or of a log of requests, as the transform gives
them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from configs import Experiment, InputError
from configs.tensorflow_import import tf
from configs.values import READERS, UnreadableValueError
from operations.drift.chance import FEWEST_GROUPS, GROUPS
from operations.drift.feature_samples import Columns
from operations.drift.keys import Integers
from operations.drift.paths import splits_of
from preprocessing.dataset.manifest import Manifest, load_manifest
from preprocessing.dataset.record_format import decode_block
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, Column, raw_columns, served_columns
from preprocessing.profile.data_profile import DataProfile, read_profile
from serving.wire.request_log import logged_requests
from serving.wire.request_rows import rows_of_request

_USER = "row/user"
_SEED = 21
_FEWER = 0.8  # of the requests of a log stay where there are too many


@dataclass(frozen=True)
class Side:
    """Rows of one side.

    Attributes:
      path: of the dataset or the log.
      kind: ``dataset`` or ``requests``.
      splits: that were read; empty of a log.
      fitted: the transform that gave the columns.
      columns: ``feature/NAME``, of N rows.
      groups: of the rows' users, ``[N]``; of their requests where the user is not known.
      whole: features of which no row lacks a value.
      top: feature -> text -> share, of the most frequent values as the logs have them.
    """

    path: Path
    kind: str
    splits: tuple[str, ...]
    fitted: Fitted
    columns: Columns
    groups: Integers
    whole: Collection[str]
    top: Mapping[str, Mapping[str, float]]

    def check_size(self) -> None:
        """Raises ``InputError`` where the rows are of too few users to tell drift from chance."""
        groups = len(np.unique(self.groups))
        if groups < FEWEST_GROUPS:
            whose = "users" if self.kind == "dataset" else "users or requests"
            raise InputError(
                f"{self.path}: {len(self.groups):,} rows of {groups} groups of {whose}; expected"
                f" at least {FEWEST_GROUPS}, or drift cannot be told from chance"
            )


def dataset_side(path: Path, experiment: Experiment, split: str | None) -> Side:
    """Rows of a dataset, evenly over its files (``drift.rows``).

    Args:
      path: its folder.
      experiment: whose features it has.
      split: that is read; all that have rows where None.

    Raises:
      InputError: no such split, none of its rows, other features, or damage.
    """
    manifest = load_manifest(path)
    manifest.check_transform_files(path)
    fitted = Fitted.load(str(path / "transform"))
    fitted.check_matches(experiment, str(path))
    splits = splits_of(path, manifest, split)
    wanted = [name for name in manifest.columns if name.startswith("feature/") or name == _USER]
    columns = _read(path, manifest, splits, wanted, experiment.drift.rows)
    users = columns.pop(_USER).astype(np.uint64)
    groups = (users % np.uint64(GROUPS)).astype(np.int64)
    profile = read_profile(path)
    whole = _without_gaps(profile, splits) if profile else ()
    top = _most_frequent(profile, splits) if profile else {}
    return Side(path, "dataset", splits, fitted, columns, groups, whole, top)


def requests_side(path: Path, experiment: Experiment, fitted: Fitted, model: str | None) -> Side:
    """Rows of logged requests, by chance over the log, under a transform.

    Args:
      path: of the log.
      experiment: whose features the requests carry.
      fitted: the transform.
      model: whose requests are read; those of all models where None.

    Raises:
      InputError: no request for the model, requests for several where none is named, or a record
        that cannot be read.
    """
    columns = {column.name: column for column in served_columns(experiment)}
    lists = {name for name, column in columns.items() if column.kind == "strings"}
    rows: list[dict[str, Any]] = []
    groups: list[int] = []
    for number, request_rows in enumerate(_requests(path, model, lists, experiment.drift.rows)):
        for row in request_rows:
            user = row.get(experiment.data.user)
            rows.append(row)
            groups.append(crc32(str(number if user is None else user).encode()) % GROUPS)
    there = {name for row in rows for name in row}
    if not there & columns.keys():
        raise InputError(
            f"{path}: no request carries a feature of this config; expected some of"
            f" {', '.join(sorted(columns))}"
        )
    values = {name: _canonical(rows, column) for name, column in columns.items()}
    given = {
        name: pa.array(values[name], ARROW_TYPES[column.kind])
        if name in values
        else pa.nulls(len(rows), ARROW_TYPES[column.kind])
        for name, column in raw_columns(experiment).items()
    }
    transformed = Transform(experiment, fitted).apply_batch(pa.record_batch(given))
    features = [name for name in experiment.features if there >= set(experiment.columns_of(name))]
    carried = {
        f"feature/{output}"
        for name in features
        for output in experiment.features[name].output_names(name)
    }
    whole, top = [], {}
    for name in features:
        read = experiment.columns_of(name)
        if all(None not in values[column] for column in read):
            whole.append(name)
        if len(read) == 1 and columns[read[0]].kind in ("string", "strings"):
            top[name] = _shares(values[read[0]])
    return Side(
        path,
        "requests",
        (),
        fitted,
        {name: column for name, column in transformed.items() if name in carried},
        np.asarray(groups, np.int64),
        whole,
        top,
    )


def _read(
    path: Path, manifest: Manifest, splits: Sequence[str], wanted: Sequence[str], rows: int
) -> dict[str, Any]:
    """Columns of every so many blocks of rows."""
    for name in splits:
        manifest.check_split_files(path, name)
    files = [str(path / file.path) for name in splits for file in manifest.splits[name].files]
    every = max(1, sum(manifest.splits[name].rows for name in splits) // rows)
    formats = {name: manifest.columns[name] for name in wanted}
    decode: Callable[[tf.Tensor], Any] = lambda record: decode_block(record, formats)  # noqa: E731
    blocks = tf.data.TFRecordDataset(files).shard(every, 0).map(decode)
    parts = list(blocks.as_numpy_iterator())
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}


def _without_gaps(profile: DataProfile, splits: Sequence[str]) -> list[str]:
    return [
        name
        for name, feature in profile.features.items()
        if all(feature.splits[split].missing == 0 for split in splits if split in feature.splits)
    ]


def _most_frequent(profile: DataProfile, splits: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of the splits together, by their rows."""
    total = sum(profile.rows[split] for split in splits)
    found: dict[str, dict[str, float]] = {}
    for name, feature in profile.features.items():
        for split in splits:
            described = feature.splits.get(split)
            for value, share in (described.top or {}).items() if described else ():
                shares = found.setdefault(name, {})
                shares[value] = shares.get(value, 0.0) + share * profile.rows[split] / total
    return found


def _requests(
    path: Path, model: str | None, lists: Collection[str], most: int
) -> list[list[dict[str, Any]]]:
    """Rows of requests that are a fair sample, of at most so many rows: each gets a random number
    below the rate at which it was logged, and those below the lowest rate stay, or below what keeps
    few enough of them. So slow requests, all of which are logged, count as others do.
    """
    kept: list[tuple[float, list[dict[str, Any]]]] = []
    names: set[str] = set()
    generator, limit, total = np.random.default_rng(_SEED), 1.0, 0
    for place, log in logged_requests(path):
        request = log.predict_log.request
        names.add(request.model_spec.name)
        if model not in (None, request.model_spec.name):
            continue
        rate = log.log_metadata.sampling_config.sampling_rate or 1.0
        number = rate * generator.random()
        limit = min(limit, rate)
        if number >= limit:
            continue
        try:
            kept.append((number, rows_of_request(request, lists=lists)))
        except ValueError as error:
            raise InputError(f"{place}: {error}") from None
        total += len(kept[-1][1])
        while total > most and len(kept) > 1:
            limit *= _FEWER
            kept = [one for one in kept if one[0] < limit] or kept[:1]
            total = sum(len(rows) for _, rows in kept)
    kept = [one for one in kept if one[0] < limit] or kept[:1]
    if not kept:
        there = f"; it has some for {', '.join(sorted(names))}" if names else ""
        raise InputError(f"{path}: no request{f' for model {model}' if model else ''}{there}")
    if model is None and len(names) > 1:
        raise InputError(
            f"{path}: requests for several models, {', '.join(sorted(names))}; name one:"
            " --model-name"
        )
    return [rows for _, rows in kept]


def _canonical(rows: Sequence[Mapping[str, Any]], column: Column) -> list[Any]:
    """A column's values as the transform reads them; what no log may hold is missing."""
    read, found = READERS[column.kind], []
    for row in rows:
        value = row.get(column.name)
        try:
            found.append(read(None if value != value else value))
        except UnreadableValueError:
            found.append(None)
    return found


def _shares(values: Sequence[Any]) -> dict[str, float]:
    """The most frequent texts of a column, of lists their values', with their shares."""
    counts: Counter[str] = Counter()
    for value in values:
        counts.update(value if isinstance(value, list) else [] if value is None else [value])
    total = max(counts.total(), 1)
    return {text: count / total for text, count in counts.most_common(20)}
