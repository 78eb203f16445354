"""Vocabularies counted in partitions: the dataset is the same however many there are, and however
often a worker puts down what it has counted.
"""

from pathlib import Path

import pytest

from preprocessing.beam import vocabularies
from preprocessing.features import partitioned_counts
from tests.preprocessing.shop_logs import build, digests


def test_many_partitions_and_many_parts_give_the_same_files(
    tmp_path: Path, dataset: Path, parquet_logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vocabularies.partitions_for(1000) == 1
    monkeypatch.setattr(vocabularies, "_ROWS_OF_A_PARTITION", 100)
    monkeypatch.setattr(vocabularies, "_VALUES_IN_MEMORY", 50)
    monkeypatch.setattr(vocabularies, "BLOCK", 3)
    assert vocabularies.partitions_for(1000) == 11
    parts: list[tuple[int, vocabularies.PartOfCounts]] = []
    written = vocabularies.CountValues._write

    def write(step: vocabularies.CountValues) -> object:
        found = list(written(step))
        parts.extend(found)
        return iter(found)

    monkeypatch.setattr(vocabularies.CountValues, "_write", write)
    build(parquet_logs, tmp_path / "data")
    assert digests(tmp_path / "data") == digests(dataset)
    assert len({partition for partition, _ in parts}) == 11
    assert len({path for _, (path, _, _) in parts}) > 1  # all rows are one bundle


def test_blocks_are_small_beside_what_a_worker_may_hold() -> None:
    """A worker merges a block of every partition at a time."""
    most = vocabularies._MOST_PARTITIONS * partitioned_counts.BLOCK
    assert most <= 2 * vocabularies._VALUES_IN_MEMORY
