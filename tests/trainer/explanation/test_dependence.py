"""Inputs that tell each other: what is known by hand, and what chance alone would tell."""

import numpy as np
import pytest

from tests.trainer.explanation.conftest import made_input
from trainer.explanation.dependence import dependent_inputs
from trainer.explanation.inputs import InputRows

ROWS = 4_000


@pytest.fixture(scope="module")
def rows() -> InputRows:
    """A shop tells its cuisine and not the other way round; a copy tells its number; a name that
    every row has for itself tells nothing that another row could use.
    """
    generator = np.random.default_rng(2)
    shop = generator.integers(1, 41, ROWS).astype(np.int32)
    number = generator.standard_normal(ROWS).astype(np.float32)
    parts = {
        "feature/shop": shop,
        "feature/cuisine": (shop % 4 + 1).astype(np.int32),
        "feature/number": number,
        "feature/copy": 3.0 * number + 1.0,
        "feature/name": np.arange(ROWS, dtype=np.int32),
        "feature/other": generator.integers(0, 5, (ROWS, 2)).astype(np.int32),
    }
    return InputRows(parts, {"row/request": np.arange(ROWS)})


def test_what_tells_what(rows: InputRows) -> None:
    inputs = [made_input(part.removeprefix("feature/")) for part in rows.parts]
    found = {(one.by, one.input): one.share for one in dependent_inputs(inputs, rows, 0)}
    assert set(found) == {("shop", "cuisine"), ("number", "copy"), ("copy", "number")}
    assert all(share == pytest.approx(1.0) for share in found.values())


def test_rows_of_one_request_count_once(rows: InputRows) -> None:
    """Else whatever is of the request would be told by any other that is its own alone."""
    places = np.repeat(np.arange(400), 10)
    generator = np.random.default_rng(3)
    parts = {
        "feature/name": places.astype(np.int32),
        "feature/context": generator.integers(0, 4, 400).astype(np.int32)[places],
    }
    inputs = [made_input("name"), made_input("context")]
    assert dependent_inputs(inputs, InputRows(parts, {"row/request": places}), 0) == ()


def test_inputs_that_nobody_reads_are_left_out(rows: InputRows) -> None:
    inputs = [made_input("number"), made_input("copy", read=False)]
    assert dependent_inputs(inputs, rows, 0) == ()
