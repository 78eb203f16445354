"""A dataset beside a log of requests: the same rows have not drifted, new values are named, and
what no request carries is not compared.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 - must come before TensorFlow
from configs import Experiment, InputError
from configs.digests.tfrecords import framed
from operations.drift.__main__ import CROSSED, main
from operations.drift.compare import compare
from preprocessing.logs.schema import served_columns
from serving.selfcheck import log_rows
from serving.wire.messages import DataType, PredictionLog, PredictRequest
from serving.wire.tensor_protos import encode
from tests.conftest import QUICKSTART, SMALL

TYPES = {
    "string": DataType.DT_STRING,
    "strings": DataType.DT_STRING,
    "number": DataType.DT_FLOAT,
    "timestamp": DataType.DT_INT64,
}
ROWS_OF_A_REQUEST = 10


def tensor(values: list[Any], kind: str) -> Any:
    """A column of a request, missing values as a client sends them."""
    if kind == "strings":
        longest = max(len(value or []) for value in values)
        cells = [[*(text.encode() for text in value or [])] for value in values]
        values = [cell + [b""] * (longest - len(cell)) for cell in cells]
    elif kind == "string":
        values = [(value or "").encode() for value in values]
    elif kind == "number":
        values = [np.nan if value is None else value for value in values]
    array = np.array(values, object if TYPES[kind] == DataType.DT_STRING else None)
    return encode(array, TYPES[kind])


def write_log(
    path: Path,
    experiment: Experiment,
    rows: list[dict[str, Any]],
    model: str = "shop",
    rate: float = 1.0,
) -> Path:
    """Rows, ten a request, as a server logs them at a sampling rate."""
    kinds = {column.name: column.kind for column in served_columns(experiment)}
    records = []
    for start in range(0, len(rows), ROWS_OF_A_REQUEST):
        some = rows[start : start + ROWS_OF_A_REQUEST]
        inputs = {name: tensor([row[name] for row in some], kind) for name, kind in kinds.items()}
        request = PredictRequest(model_spec={"name": model}, inputs=inputs)
        sampled = {"sampling_config": {"sampling_rate": rate}}
        log = PredictionLog(log_metadata=sampled, predict_log={"request": request})
        records.append(log.SerializeToString())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(map(framed, records)))
    return path


@pytest.fixture(scope="module")
def rows(experiment: Experiment, logs: Path) -> list[dict[str, Any]]:
    """The rows of the newest days."""
    return log_rows(experiment, str(logs / "*.parquet"), 4_000).to_pylist()


def test_requests_of_the_same_days_have_not_drifted_from_their_rows(
    experiment: Experiment, dataset_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    test = experiment.splits["test"]
    days = [row for row in rows if test.start.timestamp() <= row["timestamp"]]
    assert len(days) > 1_000
    log = write_log(tmp_path / "log", experiment, days)
    result = compare(experiment, dataset_dir, log, split="test")
    assert result.other.kind == "requests" and result.other.rows == len(days)
    assert not result.drifted, result.lines
    assert set(result.not_compared) == {"position"}
    found = {one.feature: one for one in result.features}
    assert found["device"].missing.first == pytest.approx(found["device"].missing.other, abs=0.02)
    mean = found["delivery_minutes"].mean
    assert mean and mean.other == pytest.approx(
        float(np.mean([row["delivery_minutes"] for row in days])), rel=1e-3
    )


def test_what_changed_in_requests_is_named(
    experiment: Experiment,
    dataset_dir: Path,
    rows: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = [
        {**row, "delivery_minutes": 0.0, "region": "r9" if place % 5 == 0 else row["region"]}
        for place, row in enumerate(rows)
    ]
    folder = tmp_path / "requests"
    write_log(folder / "one.tfrecord", experiment, changed[:2_000])
    write_log(folder / "two.tfrecord", experiment, changed[2_000:])
    page = tmp_path / "page.html"
    sets = [word for setting in SMALL for word in ("--set", setting)]
    flags = ["--config", str(QUICKSTART), *sets, "--html", str(page), "--split", "test"]
    with pytest.raises(SystemExit) as ended:
        main([str(dataset_dir), str(folder), *flags, "--json"])
    assert ended.value.code == CROSSED == 3
    result = json.loads(capsys.readouterr().out)
    assert result["drifted"] and result["features"][0]["feature"] == "delivery_minutes"
    region = next(one for one in result["features"] if one["feature"] == "region")
    assert region["values"][0]["value"] == "r9"
    assert region["values"][0]["other"] == pytest.approx(0.2)
    shown = page.read_text()
    assert "delivery_minutes: distance" in shown and "&#x27;r9&#x27; has 20.0%" in shown
    with pytest.raises(SystemExit) as ended:
        main([str(dataset_dir), str(folder), *flags])
    text = capsys.readouterr().out
    assert "drift: delivery_minutes: distance" in text and "log of requests" in text


def test_a_log_is_thinned_evenly(
    experiment: Experiment, dataset_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    few = experiment.model_copy(
        update={"drift": experiment.drift.model_copy(update={"rows": 1_000})}
    )
    marked = [{**row, "delivery_minutes": 30 + place / 200} for place, row in enumerate(rows)]
    result = compare(few, dataset_dir, write_log(tmp_path / "log", few, marked))
    assert 500 <= result.other.rows <= 1_000
    found = next(one for one in result.features if one.feature == "delivery_minutes")
    assert found.mean and found.mean.other == pytest.approx(40.0, abs=2.5)  # 4 sd


def test_requests_that_are_logged_more_often_count_as_others_do(
    experiment: Experiment, dataset_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    """All of the slow ones are logged, and of the others one in ten."""
    slow = [{**row, "region": "r9"} for row in rows]
    write_log(tmp_path / "log" / "slow", experiment, slow, rate=1.0)
    write_log(tmp_path / "log" / "sample", experiment, rows, rate=0.1)
    result = compare(experiment, dataset_dir, tmp_path / "log", split="test")
    region = next(one for one in result.features if one.feature == "region")
    assert region.values[0].value == "r9"
    assert region.values[0].other == pytest.approx(1 / 11, abs=0.035)


def test_logs_that_cannot_be_compared(
    experiment: Experiment, dataset_dir: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    log = write_log(tmp_path / "logs" / "one", experiment, rows[:200])
    with pytest.raises(InputError, match="no request for model other; it has some for shop"):
        compare(experiment, dataset_dir, log, model="other")
    write_log(tmp_path / "logs" / "two", experiment, rows[:200], model="other")
    with pytest.raises(InputError, match="requests for several models, other, shop; name one"):
        compare(experiment, dataset_dir, log.parent)
    assert compare(experiment, dataset_dir, log.parent, model="shop").other.rows == 200
    log.write_bytes(framed(b"\xff\xff"))
    with pytest.raises(InputError, match="one: record 1: not a PredictionLog"):
        compare(experiment, dataset_dir, log)
    with pytest.raises(InputError, match="expected a dataset"):
        text = tmp_path / "rows.jsonl"
        text.write_text("{}")
        sets = [word for setting in SMALL for word in ("--set", setting)]
        main([str(dataset_dir), str(text), "--config", str(QUICKSTART), *sets])
