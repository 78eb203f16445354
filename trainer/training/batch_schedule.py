"""Which rows of which domains a training step has: the timetable of a level's domains, and an
epoch's batches by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from configs.random_streams import Purpose, random_stream
from trainer.kernels.kernel import Rows

# our choice: a domain too small for this many rows in every batch takes part in fewer batches
_MIN_ROWS = 64
_FEWEST_STEPS = 64
_MOST_ROWS = 65_536
_SPREAD = (5**0.5 - 1) / 2  # of an equidistributed sequence: where domains of few batches take part


@dataclass(frozen=True)
class DomainData:
    """A domain in training.

    Attributes:
      name: of the domain.
      rows: indices of the rows that it trains on; in ascending order where they have factors.
      factors: float32, aligned with ``rows``: what each row's sample weight is multiplied by; 1
        where None.
      own: how many of the rows are the domain's own; all where None.
      requests: aligned with ``rows``: each row's request, whose rows go into the same batch, but
        for one on each of its borders; None where rows go singly.
    """

    name: str
    rows: Rows
    factors: npt.NDArray[np.float32] | None = None
    own: int | None = None
    requests: npt.NDArray[np.int64] | None = None

    def shuffled(self, stream: np.random.Generator) -> Rows:
        """Its rows in an order of chance."""
        if self.requests is None:
            return stream.permutation(self.rows)
        distinct, places = np.unique(self.requests, return_inverse=True)
        return self.rows[np.argsort(stream.permutation(len(distinct))[places], kind="stable")]

    def factors_of(self, rows: Rows) -> npt.NDArray[np.float32] | float:
        """Factors of some of its rows."""
        return 1.0 if self.factors is None else self.factors[np.searchsorted(self.rows, rows)]

    @property
    def own_rows(self) -> int:
        """Number of the domain's own rows."""
        return len(self.rows) if self.own is None else self.own


@dataclass(frozen=True)
class Timetable:
    """In which steps of an epoch every domain of a level takes part, and with how many rows.

    It follows from how many rows each domain of the level has, whichever of them a run trains, so
    that a domain's steps and rates do not depend on what is trained beside it.

    Attributes:
      steps: of an epoch.
      places: domain -> the steps that it takes part in, ascending.
      rows: of all domains in each step, float32 ``[steps]``.
    """

    steps: int
    places: Mapping[str, npt.NDArray[np.int64]]
    rows: npt.NDArray[np.float32]

    @classmethod
    def of(cls, level: Mapping[str, int], batch_size: int) -> "Timetable":
        """A domain's share of a batch is its share of all rows, and the largest domain has at most
        ``batch_size`` rows in it. Where an epoch would have fewer than ``_FEWEST_STEPS`` batches,
        they are smaller, but no domain has fewer than about ``_MIN_ROWS`` rows in a batch that it
        takes part in, whatever ``batch_size`` is; a batch has about ``_MOST_ROWS`` rows at most.

        Args:
          level: domain -> rows that it trains on, of all that train together, in a fixed order.
          batch_size: see above.
        """
        total, largest = sum(level.values()), max(level.values(), default=0)
        wanted = max(_FEWEST_STEPS, ceil(largest / batch_size))
        steps = max(1, ceil(total / _MOST_ROWS), min(wanted, ceil(largest / _MIN_ROWS)))
        places, rows = {}, np.zeros(steps, np.float32)
        for index, (name, size) in enumerate(level.items()):
            parts = min(steps, ceil(size / _MIN_ROWS))
            shift = index * _SPREAD % 1.0
            steps_of = [int((part + shift) * steps / parts) for part in range(parts)]
            places[name] = np.array(steps_of, np.int64)
            if parts:  # as ``np.array_split`` cuts
                short, longer = divmod(size, parts)
                rows[places[name]] += short + (np.arange(parts) < longer)
        return cls(steps, places, rows)


def schedule(
    domains: list[DomainData],
    batch_size: int,
    seed: int,
    epoch: int,
    table: Timetable | None = None,
) -> list[list[Rows]]:
    """An epoch's batches: for every step of the timetable the rows of every domain (maybe none).

    Every row of every domain occurs once. The order of a domain's rows is a function of seed, epoch
    and its name.

    Args:
      domains: that train.
      batch_size: see ``Timetable.of``.
      seed: of the experiment.
      epoch: from 0 on.
      table: of their level; of these domains alone where None.
    """
    if table is None:
        table = Timetable.of({domain.name: len(domain.rows) for domain in domains}, batch_size)
    batches = [[np.empty(0, np.int64) for _ in domains] for _ in range(table.steps)]
    for index, domain in enumerate(domains):
        places = table.places[domain.name]
        if not len(domain.rows):
            continue
        order = domain.shuffled(random_stream(seed, Purpose.KERNEL_ORDER, domain.name, epoch))
        for place, rows in zip(places, np.array_split(order, len(places)), strict=True):
            batches[place][index] = rows
    return batches
