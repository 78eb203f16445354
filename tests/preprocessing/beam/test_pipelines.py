"""The Beam job from logs to a dataset: what it keeps, what it refuses, and that it does the same
every time.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import InputError
from preprocessing import filesystem
from preprocessing.beam import dataset_job as job_module
from preprocessing.dataset.manifest import load_manifest
from preprocessing.features.fitted import Fitted
from preprocessing.hashing import fingerprint64
from preprocessing.logs.readers import as_column
from tests.preprocessing.shop_logs import (
    IN_PROCESS,
    ROWS,
    SPLITS,
    Row,
    build,
    check_files,
    csv_lines,
    digests,
    experiment,
    make_rows,
    read_rejected,
    read_split,
    split_of,
    write_csv,
    write_json,
    write_parquet,
    write_text,
)


def test_the_manifest_counts_every_row_file_and_domain(dataset: Path, rows: list[Row]) -> None:
    manifest = check_files(dataset)
    assert manifest.data_digest == experiment().data_digest
    assert manifest.rejected == {} and manifest.rejected_files == ()
    assert manifest.outside_splits == sum(split_of(row) is None for row in rows) > 0
    for split in SPLITS:
        expected = [row for row in rows if split_of(row) == split]
        summary = manifest.splits[split]
        assert summary.rows == len(expected) == sum(file.rows for file in summary.files)
        assert summary.domains["all"].rows == len(expected)
        assert summary.domains["all"].labels == {
            label: sum(row[label] for row in expected) for label in ("click", "order")
        }
        home = [row for row in expected if row["scene"] == "home"]
        early = [row for row in home if row["time"] % 86_400 < 43_200]
        assert summary.domains["scene=home"].rows == len(home)
        assert summary.domains["scene=home,period=early"].rows == len(early)
        assert summary.domains["scene=home,period=early"].labels["click"] == sum(
            row["click"] for row in early
        )
        dear = [row for row in expected if row["price"] is not None and row["price"] >= 15]
        assert summary.domains["value=dear"].rows == len(dear)
        both = [row for row in expected if "i3_7" in row["history"]]
        assert summary.domains["seen=i3_7"].rows == len(both)
        later = [row for row in expected if {"i3_7", "i0_1"} & set(row["history"])]
        assert summary.domains["seen=i0_1"].rows == len(later) - len(both)
    assert sum(split.rows for split in manifest.splits.values()) + manifest.outside_splits == len(
        rows
    )


def test_blocks_hold_the_rows_labels_and_keys_of_the_logs(dataset: Path, rows: list[Row]) -> None:
    for split in SPLITS:
        columns = read_split(dataset, split)
        expected = {row["impression"]: row for row in rows if split_of(row) == split}
        keys = dict(
            zip(fingerprint64(as_column(list(expected))).tolist(), expected.values(), strict=True)
        )
        found = [keys.pop(key) for key in columns["row/truth"].tolist()]
        assert not keys
        assert columns["label/click"].tolist() == [row["click"] for row in found]
        assert columns["label/order"].tolist() == [row["order"] for row in found]
        assert columns["row/weight"].tolist() == [row["weight"] for row in found]
        assert columns["row/timestamp"].tolist() == [row["time"] for row in found]
        assert np.array_equal(
            columns["row/user"], fingerprint64(as_column([row["user"] for row in found]))
        )
        assert np.array_equal(
            columns["row/request"], fingerprint64(as_column([str(row["request"]) for row in found]))
        )
        for name in ("scene", "user", "item", "history"):
            values = json.loads((dataset / "dictionaries" / f"{name}.json").read_text())
            codes = columns[f"raw/{name}"].reshape(len(found), -1)
            decoded = [[values[code - 1] for code in row if code] for row in codes]
            assert [set(row) for row in decoded] == [
                set(row[name]) if name == "history" else {row[name]} for row in found
            ]
        prices = np.array([np.nan if row["price"] is None else row["price"] for row in found])
        np.testing.assert_array_equal(columns["raw/price"], prices.astype(np.float32))
        assert {name for name in columns if name.startswith(("raw/", "topic/"))} == {
            f"raw/{name}" for name in ("scene", "user", "item", "history", "price")
        }
        assert columns["feature/history"].shape == (len(found), 3)
        assert columns["feature/history"].astype(bool).sum(1).tolist() == [
            min(3, len(row["history"])) for row in found
        ]
        times = columns["row/timestamp"]
        assert np.any(np.diff(times) < 0), "neighbours of the log must not stay neighbours"


@pytest.mark.parametrize("write", [write_csv, write_json])
def test_every_format_gives_the_same_dataset(
    tmp_path: Path, dataset: Path, rows: list[Row], write: Any
) -> None:
    extension = ".csv.gz" if write is write_csv else ".jsonl"
    write(tmp_path / "logs" / f"first{extension}", rows[:ROWS])
    write(tmp_path / "logs" / f"second{extension}", rows[ROWS:])
    manifest = build(tmp_path / "logs", tmp_path / "data")
    expected = load_manifest(dataset)
    assert manifest.transform_digest == expected.transform_digest
    assert {name: split.domains for name, split in manifest.splits.items()} == {
        name: split.domains for name, split in expected.splits.items()
    }
    for split in SPLITS:
        mine, theirs = read_split(tmp_path / "data", split), read_split(dataset, split)
        order, reference = np.argsort(mine["row/truth"]), np.argsort(theirs["row/truth"])
        for name in expected.columns:
            np.testing.assert_array_equal(mine[name][order], theirs[name][reference], name)


@pytest.mark.parametrize(
    "flags",
    [
        ("--direct_running_mode=multi_threading", "--direct_num_workers=3"),
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
    ],
    ids=["threads", "processes"],
)
def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, dataset: Path, parquet_logs: Path, flags: tuple[str, ...]
) -> None:
    build(parquet_logs, tmp_path / "data", flags=(*IN_PROCESS, *flags))
    assert digests(tmp_path / "data") == digests(dataset)


def test_a_second_run_replaces_a_former_dataset_and_a_half_one(
    tmp_path: Path, dataset: Path, parquet_logs: Path, rows: list[Row]
) -> None:
    write_parquet(tmp_path / "other" / "other.parquet", make_rows(200, seed=5))
    build(tmp_path / "other", tmp_path / "data")
    write_text(tmp_path / "data" / ".partial" / "pretrain" / "half.tfrecord.1234.tmp", "half")
    build(parquet_logs, tmp_path / "data")
    assert digests(tmp_path / "data") == digests(dataset)


HOSTILE: list[tuple[Row, str]] = [
    ({"user": None}, "user: missing"),
    ({"click": 3}, "click: expected 0 or 1"),
    ({"price": "cheap"}, "price: expected a number"),
    ({"price": "nan"}, "price: expected a finite number"),
    ({"price": "1e39"}, "price: expected a finite number"),
    ({"weight": "inf"}, "weight: expected a finite number of at least 0"),
    ({"time": "yesterday"}, "time: expected a timestamp, ISO 8601 text or seconds since 1970"),
    ({"time": "1970-01-02"}, "time: expected a timestamp from 1990 to 2100"),
    ({"scene": "x" * 5000}, "scene: expected text of at most 4096 bytes"),
    ({"click": 0, "order": 1}, "order without click"),
]


def hostile_logs(folder: Path) -> tuple[int, Counter[str], list[Row]]:
    """Logs with every kind of bad row, and duplicates in the same batch, another batch and
    another file.
    """
    rows = make_rows()
    for index, row in enumerate(rows):
        row["item"] += f"_{index}"  # sound keys are unique
    sound = list(rows)
    for place, (change, _) in enumerate(HOSTILE):
        rows.insert(37 * place, {**make_rows(1, seed=50 + place)[0], **change})
    for row in sound[::50]:
        row.update(history=[], price=None, scene="never seen")
    rows += [dict(rows[1]), dict(rows[250])]
    lines = csv_lines(rows)
    write_text(folder / "a.csv", "".join([*lines, "one,two\n", lines[1][:-1] + ",extra\n"]))
    write_json(folder / "b.jsonl", [sound[7], sound[8], *make_rows(60, seed=9)])
    with (folder / "b.jsonl").open("a") as file:
        file.write("{broken\n")
    (folder / "c.csv").write_text("")
    columns = lines[0].count(",") + 1
    expected = Counter(rule for _, rule in HOSTILE)
    expected.update(
        {
            "duplicate of request, item": 4,
            f"csv: expected {columns} columns": 2,
            "json: expected one JSON object a line": 1,
        }
    )
    return len(rows) + 2 + 63, expected, sound


def test_bad_rows_are_set_aside_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    total, expected, sound = hostile_logs(tmp_path / "logs")
    manifest = build(tmp_path / "logs", tmp_path / "data", "data.max_conversion_without_click=0.01")
    assert check_files(tmp_path / "data") == manifest
    assert manifest.rejected == dict(expected)
    assert (
        sum(split.rows for split in manifest.splits.values())
        + manifest.outside_splits
        + expected.total()
        == total
    )
    assert "c.csv: no rows" in capsys.readouterr().err

    rejected = read_rejected(tmp_path / "data")
    assert Counter(row["reason"].partition(", received")[0] for row in rejected) == expected
    assert {row["source"] for row in rejected} == {
        str(tmp_path / "logs" / name) for name in ("a.csv", "b.jsonl")
    }
    lines = (tmp_path / "logs" / "a.csv").read_text().splitlines()[1:]
    for row in (row for row in rejected if row["source"].endswith("a.csv")):
        values = row["values"]
        assert (
            lines[row["row"]] == values
            if isinstance(values, str)
            else lines[row["row"]].startswith(f"{values['impression']},")
        )
    duplicates = [
        (row["source"][-7:], row["row"])
        for row in rejected
        if row["reason"].startswith("duplicate")
    ]
    assert duplicates == [("s/a.csv", 510), ("s/a.csv", 511), ("b.jsonl", 0), ("b.jsonl", 1)]
    assert (
        next(row for row in rejected if "cheap" in row["reason"])["reason"]
        == "price: expected a number, received 'cheap'"
    )

    # The transform must not have learned from what was refused.
    write_parquet(tmp_path / "sound" / "a.parquet", [*sound, *make_rows(60, seed=9)])
    build(tmp_path / "sound", tmp_path / "clean")
    learned, clean = (Fitted.load(str(tmp_path / name / "transform")) for name in ("data", "clean"))
    assert (learned.vocabularies, learned.boundaries) == (clean.vocabularies, clean.boundaries)
    assert learned.moments["price"] == pytest.approx(
        clean.moments["price"], rel=1e-12
    )  # batches are cut elsewhere


def test_guards_stop_the_job_with_one_line(tmp_path: Path, rows: list[Row]) -> None:
    def error(changed: list[Row], *overrides: str) -> str:
        write_json(tmp_path / "logs" / "a.jsonl", changed)
        with pytest.raises(InputError) as caught:
            build(tmp_path / "logs", tmp_path / "data", *overrides)
        assert not (tmp_path / "data" / "manifest.json").exists()
        return str(caught.value).removeprefix(f"{tmp_path}/logs")

    few = rows[:ROWS:5]
    twice = [{**row, "click": 2 * row["click"], "order": 0} for row in few]
    assert error(twice) == (
        f": label 'click' is neither 0 nor 1 in {sum(row['click'] for row in few)} rows, and 1 in 0"
        f" of the splits; data.max_rejected allows 0.05 of both; the first: {tmp_path}/logs/a.jsonl"
        f" row {[row['click'] for row in few].index(1)}: click: expected 0 or 1, received 2"
    )
    bad = [{**row, "price": "dear" if index < 6 else 1} for index, row in enumerate(few)]
    assert error(bad) == (
        ": 6 of 100 rows were rejected, 6.0%; data.max_rejected allows 5.0%; 6 rows: price:"
        f" expected a number; the first of the most frequent: {tmp_path}/logs/a.jsonl row 0: price:"
        " expected a number, received 'dear'"
    )
    assert error([{**row, "price": "dear"} for row in few], "data.max_rejected=1").startswith(
        ": 100 of 100 rows were rejected"
    )
    assert error([*few[:-1], {**few[-1], "weight": -0.5}]) == (
        f": 1 of 100 rows have a negative weight; the first: {tmp_path}/logs/a.jsonl row 99:"
        " weight: expected a weight of at least 0, received -0.5; leave such rows out of the logs"
    )
    none = [{**row, "order": row["order"] * (split_of(row) != "validation")} for row in few]
    assert error(none) == (
        ": label 'order' is 0 on all 20 rows of split 'validation'; expected both, from a longer"
        " window or another column"
    )
    assert "rows have order = 1 with click = 0, a share of" in error(
        [{**row, "order": 1} for row in few]
    )
    assert error([row for row in few if split_of(row) != "test"]) == (
        ": no rows in split 'test' (2024-01-04T00:00:00+00:00 to 2024-01-05T00:00:00+00:00); "
        "the logs' sound rows are from 2024-01-01T00:00:00+00:00 to 2024-01-05T22:48:00+00:00;"
        " logs of new days alone need --transform"
    )
    assert error([{**row, "stock": row["click"]} for row in few]) == (
        "column 'stock' equals label 'click' on all 20 pre-training rows (1 where it is 1, 0 where"
        " it is 0); it cannot be a feature"
    )
    renamed = [
        {("usr" if name == "user" else name): value for name, value in row.items()} for row in few
    ]
    assert error(renamed) == (": missing: user; unexpected: usr")
    for name in ("rejected", "dictionaries"):
        split = f"splits.{name}={{start: 2024-01-01, end: 2024-01-02}}"
        assert error(few, split).startswith(f"splits: '{name}' is a folder of its own")


def test_unreadable_files_are_all_named_and_the_former_dataset_stays(
    tmp_path: Path, dataset: Path, parquet_logs: Path
) -> None:
    build(parquet_logs, tmp_path / "data")
    before = digests(tmp_path / "data")
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        text = (
            "".join(json.dumps(row) + "\n" for row in make_rows()) * 20
        )  # the damage lies beyond what planning looks at
        path = write_text(tmp_path / "logs" / name, text)
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError) as caught:
        build(
            tmp_path / "logs",
            tmp_path / "data",
            flags=(*IN_PROCESS, "--direct_running_mode=multi_threading"),
        )
    assert "a.jsonl.gz: not readable as json" in str(caught.value)
    assert "b.jsonl.gz: not readable as json" in str(caught.value)
    assert "\n" not in str(caught.value)
    after = digests(tmp_path / "data")
    assert {
        name: digest for name, digest in after.items() if not name.startswith(".partial/")
    } == before


def test_a_full_disk_is_one_line_from_any_worker(
    tmp_path: Path, parquet_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, content: bytes) -> str:
        if path.endswith(".tfrecord"):
            raise OSError(28, "No space left on device")
        return write(path, content)

    write = filesystem.write
    monkeypatch.setattr(filesystem, "write", full)
    for flags in (
        IN_PROCESS,
        (*IN_PROCESS, "--direct_running_mode=multi_threading", "--direct_num_workers=2"),
    ):
        with pytest.raises(InputError, match="No space left on device") as caught:
            build(parquet_logs, tmp_path / "data", flags=flags)
        assert "\n" not in str(caught.value) and "while running" not in str(caught.value)


def test_logs_that_change_between_the_passes_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = write_json(tmp_path / "logs" / "a.jsonl", make_rows())
    apply = job_module.pipelines.apply

    def later(*arguments: Any) -> Any:
        write_json(logs, make_rows()[:-1])
        return apply(*arguments)

    monkeypatch.setattr(job_module.pipelines, "apply", later)
    with pytest.raises(InputError, match="the logs changed while they were read"):
        build(logs, tmp_path / "data")


def test_a_run_that_dies_while_it_moves_files_leaves_no_manifest(
    tmp_path: Path, dataset: Path, parquet_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(parquet_logs, tmp_path / "data")
    move = filesystem.move
    with monkeypatch.context() as patch:
        patch.setattr(
            filesystem,
            "move",
            lambda moves: move(moves[:3]) or (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build(parquet_logs, tmp_path / "data")
    assert not (tmp_path / "data" / "manifest.json").exists()
    build(parquet_logs, tmp_path / "data")
    assert digests(tmp_path / "data") == digests(dataset)


def test_foreign_files_in_the_output_are_never_touched(tmp_path: Path, parquet_logs: Path) -> None:
    for name in ("thesis.txt", "pretrain/notes.tfrecord", "photos/cat.jpg"):
        output = tmp_path / name.replace("/", "-")
        write_text(output / name, "precious")
        with pytest.raises(InputError, match=f"holds files that are no dataset's, such as {name}"):
            build(parquet_logs, output)
        assert digests(output).keys() == {name}
    with pytest.raises(InputError, match="expected a folder, received a file"):
        build(parquet_logs, write_text(tmp_path / "file", ""))
    with pytest.raises(InputError, match="expected a folder without"):
        build(parquet_logs, tmp_path / "a*b")


def test_files_are_named_after_the_log_and_not_after_where_it_is(dataset: Path) -> None:
    names = [file.path for file in load_manifest(dataset).splits["pretrain"].files]
    assert names[0] == "pretrain/first-78dce95a-00000.tfrecord"
    assert {name.rpartition("-")[0] for name in names} == {
        "pretrain/first-78dce95a",
        "pretrain/second-6b7cdcc1",
    }
