"""What ``explain`` finds, as ``reports/explanation.json`` and ``explain --json`` hold it.

A figure is a number or ``"undefined"``, as in ``trainer.metrics.results``.
"""

from typing import Any, Literal

from configs.section import Section
from trainer.metrics.results import ByTask, Figure, Interval, Number, Outcomes, Pair


class ReadInput(Section):
    """What is permuted, or taken away, as one.

    Attributes:
      kind: a feature of the config (with others that read the same raw columns, and topics that a
        body reads of them), a topic that a body reads, or a key of what kernels remember.
      columns: raw columns that it is made of.
      parts: what it is in the model: ``feature/NAME`` of the transform, ``topic/NAME`` as the body
        reads it, ``memory/NAME`` as kernels read it.
      read: whether the backbone or a served kernel reads it; the debias feature is not read.
      shares: other inputs that are made of one of its raw columns, and so keep what it loses.
    """

    kind: Literal["feature", "topic", "memory"]
    columns: tuple[str, ...]
    parts: tuple[str, ...]
    read: bool
    shares: tuple[str, ...]


class Loss(Section):
    """What permuting an input costs.

    Attributes:
      lost: AUC of the rows as they are less that of the permuted ones, the mean over permutations;
        below 0 where permuted rows are ranked better.
      ci95: of ``lost``, from resampled users and permutations.
    """

    lost: Figure
    ci95: Interval


class InputLoss(Section):
    """The loss of the backbone alone, and of what serves the rows."""

    backbone: Loss
    kernel: Loss


class SliceImportance(Section):
    """What is lost on all rows, or on those of a domain.

    Attributes:
      rows: of the slice among those that were taken.
      auc: of the rows as they are, by task.
      lost: task -> input -> loss.
      undecided: of the tasks that have too few outcomes of a kind here, how many there are; they
        have no ``auc`` and no ``lost``.
    """

    rows: int
    auc: ByTask[Pair]
    lost: ByTask[dict[str, InputLoss]]
    undecided: ByTask[Outcomes]


class GateUse(Section):
    """How a gate of the body mixes its experts: mean weights, which add up to 1.

    Attributes:
      task: whose gate it is; None for that of the state which all tasks share.
      experts: their names, in the order of the weights.
      overall: of all rows that were taken.
      domains: of the rows of each; None where there are none.
    """

    task: str | None
    experts: tuple[str, ...]
    overall: tuple[Number, ...]
    domains: dict[str, tuple[Number, ...] | None]


class Dependence(Section):
    """Two inputs of which one nearly says the other.

    Attributes:
      input: whose values are told.
      by: the input that tells them.
      share: of what is not known of ``input``, the part that ``by`` tells, less what it seems to
        tell by chance; from 0 to 1.
    """

    input: str
    by: str
    share: Number


class Importance(Section):
    """What a model reads on a split.

    Attributes:
      split: its name.
      config: sha256 of the experiment that explained.
      backbone: the backbone's fingerprint.
      body: of the backbone.
      of_rows: rows of the split.
      rows: how many of them were taken.
      users: that these are of.
      drawn_by: whether whole ``users`` were drawn or, where one user has too many rows,
        ``requests``; None where all rows were taken.
      permutations: of each input.
      resamples: of users, for each interval.
      compose: share by which kernels answer together; None where they do not.
      ranking: the targets that are judged, those on all rows.
      inputs: by name, in the order of the config.
      overall: of all rows.
      domains: of every domain of the config but ``all``, whose rows are all.
      experts: gate -> its use; None where the body has no gates.
      dependent: inputs that tell each other.
    """

    split: str
    config: str
    backbone: str
    body: str
    of_rows: int
    rows: int
    users: int
    drawn_by: Literal["users", "requests"] | None
    permutations: int
    resamples: int
    compose: float | None
    ranking: tuple[str, ...]
    inputs: dict[str, ReadInput]
    overall: SliceImportance
    domains: dict[str, SliceImportance]
    experts: dict[str, GateUse] | None
    dependent: tuple[Dependence, ...]

    def by_loss(self, task: str) -> list[str]:
        """Inputs by what is lost without them as rows are served, most first and those that are
        not read last; in the config's order where the task is undecidable.
        """
        cells = self.overall.lost.get(task, {})
        lost = {name: cell.kernel.lost for name, cell in cells.items()}
        known = {name: value for name, value in lost.items() if not isinstance(value, str)}
        return sorted(
            self.inputs, key=lambda name: (not self.inputs[name].read, -known.get(name, 0.0))
        )


class InputEffect(Section):
    """What an input does to a row's predictions.

    Attributes:
      input: its name.
      value: what the model reads of it: text of the vocabulary, ``unknown`` outside it, the id
        where it has none, numbers as the transform gives them; None where it is missing.
      missing: whether it is missing already, so that nothing moves.
      effects: output -> prediction of the row as it is less that without the input.
    """

    input: str
    value: Any
    missing: bool
    effects: dict[str, Pair]


class ExplainedRow(Section):
    """One row of a request.

    Attributes:
      row: its place in the request, from 1.
      served_domain: the domain whose kernel answers it.
      outputs: every task over all rows, and ``score``: what is predicted.
      inputs: by what they do to ``score`` as the row is served, most first.
    """

    row: int
    served_domain: str
    outputs: dict[str, Pair]
    inputs: tuple[InputEffect, ...]


class RequestExplanation(Section):
    """What moved the predictions of a request's rows.

    Attributes:
      request: its id; None where the rows came from a file.
      split: that holds it; None where the rows came from a file.
      config: sha256 of the experiment that explained.
      backbone: the backbone's fingerprint.
      rows: of the request.
    """

    request: str | None
    split: str | None
    config: str
    backbone: str
    rows: tuple[ExplainedRow, ...]
