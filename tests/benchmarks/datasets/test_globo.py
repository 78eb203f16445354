"""The impression log made of published clicks: every row by its rules, worked out again one click
at a time; and what is wrong with the files is one line.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import benchmarks.datasets.__main__ as command
from benchmarks.datasets.globo import DRAWS, FIRST, HISTORY, SCHEMA, SUMMARY, make_logs
from benchmarks.datasets.globo_clicks import CONTEXT
from benchmarks.datasets.globo_rules import RULES, check_log
from benchmarks.figures.tables import study_table
from configs import load_experiment
from configs.cli import run
from configs.files import read_object
from tests.conftest import ROOT

HEADER = (
    "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,"
    + ",".join(CONTEXT.values())
)
HOUR = timedelta(hours=1)
BEGINS = FIRST - 2 * HOUR


class Click(NamedTuple):
    """A published click."""

    user: int
    session: int
    started: int
    size: int
    article: int
    moment: int
    context: tuple[int, ...]


def some_clicks() -> list[Click]:
    """Sessions of thirty readers in thirty hours, one after the other for each; a few articles get
    most clicks.
    """
    random = np.random.default_rng(5)
    clicks = []
    for user in range(30):
        start = int(BEGINS.timestamp() * 1000)
        for number in range(25):
            start += int(random.integers(1, 5_000_000))
            moment, drawn = start, (random.geometric(0.08, 40) % 60).tolist()
            articles = list(dict.fromkeys(drawn))[: int(random.integers(1, 6))]
            for article in articles:
                context = (4, int(random.integers(1, 4)), 17, 1, int(random.integers(30)), 2)
                size, session = len(articles), 100 * user + number
                clicks.append(Click(user, session, start, size, article, moment, context))
                moment += int(random.integers(1, 900_000))
            start = moment
    return clicks


def write_public(folder: Path, clicks: list[Click]) -> Path:
    """Files as they are published, by the hour in which sessions start."""
    files: dict[int, list[str]] = defaultdict(list)
    for click in clicks:
        hour = (datetime.fromtimestamp(click.started / 1000, UTC) - BEGINS) // HOUR
        row = (*click[:-1], *click.context)
        files[hour].append(",".join(map(str, row)))
    (folder / "clicks").mkdir(parents=True)
    for hour in range(max(files) + 1):
        text = "\n".join([HEADER, *files.get(hour, [])]) + "\n"
        (folder / "clicks" / f"clicks_hour_{hour:03}.csv").write_text(text)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_public(tmp_path_factory.mktemp("globo") / "public", some_clicks())


@pytest.fixture(scope="module")
def logs(source: Path) -> Path:
    make_logs(source, source.parent / "logs", seed=3, users=0.5)
    return source.parent / "logs"


def rows_of(logs: Path) -> list[dict[str, Any]]:
    return [
        row | {"file": path.stem}
        for path in sorted(logs.glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def milliseconds(row: dict[str, Any]) -> int:
    return round(row["timestamp"].replace(tzinfo=UTC).timestamp() * 1000)


def test_rows_are_what_was_known_at_each_click(logs: Path) -> None:
    """Worked out again, click by click, of all users' clicks."""
    rows, expected = rows_of(logs), []
    chosen = {row["user_id"] for row in rows}
    read: dict[int, list[int]] = defaultdict(list)
    position: Counter[int] = Counter()
    first: dict[int, int] = {}
    hourly: Counter[tuple[int, int]] = Counter()
    clicks = sorted(some_clicks(), key=lambda click: (click.moment, click.started))
    for click in clicks:
        before = read[click.user]
        position[click.session] += 1
        seen = click.article in first and first[click.article] < click.moment
        first.setdefault(click.article, click.moment)
        day = (datetime.fromtimestamp(click.moment / 1000, UTC) - FIRST) // timedelta(days=1)
        if f"u{click.user}" in chosen and day >= 0 and seen:
            expected.append(
                {
                    "file": f"impressions-{FIRST + timedelta(days=day):%Y-%m-%d}",
                    "moment": click.moment,
                    "user_id": f"u{click.user}",
                    "item_id": f"a{click.article}",
                    **dict(zip(CONTEXT, map(str, click.context), strict=True)),
                    "session_position": position[click.session],
                    "user_clicks": len(before),
                    "history": [f"a{article}" for article in before[::-1][:HISTORY]],
                    "conversion": int(click.size - position[click.session] >= 2),
                }
            )
        before.append(click.article)
        hourly[click.article, click.moment // 3_600_000] += 1
    found = [row | {"moment": milliseconds(row)} for row in rows if row["click"]]
    assert [
        {key: row[key] for key in wanted} for row, wanted in zip(found, expected, strict=True)
    ] == expected
    assert any(len(row["history"]) == HISTORY for row in rows)
    for row in rows:
        article, moment = int(row["item_id"][1:]), milliseconds(row)
        age = (moment - first[article]) / 3_600_000
        assert row["item_age_hours"] == pytest.approx(age, abs=0.0006)
        assert row["item_clicks_last_hour"] == hourly[article, moment // 3_600_000 - 1]


def test_rows_beside_a_click_are_of_the_hour_and_of_others(logs: Path) -> None:
    rows, clicks = rows_of(logs), some_clicks()
    readers: dict[tuple[str, int], set[str]] = defaultdict(set)
    first: dict[str, int] = {}
    for click in sorted(clicks, key=lambda click: click.moment):
        readers[f"a{click.article}", click.moment // 3_600_000].add(f"u{click.user}")
        first.setdefault(f"a{click.article}", click.moment)
    by_request = defaultdict(list)
    for row in rows:
        by_request[row["request_id"]].append(row)
    assert sorted(by_request) == list(range(len(by_request)))
    shown: Counter[str] = Counter()
    for of_request in by_request.values():
        (own,) = (row for row in of_request if row["click"])
        others = [row for row in of_request if not row["click"]]
        items = [row["item_id"] for row in of_request]
        assert len(set(items)) == len(items) <= DRAWS + 1
        for row in others:
            shown[row["item_id"]] += 1
            assert row["conversion"] == 0
            assert readers[row["item_id"], milliseconds(row) // 3_600_000] - {row["user_id"]}
            assert first[row["item_id"]] < milliseconds(row)
            assert {key: row[key] for key in ("user_id", "timestamp", "history", "device")} == {
                key: own[key] for key in ("user_id", "timestamp", "history", "device")
            }
    most_clicked = Counter(f"a{click.article}" for click in clicks).most_common(5)
    assert shown.most_common(1)[0][0] in dict(most_clicked)  # drawn as often as it was clicked
    places = Counter(
        place
        for of_request in by_request.values()
        for place, row in enumerate(of_request)
        if row["click"]
    )
    assert len(places) > 2  # where a row stands tells nothing


def test_a_seed_gives_the_same_bytes_and_another_other_readers(source: Path, logs: Path) -> None:
    def made(seed: int) -> dict[str, bytes]:
        folder = source.parent / f"again-{seed}"
        make_logs(source, folder, seed=seed, users=0.5)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    again, other = made(3), made(4)
    assert again == {path.name: path.read_bytes() for path in logs.iterdir()}
    assert again[SUMMARY] != other[SUMMARY]
    users = [{row["user_id"] for row in rows_of(source.parent / f"again-{n}")} for n in (3, 4)]
    assert users[0] != users[1]


def test_the_study_s_config_reads_every_column_that_it_names() -> None:
    experiment = load_experiment(ROOT / "configs" / "globo.yaml")
    named = {
        getattr(feature, "column", None) or name for name, feature in experiment.features.items()
    }
    named |= {topic.column for topic in experiment.topics.values()}
    assert named <= set(SCHEMA.names)


def test_what_is_made_keeps_the_rules_that_are_checked(logs: Path) -> None:
    rules = check_log(logs).rules
    assert not [rule for rule in rules if rule.broken]
    assert all(rule.seen for rule in rules)


def test_as_many_rows_stand_beside_a_click_as_are_drawn_anew(source: Path) -> None:
    """Of a log of all users the draws are from the same clicks, and so are the shares."""
    make_logs(source, source.parent / "all", seed=3, users=1.0)
    checked = check_log(source.parent / "all")
    assert sum(checked.beside) == pytest.approx(1.0)
    assert sum(checked.drawn) == pytest.approx(1.0)
    assert checked.drawn == pytest.approx(checked.beside, abs=0.06)
    assert checked.beside[DRAWS] > 0.1


def test_the_table_of_rules_fits_a_terminal(
    logs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "globo_rules" / "report.json"
    assert run_command(monkeypatch, "check", "--input", logs, "--report", path) == 0
    lines = capsys.readouterr().out.splitlines()
    rules = check_log(logs).rules
    assert len(lines) > len(rules)
    assert max(map(len, lines)) <= 80
    titles, *rows = study_table(read_object(path), "globo_rules/rules/0")
    assert titles == RULES
    assert [row[0] for row in rows] == [rule.text for rule in rules]


def changed(column: str, change: Callable[[pa.Array], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    def act(table: pa.Table) -> pa.Table:
        place, field = table.column_names.index(column), table.schema.field(column)
        return table.set_column(
            place, field, change(table[column].combine_chunks()).cast(field.type)
        )

    return act


DAMAGE: dict[str, Callable[[pa.Table], pa.Table]] = {
    "a file holds the rows": changed("timestamp", lambda x: pc.add(x, timedelta(days=1))),
    "in order of request": lambda table: table.take(pa.array(np.arange(len(table))[::-1])),
    "one click": changed("click", lambda x: pc.subtract(1, x)),
    "in a request twice": lambda table: pa.concat_tables([table, table]).sort_by(
        [("request_id", "ascending"), ("timestamp", "ascending")]
    ),
    "of one user and moment": changed(
        "user_clicks", lambda x: pa.array(np.arange(len(x)), pa.int32())
    ),
    "converts was clicked": changed("conversion", lambda x: pa.array(np.ones(len(x), np.int8))),
    "counts from one moment": changed(
        "item_age_hours", lambda x: pa.array(np.arange(len(x)), pa.float32())
    ),
    "one number in an hour": changed(
        "item_clicks_last_hour", lambda x: pa.array(np.arange(len(x)), pa.int32())
    ),
    "no fewer than the log's": changed(
        "item_clicks_last_hour", lambda x: pa.array(np.zeros(len(x)), pa.int32())
    ),
    "history has all clicks": changed("user_clicks", lambda x: pc.add(x, 1)),
    "newest article": changed("history", lambda x: pc.list_slice(x, 1)),
    "two more articles": changed("conversion", lambda x: pa.array(np.zeros(len(x), np.int8))),
}


@pytest.mark.parametrize("rule", DAMAGE)
def test_a_broken_rule_is_named(logs: Path, tmp_path: Path, rule: str) -> None:
    for path in logs.glob("*.parquet"):
        pq.write_table(DAMAGE[rule](pq.read_table(path)), tmp_path / path.name)
    assert any(rule in found.text for found in check_log(tmp_path).rules if not found.holds)


def run_command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["datasets", *map(str, words)])
    try:
        run(command.main)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def edited(old: str, new: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = folder / "clicks" / "clicks_hour_003.csv"
        path.write_text(path.read_text().replace(old, new))

    return act


def with_row(row: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        with (folder / "clicks" / "clicks_hour_003.csv").open("a") as file:
            file.write(row + "\n")

    return act


def twice(folder: Path) -> None:
    (folder / "again").mkdir()
    (folder / "again" / "clicks_hour_003.csv").write_text(HEADER + "\n")


def packed(folder: Path) -> None:
    for path in (folder / "clicks").iterdir():
        path.unlink()
    (folder / "clicks.zip").touch()


WRONG: dict[str, Callable[[Path], None]] = {
    "clicks_hour_003.csv; expected every hour up to": lambda folder: (
        folder / "clicks" / "clicks_hour_003.csv"
    ).unlink(),
    "the same hour as": twice,
    "holds no clicks_hour_*.csv; unpack clicks.zip first": packed,
    "expected the columns user_id": edited("click_os", "system"),
    "clicks_hour_003.csv: In CSV column": with_row("1,9999,1,1,5,none,4,1,17,1,3,2"),
    "empty values of click_timestamp": with_row("1,9999,1,1,5,,4,1,17,1,3,2"),
    "expected milliseconds since 1970": with_row("1,9999,1,1,5,1506826800,4,1,17,1,3,2"),
    "expected one user a session": with_row("99,1,1,1,5,1506830000000,4,1,17,1,3,2"),
}


@pytest.mark.parametrize("said", WRONG)
def test_damaged_files_are_one_line_and_leave_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str,
) -> None:
    folder = write_public(tmp_path / "public", some_clicks()[:200])
    WRONG[said](folder)
    words = ["globo", "--source", folder, "--output", tmp_path / "logs"]
    assert run_command(monkeypatch, *words) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["public"]


def test_sessions_that_are_not_whole_are_counted_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clicks = some_clicks()
    dropped = next(click for click in clicks if click.size > 1)
    folder = write_public(tmp_path / "public", [click for click in clicks if click != dropped])
    words = ["globo", "--source", folder, "--output", tmp_path / "logs", "--users", "1"]
    assert run_command(monkeypatch, *words) == 0
    assert "doubtful  1 sessions" in capsys.readouterr().out
