"""The raw columns that the Beam job keeps, and their dictionaries; and the domains that no row
is of.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from preprocessing.dataset.manifest import load_manifest
from preprocessing.features import kept_columns
from tests.preprocessing.shop_logs import Row, build, check_files, split_of, write_json


def test_dictionaries_are_those_of_all_splits_by_frequency(dataset: Path, rows: list[Row]) -> None:
    """The last day is in no split: what it alone holds is in none of them."""
    counted = {
        name: Counter(
            value
            for row in rows
            if split_of(row)
            for value in (row[name] if name == "history" else [row[name]])
        )
        for name in ("scene", "user", "item", "history")
    }
    for name, counts in counted.items():
        values = json.loads((dataset / "dictionaries" / f"{name}.json").read_text())
        assert values == sorted(counts, key=lambda value: (-counts[value], value))
        assert load_manifest(dataset).dictionaries[name].rows == len(values)


def test_text_of_a_feature_with_many_values_is_not_kept(
    tmp_path: Path, parquet_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_columns, "MOST_VALUES", 50)  # 40 users, 120 items
    assert build(parquet_logs, tmp_path / "few").dictionaries.keys() == {
        "scene",
        "user",
        "history",
    }
    asked = build(parquet_logs, tmp_path / "asked", "data.topic_columns=[item, stock]")
    assert asked.dictionaries.keys() == {"scene", "user", "history", "item"}
    assert asked.columns["raw/stock"].dtype == "float32"
    check_files(tmp_path / "asked")
    build(parquet_logs, tmp_path / "asked")  # what is asked for no longer is no longer there
    check_files(tmp_path / "asked")


def test_lists_that_are_cut_are_said(
    tmp_path: Path, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    long = [*rows[:200], {**rows[0], "request": 7, "history": [f"h{n}" for n in range(99)]}]
    write_json(tmp_path / "logs" / "a.jsonl", [*long, *rows[200:]])
    manifest = build(tmp_path / "logs", tmp_path / "data")
    assert manifest.columns["raw/history"].length == 64
    assert (
        "warning: column 'history': 1 rows list more than 64 different values; for later topics"
        in capsys.readouterr().err
    )


def test_domains_without_rows_are_named_with_the_nearest_value(
    tmp_path: Path, parquet_logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def warned(*overrides: str) -> list[str]:
        build(parquet_logs, tmp_path / "data", *overrides)
        lines = capsys.readouterr().err.splitlines()
        return [line.removeprefix("warning: ") for line in lines if line.startswith("warning")]

    assert warned() == []
    assert warned(
        "topics.scene.values=[home, serch, qqqqq]",
        "topics.seen.contains=[i3_7, j0_1]",
        "topics.value.ranges={none: [-5, -1], some: [-1, ~]}",
    ) == [
        "no row of any split is of scene=serch (column 'scene' never holds 'serch'; did you mean"
        " 'search'?), scene=qqqqq (column 'scene' never holds 'qqqqq'), value=none, seen=j0_1"
        " (column 'history' never holds 'j0_1'; did you mean 'i0_1'?)"
    ]
    crossed = "cross_topics=[[scene, also]]"
    also = "topics.also={column: scene, values: [home, search]}"
    assert warned(also, crossed) == [
        "no row of any split is of scene=home,also=search, scene=search,also=home"
    ]
    many = ", ".join(f"v{number}" for number in range(100))
    (line,) = warned(f"topics.scene.values=[{many}]")
    assert line.endswith(", and 80 more")
