"""Works out the topics of a dataset's rows from the raw columns that it holds, so that a topic may
be younger than the dataset.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from configs import InputError
from configs.tensorflow_import import tf
from configs.topics import Topic
from preprocessing.dataset.manifest import Manifest, read_entry
from preprocessing.features.fitted import Fitted
from preprocessing.features.topic import element_index, first_of, topic_index

_MOMENT = "row/timestamp"

_Index = Callable[[tf.Tensor], tf.Tensor]


class TopicColumns:
    """The topics of one reader, and where each is read.

    Args:
      folder: of the dataset.
      manifest: of the dataset.
      fitted: its transform; of a dataset that is older than raw columns it names the topics that
        the records hold.
      topics: that are wanted.

    Attributes:
      names: of the topics.
      read: names of the record columns that are needed.

    Raises:
      InputError: the dataset does not hold a topic's column, holds it in another form, or a
        dictionary is damaged.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, fitted: Fitted, topics: Mapping[str, Topic]
    ) -> None:
        self._folder, self._manifest = folder, manifest
        self._stored = _stored_topics(fitted) if manifest.dictionaries is None else {}
        self._dictionaries: dict[str, list[str]] = {}
        self._topics, self.names = topics, tuple(topics)
        self._index = {name: self._reader(name, topic) for name, topic in topics.items()}
        self.read = {column for column, _ in self._index.values()}

    def of(self, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``topic/NAME`` of rows, int32 ``[N]``: the index of each row's value from 1 in the
        topic's order, 0 for none of them.
        """
        return {
            f"topic/{name}": index(columns[column]) for name, (column, index) in self._index.items()
        }

    def values_without_rows(self) -> list[tuple[str, str]]:
        """Topics' values that occur in no row of the dataset, as far as its dictionaries tell."""
        return [
            (name, value)
            for name, topic in self._topics.items()
            if topic.column in self._dictionaries
            for value in topic.names
            if value not in self._dictionaries[topic.column]
        ]

    def _reader(self, name: str, topic: Topic) -> tuple[str, _Index]:
        if topic.read_as == "timestamp":
            return _MOMENT, lambda seconds: topic_index(topic, seconds)
        if topic.same_as(self._stored.get(name)):
            return f"topic/{name}", lambda index: index
        column = f"raw/{topic.column}"
        held = self._manifest.columns.get(column)
        if held is None:
            raise InputError(
                f"{self._folder}: topic '{name}', of this config or of an active kernel, reads"
                f" column '{topic.column}', which this dataset does not hold ({self._held()}); run"
                f" python -m preprocessing.task with a config that has this topic, --transform"
                f" {self._folder} and another --output, and go on with that config"
            )
        form = "number"
        if topic.column in (self._manifest.dictionaries or {}):
            form = "string" if held.length is None else "strings"
        if form != topic.read_as:
            raise InputError(
                f"{self._folder}: topic '{name}' cuts column '{topic.column}' by '{topic.way}',"
                f" which reads {_FORMS[topic.read_as]}; the dataset holds {_FORMS[form]}"
            )
        if form == "number":
            return column, lambda numbers: topic_index(topic, numbers)
        table = element_index(topic, tf.constant(["", *self._dictionary(topic.column)]))
        if form == "string":
            return column, lambda codes: tf.gather(table, codes)
        return column, lambda codes: first_of(tf.gather(table, codes))

    def _held(self) -> str:
        names = [name[4:] for name in self._manifest.columns if name.startswith("raw/")]
        if self._manifest.dictionaries is None:
            return "it was written before datasets held raw columns"
        return f"it holds: {', '.join(names) or 'none'}"

    def _dictionary(self, column: str) -> list[str]:
        if column not in self._dictionaries:
            listed = (self._manifest.dictionaries or {})[column]
            self._dictionaries[column] = json.loads(read_entry(self._folder, listed))
        return self._dictionaries[column]


_FORMS = {"string": "text", "strings": "lists of text", "number": "numbers"}


def _stored_topics(fitted: Fitted) -> dict[str, Topic]:
    """The topics of the records of a dataset that is older than raw columns."""
    settings: dict[str, Any] = json.loads(fitted.settings)
    return {
        name: Topic.model_validate({**topic, "hours": dict(topic["hours"])})
        for name, topic in settings.get("topics", {}).items()
    }
