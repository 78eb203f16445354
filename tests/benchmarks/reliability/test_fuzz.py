"""What the fuzz section relies on: its cases are what they say they are, and what goes wrong is
counted.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reliability import odd_logs, read_values, yaml_scalars
from benchmarks.reliability.malformed import PREDICT, Malformed
from benchmarks.reliability.malformed_rows import NAME, MalformedRows
from benchmarks.reliability.odd_log_kinds import KINDS, Case
from benchmarks.reliability.peers import Peer, Served
from benchmarks.reliability.read_scores import ScoredRows
from benchmarks.reliability.read_values import Readings, draws, good_row, sound_rows
from configs import Experiment
from configs.prediction.score import SCORE
from preprocessing.logs.schema import served_columns
from serving.client import Client
from serving.server.batching.batch_scheduler import Batcher
from serving.server.batching.batching_parameters import Parameters
from serving.server.model_config import ModelConfig
from serving.server.rest.rest_api import http_server
from serving.server.servable_loader import load
from tests.serving.conftest import Peer as Server


@pytest.fixture
def readings(tmp_path: Path) -> Readings:
    return Readings.of(tmp_path)


def test_values_are_drawn_from_the_seed_and_read_alike(readings: Readings, logs: Path) -> None:
    drawn = draws(read_values.logs(), 40, 1)
    assert (
        repr(drawn)
        == repr(draws(read_values.logs(), 40, 1))
        != repr(draws(read_values.logs(), 40, 2))
    )
    for kind, values in drawn:
        readings.read(good_row(logs), kind, values)
    assert readings.found.keys() == {"read_values"}


def test_another_reading_and_a_traceback_are_counted(
    readings: Readings, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = good_row(logs)
    with monkeypatch.context() as patch:
        patch.setitem(read_values.READERS, "number", lambda value: value and 2.0)
        readings.read(base, "number", [1.5] * 3)
    assert readings.found["other_readings"] == 9  # of three rows in three formats
    with monkeypatch.context() as patch:
        patch.setattr(read_values, "validate", lambda *_: 1 / 0)
        readings.read(base, "number", [1.5] * 3)
    assert readings.found["tracebacks"] == 3


def test_yaml_scalars_are_read_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    assert yaml_scalars.measure(60, 3).keys() <= {"yaml_scalars", "yaml_scalars_refused"}
    monkeypatch.setattr(yaml_scalars, "_received", lambda scalar: {"010": "8"}.get(scalar, scalar))
    monkeypatch.setattr(yaml_scalars, "draws", lambda *_: ["010", "12:30"])
    assert yaml_scalars.measure(2, 3)["other_readings"] == 1


def test_odd_logs_are_drawn_from_the_seed_and_say_how_they_end(logs: Path) -> None:
    base = odd_logs.good_rows(logs)
    for kind in KINDS:
        cases = []
        for seed in (1, 1):
            cases.append(Case([dict(row) for row in base]))
            kind(random.Random(seed), cases[-1])  # noqa: S311 - no secret
        assert repr(cases[0]) == repr(cases[1])
        assert cases[0] != Case(base), kind.__name__
        assert (cases[0].ends == "refused") == bool(cases[0].says)


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (2, "error: x: received a line of blanks\n", None),
        (2, "error: something else\n", "wrong_ends"),
        (0, "", "wrong_ends"),
        (1, "Traceback (most recent call last):\n", "tracebacks"),
        (-9, "", "tracebacks"),
    ],
)
def test_how_a_command_ends_is_judged(
    code: int,
    said: str,
    expected: str | None,
    tmp_path: Path,
    logs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(odd_logs, "preprocess", lambda *_: (code, said))
    case = Case(odd_logs.good_rows(logs)[:3], before=" \n", formats=("csv",))
    case.refuse("received a line of blanks")
    found = odd_logs.run_case("blanks", case, tmp_path)
    wrong = {name for name in ("wrong_ends", "tracebacks", "changed_rows") if found[name]}
    assert wrong == ({expected} if expected else set())


@contextmanager
def served(models: Path, batched: bool) -> Iterator[tuple[Server, int]]:
    batcher = Batcher(Parameters()) if batched else None
    server = Server(ModelConfig(NAME, models), load=load, batcher=batcher)
    try:
        with http_server("127.0.0.1", 0, server.service, {}) as port:
            yield server, port
    finally:
        server.close()


@pytest.mark.parametrize("batched", [False, True])
def test_rows_that_do_not_belong_together_are_answered_as_they_should_be(
    batched: bool, models_dir: Path, experiment: Experiment, logs: Path
) -> None:
    columns = served_columns(experiment)
    rows = MalformedRows(columns, sound_rows(logs, columns), batched=batched)
    with served(models_dir, batched) as (server, port):
        model = Served(models_dir, NAME, rows.good(), rows.good_body(), 1e-6)
        peer = Peer(server.target, port, model)
        good = peer.good_answers()
        for number, sent in enumerate(rows.draw(7, 180)):
            if sent.kind == "rows_too_many_rows":
                continue  # this server takes more
            counted = peer.judge(good, number, sent)
            assert len(counted) == 1, (sent, counted)


def test_another_answer_than_a_likes_is_counted(
    models_dir: Path, experiment: Experiment, logs: Path
) -> None:
    columns = served_columns(experiment)
    rows = MalformedRows(columns, sound_rows(logs, columns), batched=False)
    others = [row | {"rating": -9.0} for row in sound_rows(logs, columns)]
    other = MalformedRows(columns, others, batched=False).good()
    with served(models_dir, False) as (server, port):
        peer = Peer(server.target, port, Served(models_dir, NAME, rows.good(), rows.good_body()))
        good = peer.good_answers()
        sent = Malformed("good", PREDICT, rows.good(), frozenset({"OK"}), rows.good())
        assert peer.judge(good, 1, sent) == ["code_ok"]
        counted = peer.judge(good, 1, replace(sent, like=other))
        assert counted == ["code_ok", "changed_good_answers"]


def test_odd_values_get_one_score_or_are_refused(
    models_dir: Path, experiment: Experiment, logs: Path
) -> None:
    odd: dict[str, list[Any]] = {
        "device": ["7", 7, 7.0, True, 1 << 60, float("nan"), None, "x" * 5_000],
        "history": [["s1", None], [1, 2.5], [], "s1", [[1]], ["s1"] * 40],
        "rating": ["4.5", 4, 4.5, float("nan"), float("inf"), "NaN", "four"],
        "timestamp": ["2025-03-18T12:00:00Z", 1_742_299_200_000, 1_742_299_200.5, None],
    }
    with (
        served(models_dir, False) as (server, port),
        Client(server.target, NAME) as client,
    ):
        rows = ScoredRows(client, port, NAME, experiment)
        for name, values in odd.items():
            for value in values:
                rows.send(good_row(logs) | {name: value}, name)
        assert rows.found == {"sent_values": sum(map(len, odd.values()))}
        assert len(rows.sound) > 10
        rows.compare(
            lambda batch: {
                name: [0.5] * batch.num_rows for name in (*experiment.tasks.targets, SCORE)
            }
        )
        assert rows.found["other_scores"] > 0
