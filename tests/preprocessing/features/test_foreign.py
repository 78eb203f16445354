"""A kind of feature of another package that fails, or gives other outputs than it says, is one
line.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from configs import Experiment, InputError
from configs.features.settings import FeatureSettings
from preprocessing.features.batch_columns import BatchColumns
from preprocessing.features.kinds.foreign import foreign_kind
from tests.packages import install
from tests.preprocessing.shop_logs import experiment

CODE = """
class Kind:
    def __init__(self, name, settings, experiment):
        if settings.fails == "made":
            raise ValueError("not made")
        self.settings = settings

    def statistic(self):
        return 1 / 0

    def outputs(self, fitted):
        return []

    def lookup(self, fitted, folder):
        return {}["lookup"]

    def graph(self, raw, constants):
        return {"other": 1}

    def batch(self, columns, constants):
        return None
"""


def settings(computed_by: str, fails: str = "") -> FeatureSettings:
    made = SimpleNamespace(
        computed_by=computed_by, fails=fails, output_names=lambda name: (f"{name}_a", f"{name}_b")
    )
    return cast(FeatureSettings, made)


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        ("statistic", (), r"fails in .*odd_kinds\.py, line 9: ZeroDivisionError: division by zero"),
        ("outputs", (None,), "expected the outputs x_a, x_b from 'outputs', received none"),
        ("lookup", (None, Path()), r"fails in .*odd_kinds\.py, line 15: KeyError: 'lookup'"),
        ("graph", ([], None), "expected the outputs x_a, x_b from 'graph', received other"),
        ("batch", (None, None), "fails: TypeError: 'NoneType' object is not iterable"),
    ],
)
def test_each_method(
    method: str,
    arguments: tuple[Any, ...],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, tmp_path, "odd_kinds", CODE, {})
    kind = foreign_kind("x", settings("odd_kinds:Kind"), experiment())
    with pytest.raises(
        InputError, match=rf"^features\.x: 'Kind' \(odd_kinds:Kind\):? {expected}; mend it"
    ):
        getattr(kind, method)(*arguments)


BATCH = """
import numpy as np

class Kind:
    def __init__(self, name, settings, experiment):
        self.values = settings.fails

    def batch(self, columns, constants):
        return {"x_a": np.zeros(3, np.int32), "x_b": eval(self.values)}
"""


@pytest.mark.parametrize(
    ("values", "received"),
    [
        ("np.zeros(2, np.float32)", r"float32 \[2\]"),
        ("np.zeros(3)", r"float64 \[3\]"),
        ("np.array(['a', 'b', 'c'], object)", r"object \[3\]"),
        ("np.zeros((3, 2, 1), np.float32)", r"float32 \[3, 2, 1\]"),
        ("np.float32(1)", r"float32 \[\]"),
        ("np.full(3, np.nan, np.float32)", "NaN or inf"),
    ],
)
def test_values_of_a_batch(
    values: str, received: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "odd_batches", BATCH, {})
    three = BatchColumns(pa.RecordBatch.from_pylist([{"a": 1}] * 3))
    kind = foreign_kind("x", settings("odd_batches:Kind", values), experiment())
    with pytest.raises(InputError, match=rf"as 'x_b' from 'batch', received {received}; mend it"):
        kind.batch(three, {})
    for sound in ("np.zeros(3, np.float32)", "np.zeros((3, 2), np.int32)"):
        kind = foreign_kind("x", settings("odd_batches:Kind", sound), experiment())
        assert set(kind.batch(three, {})) == {"x_a", "x_b"}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (settings("odd_kinds:Kind", "made"), r"fails in .*, line 5: ValueError: not made; mend it"),
        (settings("odd_kinds:Gone"), "cannot be loaded: AttributeError: .*; mend or remove"),
        (settings("no_such_module:Kind"), "cannot be loaded: ModuleNotFoundError: .*; mend or"),
    ],
)
def test_making_it(
    made: FeatureSettings, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tmp_path, "odd_kinds", CODE, {})
    shop: Experiment = experiment()
    with pytest.raises(InputError, match=expected):
        foreign_kind("x", made, shop)


def test_a_kind_that_no_package_has_is_looked_for_somewhere() -> None:
    with pytest.raises(InputError, match=r"'cyclic'.* entry points domain_kernels\.features; pip"):
        experiment("features.x={kind: cyclic, side: user}")
