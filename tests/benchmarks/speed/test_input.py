"""The section of the input: its figures are there and agree with each other, and a second run
finds the dataset.
"""

from pathlib import Path

import pytest

from benchmarks.speed import input as section
from benchmarks.speed.options import Options


def test_it_measures_reading_and_the_steps_on_top(tmp_path: Path) -> None:
    options = Options(tmp_path / "no-logs", tmp_path, quick=True)
    figures = {name: float(value) for name, value in section.measure(options).items()}
    assert all(value > 0 for value in figures.values())
    assert figures["disk_over_cached_ratio"] == pytest.approx(
        figures["epoch_from_disk_seconds"] / figures["epoch_cached_seconds"]
    )
    assert figures["shuffled_to_bound_ratio"] == pytest.approx(
        figures["shuffled_rows_per_s"] / figures["copy_bound_rows_per_s"]
    )
    assert figures["steps"] == 5
    written = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
    assert section.measure(options)["rows"] == figures["rows"]
    assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == written
