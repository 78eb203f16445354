"""The thresholds of a refresh: each stops it where it is crossed, names what crossed it, and stops
nothing where it is null.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import Experiment, load_experiment
from operations.refresh.checks import check_data, check_release, rows_by_day, rows_by_piece
from operations.refresh.summary import Auc
from preprocessing.dataset.manifest import Manifest, SplitSummary
from preprocessing.profile.data_profile import DataProfile
from tests.conftest import QUICKSTART

LEARNED, JUDGING = {"2025-03-01": 1000, "2025-03-02": 0, "2025-03-03": 1200}, {"2025-03-04": 1100}


def config(*settings: str) -> Experiment:
    return load_experiment(QUICKSTART, [f"refresh.{text}" for text in settings])


def manifest(rejected: int = 0) -> Manifest:
    split = SplitSummary(rows=100, domains={}, files=())
    return Manifest(
        data_digest="",
        transform_digest="",
        input="",
        columns={},
        vocabulary_sizes={},
        splits={"finetune": split},
        rejected={"click: missing": rejected},
        rejected_files=(),
        transform_files=(),
        outside_splits=0,
    )


def profile(validation: dict[str, object], **reference: object) -> DataProfile:
    """Of a dataset whose feature ``rating`` differs between splits."""
    sound = {"missing": 0.1, "out_of_vocabulary": 0.2, "constant": None}
    return DataProfile.model_validate(
        {
            "reference": {"split": "pretrain", "rows": 5000},
            "rows": {"finetune": 2200, "validation": 1100},
            "sampled": {"finetune": 2200, "validation": 1100},
            "features": {
                "rating": {
                    "columns": ["rating"],
                    "kind": "number",
                    "reference": {**sound, **reference},
                    "splits": {"finetune": sound, "validation": {**sound, **validation}},
                }
            },
            "labels": {},
            "changes": [],
        }
    )


def found(experiment: Experiment, **more: object) -> list[str]:
    given = {"manifest": manifest(), "profile": profile({}), "learned": LEARNED, "judging": JUDGING}
    reasons, _ = check_data(experiment, **(given | more))  # type: ignore[arg-type]
    return reasons


def test_a_day_like_the_others_is_refreshed() -> None:
    assert found(config()) == []
    _, notes = check_data(config(), manifest(), None, LEARNED, JUDGING)
    assert len(notes) == 2
    assert "day 2025-03-02 of split 'finetune' has no rows" in notes


@pytest.mark.parametrize(
    ("more", "setting", "said"),
    [
        ({"judging": {"2025-03-04": 300}}, "least_rows=null", "day 2025-03-04 has 300 rows"),
        ({"judging": {"2025-03-04": 3400}}, "most_rows=null", "day 2025-03-04 has 3,400 rows"),
        ({"manifest": manifest(3)}, "most_rejected=null", "most of them for 'click: missing'"),
        (
            {"profile": profile({"out_of_vocabulary": 0.51})},
            "more_out_of_vocabulary=null",
            "feature 'rating': 51.0% of its values",
        ),
        (
            {"profile": profile({"constant": "0"})},
            "broken_features=false",
            "feature 'rating' is 0 on every row of split 'validation'",
        ),
        (
            {"profile": profile({"missing": 1.0})},
            "broken_features=false",
            "feature 'rating' is missing on every row of split 'validation'",
        ),
    ],
)
def test_a_threshold_names_what_crossed_it(
    more: dict[str, object], setting: str, said: str
) -> None:
    (reason,) = found(config(), **more)
    assert said in reason
    assert "\n" not in reason
    assert found(config(setting), **more) == []


def test_what_was_constant_where_the_backbone_learned_may_stay_so() -> None:
    assert found(config(), profile=profile({"constant": "0"}, constant="0")) == []


@pytest.mark.parametrize(
    ("active", "gone", "refused"), [(20, 6, False), (20, 7, True), (3, 2, False), (3, 3, True)]
)
def test_many_kernels_do_not_go_at_once(active: int, gone: int, refused: bool) -> None:
    names = [f"region=r{number}" for number in range(gone)]
    auc = Auc(backbone=0.6, before=0.6, after=0.6)
    reasons = check_release(config(), active, names, auc)
    assert bool(reasons) == refused
    assert not check_release(config("most_deactivated=null"), active, names, auc)


@pytest.mark.parametrize(
    ("today", "yesterday", "refused"),
    [(0.60, 0.64, False), (0.60, 0.66, True), (None, 0.66, False), (0.6, None, False)],
)
def test_auc_may_fall_a_little_from_day_to_day(
    today: float | None, yesterday: float | None, refused: bool
) -> None:
    auc = Auc(backbone=0.5, before=today, after=0.7, yesterday=yesterday)
    assert bool(check_release(config(), 3, [], auc)) == refused
    assert not check_release(config("most_auc_fall=null"), 3, [], auc)


@given(
    st.lists(st.integers(0, 5 * 86_400 - 1), max_size=50),
    st.sampled_from(["UTC", "UTC+05:30", "America/New_York"]),
    st.integers(0, 23),
)
def test_rows_of_whole_days_are_counted_on_their_day(
    seconds: list[int], zone: str, starts: int
) -> None:
    """Over days on which New York's clocks are set forward."""
    experiment = load_experiment(
        QUICKSTART, [f"data.time_zone={zone}", f"data.day_starts={starts}"]
    )
    start = datetime(2025, 3, 7, tzinfo=UTC)
    end = start + timedelta(days=5)
    moments = np.array(seconds, np.int64) + int(start.timestamp())
    days = rows_by_day(experiment, moments, start, end)
    assert list(days) == sorted(days)
    assert 3 <= len(days) <= 5
    assert sum(days.values()) <= len(seconds)
    if zone == "UTC" and starts == 0:
        assert sum(days.values()) == len(seconds)
        assert len(days) == 5


@given(st.lists(st.integers(0, 60 * 3600 - 1), max_size=50), st.integers(1, 60))
def test_windows_without_a_whole_day_are_counted_in_pieces_of_24_hours(
    seconds: list[int], hours: int
) -> None:
    start = datetime(2025, 3, 7, 12, tzinfo=UTC)
    end = start + timedelta(hours=hours)
    moments = np.array(seconds, np.int64) + int(start.timestamp())
    pieces = rows_by_piece(moments, start, end)
    assert len(pieces) == hours // 24
    assert sum(pieces.values()) == sum(second < hours // 24 * 86_400 for second in seconds)
