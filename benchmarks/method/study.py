"""A study: methods, seeds and the sections of its report, as typed YAML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from configs import Experiment, InputError, load_experiment
from configs.load import parse_yaml
from configs.memory import Memory
from configs.section import SafeName, Section

ROOT = Path(__file__).parents[2]
STUDIES = Path(__file__).parent / "studies"


class Method(Section):
    """One method: what runs, on which backbone, with which settings."""

    title: str
    run: str = Field(description="name of a function of benchmarks.method.methods")
    backbone: tuple[str, ...] = Field(
        (), description="overrides of the config that decide dataset and backbone"
    )
    set: tuple[str, ...] = Field(
        (), description="further overrides, of what is trained on that backbone"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the function")
    seeds: tuple[int, ...] = Field(
        (), description="of the study's seeds those that it runs under; all of them where empty"
    )


class Column(Section):
    """A row of a table, or a point of a curve: a method (``name`` or ``name/suffix``) beside
    what it is compared with.
    """

    method: str
    against: str = "zero_shot"
    reference: str | None = Field(
        None,
        description="of a curve's points: the method whose gain is 100%; shown is the share of it",
    )
    title: str | None = None
    x: float | str | None = None
    activated: bool = Field(
        False,
        description=(
            "domains whose model is not active count as what answers them: the nearest active model"
            " above, else the backbone, which 'against' must be"
        ),
    )


class Curve(Section):
    """One line of a plot."""

    title: str
    points: tuple[Column, ...]


class ReportSection(Section):
    """One section of the report."""

    id: SafeName
    title: str
    text: str = ""
    kind: Literal["methods", "log_loss", "domains", "curve", "activity", "absent", "notes"]
    rows: tuple[Column, ...] = ()
    curves: tuple[Curve, ...] = ()
    x_label: str = ""
    log_x: bool = False
    note: str | None = Field(None, description="key of the outcomes' notes that is shown")
    metric: Literal["auc", "gauc"] = Field("auc", description="of 'methods': whose gain is shown")
    cross: bool = Field(False, description="over cross-topic domains instead of single-topic ones")

    @property
    def columns(self) -> tuple[Column, ...]:
        """Rows and points, in order."""
        return *self.rows, *(point for curve in self.curves for point in curve.points)

    @property
    def shares(self) -> bool:
        """Whether curves show shares of a reference's gain instead of gains."""
        return any(point.reference for point in self.columns)

    @model_validator(mode="after")
    def _references_of_all_points(self) -> "ReportSection":
        if self.shares and (
            self.kind != "curve" or not all(point.reference for point in self.columns)
        ):
            raise ValueError(
                f"section '{self.id}': 'reference' is for the points of a curve, and for all of"
                " them or none"
            )
        return self


class Bar(Section):
    """A bar of the study: the mean gain, a difference or a level that was asked for."""

    bar: str
    method: str
    against: str = "zero_shot"
    activated: bool = False
    split: str = "test"
    kind: Literal[
        "gain", "not_below", "level", "recovered", "never_worse", "absent_never_worse", "gap_closed"
    ] = "gain"
    metric: Literal["auc", "gauc"] = Field("auc", description="of 'gain', 'not_below', 'level'")
    slice: str = Field(
        "auto",
        description="of 'level': a domain; all rows, each under its active domain, where 'auto'",
    )
    tasks: tuple[str, ...] = Field(
        (),
        description="of the config's over all rows those that the bar asks of; all where empty",
    )
    reference: str | None = Field(
        None, description="of 'recovered' and 'gap_closed': the method whose gain is 100%"
    )
    at_least: tuple[float, ...] = Field(
        (),
        description=(
            "AUC points, shares, or levels: one for each of the config's tasks over all rows, in"
            " its order; 0 for all where empty"
        ),
    )

    @model_validator(mode="after")
    def _shares_have_a_reference(self) -> "Bar":
        if (self.reference is not None) != (self.kind in ("recovered", "gap_closed")):
            raise ValueError(
                f"bar '{self.bar}': 'reference' is for the kinds 'recovered' and 'gap_closed',"
                " which need it"
            )
        return self

    def least(self, ranking: Sequence[str]) -> dict[str, float]:
        """Of each task that it asks of the number that is to be reached.

        Args:
          ranking: the config's tasks over all rows.
        """
        numbers = self.at_least or (0.0,) * len(ranking)
        return {
            task: number
            for task, number in zip(ranking, numbers, strict=True)
            if not self.tasks or task in self.tasks
        }

    def check_tasks(self, ranking: Sequence[str]) -> None:
        """Raises ``InputError`` where it does not fit the config's tasks over all rows."""
        for task in self.tasks:
            if task not in ranking:
                raise InputError(
                    f"bar '{self.bar}': tasks: '{task}' is no task over all rows of the study's"
                    f" config; there are: {', '.join(ranking)}"
                )
        if self.at_least and len(self.at_least) != len(ranking):
            raise InputError(
                f"bar '{self.bar}': at_least: expected a number for each of {', '.join(ranking)},"
                f" received {len(self.at_least)}"
            )


class Study(Section):
    """A study."""

    name: SafeName
    title: str
    description: str
    config: str = Field(description="experiment YAML, relative to the repository")
    logs: str | None = Field(None, description="glob relative to --input; simulated where absent")
    rates: Memory | None = Field(
        None, description="past rates that every row has as columns, rate_KEY_TASK, rate_KEY_rows"
    )
    facts: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test",)
    seeds: tuple[int, ...] = (17, 18, 19)
    resamples: int = Field(50, ge=2, description="of users, for intervals")
    set: tuple[str, ...] = ()
    methods: dict[SafeName, Method]
    sections: tuple[ReportSection, ...] = ()
    bars: tuple[Bar, ...] = ()

    @model_validator(mode="after")
    def _methods_exist(self) -> "Study":
        for section in self.sections:
            for column in section.columns:
                self._check(column, f"sections.{section.id}")
        for bar in self.bars:
            self._check(bar, f"bar '{bar.bar}'")
            if bar.split not in self.splits:
                raise ValueError(
                    f"bar '{bar.bar}': '{bar.split}' is no split of this study; there are:"
                    f" {', '.join(self.splits)}"
                )
        for name, method in self.methods.items():
            if unknown := set(method.seeds) - set(self.seeds):
                raise ValueError(f"methods.{name}.seeds: {min(unknown)} is no seed of this study")
        return self

    def experiment(self) -> Experiment:
        """The experiment that its methods are variants of. Raises ``InputError``."""
        return load_experiment(ROOT / self.config, self.set)

    def _check(self, compared: Column | Bar, where: str) -> None:
        for name in filter(None, (compared.method, compared.against, compared.reference)):
            if name.partition("/")[0] not in self.methods:
                raise ValueError(
                    f"{where}: '{name}' is no method of this study; there are:"
                    f" {', '.join(self.methods)}"
                )
        if compared.activated:
            method, against = self.methods.get(compared.method), self.methods.get(compared.against)
            if (
                not method
                or not against
                or against.run != "backbone"
                or method.backbone != against.backbone
            ):
                raise ValueError(
                    f"{where}: '{compared.method}', activated: expected a method with a model for"
                    f" each domain, against its own backbone; received '{compared.against}'"
                )


def load_study(name: str) -> Study:
    """Reads a study by name (a file in ``studies/``) or path. Raises ``InputError``."""
    path = Path(name) if name.endswith(".yaml") else STUDIES / f"{name}.yaml"
    try:
        study = Study.model_validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected UTF-8 text") from None
    except FileNotFoundError:
        known = ", ".join(sorted(found.stem for found in STUDIES.glob("*.yaml")))
        raise InputError(f"{path}: no such study; there are: {known}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise InputError(f"{path}: {where}{first['msg'].removeprefix('Value error, ')}") from None
    ranking = study.experiment().tasks.ranking
    try:
        for bar in study.bars:
            bar.check_tasks(ranking)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return study
