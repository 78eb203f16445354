"""A study: methods, seeds and the sections of its report, as typed YAML."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveInt, ValidationError, model_validator

from configs import InputError
from configs.base import SafeName, Section

ROOT = Path(__file__).parents[2]
STUDIES = Path(__file__).parent / "studies"


class Method(Section):
    """One method: what runs, on which backbone, with which settings."""

    title: str
    run: str = Field(description="name of a function of benchmarks.method.methods")
    backbone: tuple[str, ...] = Field((), description="overrides of the config that decide dataset and backbone")
    set: tuple[str, ...] = Field((), description="further overrides, of what is trained on that backbone")
    options: dict[str, Any] = Field(default_factory=dict, description="arguments of the function")
    seeds: tuple[int, ...] = Field((), description="of the study's seeds those that it runs under; all of them where empty")


class Column(Section):
    """A row of a table, or a point of a curve: a method (``name`` or ``name/suffix``) beside what it is compared with."""

    method: str
    against: str = "zero_shot"
    title: str | None = None
    x: float | str | None = None
    activated: bool = Field(False, description="domains whose model is not active count as the backbone: gain 0")


class Curve(Section):
    """One line of a plot."""

    title: str
    points: tuple[Column, ...]


class ReportSection(Section):
    """One section of the report."""

    id: SafeName
    title: str
    text: str = ""
    kind: Literal["methods", "domains", "curve", "activity", "absent", "notes"]
    rows: tuple[Column, ...] = ()
    curves: tuple[Curve, ...] = ()
    x_label: str = ""
    log_x: bool = False
    gap: str | None = Field(None, description="method of the best reachable figures: curves show the share of the gap that is closed")
    note: str | None = Field(None, description="key of the outcomes' notes that is shown")
    cross: bool = Field(False, description="over cross-topic domains instead of single-topic ones")


class Bar(Section):
    """A bar of the study: the mean gain (or a difference) that was asked for."""

    bar: str
    method: str
    against: str = "zero_shot"
    activated: bool = False
    split: str = "test"
    kind: Literal["gain", "recovered", "never_worse", "absent_never_worse", "gap_closed"] = "gain"
    reference: str | None = Field(None, description="of 'recovered' and 'gap_closed': the method whose gain is 100%")
    at_least: tuple[float, float] = Field((0.0, 0.0), description="CTR and CTCVR, AUC points or shares")
    overall: bool = Field(False, description="on all rows under auto instead of the mean over single-topic domains")


class Study(Section):
    """A study."""

    name: SafeName
    title: str
    description: str
    config: str = Field(description="experiment YAML, relative to the repository")
    logs: str | None = Field(None, description="glob relative to --input; simulated where absent")
    facts: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test",)
    seeds: tuple[int, ...] = (17, 18, 19)
    resamples: PositiveInt = 50
    set: tuple[str, ...] = ()
    methods: dict[str, Method]
    sections: tuple[ReportSection, ...] = ()
    bars: tuple[Bar, ...] = ()

    @model_validator(mode="after")
    def _methods_exist(self) -> "Study":
        for section in self.sections:
            for column in (*section.rows, *(point for curve in section.curves for point in curve.points)):
                for name in (column.method, column.against):
                    self._check(name, f"sections.{section.id}")
        for bar in self.bars:
            for name in filter(None, (bar.method, bar.against, bar.reference)):
                self._check(name, f"bar '{bar.bar}'")
        return self

    def _check(self, name: str, where: str) -> None:
        if name.partition("/")[0] not in self.methods:
            raise ValueError(f"{where}: '{name}' is no method of this study; there are: {', '.join(self.methods)}")


def load_study(name: str) -> Study:
    """Reads a study by name (a file in ``studies/``) or path. Raises ``InputError``."""
    path = Path(name) if name.endswith(".yaml") else STUDIES / f"{name}.yaml"
    try:
        return Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = ", ".join(sorted(found.stem for found in STUDIES.glob("*.yaml")))
        raise InputError(f"{path}: no such study; there are: {known}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
