"""Looking for duplicates: keys travel in files, cut anywhere, and the first row of the logs
keeps its key.
"""

from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest

from preprocessing.beam import duplicates
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import read_piece
from preprocessing.validation.row_checks import validate
from preprocessing.validation.row_keys import row_keys
from tests.preprocessing.shop_logs import experiment, make_rows, write_json, write_parquet


@pytest.mark.parametrize("in_memory", [1 << 20, 150])
def test_every_row_after_the_first_of_its_key_is_found(
    tmp_path: Path, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_KEYS_IN_MEMORY", in_memory)
    rows = [{**row, "item": f"{row['item']}_{index}"} for index, row in enumerate(make_rows(250))]
    write_parquet(tmp_path / "logs" / "a.parquet", [*rows, rows[3], rows[120], rows[3]])
    write_parquet(tmp_path / "logs" / "b.parquet", [rows[7], *make_rows(20, seed=5)[:1], rows[200]])
    shop = experiment()
    (tmp_path / "keys").mkdir()
    step = duplicates.KeysOfRows(shop, str(tmp_path / "keys"))
    step.start_bundle()
    parts = []
    pieces = plan(find_sources(str(tmp_path / "logs"), shop.evaluation.truth), shop).pieces
    for piece in reversed(pieces):  # no runner promises an order
        for raw in read_piece(piece, shop):
            parts += step.process(validate(raw, shop))
    parts += [windowed.value for windowed in step.finish_bundle()]
    assert (len(list((tmp_path / "keys").iterdir())) > 1) == (in_memory == 150)
    found: dict[str, list[int]] = {}
    for partition, group in groupby(sorted(parts), key=lambda part: part[0]):
        for place, positions in duplicates.later_duplicates(
            (partition, [part for _, part in group])
        ):
            found.setdefault(place, []).extend(positions.tolist())
    expected = {"00000000-00000002": [50, 51, 52], "00000001-00000000": [0, 2]}
    assert {place: sorted(positions) for place, positions in found.items()} == expected


def test_rows_are_told_apart_at_full_precision(tmp_path: Path) -> None:
    shop = experiment("data.row_key=[user, time, price]")
    base = make_rows(1)[0] | {"price": 16_777_216.0}
    second = base["time"]
    rows = [
        base,
        base | {"time": second + 0.4},
        base | {"time": f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.4Z"},
        base | {"price": 16_777_217},  # float32 makes it the first row's
        base | {"price": "16777217"},
        base | {"user": "another"},
    ]
    write_json(tmp_path / "a.jsonl", rows)
    (piece,) = plan(find_sources(str(tmp_path / "a.jsonl"), shop.evaluation.truth), shop).pieces
    (raw,) = read_piece(piece, shop)
    a, b, c, d, e, f = row_keys(validate(raw, shop), shop).tolist()
    assert (b, d) == (c, e)
    assert len({a, b, d, f}) == 4
