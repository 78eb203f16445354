"""Ids of two transforms as keys of one, so that what means the same value is the same key."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from configs.features.settings import FeatureSettings
from preprocessing.features.fitted import Fitted

UNKNOWN = 1
"""The key of all values outside the vocabulary."""
OUTSIDE = "(outside the vocabulary)"

Integers = npt.NDArray[np.int64]


class Keys:
    """The keys of one table of ids: 0 is missing, ``UNKNOWN`` outside the vocabulary, then the
    vocabulary of the reference; then values that only other transforms have, which are outside it.
    Ids that are hashes or buckets are their own keys.

    Args:
      settings: of the feature that owns the ids.
      owner: its name.
      reference: the transform whose ids are the keys.
    """

    def __init__(self, settings: FeatureSettings, owner: str, reference: Fitted) -> None:
        self._owner = owner
        self._unknown_ids = 0 if settings.hashed_ids else settings.oov_ids
        self._vocabulary = reference.vocabularies.get(owner)
        self._added: dict[str, int] = {}
        self._places: dict[str, int] | None = None

    @property
    def has_vocabulary(self) -> bool:
        """Whether there are values with an id of their own, and others."""
        return self._vocabulary is not None

    @property
    def _known(self) -> Sequence[str]:
        return self._vocabulary or ()

    @property
    def _end(self) -> int:
        """The first key after the vocabulary's."""
        return 1 + UNKNOWN + len(self._known)

    def of(self, ids: npt.NDArray[np.generic], fitted: Fitted) -> Integers:
        """Keys of the ids of a transform, of any shape."""
        numbers = ids.astype(np.int64)
        if self._vocabulary is None:
            return numbers
        theirs = fitted.vocabularies[self._owner]
        table = np.zeros(1 + self._unknown_ids + len(theirs), np.int64)
        table[1 : 1 + self._unknown_ids] = UNKNOWN
        if theirs == self._vocabulary:
            table[1 + self._unknown_ids :] = 1 + UNKNOWN + np.arange(len(theirs))
        else:
            table[1 + self._unknown_ids :] = [self.key(value) for value in theirs]
        return table[numbers]

    def key(self, value: str) -> int:
        """The key of a value."""
        if self._places is None:
            start = 1 + UNKNOWN
            self._places = {known: start + place for place, known in enumerate(self._known)}
        found = self._places.get(value)
        if found is not None:
            return found
        return self._added.setdefault(value, self._end + len(self._added))

    def knows(self, value: str) -> bool:
        """Whether a value is in the vocabulary."""
        return self.key(value) < self._end

    def is_unknown(self, keys: Integers) -> npt.NDArray[np.bool_]:
        """Which keys are outside the vocabulary."""
        outside: npt.NDArray[np.bool_] = (keys == UNKNOWN) | (keys >= self._end)
        return outside

    def text(self, key: int) -> str:
        """What a key stands for, for people."""
        if self._vocabulary is None:
            return f"id {key}"
        if key == UNKNOWN:
            return OUTSIDE
        if key < self._end:
            return self._known[key - 1 - UNKNOWN]
        return next(value for value, added in self._added.items() if added == key)
