"""Log files of every format and in every state of damage."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import InputError
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import RawBatch, read_piece
from preprocessing.validation.row_checks import rejected_rows, validate
from tests.preprocessing.shop_logs import (
    csv_lines,
    experiment,
    make_rows,
    write_csv,
    write_json,
    write_parquet,
    write_text,
)

ROWS = make_rows(250)

TRUTH = experiment().evaluation.truth


def read(path: Path, *overrides: str) -> list[RawBatch]:
    config = experiment(*overrides)
    pieces = plan(find_sources(str(path), config.evaluation.truth), config).pieces
    return [batch for piece in pieces for batch in read_piece(piece, config)]


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json"]
)
def test_every_format_gives_the_same_canonical_rows(tmp_path: Path, name: str) -> None:
    expected = [
        validate(batch, experiment()).rows
        for batch in read(write_parquet(tmp_path / "a.parquet", ROWS))
    ]
    write = write_csv if "csv" in name else write_json
    received = [validate(batch, experiment()).rows for batch in read(write(tmp_path / name, ROWS))]
    assert [batch.num_rows for batch in received] == [100, 100, 50]
    for one, other in zip(expected, received, strict=True):
        assert one.equals(other)


def test_parquet_row_groups_become_pieces_of_whole_batches(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS, row_group_size=40)
    config = experiment()
    pieces = plan(find_sources(str(path), config.evaluation.truth), config).pieces
    assert [(piece.first_batch, piece.first_row, piece.row_groups) for piece in pieces] == [
        (0, 0, (0, 2)),
        (1, 80, (2, 4)),
        (2, 160, (4, 7)),
    ]
    assert [batch.number for batch in read(path)] == [0, 1, 2]
    assert np.array_equal(np.concatenate([batch.rows for batch in read(path)]), np.arange(250))


def test_a_row_group_larger_than_a_batch_is_cut(tmp_path: Path) -> None:
    batches = read(write_parquet(tmp_path / "a.parquet", ROWS, row_group_size=220))
    assert [(batch.number, len(batch.rows), int(batch.rows[0])) for batch in batches] == [
        (0, 100, 0),
        (1, 100, 100),
        (2, 20, 200),
        (3, 30, 220),
    ]


def test_broken_csv_lines_keep_their_row_number_and_text(tmp_path: Path) -> None:
    lines = csv_lines(ROWS)
    columns = lines[0].count(",") + 1
    lines[3] = "too,few\n"
    lines[151] = lines[151].rstrip("\n") + ",more\n"
    lines.append("at,the,end\n")
    lines.insert(5, "\n")  # blank lines are no rows
    batches = read(write_text(tmp_path / "a.csv", "".join(lines)))
    broken = [row for batch in batches for row in batch.broken]
    assert [(row.row, row.rule, row.received) for row in broken] == [
        (2, f"csv: expected {columns} columns", "2"),
        (150, f"csv: expected {columns} columns", str(columns + 1)),
        (250, f"csv: expected {columns} columns", "3"),
    ]
    assert broken[0].text == "too,few"
    rows = np.concatenate([batch.rows for batch in batches])
    assert np.array_equal(rows, np.delete(np.arange(250), [2, 150]))
    assert [batch.row_count for batch in batches] == [101, 101, 48, 1]
    impressions = [
        value.as_py().decode() for batch in batches for value in batch.columns["impression"]
    ]
    assert impressions == [ROWS[row]["impression"] for row in rows]


@pytest.mark.parametrize("column", [0, 3, -1])
def test_a_quote_that_is_not_closed_costs_its_row(tmp_path: Path, column: int) -> None:
    lines = csv_lines(ROWS)
    for number in (1, 120, 250):
        values = lines[number].rstrip("\n").split(",")
        values[column] = f'"{values[column]}'
        lines[number] = ",".join(values) + "\n"
    batches = read(write_text(tmp_path / "a.csv", "".join(lines)))
    broken = [(row.row, row.rule) for batch in batches for row in batch.broken]
    assert broken == [(row, "csv: expected each quote to be closed") for row in (0, 119, 249)]
    rows = np.concatenate([batch.rows for batch in batches])
    assert np.array_equal(rows, np.delete(np.arange(250), [0, 119, 249]))
    impressions = [
        value.decode()
        for batch in batches
        for value in batch.columns["impression"].to_pylist()  # type: ignore[union-attr]
    ]
    assert impressions == [ROWS[row]["impression"] for row in rows]


def test_csv_with_byte_order_mark_quoted_newline_and_bad_bytes(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "user": "two\nlines"}, {**ROWS[1], "user": "bad"}, ROWS[2]]
    content = b"\xef\xbb\xbf" + "".join(csv_lines(rows)).encode().replace(b"bad", b"\xff\xfe")
    (tmp_path / "a.csv").write_bytes(content)
    [batch] = read(tmp_path / "a.csv")
    checked = validate(batch, experiment())
    assert checked.rows.column("user").to_pylist() == ["two\nlines", ROWS[2]["user"]]
    assert [row.reason for row in rejected_rows(checked)] == [
        "user: expected UTF-8 text, received '��'"
    ]


def test_json_lines_that_are_no_objects_are_broken_rows(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.jsonl", ROWS[:3])
    path.write_bytes(
        path.read_bytes() + b'{"user": \n\n[1, 2]\n"text"\n\xff\n' + b"[" * 100_000 + b"\n"
    )
    [batch] = read(path)
    assert [row.row for row in batch.broken] == [3, 5, 6, 7, 8]
    assert {row.rule for row in batch.broken} == {"json: expected one JSON object a line"}
    assert [row.received for row in batch.broken] == [None, "list", "str", None, None]
    assert batch.rows.tolist() == [0, 1, 2]


def test_json_columns_of_mixed_types_are_read_value_by_value(tmp_path: Path) -> None:
    mixed = [7, "7", 7.0, 7.5, True, 2**70, {"a": 1}, [1], "\ud800", None]
    rows = [{**row, "user": value} for row, value in zip(ROWS, mixed, strict=False)]
    [batch] = read(write_json(tmp_path / "a.jsonl", rows))
    checked = validate(batch, experiment())
    assert checked.rows.column("user").to_pylist() == ["7", "7", "7", "7.5", "true", str(2**70)]
    assert [row.rule for row in checked.rejections] == ["user: expected text"] * 2 + [
        "user: expected UTF-8 text",
        "user: missing",
    ]
    assert next(rejected_rows(checked)).values["user"] == {"a": 1}  # type: ignore[index]


def test_files_without_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"")
    write_text(tmp_path / "b.csv", csv_lines(ROWS)[0])
    (tmp_path / "c.jsonl").write_bytes(b" \n")
    write_parquet(tmp_path / "d.parquet", ROWS[:0] or [ROWS[0]])
    write_text(tmp_path / "e.csv.gz", "")
    planned = plan(find_sources(str(tmp_path), TRUTH), experiment())
    assert [Path(path).name for path in planned.empty] == ["a.csv", "b.csv", "c.jsonl", "e.csv.gz"]
    assert [piece.source.name for piece in planned.pieces] == ["d.parquet"]


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_parquet_is_refused_by_name(tmp_path: Path, share: float) -> None:
    path = cut(write_parquet(tmp_path / "a.parquet", ROWS), share)
    with pytest.raises(
        InputError, match=r"a\.parquet: not readable as parquet, damaged or cut short: "
    ):
        read(path)


def test_parquet_with_a_damaged_page_is_refused_by_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: not readable as parquet"):
        read(path)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("share", [0.1, 0.9, 0.999])
def test_truncated_gzip_is_refused_by_name(tmp_path: Path, name: str, share: float) -> None:
    path = cut((write_csv if "csv" in name else write_json)(tmp_path / name, ROWS), share)
    with pytest.raises(
        InputError, match=rf"{name}: not readable as (csv|json), damaged or cut short: "
    ):
        read(path)


def test_text_that_calls_itself_gzip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_text("".join(csv_lines(ROWS)))
    with pytest.raises(InputError, match=r"a\.csv\.gz: not readable as csv"):
        read(tmp_path / "a.csv.gz")


@pytest.mark.parametrize("write", [write_parquet, write_csv])
def test_a_missing_column_is_refused_with_both_differences(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    rows = [
        {
            ("usr" if name == "user" else name): value
            for name, value in row.items()
            if name != "price"
        }
        for row in ROWS
    ]
    path = write(tmp_path / ("a.parquet" if write is write_parquet else "a.csv"), rows)
    with pytest.raises(InputError, match=r": missing: user, price; unexpected: usr$"):
        read(path)


def test_extra_columns_are_ignored(tmp_path: Path) -> None:
    rows = [{**row, "extra": 1} for row in ROWS]
    for path in (
        write_parquet(tmp_path / "a.parquet", rows),
        write_csv(tmp_path / "a.csv", rows),
        write_json(tmp_path / "a.jsonl", rows),
    ):
        assert "extra" not in read(path)[0].columns


def test_a_needed_column_twice_in_a_csv_header_is_refused(tmp_path: Path) -> None:
    lines = csv_lines([{**row, "extra": 1} for row in ROWS])
    lines[0] = lines[0].replace("extra", "user")
    with pytest.raises(InputError, match="column user appears 2 times"):
        read(write_text(tmp_path / "a.csv", "".join(lines)))


def test_sources_of_a_glob_a_folder_and_a_file(tmp_path: Path) -> None:
    for name in (
        "day=2/b.csv",
        "day=1/a.csv",
        "day=1/_SUCCESS.csv",
        "day=1/.hidden.csv",
        "README.txt",
        "c.csv",
        "truth/t.parquet",
    ):
        write_text(tmp_path / name, "x")

    def names(pattern: str) -> list[str]:
        return [source.name for source in find_sources(str(tmp_path / pattern), TRUTH)]

    assert names("**.csv") == ["c.csv", "day=1/a.csv", "day=2/b.csv"]
    assert names("day=*/*.csv") == ["day=1/a.csv", "day=2/b.csv"]
    assert names("day=1") == names("day=1/a.csv") == ["a.csv"]
    assert names("") == ["c.csv"]
    with pytest.raises(InputError, match=r"nothing\.csv: no file matches"):
        names("nothing.csv")
    with pytest.raises(InputError, match=r"README\.txt: unknown format; expected \.parquet, \.csv"):
        names("*.txt")


def test_the_side_file_of_true_probabilities_is_no_log(tmp_path: Path) -> None:
    write_text(tmp_path / "logs.csv", "x")
    write_text(tmp_path / "truth" / "t.parquet", "x")
    assert [source.name for source in find_sources(f"{tmp_path}/**", TRUTH)] == ["logs.csv"]


def test_gzip_is_read_whole_even_in_several_members(tmp_path: Path) -> None:
    lines = csv_lines(ROWS)
    members = [gzip.compress("".join(part).encode()) for part in (lines[:100], lines[100:])]
    (tmp_path / "a.csv.gz").write_bytes(b"".join(members))
    assert sum(batch.row_count for batch in read(tmp_path / "a.csv.gz")) == 250


@pytest.mark.parametrize("name", ["day[1].jsonl", "a*b.jsonl", "what?.jsonl"])
def test_a_file_or_folder_may_be_called_like_a_glob(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "logs[2024]"
    write_json(folder / name, make_rows(3))
    write_json(folder / "day1.jsonl", make_rows(3, seed=1))
    shop = experiment()
    (one,) = find_sources(str(folder / name), shop.evaluation.truth)
    assert (one.path, one.name) == (str(folder / name), name)
    assert {source.name for source in find_sources(str(folder), shop.evaluation.truth)} == {
        name,
        "day1.jsonl",
    }
    shop = experiment("evaluation.truth.path=day1.*")
    assert "day1.jsonl" not in {
        source.name for source in find_sources(str(folder), shop.evaluation.truth)
    }


def test_a_line_of_blanks_is_no_header(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "  \n" + "".join(csv_lines(make_rows(3))))
    with pytest.raises(InputError, match="expected a header line of column names, received a line"):
        plan(find_sources(str(path), TRUTH), experiment())
    assert plan(find_sources(str(write_text(path, " \n \n")), TRUTH), experiment()).empty


def test_a_column_that_a_parquet_file_has_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(make_rows(3))
    twice = table.append_column("user", table.column("user"))
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: column user appears 2 times"):
        plan(find_sources(str(tmp_path), TRUTH), experiment())
