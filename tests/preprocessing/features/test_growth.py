"""Vocabularies that grow: old values keep their ids, new ones follow, forgotten ones give way."""

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Experiment
from configs.features.settings import Vocabulary
from preprocessing.features.fitted import Fitted
from preprocessing.features.growth import Rule, grown, grown_values
from preprocessing.features.statistics import vocabulary_statistics
from preprocessing.features.value_list import ValueList

DAY = 86_400
NAMES = st.sampled_from([f"v{number}" for number in range(12)])


def counts(rows: dict[str, int]) -> pa.Table:
    ordered = sorted(rows.items(), key=lambda item: (-item[1], item[0]))
    return pa.table(
        {
            "value": pa.array([value for value, _ in ordered], pa.large_string()),
            "rows": pa.array([count for _, count in ordered], pa.int64()),
        }
    )


@given(
    old=st.lists(NAMES, unique=True),
    rows=st.dictionaries(NAMES, st.integers(1, 5)),
    unseen=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    min_count=st.integers(1, 4),
    max_size=st.integers(1, 14),
    forgotten=st.none() | st.integers(1, 5),
    as_list=st.booleans(),
)
def test_what_holds_of_every_growth(
    old: list[str],
    rows: dict[str, int],
    unseen: list[int],
    min_count: int,
    max_size: int,
    forgotten: int | None,
    as_list: bool,
) -> None:
    rule = Rule(
        Vocabulary(min_count=min_count, max_size=max_size),
        DAY,
        None if forgotten is None else forgotten * DAY,
    )
    before = np.array(unseen[: len(old)], np.int64) * DAY
    given_values = ValueList(pa.array(old, pa.large_string())) if as_list else old
    found, since, about = grown_values(given_values, before, counts(rows), rule)
    values, age = found.to_pylist(), since.tolist()

    ages = zip(old, before.tolist(), strict=True)
    expected_age = [0 if value in rows else was + DAY for value, was in ages]
    gone = [place for place, value in enumerate(old) if values[place] != value]
    wanted = [value for value in rows if value not in old and rows[value] >= min_count]
    entered = [value for value in values if value not in old]
    assert len(set(values)) == len(values) == len(age) == about["values"]
    assert len(values) <= max(len(old), max_size)
    assert set(entered) <= set(wanted)
    assert about["entered"] == len(entered)
    assert about["no_place"] == len(wanted) - len(entered)
    assert about["left"] == len(gone)
    assert about["unseen"] == sum(value not in rows for value in old)
    assert all(forgotten and expected_age[place] >= forgotten * DAY for place in gone)
    assert all(age[place] == 0 for place in gone)
    for place, value in enumerate(old):
        if place not in gone:
            assert (values[place], age[place]) == (value, expected_age[place])
    assert age[len(old) :] == [0] * (len(values) - len(old))
    if about["no_place"]:  # a more frequent one never stays outside while a rarer one enters
        outside = max(rows[value] for value in wanted if value not in entered)
        assert all(rows[value] >= outside for value in entered)
        kept = [expected_age[place] for place in range(len(old)) if place not in gone]
        assert not (forgotten and any(one >= forgotten * DAY for one in kept))


def test_those_unseen_longest_give_way_first() -> None:
    rule = Rule(Vocabulary(max_size=3), DAY, 2 * DAY)
    before = np.array([3, 5, 9], np.int64) * DAY
    found, since, _ = grown_values(["a", "b", "c"], before, counts({"x": 2, "y": 1}), rule)
    assert found.to_pylist() == ["a", "y", "x"]
    assert since.tolist() == [4 * DAY, 0, 0]


def test_a_window_that_slides_counts_its_new_days_alone(experiment: Experiment) -> None:
    """Overlapping windows, and the same one twice, forget no value too soon."""
    words = dict.fromkeys(experiment.features, ("seen",))
    statistics = vocabulary_statistics(experiment)
    none = {name: counts({}) for name in statistics}
    fitted = Fitted("{}", words, {}, {})
    ages = []
    for days in (0, 1, 1, 4):
        split = experiment.splits["pretrain"]
        moved = {"start": split.start + days * timedelta(1), "end": split.end + days * timedelta(1)}
        splits = {**experiment.splits, "pretrain": split.model_copy(update=moved)}
        slid = experiment.model_copy(update={"splits": splits})
        fitted, _ = grown(fitted, slid, none)
        ages.append({int(age[0].as_py()) for age in fitted.unseen.values()})
    whole = round(experiment.splits["pretrain"].days)
    assert ages == [{days * DAY} for days in (whole, whole + 1, whole + 1, whole + 4)]
    for form in ("counted_until", "grown_from"):
        assert json.loads(fitted.constants(()))[form]


def test_a_grown_transform_is_saved_and_known_by_its_digest(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = str(tmp_path_factory.mktemp("transform"))
    settings = '{"features": {}, "order": {"features": []}}'
    fitted = Fitted(settings, {"a": ("x", "y")}, {"n": (0.5, 2.0)}, {})
    older = Fitted(
        fitted.settings,
        fitted.vocabularies,
        fitted.moments,
        {},
        2,
        "0" * 64,
        {"a": pa.array([0, 7])},
    )
    older.save(folder)
    read = Fitted.load(folder)
    assert read == older
    assert read.digest == older.digest != fitted.digest
    assert read.same_outputs_as(fitted)
