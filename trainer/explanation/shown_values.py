"""What the model reads of a row, as people read it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from configs import Experiment
from configs.topics import Topic
from preprocessing.features.fitted import Fitted
from preprocessing.features.output_spec import transform_outputs
from trainer.backbone.model import TOPIC_PREFIX
from trainer.explanation.inputs import FEATURE_PREFIX, Input, InputRows

UNKNOWN = "unknown"
_DIGITS = 6


class ShownValues:
    """Turns ids back into what they stand for.

    Args:
      experiment: names the features.
      fitted: the backbone's transform.
      topics: those that a body may read.
    """

    def __init__(self, experiment: Experiment, fitted: Fitted, topics: Mapping[str, Topic]) -> None:
        self._experiment, self._fitted, self._topics = experiment, fitted, topics
        self._outputs = transform_outputs(experiment, fitted)

    def of(self, one: Input, rows: InputRows, row: int) -> Any:
        """What an input holds in a row, JSON-ready: text of the vocabulary, ``unknown`` for an id
        that stands for any other value, the id where there is no vocabulary; of lists what is not
        padding; numbers as the transform gives them; None where there is nothing. Of several parts
        a list.
        """
        values = [self._part(part, rows.parts[part][row]) for part in one.about.parts]
        if len(values) == 1:
            return values[0]
        return None if all(value is None for value in values) else values

    def _part(self, part: str, value: npt.NDArray[Any]) -> Any:
        if part.startswith(TOPIC_PREFIX):
            return self._topic(part.removeprefix(TOPIC_PREFIX), int(value))
        if not part.startswith(FEATURE_PREFIX):
            return [_number(number) for number in value]
        output = self._outputs[part.removeprefix(FEATURE_PREFIX)]
        owner = self._outputs[output.table].feature
        if output.kind == "number":
            return _number(value)
        if output.kind == "numbers":
            return [_number(number) for number in value]
        if output.kind == "id":
            return self._id(owner, int(value))
        return [self._id(owner, int(one)) for one in value if one] or None

    def _id(self, owner: str, number: int) -> Any:
        vocabulary = self._fitted.vocabularies.get(owner)
        if not number or vocabulary is None:
            return number or None
        place = number - self._experiment.features[owner].shared_ids
        return UNKNOWN if place < 0 else vocabulary[place]

    def _topic(self, name: str, number: int) -> str | None:
        return self._topics[name].names[number - 1] if number else None


def _number(value: Any) -> float:
    return round(float(np.float32(value)), _DIGITS)
