"""Works out the topics of a dataset's rows from the raw columns that it holds, so that a topic may
be younger than the dataset.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from configs import InputError
from configs.tensorflow_import import tf
from configs.topics import Topic
from preprocessing.dataset.manifest import ColumnFormat
from preprocessing.features.fitted import Fitted
from preprocessing.features.topic import element_index, first_of, topic_index
from trainer.data.raw_columns import RAW, RawColumns

_MOMENT = "row/timestamp"

_Index = Callable[[tf.Tensor], tf.Tensor]


class TopicColumns:
    """The topics of one reader, and where each is read.

    Args:
      raw: columns of the dataset.
      older: whether the dataset is older than raw columns.
      fitted: its transform; of an older dataset it names the topics that the records hold.
      topics: that are wanted.

    Attributes:
      columns: topics' own, ``topic/NAME``, and their format.
      read: names of the record columns that are needed.

    Raises:
      InputError: the dataset does not hold a topic's column, holds it in another form, or a
        dictionary is damaged.
    """

    def __init__(
        self, raw: RawColumns, older: bool, fitted: Fitted, topics: Mapping[str, Topic]
    ) -> None:
        self._raw = raw
        self._stored = _stored_topics(fitted) if older else {}
        self._topics = topics
        self.columns = {f"topic/{name}": ColumnFormat(dtype="int32") for name in topics}
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
            if (dictionary := self._raw.loaded(topic.column)) is not None
            for value in topic.names
            if value not in dictionary
        ]

    def _reader(self, name: str, topic: Topic) -> tuple[str, _Index]:
        if topic.read_as == "timestamp":
            return _MOMENT, lambda seconds: topic_index(topic, seconds)
        if topic.same_as(self._stored.get(name)):
            return f"topic/{name}", lambda index: index
        form = self._raw.form(topic.column)
        if form is None:
            reader = f"topic '{name}', of this config or of an active kernel,"
            raise InputError(self._raw.missing(reader, topic.column, "topic"))
        if form != topic.read_as:
            raise InputError(
                f"{self._raw.folder}: topic '{name}' cuts column '{topic.column}' by '{topic.way}',"
                f" which reads {_FORMS[topic.read_as]}; the dataset holds {_FORMS[form]}"
            )
        column = f"{RAW}{topic.column}"
        if form == "number":
            return column, lambda numbers: topic_index(topic, numbers)
        table = element_index(topic, tf.constant(["", *self._raw.dictionary(topic.column)]))
        if form == "string":
            return column, lambda codes: tf.gather(table, codes)
        return column, lambda codes: first_of(tf.gather(table, codes))


_FORMS = {"string": "text", "strings": "lists of text", "number": "numbers"}


def _stored_topics(fitted: Fitted) -> dict[str, Topic]:
    """The topics of the records of a dataset that is older than raw columns."""
    settings: dict[str, Any] = json.loads(fitted.settings)
    return {
        name: Topic.model_validate({**topic, "hours": dict(topic["hours"])})
        for name, topic in settings.get("topics", {}).items()
    }
