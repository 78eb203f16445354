"""The section of vocabularies: it counts what it says, in both passes."""

from pathlib import Path

from benchmarks.speed import distinct_values as section
from benchmarks.speed.options import Options


def test_every_item_is_distinct_and_one_user_has_most_rows(tmp_path: Path) -> None:
    figures = section.measure(Options(tmp_path / "no-logs", tmp_path, quick=True))
    numbers = {name: float(value) for name, value in figures.items()}
    assert all(value > 0 for value in numbers.values())
    learned = round(numbers["rows"] * 0.97)
    assert numbers["kept_items"] == learned + 2  # missing, out of vocabulary
    assert abs(numbers["kept_users"] - 0.1 * learned) < 0.01 * learned
    vocabulary = (tmp_path / "data" / "transform" / "user.txt").read_text().splitlines()
    assert vocabulary[0] == "user 0"
    assert vocabulary[1:] == sorted(vocabulary[1:])  # of users with one row
