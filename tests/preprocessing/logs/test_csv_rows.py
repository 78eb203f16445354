"""Damage in CSV costs the lines that it is on: whatever else a file holds is read."""

import csv
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest

from configs import InputError
from preprocessing.logs import csv_rows
from preprocessing.logs.broken_row import BrokenRow
from preprocessing.logs.csv_rows import OPEN_QUOTE, read_csv

NAMES = ["id", "text", "more", "last", "end"]
PARTS = ["a", "bc", "", '"', "\n", "\r\n", ",", " ", "é", '""', '",', '\n"']
Row = list[str]


@pytest.fixture(autouse=True, params=[300, 8 << 20])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Blocks that end within rows, and blocks that hold all of a file."""
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", request.param)
    return int(request.param)


def random_rows(random: np.random.Generator) -> list[Row]:
    rows = []
    for number in range(random.integers(1, 25)):
        rows.append([f"r{number}"])
        for _ in NAMES[1:]:
            parts = random.choice(PARTS, random.integers(0, 4)).tolist()
            kept = [part for part in parts if "," not in part or parts.count(part) == 1]
            rows[-1].append("".join(kept) if random.random() < 0.6 else f"w{random.integers(9)}")
    return rows


def lines_of(rows: list[Row], random: np.random.Generator) -> list[str]:
    """Each row as text, which may be of several lines."""
    lines: list[str] = []

    class Sink:
        def write(self, line: str) -> None:
            lines.append(line)

    quoting = csv.QUOTE_ALL if random.random() < 0.3 else csv.QUOTE_MINIMAL
    writer = csv.writer(Sink(), lineterminator=["\n", "\r\n"][random.integers(2)], quoting=quoting)
    writer.writerows([NAMES, *rows])
    return lines


def read(text: str) -> tuple[list[Row], list[BrokenRow]]:
    blocks = list(read_csv(io.BytesIO(text.encode()), "a.csv"))
    broken = [row for block in blocks for row in block.broken]
    values = [
        [(value or b"").decode() for value in row.values()]
        for block in blocks
        for row in block.rows.to_pylist()
    ]
    numbers = [row.row for row in broken]
    assert numbers == sorted(set(numbers))
    assert all(0 <= number < len(values) + len(broken) for number in numbers)
    return values, broken


def line_breaks(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("seed", range(5))
def test_sound_files_are_read_whole(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(30):
        rows = random_rows(random)
        assert read("".join(lines_of(rows, random))) == (rows, [])


@pytest.mark.parametrize("quotes", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a_stray_quote_costs_its_own_row(seed: int, quotes: bool) -> None:
    """Rows of one line each, so that lines are rows. Where values hold quotes themselves, one of
    the next rows may close what the stray one opens: then these are one row, read or broken, by
    the rules of the format, and reading goes on behind it.
    """
    random = np.random.default_rng(seed)
    for _ in range(100):
        gone = r"[\r\n]" if quotes else r"[\r\n\",]"
        rows = [[re.sub(gone, "", value) for value in row] for row in random_rows(random)]
        lines = lines_of(rows, random)
        hit = int(random.integers(1, len(lines)))
        place = int(random.integers(len(lines[hit].rstrip("\r\n")) + 1))
        lines[hit] = f'{lines[hit][:place]}"{lines[hit][place:]}'
        found, broken = read("".join(lines))
        lost = [number for number, row in enumerate(rows) if number >= hit and row not in found]
        assert [row for row in found if row in rows[: hit - 1]] == rows[: hit - 1]
        if not quotes:
            assert not lost
            assert len(found) + len(broken) == len(rows)
            refused = [(row.row, row.text) for row in broken]
            assert refused in ([], [(hit - 1, lines[hit].rstrip("\r\n"))])
        assert lost == list(range(hit, hit + len(lost)))
        taken = "".join(row.text for row in broken) + "".join(map("".join, found))
        assert all(f"r{number}" in taken for number in lost)


@pytest.mark.parametrize("seed", range(5))
def test_every_line_is_read_or_refused(seed: int) -> None:
    """Values of several lines, and several stray quotes: each line is part of a row that is read
    or refused. Lines without a letter may be either no row or part of a value.
    """
    random = np.random.default_rng(seed)
    for _ in range(100):
        lines = lines_of(random_rows(random), random)
        for _ in range(random.integers(1, 4)):
            hit = int(random.integers(1, len(lines)))
            place = int(random.integers(len(lines[hit]) + 1))
            lines[hit] = f'{lines[hit][:place]}"{lines[hit][place:]}'
        found, broken = read("".join(lines))
        there = line_breaks("".join(lines[1:])).removesuffix("\n").split("\n")
        texts = [row.text for row in broken] + ["".join(row) for row in found]
        accounted = sum(1 + line_breaks(text).count("\n") for text in texts)
        assert sum(map(bool, there)) <= accounted <= len(there)


def test_a_value_is_read_as_it_comes_whatever_its_lines_look_like() -> None:
    """A reader's text may look like rows: none is made of it."""
    rows = [["r0", "a\nr9,1,1,1,1\nr8,1,1,1,1\nb", "c", "d", "e"], ["r1", "", "", "", ""]]
    assert read("".join(lines_of(rows, np.random.default_rng(0)))) == (rows, [])
    for column in ([["x\n\ny"], ["z"]], [["a, b\nc"], ["d\n\n\n"]]):
        file = io.StringIO(newline="")
        csv.writer(file).writerows([["text"], *column])
        assert read(file.getvalue()) == (column, [])


def test_a_row_of_several_lines_and_other_columns_is_one_broken_row() -> None:
    for text, received in (('1,"two\nlines",3,4', "4"), ('1,"two\nlines"', "2")):
        assert read(f"a,b,c\n{text}\n4,5,6\n") == (
            [["4", "5", "6"]],
            [BrokenRow(0, "csv: expected 3 columns", received, text)],
        )


def test_stray_quotes_with_rows_between_and_too_few_values() -> None:
    lines = [f"r{number},a,b,c,d\n" for number in range(50)]
    lines[7] = 'r7,"a,b,c,d\n'
    lines[30] = 'r30,a,b",c,d\n'
    found, broken = read(",".join(NAMES) + "\n" + "".join(lines))
    assert [row[0] for row in found] == [f"r{number}" for number in range(50) if number != 7]
    assert broken == [BrokenRow(7, OPEN_QUOTE, None, 'r7,"a,b,c,d')]


def test_a_quote_inside_a_value_is_text_beside_a_value_of_two_lines() -> None:
    for value, kept in (('5" disk', '5" disk'), ('"x"y', "xy")):
        text = f'a,b,c\n{value},"two\nlines",3\n4,5,6\n'
        assert read(text) == ([[kept, "two\nlines", "3"], ["4", "5", "6"]], [])


def test_a_name_of_two_lines_in_the_header() -> None:
    text = b'a,"note\n(free)",c\r\n1,2,3\n'
    blocks = list(read_csv(io.BytesIO(text), "a.csv"))
    assert [row for block in blocks for row in block.rows.to_pylist()] == [
        {"a": b"1", "note\n(free)": b"2", "c": b"3"}
    ]


def test_an_open_quote_in_the_last_line_and_without_its_end() -> None:
    found, broken = read(",".join(NAMES) + '\nr0,a,b,c,d\nr1,a,b,c,"d')
    assert [row[0] for row in found] == ["r0"]
    assert broken == [BrokenRow(1, OPEN_QUOTE, None, 'r1,a,b,c,"d')]


def test_bytes_that_are_no_text_cost_nothing_else() -> None:
    header = (",".join(NAMES) + "\n").encode()
    text = header + b'r0,\xff,b,c,d\nr1,\xff\nr2,"\xff,b,c,d\nr3,a,b,c,d\n'
    blocks = list(read_csv(io.BytesIO(text), "a.csv"))
    assert [row.row for block in blocks for row in block.broken] == [1, 2]
    assert [id_ for block in blocks for id_ in block.rows.column("id").to_pylist()] == [
        b"r0",
        b"r3",
    ]


def test_a_line_without_an_end_is_refused(block_bytes: int) -> None:
    if block_bytes < 1_000:
        text = ",".join(NAMES) + "\nr0,a,b,c,d\n" + "x" * 2_000
        with pytest.raises(InputError, match=r"a\.csv: the line behind row 0 is longer than"):
            read(text)


def test_damage_in_every_line_takes_no_longer(block_bytes: int) -> None:
    """Each quote that is not closed is looked for up to the next one."""
    if block_bytes > 1_000:
        lines = [f'r{number},"a,b,"",d\n' for number in range(20_000)]
        found, broken = read(",".join(NAMES) + "\n" + "".join(lines))
        assert not found and len(broken) == 20_000


def test_columns_by_name() -> None:
    blocks: Iterator[csv_rows.CsvBlock] = read_csv(
        io.BytesIO(b'a,b,c\n1,"2\n2",3\n'), "a.csv", ["c", "b"]
    )
    assert [row for block in blocks for row in block.rows.to_pylist()] == [
        {"c": b"3", "b": b"2\n2"}
    ]
