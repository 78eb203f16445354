"""A config from data: what is proposed for logs of every format, and that it runs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Experiment, InputError
from configs.load import parse_experiment
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.dataset.manifest import load_manifest
from preprocessing.suggest import suggest
from preprocessing.suggestion.columns import SampledColumn
from preprocessing.suggestion.config_text import task_names
from preprocessing.suggestion.roles import Given, Label
from preprocessing.suggestion.windows import cut
from tests.preprocessing.suggestion.random_logs import random_log

SAMPLE = 3_000


@pytest.fixture(scope="module")
def strings(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small logs as CSV, in which everything is text."""
    folder = tmp_path_factory.mktemp("strings")
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        for place, name in enumerate(table.column_names):
            if pa.types.is_list(table.schema.field(name).type):
                texts = ["|".join(value or []) for value in table.column(name).to_pylist()]
                table = table.set_column(place, name, pa.array(texts))
        pacsv.write_csv(table, folder / f"{path.stem}.csv")
    return folder


def proposed(pattern: str, given: Given | None = None) -> Experiment:
    return parse_experiment(suggest(pattern, given or Given(), SAMPLE, "shop"))


def test_what_is_proposed_for_a_marketplace(logs: Path) -> None:
    found = proposed(str(logs / "*.parquet"))
    data = found.data
    assert (data.timestamp, data.request, data.user) == ("timestamp", "request_id", "user_id")
    assert data.row_key == ("impression_id",)
    assert found.tasks.words == (
        "click (click), conversion (conversion where click is 1), conversion_all (conversion)"
    )
    assert found.score == "conversion_all"
    sides = {name: settings.side for name, settings in found.features.items()}
    for side, names in {
        "user": ("user_id", "segment", "device", "history"),
        "item": ("shop_id", "cuisine", "rating", "delivery_minutes"),
        "context": ("scene", "time", "position"),
    }.items():
        assert {name: sides[name] for name in names} == dict.fromkeys(names, side)
    assert found.features["history"].shares_ids_of == "shop_id"
    assert found.backbone.debias
    assert found.backbone.debias.feature == "position"
    assert {"scene", "period"} <= found.topics.keys()
    kinds = {name: settings.kind for name, settings in found.features.items()}
    assert (kinds["rating"], kinds["cuisine"], kinds["city_tier"]) == (
        "numeric",
        "categorical",
        "categorical",
    )


def test_text_alone_is_read_as_what_it_says_and_runs_to_a_dataset(
    logs: Path, strings: Path, tmp_path: Path
) -> None:
    found = proposed(str(strings / "*.csv"))
    typed = proposed(str(logs / "*.parquet"))
    same = {"features", "tasks", "splits", "score", "topics", "backbone"}
    assert found.model_dump(include=same) == typed.model_dump(include=same)
    DatasetJob(found, str(strings / "*.csv"), str(tmp_path / "data"), ()).run()
    manifest = load_manifest(tmp_path / "data")
    assert all(split.rows for split in manifest.splits.values())
    rows = sum(pq.read_metadata(path).num_rows for path in logs.glob("*.parquet"))
    assert sum(split.rows for split in manifest.splits.values()) == rows


def test_what_happened_is_no_feature(logs: Path, tmp_path: Path) -> None:
    """Seconds watched tell the click, and a rare action that nobody names may be a task."""
    random = np.random.default_rng(4)
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        click = table.column("click").to_numpy()
        seconds = np.where(click == 1, random.exponential(20, len(click)), 0.0)
        odd = (random.random(len(click)) < 0.01).astype(np.int8)
        table = table.append_column("dwell", pa.array(seconds))
        pq.write_table(table.append_column("zzz", pa.array(odd)), tmp_path / path.name)
    pattern = str(tmp_path / "*.parquet")
    text = suggest(pattern, Given(), SAMPLE, "shop")
    assert "# dwell: tells 'click': is it known before it?" in text
    assert "# zzz: 0 and 1, differs within requests; a task? It is no feature." in text
    assert not {"dwell", "zzz"} & parse_experiment(text).features.keys()
    amount = proposed(pattern, Given(labels=("click", "dwell")))
    dwell = amount.tasks.root["dwell"]
    assert (dwell.kind, dwell.after, amount.score) == ("regression", "click", "click")
    assert 5 < float(dwell.typical or 0) < 40
    one = proposed(pattern, Given(labels=("conversion",)))
    assert one.tasks.words == "conversion (conversion)"
    assert "click" not in one.features


def test_ids_that_are_whole_numbers_are_ids_and_vectors_are_vectors(
    logs: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(6)
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        visitors = [int(user[1:]) * 7 for user in table.column("user_id").to_pylist()]
        table = table.append_column("visitor", pa.array(visitors)).drop_columns("user_id")
        vectors = [None, *(random.normal(0, 1, 3).tolist() for _ in range(len(table) - 1))]
        ragged = [random.normal(0, 1, random.integers(1, 4)).tolist() for _ in range(len(table))]
        table = table.append_column("content", pa.array(vectors))
        pq.write_table(table.append_column("ages", pa.array(ragged)), tmp_path / path.name)
    text = suggest(str(tmp_path / "*.parquet"), Given(user="visitor"), SAMPLE, "shop")
    found = parse_experiment(text)  # which a numeric feature with a vocabulary would not be
    kinds = {name: settings.kind for name, settings in found.features.items()}
    assert (kinds["visitor"], kinds["content"]) == ("categorical", "vector")
    assert found.features["content"].vector_size == 3
    assert "# ages: lists of numbers of many lengths" in text


def test_what_is_missing_where_nothing_happened_is_no_feature(logs: Path, tmp_path: Path) -> None:
    """Labels that are missing without a click are labels; what else is missing there tells it."""
    random = np.random.default_rng(5)
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        click = table.column("click").to_numpy() == 1
        ordered = pa.array(table.column("conversion").to_numpy().astype(float), mask=~click)
        table = table.set_column(table.column_names.index("conversion"), "conversion", ordered)
        reason = random.choice(["end", "skip"], len(click))
        table = table.append_column("stop_reason", pa.array(reason, mask=~click))
        buffer = random.exponential(30, len(click))
        pq.write_table(
            table.append_column("buffer", pa.array(buffer, mask=~click)), tmp_path / path.name
        )
    text = suggest(str(tmp_path / "*.parquet"), Given(), SAMPLE, "shop")
    found = parse_experiment(text)
    assert found.tasks.words.startswith("click (click), conversion (conversion where click is 1)")
    assert not {"stop_reason", "buffer", "conversion"} & found.features.keys()
    assert "# stop_reason: tells 'click': is it known before it?" in text


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (Given(labels=("clik",)), "no file has a column 'clik'; did you mean 'click'?"),
        (Given(labels=("scene",)), "--label scene: expected a column of 0 and 1, or of amounts"),
        (Given(timestamp="nope"), "no file has a column 'nope'; there are: "),
        (Given(timestamp="nope", user="usr"), "no file has a column 'nope' or 'usr'; there are: "),
        (Given(labels=("click",), user="click"), "--label click: is named twice"),
        (Given(user="scene", item="scene"), "--item scene: is named for --user too"),
        (Given(timestamp="scene"), "--timestamp scene: expected a column of moments, and a value"),
        (Given(user="history"), "--user history: expected a column of texts or numbers"),
    ],
)
def test_what_cannot_be_is_one_line(given_: Given, words: str, logs: Path) -> None:
    with pytest.raises(InputError) as error:
        proposed(str(logs / "*.parquet"), given_)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (["click", "conversion"], "no column looks like the label"),
        (["timestamp"], "no column looks like the moment; name it with --timestamp"),
        (["user_id", "user_orders"], "no column looks like the user; name it with --user"),
        (
            ["timestamp", "click", "conversion"],
            "no column looks like the moment or the label (0 and 1, and not the same in all of a"
            " request); name them with --timestamp and --label: ",
        ),
        (
            ["user_id", "user_orders", "timestamp"],
            "no column looks like the moment or the user; name them with --timestamp and --user: ",
        ),
    ],
)
def test_what_is_missing_is_asked_for(
    dropped: list[str], words: str, logs: Path, tmp_path: Path
) -> None:
    path = next(iter(sorted(logs.glob("*.parquet"))))
    pq.write_table(pq.read_table(path).drop_columns(dropped), tmp_path / "a.parquet")
    with pytest.raises(InputError) as error:
        proposed(str(tmp_path / "a.parquet"))
    assert words in str(error.value)


def test_columns_that_stand_twice_or_cannot_be_inputs_are_said(tmp_path: Path) -> None:
    twice = tmp_path / "twice.csv"
    twice.write_text("user_id,user_id,time,click\nu1,i1,2024-01-01T00:00:00Z,1\n")
    with pytest.raises(InputError, match="column user_id appears several times"):
        proposed(str(twice))
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"user_id,pr\xefce,time,click\nu1,1,2024-01-01T00:00:00Z,1\n")
    with pytest.raises(InputError, match="column names in UTF-8"):
        proposed(str(latin))
    random = np.random.default_rng(1)
    lines = ["uid,sku,ts,clicked,a b,class"]
    lines += [
        f"u{random.integers(60)},s{random.integers(9)},{1_700_000_000 + 300 * row},"
        f"{random.integers(2)},{random.integers(3)},{random.integers(3)}"
        for row in range(2_000)
    ]
    (tmp_path / "odd.csv").write_text("\n".join(lines))
    text = suggest(str(tmp_path / "odd.csv"), Given(), SAMPLE, "odd")
    assert '# "a b": its name cannot be that of a model\'s input; rename it in the logs' in text
    assert parse_experiment(text).features.keys() == {"uid", "sku", "time"}


@pytest.mark.parametrize("seed", range(4))
def test_what_is_proposed_for_any_log_is_a_config_that_makes_a_dataset_of_it(
    seed: int, tmp_path: Path
) -> None:
    """Or one line says what is missing; and no column plays two parts."""
    random = np.random.default_rng(seed)
    made = 0
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        path, given_ = random_log(random, folder)
        try:
            found = parse_experiment(suggest(str(path), given_, SAMPLE, "any"))
        except InputError as error:
            assert "--input: no column looks like" in str(error)
            assert not given_.labels  # which names all that a config needs
            continue
        data, labels = found.data, found.label_columns
        parts = [data.timestamp, data.user, *labels, *([data.weight] if data.weight else [])]
        parts += [data.request] if data.request != data.user else []
        assert len(parts) == len(set(parts))
        read = {column for name in found.features for column in found.columns_of(name)}
        assert not read & {*labels, data.weight}
        if not made:
            DatasetJob(found, str(path), str(folder / "data"), ()).run()
            assert all(split.rows for split in load_manifest(folder / "data").splits.values())
            made += 1
    assert made


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"when": "moment", "birth_number": "seconds"}, "when"),
        ({"t": "seconds", "user_number": "seconds"}, "t"),
        ({"time_spent": "amount", "t": "moment"}, "t"),
        ({"seen_at": "seconds", "created": "moment", "born_date": "moment"}, "born_date"),
        ({"ts": "seconds", "seen_at": "moment"}, "ts"),
        ({"timestamp": "amount", "seen_at": "seconds"}, "seen_at"),
        ({"user_time": "seconds"}, "user_time"),
    ],
)
def test_the_moment_is_what_holds_moments(
    columns: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """Names say which of several it is."""
    random = np.random.default_rng(2)
    seconds = 1_700_000_000 + np.sort(random.integers(0, 20 * 86_400, 600))
    forms = {
        "seconds": pa.array(seconds),
        "moment": pa.array(seconds, pa.timestamp("s")),
        "amount": pa.array(random.exponential(30, 600)),
    }
    table = {name: forms[form] for name, form in columns.items()}
    table["viewer"] = pa.array([f"u{number}" for number in random.integers(20, size=600)])
    table["click"] = pa.array(random.integers(2, size=600))
    pq.write_table(pa.table(table), tmp_path / "log.parquet")
    found = proposed(str(tmp_path / "log.parquet"))
    assert (found.data.timestamp, found.data.user) == (expected, "viewer")


def column(codes: npt.NDArray[np.int64]) -> SampledColumn:
    texts = [str(code) for code in range(int(codes.max()) + 1)]
    return SampledColumn("x", "text", codes, texts, np.empty(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.002, 0.5), st.integers(1, 5))
def test_a_property_of_a_group_does_not_vary_and_chance_does_however_rare(
    seed: int, rate: float, values: int
) -> None:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 2_000, 20_000)
    chance = np.where(random.random(20_000) < rate, random.integers(1, values + 1, 20_000), 0)
    of_group = np.where(random.random(2_000) < rate, random.integers(1, values + 1, 2_000), 0)
    assert column(of_group[groups]).varies_within(column(groups)) == 0.0 or not of_group.any()
    assert 0.5 < column(chance).varies_within(column(groups)) < 1.5


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 400), st.floats(0.05, 40))
def test_splits_follow_each_other_and_hold_every_row(seed: int, rows: int, days: float) -> None:
    random = np.random.default_rng(seed)
    moments = 1_700_000_000 + np.sort(random.integers(0, int(days * 86_400), rows))
    try:
        found = cut(moments)
    except InputError as error:
        assert "cannot be cut by time" in str(error)
        return
    assert sum(found.rows) == rows
    assert all(found.rows)
    borders = [*found.begins, found.end]
    assert borders == sorted(set(borders))


def test_task_names_are_free_and_apart() -> None:
    labels = [Label(name, None, 1) for name in ("score", "Is Click", "is_click", "1st", "domain")]
    names = task_names(labels)
    assert list(names.values()) == [
        "score_task",
        "is_click",
        "is_click_task",
        "task_1st",
        "domain_task",
    ]
