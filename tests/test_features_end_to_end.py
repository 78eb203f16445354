"""Every kind of feature, from logs to scores: vectors, weights, several columns of one history,
expressions, encodings of numbers, crosses of hours and buckets.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
import math
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import ConfigError, InputError, load_experiment, parse_experiment
from preprocessing.features.output_spec import transform_outputs
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import read_piece
from preprocessing.logs.schema import served_columns
from preprocessing.validation.row_checks import validate
from serving.client import Client
from serving.selfcheck import TOLERANCE, check
from serving.wire.errors import StatusError
from serving.wire.signatures import EXAMPLES
from serving.wire.tf_examples import example
from tests.conftest import QUICKSTART, SMALL
from tests.serving.conftest import NAME, serving
from tests.serving.jobs import made_up
from tests.test_tasks_end_to_end import Run
from trainer.backbone.model import build_backbone
from trainer.explanation.inputs import Input, InputRows
from trainer.explanation.shown_values import ShownValues
from trainer.metrics.explanation_results import ReadInput

FEATURES = (
    "features.shop_vector={kind: vector, side: item, size: 4, dimension: 3}",
    "features.raw_vector={kind: vector, side: item, size: 4, column: shop_vector}",
    "features.tags={kind: list, side: item, vocabulary: {}, weights: tag_weights, max_length: 3}",
    "features.history.transformer={blocks: 1, heads: 2}",
    "features.cuisines={kind: list, side: user, shares: cuisine, along: history, max_length: 6}",
    "features.actions={kind: list, side: user, vocabulary: {}, along: history, max_length: 6}",
    "features.gaps={kind: number_list, side: user, along: history, log1p: true, max_length: 6}",
    "features.worth={kind: numeric, side: item, expression: rating / (1 + delivery_minutes)}",
    "features.pieces={kind: numeric, side: item, column: rating, encoding: piecewise_linear}",
    "features.pieces.bins=6",
    "features.waves={kind: numeric, side: item, column: rating, encoding: periodic, bins: 4}",
    "features.soft={kind: numeric, side: item, column: rating, encoding: soft_buckets, bins: 5}",
    "features.bucket={kind: numeric, side: item, column: rating, quantile_buckets: 5}",
    "features.when={kind: cross, side: context, columns: [time_hour, scene], hash_buckets: 50}",
    "features.whose={kind: cross, side: item, columns: [bucket, user_id], hash_buckets: 100}",
)
ADDED = ("shop_vector", "tags", "tag_weights", "cuisines", "actions", "gaps")


def richer(table: pa.Table, random: np.random.Generator) -> pa.Table:
    """Logs with lists of numbers; now and then one is missing, whole or in part."""

    def maybe(value: Any) -> Any:
        return None if random.random() < 0.1 else value

    added: dict[str, list[Any]] = {name: [] for name in ADDED}
    for history in table.column("history").to_pylist():
        vector = [maybe(float(number)) for number in random.normal(0.0, 0.1, 4).astype("f")]
        tags = [f"t{random.integers(6)}" for _ in range(random.integers(0, 5))]
        added["shop_vector"].append(maybe(vector))
        added["tags"].append(tags)
        added["tag_weights"].append([maybe(float(random.integers(3))) for _ in tags])
        added["cuisines"].append([f"c{random.integers(9)}" for _ in history or ()])
        added["actions"].append([["view", "order"][random.integers(2)] for _ in history or ()])
        added["gaps"].append([maybe(float(random.gamma(1.0, 9.0))) for _ in history or ()])
    lists = {"shop_vector": pa.list_(pa.float64()), "gaps": pa.list_(pa.float64())}
    lists["tag_weights"] = pa.list_(pa.float64())
    for name, values in added.items():
        table = table.append_column(name, pa.array(values, lists.get(name, pa.list_(pa.string()))))
    return table


@pytest.fixture(scope="module")
def rich_logs(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("rich"), np.random.default_rng(1)
    for path in sorted(logs.glob("*.parquet")):
        pq.write_table(richer(pq.read_table(path), random), folder / path.name)
    return folder


@pytest.fixture(scope="module")
def rich(rich_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("every"), rich_logs, *FEATURES)


def golden(run: Run) -> list[dict[str, Any]]:
    """The job's golden requests, with what is known at serving."""
    served = {column.name for column in served_columns(run.experiment)}
    rows = map(json.loads, run.job.golden.read_text().splitlines())
    return [{name: row[name] for name in row if name in served} for row in rows]


def test_served_is_what_was_trained(rich: Run) -> None:
    found = check(rich.experiment, rich.data, rich.job, rich.models, 300)
    worst = [of["largest_difference"] for of in (*found["domains"].values(), found["rank"])]
    assert max(worst) <= TOLERANCE


def test_every_feature_moves_a_score(rich: Run) -> None:
    full = [row for row in golden(rich) if len(row["history"]) > 1 and row["shop_vector"]]
    row = full[0] | {"tags": ["t1", "t2"], "tag_weights": [1.0, 2.0]}
    other: dict[str, Any] = {
        "shop_vector": [1.0, -1.0, 1.0, -1.0],
        "tags": ["t3", "t2"],
        "tag_weights": [2.0, 1.0],
        "cuisines": ["c1" if value != "c1" else "c2" for value in row["cuisines"]],
        "actions": ["view" if value != "view" else "order" for value in row["actions"]],
        "gaps": [900.0] * len(row["gaps"]),
        "delivery_minutes": row["delivery_minutes"] + 20.0,
        "history": row["history"][::-1],
    }
    with serving(rich.models) as peer, Client(peer.target, NAME) as client:
        asked = [row, *({**row, name: value} for name, value in other.items())]
        first, *answers = client.predict(asked, "all")
        for name, answer in zip(other, answers, strict=True):
            assert answer["ctr"] != first["ctr"], name


def test_lists_of_other_lengths_are_refused_as_in_logs(rich: Run) -> None:
    row = next(row for row in golden(rich) if len(row["history"]) > 1)
    with serving(rich.models) as peer, Client(peer.target, NAME) as client:
        for name in ("cuisines", "actions", "gaps", "tag_weights"):
            shorter = {**row, "tags": ["t1", "t2"], "tag_weights": [1.0, 2.0]}
            shorter[name] = shorter[name][1:]
            with pytest.raises(InputError, match=r"row 0: \w+ must have as many values as"):
                client.predict([shorter], "all")
        with pytest.raises(
            InputError, match="what the items share: gaps must have as many values as history"
        ):
            client.rank({**row, "gaps": []}, [row], "all", ignore_unknown=True)


def test_an_example_is_the_row(rich: Run) -> None:
    rows = golden(rich)
    with serving(rich.models) as peer, Client(peer.target, NAME) as client:
        expected = client.predict(rows, "all")
        examples = [{EXAMPLES: example(row)} for row in rows]
        received = client.ask(examples, "all", EXAMPLES).rows
    assert [row["ctr"] for row in received] == [row["ctr"] for row in expected]


def test_an_explanation_shows_the_numbers_of_lists(rich: Run) -> None:
    about = {"kind": "feature", "columns": ("gaps",), "parts": ("feature/gaps",)}
    gaps = Input("gaps", ReadInput(**about, read=True, shares=()))
    numbers = [0.5, 0.0, -1.25, 0.0, 0.0, 3.0]
    rows = InputRows({"feature/gaps": np.array([numbers], np.float32)}, {})
    shown = ShownValues(rich.experiment, rich.job.fitted(), {})
    assert shown.of(gaps, rows, 0) == numbers


ALIKE = {"tag_weights": ("tags",), "gaps": ("history", "cuisines", "actions")}
"""Lists of text that are as long as a list of numbers."""


@pytest.mark.parametrize("column", ["shop_vector", "tag_weights", "gaps"])
def test_hostile_numbers_are_refused_or_finite(rich: Run, column: str) -> None:
    row = golden(rich)[0]
    hostile: list[Any] = [
        [3.4e38] * 4,
        [-3.4e38, 1e-45, 0.0, None],
        [math.nan] * 4,
        [None] * 4,
        [],
        None,
        [1, 2.5, "3", True],
    ]
    refused: list[Any] = [[math.inf] * 4, ["x"] * 4, [1e39] * 4, [[1.0]] * 4, 1.0, {"a": 1}]
    with serving(rich.models) as peer, Client(peer.target, NAME) as client:
        for value in hostile:
            beside = dict.fromkeys(ALIKE.get(column, ()), ["c1"] * len(value or ()))
            (answer,) = client.predict([{**row, **beside, column: value}], "all")
            assert 0.0 <= answer["ctr"] <= 1.0
        for value in refused:
            with pytest.raises(InputError, match=f"{column} must be a list"):
                client.predict([{**row, column: value}], "all")


def test_a_vector_of_another_size_is_refused(rich: Run) -> None:
    row = golden(rich)[0]
    with serving(rich.models) as peer, Client(peer.target, NAME) as client:
        with pytest.raises(InputError, match="shop_vector must be a list of 4 numbers, or empty"):
            client.predict([{**row, "shop_vector": [1.0, 2.0]}], "all")
        short = example({**row, "shop_vector": [1.0, 2.0]})
        with pytest.raises(StatusError) as error:
            client.ask([{EXAMPLES: short}], "all", EXAMPLES)
    assert error.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_lists_that_do_not_belong_together_are_rejected(rich_logs: Path, tmp_path: Path) -> None:
    path = sorted(rich_logs.glob("*.parquet"))[0]
    rows = pq.read_table(path).to_pylist()[:5]
    rows[0]["gaps"] = [1.0, *rows[0]["gaps"]]
    rows[1]["tag_weights"] = [1.0, *rows[1]["tag_weights"]]
    rows[2]["shop_vector"] = [1.0]
    rows[3]["gaps"] = ["soon"] * len(rows[3]["gaps"]) or ["soon"]
    shown = [{**row, "timestamp": row["timestamp"].isoformat()} for row in rows]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in shown))
    experiment = load_experiment(QUICKSTART, [*SMALL, "evaluation.truth=~", *FEATURES])
    (piece,) = plan(find_sources(str(tmp_path / "*.jsonl"), None), experiment).pieces
    (raw,) = read_piece(piece, experiment)
    checked = validate(raw, experiment)
    assert [rejection.rule for rejection in checked.rejections] == [
        "gaps: expected as many values as 'history' has",
        "tag_weights: expected as many values as 'tags' has",
        "shop_vector: expected 4 numbers, or none",
        "gaps: expected a list of numbers",
    ]
    assert len(checked.index) == 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["features.x={kind: list, side: user, along: nothing}"], "'nothing' is no list"),
        (["features.x={kind: list, side: user, along: history, max_length: 3}"], "is as long"),
        (["features.x={kind: list, side: item, along: history}"], "is of its side"),
        (["features.x={kind: list, side: user, along: history, weights: w}"], "beside 'along'"),
        (["features.history.transformer={heads: 3}"], "expected a number that divides it"),
        (["features.x={kind: list, side: item, weights: x}"], "'x' holds the values"),
        (
            ["features.x={kind: numeric, side: item, expression: open(rating)}"],
            "cannot be computed",
        ),
        (["features.x={kind: numeric, side: item, expression: click + 1}"], "'click' is a label"),
        (["features.x={kind: numeric, side: item, expression: '1 + 2'}"], "reads no column"),
        (["features.x={kind: numeric, side: item, expression: scene + 1}"], "'scene' is read as"),
        (
            [
                "features.x={kind: vector, side: item, size: 2}",
                "features.y={kind: vector, side: item, size: 3, column: x}",
            ],
            "vectors of one size",
        ),
        (
            ["features.x={kind: vector, side: item, size: 2}", "data.topic_columns=[x]"],
            "no topic reads it",
        ),
        (
            ["features.x={kind: numeric, side: item, quantile_buckets: 3, encoding: periodic}"],
            "expected one of them",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_experiment(QUICKSTART, settings)


def test_numbers_say_how_numeric_features_enter() -> None:
    experiment = load_experiment(
        QUICKSTART,
        [
            "numbers={encoding: periodic, bins: 7}",
            "features.rating.encoding=value",
            "features.discount.quantile_buckets=4",
        ],
    )
    found = {name: experiment.features[name].number_encoding for name in experiment.features}
    assert found["user_orders"] == found["delivery_minutes"] == ("periodic", 7)
    assert found["rating"][0] == found["discount"][0] == "value"
    again = parse_experiment(experiment.model_dump_json())
    assert again.features == experiment.features
    with pytest.raises(ConfigError, match=r"numbers\.encoding: .*periodic"):
        load_experiment(QUICKSTART, ["numbers.encoding=wavy"])


def test_a_number_that_is_called_like_weights_is_a_feature_of_its_own() -> None:
    number = "features.history_weights={kind: numeric, side: user, encoding: value}"
    plain, more = load_experiment(QUICKSTART), load_experiment(QUICKSTART, [number])
    before, after = (
        build_backbone(experiment, transform_outputs(experiment, made_up(experiment)))
        for experiment in (plain, more)
    )
    assert after.output["input"].shape[-1] == before.output["input"].shape[-1] + 1


def test_settings_that_say_nothing_change_no_digest() -> None:
    plain = load_experiment(QUICKSTART)
    shown = plain.transform_settings["features"]
    assert set(shown["rating"]) == {"kind", "column", "log1p", "standardise", "quantile_buckets"}
    assert not {"weights", "along", "transformer"} & set(shown["history"])
    periodic = load_experiment(QUICKSTART, ["features.rating.encoding=periodic"])
    assert periodic.data_digest == plain.data_digest  # the backbone's alone
    pieces = load_experiment(QUICKSTART, ["features.rating.encoding=piecewise_linear"])
    assert pieces.data_digest != plain.data_digest
