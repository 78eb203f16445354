"""Defines what is predicted: tasks by name, side by side or one after another."""

from dataclasses import dataclass
from functools import cached_property
from keyword import iskeyword
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, RootModel, model_validator

from configs.prediction.expressions import FUNCTIONS
from configs.section import Identifier, Section, Weight

EVERY_ROW = "all"
"""What older configs call the sample space of all rows."""

_RESULTS = {
    "rows",
    "active",
    "served_domain",
    "version",
    "decision",
    "seen",
    "positives",
    "undecided",
    "tasks",
}
"""What stands beside tasks in the results of ``evaluate``."""

_OUTPUTS = {"domain", "domains", "score"}
"""Outputs of a served model that are no task's; ``served_domain`` is one, too."""

_LAYERS = {
    "adapter",
    "attention",
    "bottom",
    "cross",
    "domain_norm",
    "embedding",
    "epnet",
    "hyper",
    "id_dropout",
    "input",
    "pooling",
    "position",
    "shared",
}
"""What layers of a backbone are called that are no task's."""

_DOMAINS = {"all", "auto", "backbone"}
"""What tables call domains."""

TAKEN_NAMES = frozenset(_RESULTS | _OUTPUTS | _LAYERS | _DOMAINS)
"""What no task may be called."""

_TAKEN_ENDING = "_auxiliary"

_OF_AMOUNTS = ("typical", "transform", "loss")

PositiveAmount = Annotated[float, Field(gt=0.0, le=1e9)]


class RankingLoss(Section):
    """A list-wise loss inside requests beside the loss of every row by itself: minus the log of a
    positive's part in the sum of its request's probabilities (the regression-compatible list-wise
    cross entropy of Bai et al. 2023, section 3.2). Probabilities that are right for every row make
    both smallest.
    """

    share: float = Field(
        ge=0.0, le=1.0, description="of it in the task's loss; the loss of rows has the rest"
    )


_RANKING_LOSS = Field(
    None,
    description=(
        "learn the order inside requests, too; then the rows of a request are learned from in one"
        " step. Null: every row by itself"
    ),
)


class Entire(Section):
    """A task's product with all tasks before it: p(a) p(b | a), over all rows and not only those
    where the earlier label is 1 (ESMM, Ma et al. 2018, section 2.2).
    """

    name: Identifier = Field(description="of the product, under which it is served")
    loss_weight: Weight = Field(1.0, description="of its loss in the sum of all")
    ranking_loss: RankingLoss | None = _RANKING_LOSS


class Task(Section):
    """What a tower of the backbone predicts: the probability of a label, or an amount."""

    label: str = Field(description="column of 0 and 1; of a regression, of amounts from 0 on")
    kind: Literal["binary", "regression"] = Field(
        "binary", description="a probability, or an amount such as seconds watched"
    )
    typical: PositiveAmount | None = Field(
        None,
        description=(
            "of a regression, which needs it: a middling amount, in the label's unit. Losses count"
            " in it, and rankings are judged by which rows have more"
        ),
    )
    transform: Literal["log", "raw"] = Field(
        "log", description="of a regression: what the tower predicts, log(1 + amount) or the amount"
    )
    loss: Literal["huber", "squared", "weighted_logistic"] = Field(
        "huber",
        description=(
            "of a regression: of the difference; or logistic with amounts as weights, whose odds"
            " are the mean amount (Covington et al. 2016, section 4.2), whatever the transform"
        ),
    )
    after: Identifier | None = Field(
        None,
        description=(
            "an earlier task, on whose label this one waits: it is defined on the rows where that"
            " label is 1; all rows where null"
        ),
    )
    positive_weight: PositiveAmount = Field(
        1.0,
        description=(
            "of a binary task: how many times a positive counts in its own loss (of its product it"
            " does not); what is served stays calibrated"
        ),
    )
    loss_weight: Weight = Field(
        1.0, description="of its own loss in the sum of all; 0 where only the product is learned"
    )
    ranking_loss: RankingLoss | None = _RANKING_LOSS
    matured_after: Weight = Field(
        0.0,
        description=(
            "hours after a row until its label is known, such as a late order's; rows that are"
            " younger at data.as_of carry no label of this task, and of what waits on it"
        ),
    )
    entire: Entire | None = Field(
        None, description="the product with the tasks before it, of a task that has 'after'"
    )


@dataclass(frozen=True)
class Amount:
    """How a regression's label is learned.

    Attributes:
      typical: a middling amount, in the label's unit.
      form: what the tower predicts of y = amount / typical: ``log``, log(1 + y); ``raw``, y;
        ``odds``, log y, as the log-odds of a weighted logistic regression.
      squared: whether its loss is the squared difference; Huber's where not (and of ``odds`` that
        of logistic regression).
    """

    typical: float
    form: Literal["log", "raw", "odds"]
    squared: bool


@dataclass(frozen=True)
class Target:
    """What is learned, judged and served: a task's probability or amount, or an entire product.

    Attributes:
      name: of the task, or of its entire product.
      label: its column.
      given: label column on whose rows of 1 it is defined; None for all rows.
      towers: places of the towers whose probabilities are multiplied, first to last; a task's own
        alone for its own probability.
      loss_weight: of its loss in the objective.
      amount: how an amount is learned; None of a probability.
      ranking_share: of the list-wise loss in its loss.
      awaited: label columns that are known only after a time, of its own and of what it waits on.
      positive_weight: how many times a positive counts in the loss of a probability.
    """

    name: str
    label: str
    given: str | None
    towers: tuple[int, ...]
    loss_weight: float
    amount: Amount | None = None
    ranking_share: float = 0.0
    awaited: tuple[str, ...] = ()
    positive_weight: float = 1.0

    @property
    def threshold(self) -> float:
        """Labels above it are positives, by which rankings are judged: those of 1, or, of amounts,
        those above the typical one.
        """
        return 0.5 if self.amount is None else self.amount.typical


def _amount(task: Task) -> Amount | None:
    if task.kind == "binary" or task.typical is None:
        return None
    form = "odds" if task.loss == "weighted_logistic" else task.transform
    return Amount(task.typical, form, task.loss == "squared")


def _share(ranking: RankingLoss | None) -> float:
    return ranking.share if ranking else 0.0


def _read_as(target: Target) -> str:
    if target.amount is None:
        return target.label
    return f"{target.amount.form} of {target.label} by {target.amount.typical:g}"


class Tasks(RootModel[dict[Identifier, Task]]):
    """Tasks by name, in the order of the backbone's towers."""

    model_config = ConfigDict(frozen=True)

    @cached_property
    def towers(self) -> tuple[str, ...]:
        """Names of the tasks: each has a tower, and this is the order of every task axis."""
        return tuple(self.root)

    @cached_property
    def targets(self) -> dict[str, Target]:
        """Everything that is predicted, by name: each task, and after it its entire product."""
        found = {}
        for name, task in self.root.items():
            given = self.root[task.after].label if task.after else None
            place = self.towers.index(name)
            path = (*self.before(name), place)
            awaited = self._awaited(path)
            found[name] = Target(
                name,
                task.label,
                given,
                (place,),
                task.loss_weight,
                _amount(task),
                _share(task.ranking_loss),
                awaited,
                task.positive_weight,
            )
            if entire := task.entire:
                found[entire.name] = Target(
                    entire.name,
                    task.label,
                    None,
                    path,
                    entire.loss_weight,
                    ranking_share=_share(entire.ranking_loss),
                    awaited=awaited,
                )
        return found

    def _awaited(self, towers: tuple[int, ...]) -> tuple[str, ...]:
        """The labels of some towers that are known only after a time."""
        tasks = [self.root[self.towers[place]] for place in towers]
        return tuple(dict.fromkeys(task.label for task in tasks if task.matured_after))

    @cached_property
    def matured_after(self) -> dict[str, float]:
        """Label column -> hours until it is known, of those that are not at once."""
        return {task.label: task.matured_after for task in self.root.values() if task.matured_after}

    @cached_property
    def learned_in_requests(self) -> bool:
        """Whether a loss reads which rows are of one request."""
        return any(target.ranking_share for target in self.targets.values())

    def before(self, task: str) -> tuple[int, ...]:
        """Places of the towers that a task waits on, first to last; none where it is defined on
        all rows.
        """
        after = self.root[task].after
        return () if after is None else (*self.before(after), self.towers.index(after))

    @cached_property
    def ranking(self) -> tuple[str, ...]:
        """The targets that are defined on all rows: what a slate can be ranked by, and so what
        kernels are stopped, judged and reported on.
        """
        return tuple(target.name for target in self.targets.values() if target.given is None)

    @property
    def ranked_by(self) -> str | None:
        """The end of the one funnel over all rows, by which a page is ranked where the config gives
        no ``score`` (our choice); None where tasks over all rows stand side by side, so that there
        is none.
        """
        *others, last = (self.targets[name] for name in self.ranking)
        whole = all(target.towers == last.towers[: len(target.towers)] for target in others)
        return last.name if whole else None

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The distinct label columns, in the order of the tasks."""
        return tuple(dict.fromkeys(task.label for task in self.root.values()))

    @cached_property
    def waiting(self) -> tuple[tuple[str, str], ...]:
        """The label columns (earlier, later) of every task that waits on another, each pair
        once.
        """
        return tuple(
            dict.fromkeys(
                (target.given, target.label)
                for target in self.targets.values()
                if target.given is not None
            )
        )

    @cached_property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Those of probabilities: the later label is 1 nowhere where the earlier is 0. (What is
        watched without a click is no contradiction; it is not learned.)
        """
        return tuple(pair for pair in self.waiting if pair[1] not in self.amounts)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """Label column -> what its positives are above (``Target.threshold``)."""
        return {target.label: target.threshold for target in self.targets.values()}

    @cached_property
    def amounts(self) -> tuple[str, ...]:
        """The label columns that are amounts."""
        return tuple(
            dict.fromkeys(target.label for target in self.targets.values() if target.amount)
        )

    @property
    def words(self) -> str:
        """``view (click), buy (order where click is 1), stay (log of seconds by 20)``."""
        return ", ".join(
            f"{target.name} ({_read_as(target)}"
            f"{f' where {target.given} is 1' if target.given else ''})"
            for target in self.targets.values()
        )

    @property
    def spaces(self) -> dict[str, dict[str, str]]:
        """Label and sample space of every target, by name: all of it that decides a dataset."""
        return {
            name: {
                "label": target.label,
                "space": target.given or EVERY_ROW,
                **({"amount": repr(target.amount.typical)} if target.amount else {}),
            }
            for name, target in self.targets.items()
        }

    @property
    def meaning(self) -> list[tuple[object, ...]]:
        """How the towers are read, target by target, whatever their names."""
        return [
            (
                target.label,
                target.given,
                target.towers,
                target.amount and (target.amount.typical, target.amount.form),
            )
            for target in self.targets.values()
        ]

    def same_as(self, other: "Tasks") -> bool:
        """Whether both read every tower and target in the same way, and call them the same."""
        return tuple(self.targets) == tuple(other.targets) and self.meaning == other.meaning

    @model_validator(mode="before")
    @classmethod
    def _read_spaces(cls, values: Any) -> Any:
        """Reads the older form, where a task named the label it waits on (``space``), and an
        entire product was a task of its own.
        """
        if not isinstance(values, dict) or not all(
            isinstance(task, dict) for task in values.values()
        ):
            return values
        if not any("space" in task for task in values.values()):
            return values
        for name, task in values.items():
            for key in ("label", "space"):
                if not isinstance(task.get(key, ""), str):
                    raise ValueError(f"{name}.{key}: expected text, received {task[key]!r}")
        every = {
            name: {key: value for key, value in task.items() if key != "space"}
            for name, task in values.items()
        }
        spaces = {name: task.get("space", EVERY_ROW) for name, task in values.items()}
        on_all_rows = {
            task.get("label"): name for name, task in every.items() if spaces[name] == EVERY_ROW
        }
        read: dict[str, Any] = {}
        for name, task in every.items():
            waiting = next(
                (
                    other
                    for other in read
                    if spaces[other] != EVERY_ROW and read[other].get("label") == task.get("label")
                ),
                None,
            )
            if spaces[name] != EVERY_ROW:
                if spaces[name] not in on_all_rows:
                    raise ValueError(
                        f"{name}.space: '{spaces[name]}' is the label of no task on all rows;"
                        " expected one, or 'after' and the name of an earlier task"
                    )
                read[name] = {**task, "after": on_all_rows[spaces[name]]}
            elif waiting and "entire" not in read[waiting]:
                weight = {key: value for key, value in task.items() if key != "label"}
                read[waiting]["entire"] = {"name": name, **weight}
            else:
                read[name] = task
        return read

    @model_validator(mode="after")
    def _sound(self) -> "Tasks":
        if not self.root:
            raise ValueError("expected at least one task")
        earlier: list[str] = []
        for name, task in self.root.items():
            if task.after is not None and task.after not in earlier:
                raise ValueError(
                    f"{name}.after: '{task.after}' is no task above it; expected one of"
                    f" {', '.join(earlier) or 'none, since it is the first'}"
                )
            if task.entire and task.after is None:
                raise ValueError(
                    f"{name}.entire: the task waits on no other, so it is defined on all rows"
                    " itself; leave it out, or give 'after'"
                )
            if task.after and self.root[task.after].kind != "binary":
                raise ValueError(
                    f"{name}.after: '{task.after}' predicts an amount; expected a task of labels 0"
                    " and 1"
                )
            of_amounts = [
                key for key in _OF_AMOUNTS if getattr(task, key) != Task.model_fields[key].default
            ]
            if task.kind == "binary" and of_amounts:
                raise ValueError(
                    f"{name}.{of_amounts[0]}: is of a regression; expected 'kind: regression'"
                    " beside it"
                )
            if task.kind == "regression" and task.positive_weight != 1.0:
                raise ValueError(
                    f"{name}.positive_weight: is of labels of 0 and 1, received"
                    f" {task.positive_weight:g} beside 'kind: regression'; leave it out"
                )
            if task.positive_weight != 1.0 and not task.loss_weight:
                raise ValueError(
                    f"{name}.positive_weight: weighs the task's own loss, whose loss_weight is 0;"
                    " leave it out, or give loss_weight"
                )
            if task.kind == "regression" and task.typical is None:
                raise ValueError(
                    f"{name}.typical: missing; a regression needs a middling amount of"
                    f" '{task.label}', in its unit"
                )
            if task.kind == "regression" and task.ranking_loss:
                raise ValueError(
                    f"{name}.ranking_loss: is of probabilities; leave it out of a regression"
                )
            if task.kind == "regression" and task.entire:
                raise ValueError(
                    f"{name}.entire: only probabilities are multiplied; let 'score' multiply the"
                    " amount by them"
                )
            of_label = [
                (other.kind, other.typical, other.matured_after)
                for other in self.root.values()
                if other.label == task.label
            ]
            if len(set(of_label)) > 1:
                raise ValueError(
                    f"{name}.label: '{task.label}' is read in one way by one task and in another"
                    " by another; expected the same 'kind', 'typical' and"
                    " 'matured_after'"
                )
            if task.after and self.root[task.after].label == task.label:
                raise ValueError(
                    f"{name}.label: '{task.label}' is the label of '{task.after}', which it waits"
                    " on; expected another column"
                )
            earlier.append(name)
        names = [*self.root, *(task.entire.name for task in self.root.values() if task.entire)]
        spelt = [name.lower() for name in names]
        for name in names:
            if spelt.count(name.lower()) > 1 and names.count(name) == 1:
                raise ValueError(
                    f"'{name}' and another task differ in the case of letters alone; tables write"
                    " them alike"
                )
            if names.count(name) > 1:
                raise ValueError(f"'{name}' names two tasks or entire products; expected one")
            if (
                name in TAKEN_NAMES
                or name in FUNCTIONS
                or iskeyword(name)
                or name.endswith(_TAKEN_ENDING)
            ):
                raise ValueError(
                    f"'{name}' cannot name a task: parts of results, models or expressions are"
                    " called so"
                )
        weights = [target.loss_weight for target in self.targets.values()]
        if not any(weights):
            raise ValueError("every loss_weight is 0: there is nothing to train")
        for place, tower in enumerate(self.towers):
            learned = (
                target.loss_weight for target in self.targets.values() if place in target.towers
            )
            if not any(learned):
                raise ValueError(
                    f"{tower}: every loss_weight of it and of what is a product of it is 0, so it"
                    " would be served untrained; leave the task out, or give it a weight"
                )
        return self
