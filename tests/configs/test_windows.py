"""Windows that count from ``as_of``: what they mean, and that what is refused says where."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError, Experiment, load_experiment
from configs.windows.relative import Days
from tests.conftest import QUICKSTART

WINDOWS = (
    "splits={pretrain: {start: 2025-03-03T03:00:00Z, end: as_of - 3d},"
    " finetune: {start: as_of - 3d, end: as_of - 1d}, validation: {start: as_of - 1d, end: as_of},"
    " test: {start: as_of, end: as_of + 12h}}"
)
DAYS = ("data.time_zone=UTC-03:00",)


def loaded(*overrides: str) -> Experiment:
    return load_experiment(QUICKSTART, [WINDOWS, *overrides])


@pytest.mark.parametrize(
    ("as_of", "zone", "starts", "begins"),
    [
        ("2025-03-09", "UTC", 0, "2025-03-09T00:00:00+00:00"),
        ("2025-03-09", "UTC-03:00", 0, "2025-03-09T03:00:00+00:00"),
        ("2025-03-09", "UTC", 5, "2025-03-09T05:00:00+00:00"),
        ("2025-03-09T01:00:00-05:00", "UTC", 5, "2025-03-09T06:00:00+00:00"),
    ],
)
def test_a_date_is_when_that_day_begins(as_of: str, zone: str, starts: int, begins: str) -> None:
    found = loaded(f"as_of={as_of}", f"data.time_zone={zone}", f"data.day_starts={starts}")
    assert found.as_of is not None
    assert found.as_of.isoformat() == begins
    assert found.splits["validation"].end == found.as_of
    assert found.data.as_of == found.as_of


def test_days_are_those_of_the_time_zone_and_hours_are_hours() -> None:
    """Clocks were set forward in New York in the night to 2025-03-09."""
    days = Days("America/New_York")
    as_of = days.moment("2025-03-10")
    assert as_of == datetime(2025, 3, 10, 4, tzinfo=UTC)
    assert days.counted(as_of, "", "as_of - 1d") == datetime(2025, 3, 9, 5, tzinfo=UTC)
    assert days.counted(as_of, "", "as_of - 24h") == datetime(2025, 3, 9, 4, tzinfo=UTC)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["UTC", "UTC+05:30", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(0, 23),
)
def test_a_day_begins_at_or_before_each_of_its_moments(
    naive: datetime, zone: str, starts: int
) -> None:
    days, moment = Days(zone, starts), naive.replace(tzinfo=UTC)
    begins, ends = days.start(moment), days.start(moment, 1)
    assert begins <= moment + timedelta(hours=1)  # an hour that clocks repeat
    assert timedelta(hours=22) <= ends - begins <= timedelta(hours=26)
    assert days.name(begins) == days.name(begins + timedelta(hours=12))


def test_what_is_written_and_what_it_means_are_one_dataset() -> None:
    """A later step may say the same windows in either way."""
    counted = loaded("as_of=2025-03-09T03:00:00Z", *DAYS)
    written = {name: split.model_dump(mode="json") for name, split in counted.splits.items()}
    fixed = load_experiment(QUICKSTART, [f"splits={written}".replace("'", '"')])
    assert counted.data_digest == fixed.data_digest
    assert Experiment.model_validate(counted.model_dump(mode="json")) == counted
    assert loaded("as_of=2025-03-10T03:00:00Z").data_digest != fixed.data_digest


def test_whoever_knows_the_moment_is_asked_only_where_it_counts() -> None:
    asked = []

    def find(data: object) -> datetime:
        asked.append(data)
        return datetime(2025, 3, 9, 3, tzinfo=UTC)

    assert load_experiment(QUICKSTART, [WINDOWS], find).as_of == find(None)
    before = len(asked)
    assert load_experiment(QUICKSTART, [WINDOWS, "as_of=2025-03-10"], find).as_of != find(None)
    load_experiment(QUICKSTART, [], find)
    assert len(asked) == before + 1  # this test's own


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "splits.pretrain.end: 'as_of - 3d' counts from as_of, and nothing says which moment"),
        (["as_of=soon"], "as_of: expected a date, or a moment such as"),
        (["as_of=2025-13-01"], "as_of: expected a date, or a moment such as"),
        (["as_of=2025-03-09", "splits.test.end=as_of + 2w"], "splits.test.end: expected as_of, or"),
        (["as_of=2025-03-09", "splits.test.end=as_of - 2d"], "is not before end"),
        (["as_of=2025-03-09", "data.time_zone=Mars"], "data.time_zone: unknown time zone 'Mars'"),
    ],
)
def test_what_is_refused_says_where(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match="\n|".join([said.replace("+", r"\+")])):
        loaded(*overrides)
