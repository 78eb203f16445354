"""The speed section of serving measures what its figures are called; no figure's size is
asserted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import trainer  # noqa: F401 - before TensorFlow

# isort: split
from benchmarks.speed import serving as speed
from configs import Experiment, InputError
from preprocessing.logs.schema import served_columns
from serving.export.export_manifest import Record
from serving.selfcheck import log_rows
from tests.serving.conftest import NAME, serving
from trainer.job import Job

COUNTS = (1, 3)


@pytest.fixture(scope="module")
def models(
    experiment: Experiment, job_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, Path]:
    return speed.exported(Job(job_dir), experiment, COUNTS, tmp_path_factory.mktemp("speed"))


@pytest.fixture(scope="module")
def rows(experiment: Experiment, logs: Path) -> list[dict[str, Any]]:
    return speed.candidates(experiment, log_rows(experiment, str(logs / "*.parquet"), 20))


@pytest.fixture
def serialized(
    models: dict[int, Path], rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    monkeypatch.setattr(speed, "MODEL", NAME)  # what the servers of these tests call it
    return speed.requests(models[1], rows)


def test_the_bank_has_as_many_domains_as_it_says(models: dict[int, Path]) -> None:
    for count, base in models.items():
        record = Record.read(base / "1")
        assert record is not None
        assert len(record.kernels) == count
    assert list(models) == list(COUNTS)


def test_a_request_is_of_one_user_and_many_items(
    experiment: Experiment, rows: list[dict[str, Any]]
) -> None:
    for column in served_columns(experiment):
        values = {str(row[column.name]) for row in rows}
        assert (len(values) == 1) == (column.side != "item"), column.name


def test_a_session_is_measured_by_domains_signature_and_part(
    models: dict[int, Path], serialized: dict[str, bytes]
) -> None:
    figures = speed.in_session(models, serialized, 3)
    for name in (
        "session_1_domains",
        "session_3_domains",
        "session_3_domains_rank",
        "session_1_domains_auto",
    ):
        assert 0 < figures[f"{name}_p50_ms"] <= figures[f"{name}_p99_ms"]
    ratio = figures["session_3_domains_p50_ms"] / figures["session_1_domains_p50_ms"]
    assert figures["session_3_to_1_domains_ratio"] == pytest.approx(ratio)
    parts = figures["decode_ms"] + figures["encode_ms"]
    assert figures["decode_and_encode_to_model_ratio"] == pytest.approx(parts / figures["model_ms"])


def test_servers_are_loaded_in_turns(
    models: dict[int, Path], serialized: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over servers in this process: which one is started, and with which flags, is what the
    section decides.
    """
    started = []

    @contextmanager
    def here(base: Path, name: str, *flags: str) -> Iterator[tuple[str, int]]:
        started.append((base, *flags))
        with serving(base) as peer:
            yield peer.target, os.getpid()

    monkeypatch.setattr(speed, "server_process", here)
    monkeypatch.delenv(speed.BINARY, raising=False)
    figures = speed.over_grpc(models, serialized, 0.15)
    processes = len(os.sched_getaffinity(0))
    assert started[:2] == [(models[1],), (models[3],)]
    assert started[2:] == [
        (models[1], f"--processes={processes}"),
        (models[1], "--tensorflow-session-parallelism=0"),
    ]
    for name in (
        "server_1_domains",
        "server_3_domains",
        "server_rank",
        f"server_{processes}_processes",
    ):
        for threads in (1, 8):
            assert figures[f"{name}_{threads}_threads_requests_per_s"] > 0
    assert str(figures["tensorflow_serving"]).startswith("not measured")

    monkeypatch.setenv(speed.BINARY, "/bin/false")
    with pytest.raises(InputError, match="/bin/false ended with exit code 1"):
        speed.over_grpc(models, serialized, 0.15)


def test_refused_requests_are_no_figures(models: dict[int, Path]) -> None:
    with serving(models[1]) as peer, pytest.raises(InputError, match="INVALID_ARGUMENT"):
        speed.loaded({"broken": (peer.target, b"")}, 0.1)


def test_calls_take_turns() -> None:
    called: list[str] = []
    taken = speed.in_turns({name: lambda name=name: called.append(name) for name in "ab"}, 4)  # type: ignore[misc]
    assert called == ["a", "b"] * 7
    assert [len(values) for values in taken.values()] == [4, 4]
    assert min(map(min, taken.values())) >= 0
