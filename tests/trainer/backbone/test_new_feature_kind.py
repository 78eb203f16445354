"""A kind of feature that nobody knows but this file: its settings, its class, and the one line that
binds them take it from raw rows into the backbone.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import tensorflow as tf
import yaml
from pydantic import Field, PositiveInt, ValidationError

from configs import Experiment
from configs.features.ids import CategoricalFeature, ListFeature
from configs.features.settings import FeatureSettings
from configs.section import SafeName
from preprocessing.features.batch_columns import Array, BatchColumns
from preprocessing.features.feature_kind import Constants, Output, Tensor
from preprocessing.features.fitted import Fitted, FittedFeature
from preprocessing.features.kinds.registry import KINDS
from preprocessing.features.output_spec import transform_outputs
from preprocessing.features.statistics import Statistics, fit
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import ARROW_TYPES, Column, raw_columns, served_columns
from tests.configs import TASKS_AND_SPLITS
from trainer.backbone.model import build_backbone


class RangeFeature(FeatureSettings):
    """A number between the smallest and the largest of the fit as 0..1, and whether there is
    one.
    """

    read_as = "number"

    kind: Literal["range"]
    dimension: PositiveInt | None = None

    @property
    def width(self) -> int | None:
        return self.dimension

    def output_names(self, name: str) -> tuple[str, ...]:
        return (name, f"{name}_known")


@dataclass
class Extremes:
    column: str
    low: float = 0.0
    high: float = 0.0
    rows: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        numbers = batch.column(self.column).drop_null()
        if len(numbers):
            found = pc.min_max(numbers).as_py()
            self.merge(Extremes(self.column, found["min"], found["max"], len(numbers)))

    def merge(self, other: "Extremes") -> None:
        if self.rows and other.rows:
            self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        elif other.rows:
            self.low, self.high = other.low, other.high
        self.rows += other.rows

    def compact(self) -> None:
        pass

    def fit(self) -> FittedFeature:
        return FittedFeature(boundaries=(self.low, self.high))


@dataclass(frozen=True)
class Range:
    name: str
    settings: RangeFeature
    experiment: Experiment

    def statistic(self) -> Extremes:
        return Extremes(self.name)

    def outputs(self, fitted: Fitted) -> list[Output]:
        number, known = self.settings.output_names(self.name)
        return [
            Output(number, self.name, "number", number),
            Output(known, self.name, "id", known, 2),
        ]

    def lookup(self, fitted: Fitted, folder: Path) -> None:
        pass

    def graph(self, raw: list[Tensor], constants: Constants) -> dict[str, Tensor]:
        (numbers,) = raw
        low, high = constants.fitted.boundaries[self.name]
        known = tf.math.is_finite(numbers)
        scaled = tf.where(known, (numbers - low) / (high - low), 0.0)
        return {self.name: scaled, f"{self.name}_known": tf.cast(known, tf.int32)}

    def batch(self, columns: BatchColumns, constants: Constants) -> dict[str, Array]:
        outputs = self.graph([columns.numbers(self.name)], constants)
        return {name: tensor.numpy() for name, tensor in outputs.items()}


@pytest.fixture(autouse=True)
def one_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(KINDS, RangeFeature, Range)
    yield


class Shop(Experiment):
    """An experiment whose features may be of the new kind."""

    features: dict[
        SafeName,
        Annotated[CategoricalFeature | ListFeature | RangeFeature, Field(discriminator="kind")],
    ]


CONFIG = (
    """
name: shop
data: {timestamp: time, request: request, user: user}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  item: {kind: categorical, side: item, vocabulary: {}}
  depth: {kind: range, side: item, dimension: 3}
  history: {kind: list, side: user, shares: item, max_length: 2}
backbone: {embedding_dimension: 4}
"""
)
EXPERIMENT = Shop.model_validate(yaml.safe_load(CONFIG))
DEPTHS = [2.0, None, 6.0, 3.0, 10.0, -1.0]
"""The last one lies outside what the transform is fitted on."""


def batch_of(*rows: int) -> pa.RecordBatch:
    values = {
        "item": [f"i{row % 2}" for row in rows],
        "depth": [DEPTHS[row] for row in rows],
        "history": [[f"i{row}", "i1"] for row in rows],
        "time": [1] * len(rows),
        "click": [float(row % 3 == 1) for row in rows],
        "order": [0.0] * len(rows),
    }
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array(values.get(name, ["x"] * len(rows)), ARROW_TYPES[column.kind])
            for name, column in raw_columns(EXPERIMENT).items()
        }
    )


def fitted() -> Fitted:
    return fit(EXPERIMENT, Statistics.empty(EXPERIMENT).add(batch_of(0, 1, 2, 3, 4)))


def test_the_settings_are_checked_like_any_others() -> None:
    def refused(key: str, value: dict[str, object]) -> str:
        values = yaml.safe_load(CONFIG)
        values["features"][key] = value
        with pytest.raises(ValidationError) as error:
            Shop.model_validate(values)
        return str(error.value)

    item = {"kind": "categorical", "side": "item"}
    assert "'features.depth' gives an output of that name" in refused("depth_known", item)
    assert "column 'click' is a label" in refused("click", {"kind": "range", "side": "item"})
    assert "'depth' is read as categorical here and as numeric elsewhere" in refused(
        "other", {**item, "column": "depth"}
    )


def test_its_column_is_read_and_served() -> None:
    depth = Column("depth", "number", served=True, side="item")
    assert raw_columns(EXPERIMENT)["depth"] == depth
    assert depth in served_columns(EXPERIMENT)


def test_it_is_fitted_in_any_order_and_comes_back_from_disk(tmp_path: Path) -> None:
    first = Statistics.empty(EXPERIMENT).add(batch_of(4, 1))
    second = Statistics.empty(EXPERIMENT).add(batch_of(3, 2)).add(batch_of(0))
    merged = fit(EXPERIMENT, first.merge(pickle.loads(pickle.dumps(second)).compact()))  # noqa: S301 - what Beam does between workers
    assert merged.boundaries == {"depth": (2.0, 10.0)}
    assert merged == fitted()
    merged.save(str(tmp_path))
    assert Fitted.load(str(tmp_path)) == merged
    assert merged.vocabularies == {"item": ("i0", "i1")}


def test_both_ways_to_its_outputs_give_the_same_bits() -> None:
    transform = Transform(EXPERIMENT, fitted())
    rows = batch_of(*range(6))
    arrays = transform.apply_batch(rows)
    assert arrays["feature/depth"].tolist() == [0.0, 0.0, 0.5, 0.125, 1.0, -0.375]
    assert arrays["feature/depth_known"].tolist() == [1, 0, 1, 1, 1, 1]
    raw = {
        "item": tf.constant(rows.column("item").to_pylist()),
        "depth": tf.constant([np.nan if depth is None else depth for depth in DEPTHS], tf.float32),
        "history": tf.constant(rows.column("history").to_pylist()),
    }
    graph = tf.function(transform.features)(raw)
    assert {f"feature/{name}" for name in graph} == arrays.keys()
    for name, tensor in graph.items():
        array = arrays[f"feature/{name}"]
        assert (tensor.dtype.as_numpy_dtype, tensor.shape) == (array.dtype, array.shape)
        assert tensor.numpy().tobytes() == array.tobytes(), name


def test_the_backbone_reads_it() -> None:
    outputs = transform_outputs(EXPERIMENT, fitted())
    assert [outputs["depth"], outputs["depth_known"]] == [
        Output("depth", "depth", "number", "depth"),
        Output("depth_known", "depth", "id", "depth_known", 2),
    ]
    model = build_backbone(EXPERIMENT, outputs)
    assert model.get_layer("embedding_depth_known").table.shape == (2, 3)
    arrays = Transform(EXPERIMENT, fitted()).apply_batch(batch_of(*range(6)))
    heads = model({name: arrays[f"feature/{name}"] for name in outputs})
    assert heads["input"].shape == (6, 1, 4 + 1 + 3 + 4)  # item, depth, depth_known, history
    np.testing.assert_array_equal(heads["input"][:, 0, 4], arrays["feature/depth"])
