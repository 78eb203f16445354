"""The section on archives counts what differs."""

import pyarrow as pa

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.reliability.score import differing

ANSWERS = [{"ctr": 0.25, "served_domain": "all"}, {"ctr": 0.5, "served_domain": "scene=home"}]


def test_every_value_that_differs_is_counted() -> None:
    same = pa.table({"id": [1, 2], "ctr": [0.25, 0.5], "served_domain": ["all", "scene=home"]})
    assert differing(same, ANSWERS) == (4, 0)
    assert differing(same.slice(0, 1), ANSWERS) == (4, 2)
    assert differing(same.drop_columns(["ctr"]), ANSWERS) == (4, 2)
    nearly = same.set_column(1, "ctr", pa.array([0.25, 0.5 + 2**-30]))
    assert differing(nearly, ANSWERS) == (4, 1)
