"""The shop's logs, and the dataset made of them. Read them; copy what you change."""

from pathlib import Path

import pytest

from tests.preprocessing.shop_logs import ROWS, Row, build, make_rows, write_parquet


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    return [*make_rows(ROWS, seed=0), *make_rows(ROWS, seed=1)]


@pytest.fixture(scope="session")
def parquet_logs(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Path:
    logs = tmp_path_factory.mktemp("parquet")
    write_parquet(logs / "first.parquet", rows[:ROWS])
    write_parquet(logs / "second.parquet", rows[ROWS:], row_group_size=170)
    return logs


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, parquet_logs: Path) -> Path:
    output = tmp_path_factory.mktemp("data") / "shop"
    build(parquet_logs, output)
    return output
