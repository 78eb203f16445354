"""Which features are named, in which order, and that what is normal is not."""

from collections.abc import Callable

import numpy as np
import pytest

from preprocessing.profile.changes import FEWEST_ROWS, SHOWN, change_lines, find_changes
from preprocessing.profile.counts import merge_counts
from preprocessing.profile.data_profile import Change, DataProfile, ReferenceRows
from preprocessing.profile.describe import describe_features, own_reference
from tests.preprocessing.profile.profiles import EXPERIMENT, batch_of, changes_of, counts_of

ROWS = 1_000
CITIES = ["rome", "oslo", "bonn"]


def prices(seed: int, size: int = ROWS, mean: float = 10.0) -> list[float | None]:
    return [float(x) for x in np.random.default_rng(seed).normal(mean, 2.0, size).astype("f4")]


def cities(seed: int, size: int = ROWS) -> list[str | None]:
    return [CITIES[place] for place in np.random.default_rng(seed).integers(3, size=size)]


def users(seed: int, first: int, last: int, size: int = ROWS) -> list[str]:
    random = np.random.default_rng(seed)
    return [f"u{number}" for number in random.integers(first, last, size)]


LEARNED = batch_of(price=prices(0), city=cities(0), user=users(0, 0, 300))


def test_the_same_distribution_is_no_change() -> None:
    assert (
        changes_of(
            LEARNED, batch_of("test", price=prices(1), city=cities(1), user=users(1, 0, 300))
        )
        == ()
    )


def test_a_price_that_is_zero_on_every_test_row_is_named() -> None:
    later = batch_of("test", price=[0.0] * ROWS, city=cities(1), user=users(1, 0, 300))
    (change,) = changes_of(LEARNED, later)
    assert (change.feature, change.reason, change.splits) == ("price", "constant", ("test",))
    assert change.says.startswith("price: 0 on every row of test; its mean is 9.9")
    assert change.says.endswith(" in pretrain")


def test_a_price_that_was_constant_before_is_not_named() -> None:
    same = [5.0] * ROWS
    learned = batch_of(price=same, city=cities(0), user=users(0, 0, 300))
    assert (
        changes_of(learned, batch_of("test", price=same, city=cities(1), user=users(1, 0, 300)))
        == ()
    )


def test_a_constant_that_was_missing_before_is_named_for_that() -> None:
    (change,) = changes_of(batch_of(price=[None] * ROWS), batch_of("test", price=[1.0] * ROWS))
    assert change.says == "price: missing on 0% of test; 100% of pretrain"


def test_most_striking_first_and_one_line_a_feature() -> None:
    gaps: list[float | None] = [None if place % 3 else float(place) for place in range(ROWS)]
    learned = batch_of(
        price=prices(0), city=cities(0), user=users(0, 0, 300), stock=prices(5), device=["a"] * ROWS
    )
    finetune = batch_of(
        "finetune", price=prices(1, mean=14.0), city=cities(1), user=users(1, 0, 300), stock=gaps
    )
    test = batch_of(
        "test",
        price=prices(2, mean=18.0),
        city=["oslo"] * ROWS,
        user=users(2, 1_000, 1_300),
        stock=gaps,
    )
    changes = changes_of(learned, finetune, test)
    found = {change.feature: (change.reason, change.splits) for change in changes}
    assert found["city"] == ("constant", ("test",))
    assert found["stock"] == ("missing", ("finetune", "test"))
    assert found["price"] == ("distance", ("test", "finetune"))
    assert found["user"] == ("out_of_vocabulary", ("test",))
    reasons = [change.reason for change in changes]
    order = ["constant", "missing", "distance", "out_of_vocabulary"]
    assert reasons == sorted(reasons, key=order.index)
    says = {change.feature: change.says for change in changes}
    assert says["city"] == "city: 'oslo' on every row of test; it varies in pretrain"
    assert says["stock"] == "stock: missing on 67% of finetune, 67% of test; 0% of pretrain"
    assert says["user"] == "user: outside the vocabulary 100% in test; 4% in pretrain"


def test_new_ids_are_no_change_until_most_of_them_are_new() -> None:
    later = batch_of("test", price=prices(1), city=cities(1), user=users(1, 100, 400))
    assert changes_of(LEARNED, later) == ()


@pytest.mark.parametrize("size", [1, FEWEST_ROWS - 1, FEWEST_ROWS])
def test_few_rows_are_not_judged(size: int) -> None:
    later = batch_of("test", price=[0.0] * size, city=cities(1, size), user=users(1, 0, 300, size))
    assert bool(changes_of(LEARNED, later)) == (size == FEWEST_ROWS)


def test_without_pretraining_rows_nothing_is_compared() -> None:
    counts = merge_counts(counts_of([LEARNED, batch_of("test", price=[0.0] * ROWS)]))
    del counts["pretrain"]
    assert own_reference(EXPERIMENT, counts) is None
    features = describe_features(EXPERIMENT, counts, None)
    assert features["price"].reference is None
    assert features["price"].splits["test"].distance is None
    assert features["price"].splits["test"].constant == "0"
    assert find_changes(features, {"test": ROWS}, "", own=False) == ()


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, lambda lines: lines == []),
        (1, lambda lines: lines[0].startswith("1 feature changes its") and len(lines) == 2),
        (SHOWN, lambda lines: len(lines) == 1 + SHOWN and "more" not in lines[-1]),
        (SHOWN + 3, lambda lines: len(lines) == 2 + SHOWN and lines[-1] == "  and 3 more"),
    ],
)
def test_lines_are_few(count: int, expected: Callable[[list[str]], bool]) -> None:
    changes = tuple(
        Change(feature=f"f{n}", reason="missing", splits=("test",), says=f"f{n}: gone")
        for n in range(count)
    )
    profile = DataProfile(
        reference=ReferenceRows(split="pretrain", rows=9),
        rows={},
        sampled={},
        features={},
        labels={},
        changes=changes,
    )
    assert expected(change_lines(profile))
