"""When training stops: after a number of scores none of which is better than the best."""

import math
from dataclasses import dataclass


@dataclass
class EarlyStopping:
    """The best of a sequence of scores, and how long ago it was; JSON-ready as ``asdict`` gives it.

    Attributes:
      patience: scores without an improvement after which training stops; it never does where None.
      best: the best score; None before the first, and after one that is undefined.
      when: the moment of the best score.
      waited: scores since the best.
    """

    patience: int | None = None
    best: float | None = None
    when: int = 0
    waited: int = 0

    def update(self, score: float | None, when: int) -> bool:
        """Takes the next score.

        Args:
          score: the larger, the better; NaN is worse than every number. None where it is undefined:
            nothing can then be preferred, so what is newest counts as an improvement (our choice).
          when: its moment (an epoch, a step).

        Returns:
          Whether it is an improvement: what was scored is to be kept.
        """
        if score is not None and math.isnan(score):
            score = -math.inf
        if score is None or self.best is None or score > self.best:
            self.best, self.when, self.waited = score, when, 0
            return True
        self.waited += 1
        return False

    @property
    def stopped(self) -> bool:
        """Whether training is to end."""
        return self.patience is not None and self.waited >= self.patience
