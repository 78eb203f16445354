"""What is called drift: a feature that became zeros is named first, a new item and a new region by
their names, and two random halves of a dataset are quiet.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trainer  # noqa: F401 - must come before TensorFlow
from configs import Experiment, InputError
from operations.drift.chance import FEWEST_GROUPS
from operations.drift.compare import compare, compare_sides
from operations.drift.drift_result import FeatureDrift
from operations.drift.keys import OUTSIDE, Keys
from operations.drift.sides import Side, dataset_side
from preprocessing.features.fitted import Fitted

Compared = Callable[[Side, Side], tuple[FeatureDrift, ...]]


@pytest.fixture(scope="module")
def side(dataset_dir: Path, experiment: Experiment) -> Side:
    return dataset_side(dataset_dir, experiment, None)


@pytest.fixture
def compared(experiment: Experiment) -> Compared:
    return lambda first, other: compare_sides(experiment, first, other, first.fitted)[0]


def part(side: Side, rows: np.ndarray, **changed: np.ndarray) -> Side:
    """Some rows of a side; ``changed`` replaces outputs of features."""
    columns = {name: column[rows] for name, column in side.columns.items()}
    columns |= {f"feature/{name}": column for name, column in changed.items()}
    return replace(side, columns=columns, groups=side.groups[rows])


def halves(side: Side, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(side.groups))[: 2 * size]
    return order[:size], order[size:]


def zeros(side: Side, name: str, rows: int) -> np.ndarray:
    """What the transform gives of an output's feature where all values are 0, or none is."""
    column = side.columns[f"feature/{name}"]
    nothing = np.zeros((rows, *column.shape[1:]), column.dtype)
    if name in side.fitted.moments:
        mean, deviation = side.fitted.moments[name]
        nothing += np.float32(-mean / deviation)
    return nothing


@pytest.mark.parametrize("size", [60, 400, 3_000, 10_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_random_halves_are_quiet(side: Side, compared: Compared, size: int, seed: int) -> None:
    first, other = halves(side, size, seed)
    found = compared(part(side, first), part(side, other))
    assert len(found) > 10 and not [one.says for one in found if one.reasons]
    # sizes need not be equal
    assert not [one.says for one in compared(part(side, first), side) if one.reasons]


@pytest.mark.parametrize("size", [300, 3_000])
def test_a_feature_turned_to_zeros_is_named_first(
    side: Side, compared: Compared, size: int
) -> None:
    first, other = halves(side, size, 4)
    before = part(side, first)
    names = [one.feature for one in compared(before, before)]
    assert {"delivery_minutes", "shop_id", "history", "user_orders"} <= set(names)
    for name in names:
        after = part(side, other, **{name: zeros(side, name, size)})
        found = compared(before, after)[0]
        assert found.feature == name and found.reasons and found.says.startswith(f"{name}: ")


def test_a_new_popular_item_is_named(side: Side, compared: Compared) -> None:
    first, other = halves(side, 8_000, 5)
    items = side.columns["feature/shop_id"]
    item = int(np.bincount(items[items > 1]).argmax())
    before = part(side, first[items[first] != item])
    ids = items[other].copy()
    ids[::8] = item
    value = side.fitted.vocabularies["shop_id"][item - 2]
    found = compared(before, part(side, other, shop_id=ids))[0]
    assert found.feature == "shop_id" and "value" in found.reasons
    assert found.values[0].value == value and found.values[0].first == 0.0
    assert found.values[0].other > 0.125 and repr(value) in found.says
    # and gone again
    gone = compared(part(side, other, shop_id=ids), before)[0]
    assert gone.values[0].value == value and gone.values[0].other == 0.0


def test_a_region_outside_the_vocabulary_is_named_by_what_the_logs_call_it(
    side: Side, compared: Compared
) -> None:
    first, other = halves(side, 4_000, 6)
    ids = side.columns["feature/region"][other].copy()
    ids[::7] = 1
    top = {**side.top, "region": {"r9": 1 / 7, "r1": 6 / 7}}
    after = part(side, other, region=ids)
    found = compared(part(side, first), replace(after, top=top))[0]
    assert found.feature == "region" and found.values[0].value == "r9"
    assert "'r9' has 14.3% of the values, before 0.0%" in found.says
    unnamed = compared(part(side, first), after)[0]
    assert [one.value for one in unnamed.values] == [OUTSIDE]


def test_missing_values_and_unknown_ones_are_shares_by_hand(side: Side, compared: Compared) -> None:
    first, other = halves(side, 2_000, 7)
    device, shop = (side.columns[f"feature/{name}"][other].copy() for name in ("device", "shop_id"))
    device[: len(device) // 2], shop[: len(shop) // 4] = 0, 1
    after = part(side, other, device=device, shop_id=shop)
    found = {one.feature: one for one in compared(part(side, first), after)}
    assert found["device"].missing.other == pytest.approx(0.5, abs=0.01)
    assert "missing" in found["device"].reasons
    known = found["shop_id"].out_of_vocabulary
    assert known and known.other == pytest.approx(0.25, abs=0.05)
    assert "out_of_vocabulary" in found["shop_id"].reasons


def test_sides_of_two_transforms_are_told_in_the_terms_of_one(
    side: Side, compared: Compared
) -> None:
    """The same rows under a transform with other ids, mean and deviation have not drifted."""
    fitted = side.fitted
    items = list(fitted.vocabularies["shop_id"])
    order = np.random.default_rng(8).permutation(len(items))
    mean, deviation = fitted.moments["delivery_minutes"]
    theirs = Fitted(
        fitted.settings,
        {**fitted.vocabularies, "shop_id": [items[place] for place in order]},
        {**fitted.moments, "delivery_minutes": (mean + 3.0, 2.0 * deviation)},
        fitted.boundaries,
        fitted.version,
    )
    places = np.concatenate([[0, 1], 2 + np.argsort(order)])
    rows = np.arange(len(side.groups))
    minutes = side.columns["feature/delivery_minutes"].astype(np.float64) * deviation + mean
    again = part(
        replace(side, fitted=theirs),
        rows,
        shop_id=places[side.columns["feature/shop_id"]].astype(np.int32),
        history=places[side.columns["feature/history"]].astype(np.int32),
        delivery_minutes=((minutes - mean - 3.0) / (2.0 * deviation)).astype(np.float32),
    )
    assert max(one.distance or 0.0 for one in compared(side, again)) < 1e-6


def test_keys_are_those_of_the_reference(experiment: Experiment, side: Side) -> None:
    def fitted(*values: str) -> Fitted:
        return replace(side.fitted, vocabularies={"device": list(values)})

    keys = Keys(experiment.features["device"], "device", fitted("a", "b"))
    assert keys.of(np.array([0, 1, 2, 3]), fitted("a", "b")).tolist() == [0, 1, 2, 3]
    assert keys.of(np.array([[0, 1], [2, 3]]), fitted("new", "b")).tolist() == [[0, 1], [4, 3]]
    assert keys.is_unknown(np.array([1, 2, 3, 4])).tolist() == [True, False, False, True]
    assert [keys.text(key) for key in (1, 2, 3, 4)] == [OUTSIDE, "a", "b", "new"]
    assert keys.knows("a") and not keys.knows("new")


def test_too_few_users_are_refused(side: Side) -> None:
    rows = np.flatnonzero(side.groups < FEWEST_GROUPS - 1)
    with pytest.raises(InputError, match="drift cannot be told from chance"):
        part(side, rows).check_size()


def test_windows_of_one_dataset(dataset_dir: Path, experiment: Experiment) -> None:
    result = compare(experiment, dataset_dir, dataset_dir, split="pretrain", other_split="test")
    assert result.first.splits == ("pretrain",) and result.other.splits == ("test",)
    assert result.drifted == bool(result.lines) and result.age is None
    assert not [one.feature for one in result.features if one.feature.startswith("time")]
    few = experiment.model_copy(
        update={"drift": experiment.drift.model_copy(update={"rows": 2000})}
    )
    assert dataset_side(dataset_dir, few, "pretrain").groups.size < result.first.rows
    with pytest.raises(InputError, match="no split 'nothing'; the dataset has: pretrain"):
        compare(experiment, dataset_dir, dataset_dir, split="nothing")
