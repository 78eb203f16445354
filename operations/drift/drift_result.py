"""Defines what ``operations.drift --json`` prints."""

from typing import Literal

from configs.operations.drift import Drift
from configs.section import Section

Reason = Literal["distance", "missing", "out_of_vocabulary", "value"]


class RowsRead(Section):
    """Rows of one side.

    Attributes:
      path: of the dataset or the log.
      kind: ``dataset`` or ``requests``.
      splits: that were read; empty of a log.
      rows: that were read.
    """

    path: str
    kind: Literal["dataset", "requests"]
    splits: tuple[str, ...]
    rows: int


class Shares(Section):
    """A share or a mean on both sides."""

    first: float
    other: float


class ValueChange(Section):
    """A value that is new, or gone.

    Attributes:
      value: as the logs have it; "(outside the vocabulary)" stands for all that have no id.
      first: its share of the values on the first side.
      other: the same on the other.
    """

    value: str
    first: float
    other: float


class FeatureDrift(Section):
    """A feature on both sides.

    Attributes:
      feature: its name; of one that gives several outputs, the output's.
      distance: population stability index, of lists the larger one of values and of lengths; None
        of ids, of which single ones come and go.
      by_chance: what chance gives in the mean between samples of these sizes.
      beyond_chance: the distance less that; 0 where chance explains it.
      missing: share of the rows without a value.
      out_of_vocabulary: share of the values without an id of their own; None without a vocabulary.
      mean: of numbers that are not missing; None of ids, or where there are none.
      values: that are new or gone, the most frequent first.
      reasons: why this is drift; empty where it is none.
      severity: the largest change as a multiple of its threshold.
      says: the drift in words; empty where there is none.
    """

    feature: str
    distance: float | None
    by_chance: float | None
    beyond_chance: float | None
    missing: Shares
    out_of_vocabulary: Shares | None
    mean: Shares | None
    values: tuple[ValueChange, ...]
    reasons: tuple[Reason, ...]
    severity: float
    says: str


class DomainCalibration(Section):
    """Predictions of a task in a domain beside what happened.

    Attributes:
      domain: its name; rows of it as ``auto`` serves them.
      task: name of the task.
      rows: on which the task is defined.
      positives: how many of them have the label.
      predicted: mean prediction.
      observed: mean label, or amount.
      ratio: predicted over observed.
      drifted: whether the ratio is further from 1 than the threshold and than chance.
      says: the same in words; empty where it has not drifted.
    """

    domain: str
    task: str
    rows: int
    positives: int
    predicted: float
    observed: float
    ratio: float
    drifted: bool
    says: str


class TaskAge(Section):
    """AUC of a task.

    Attributes:
      new: of the zero-shot backbone on the validation rows of its pre-training.
      zero_shot: of the same backbone on the rows of today.
      served: of what is served on these rows.
    """

    new: float
    zero_shot: float
    served: float


class BackboneAge(Section):
    """How old the backbone is, in AUC points.

    Attributes:
      split: whose rows are those of today.
      tasks: task -> AUC, of the tasks over all rows whose AUC is defined everywhere.
      lost_points: what the zero-shot backbone has lost since it was new, in the mean of the tasks.
      recovered_points: what kernels recover today.
      pretrain: whether what is lost and not recovered is more than the threshold.
      says: the rule in words.
    """

    split: str
    tasks: dict[str, TaskAge]
    lost_points: float
    recovered_points: float
    pretrain: bool
    says: str


class DriftResult(Section):
    """A comparison.

    Attributes:
      thresholds: the section ``drift`` of the config.
      first, other: the rows that were read.
      drifted: whether anything has crossed a threshold; the exit code is 3 then.
      features: those that have drifted first, by severity.
      not_compared: outputs of features that cannot be compared, and why.
      calibration: by domain and task; None without a job.
      age: of the job's backbone; None without a job.
    """

    thresholds: Drift
    first: RowsRead
    other: RowsRead
    drifted: bool
    features: tuple[FeatureDrift, ...]
    not_compared: dict[str, str]
    calibration: tuple[DomainCalibration, ...] | None = None
    age: BackboneAge | None = None

    @property
    def lines(self) -> list[str]:
        """Everything that has crossed a threshold, a line each, the most striking first."""
        found = [feature.says for feature in self.features if feature.reasons]
        found += [cell.says for cell in self.calibration or () if cell.drifted]
        return found + ([self.age.says] if self.age and self.age.pretrain else [])
