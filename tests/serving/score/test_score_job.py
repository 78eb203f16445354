"""Archives have the scores that a server gives for the same rows; what cannot be scored is named;
an output is whole or not there.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import Experiment, InputError
from configs.digests.sealed_json import unsealed
from preprocessing import filesystem
from preprocessing.features.fitted import Fitted
from serving.client import Client
from serving.export.remote_models import upload_version
from serving.export.version_writer import export
from serving.score import score_job
from serving.score.archive_model import local_folder
from serving.score.score_result import RESULT, ScoreResult
from tests.preprocessing.shop_logs import digests
from tests.serving import jobs
from tests.serving.conftest import NAME, Peer, serving
from tests.serving.score.archives import (
    WRITERS,
    Row,
    make_rows,
    read_rejected,
    read_scores,
    score,
    write_json,
    write_parquet,
)
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

SENT = ("user", "clicks", "price", "time")


@pytest.fixture(scope="module")
def models(exported: dict[int, Path]) -> Path:
    """Base path of the tiny model, which says nothing but its signature."""
    return exported[10].parent


def answered(peer: Peer, rows: list[Row], domain: str, size: int) -> list[dict[str, Any]]:
    """What a client gets, ``size`` rows a request."""
    sent = [
        {name: row[name] for name in SENT} | ({"domain": row["asked"]} if row.get("own") else {})
        for row in rows
    ]
    with Client(peer.target, NAME, batch_size=size) as client:
        return client.predict(sent, domain)


@pytest.mark.parametrize("size", [7, 60])
@pytest.mark.parametrize("domain", ["auto", "scene=home"])
@pytest.mark.parametrize("form", WRITERS)
def test_scores_are_the_servers_bit_by_bit(
    form: str, domain: str, size: int, models: Path, peer: Peer, tmp_path: Path
) -> None:
    rows = make_rows()
    archive = WRITERS[form](tmp_path / f"archive.{form}", rows)
    result = score(models, archive, tmp_path / "out", domain=domain, batch_rows=size)
    received, sent = read_scores(tmp_path / "out", result), answered(peer, rows, domain, size)
    assert received.schema.names == ["id", "ctr", "served_domain", "version"]
    assert received.schema.field("ctr").type == pa.float32()
    for name in ("ctr", "served_domain", "version"):
        assert received[name].to_pylist() == [answer[name] for answer in sent]
    ids = [row["id"] if form == "parquet" else str(row["id"]) for row in rows]
    assert received["id"].to_pylist() == ids


def test_a_column_may_name_the_domain_of_each_row(models: Path, peer: Peer, tmp_path: Path) -> None:
    rows = make_rows()
    archive = write_parquet(tmp_path / "a.parquet", rows)
    result = score(
        models, archive, tmp_path / "out", domain="all", domain_column="asked", batch_rows=9
    )
    with_own = [row | {"own": True} for row in rows]
    sent = answered(peer, with_own, "all", 9)
    received = read_scores(tmp_path / "out", result)
    assert received["ctr"].to_pylist() == [answer["ctr"] for answer in sent]
    assert received["served_domain"].to_pylist() == [answer["served_domain"] for answer in sent]
    served = received["served_domain"].to_pylist()
    assert len(result.domains) == 3
    assert result.domains == {name: served.count(name) for name in sorted(set(served))}


def test_the_marker_lists_every_file_and_says_what_was_done(models: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    for seed in range(3):
        write_parquet(logs / f"{seed}.parquet", make_rows(30, seed))
    result = score(models, logs, tmp_path / "out", keep=("request", "clicks"))
    content = json.loads((tmp_path / "out" / RESULT).read_text())
    assert unsealed(content, "", "") == json.loads(result.model_dump_json())
    assert ScoreResult.model_validate(unsealed(content, "", "")) == result
    found = digests(tmp_path / "out")
    del found[RESULT]
    assert {file.path: file.sha256 for file in result.files} == found
    assert (result.rows, result.scored, result.rejected, result.version) == (90, 90, {}, 10)
    assert [file.rows for file in result.files] == [30, 30, 30]
    assert result.columns == ("request", "clicks", "ctr", "served_domain", "version")
    assert read_scores(tmp_path / "out", result)["clicks"].type == pa.list_(pa.string())
    assert score(models, logs, tmp_path / "old", version=9).version == 9


def test_what_logs_would_refuse_is_rejected_with_its_reason(models: Path, tmp_path: Path) -> None:
    rows = make_rows(20)
    rows[3]["price"], rows[4]["time"], rows[9]["clicks"] = "cheap", None, "u1"
    rows[11]["id"] = ["not", "text"]
    archive = write_json(tmp_path / "a.jsonl", rows)
    result = score(models, archive, tmp_path / "out", max_rejected=0.2)
    assert (result.rows, result.scored) == (20, 16)
    assert result.rejected == {
        "clicks: expected a list": 1,
        "id: expected text": 1,
        "price: expected a number": 1,
        "time: missing": 1,
    }
    rejected = read_rejected(tmp_path / "out", result)
    assert [line["row"] for line in rejected] == [3, 4, 9, 11]
    assert rejected[0]["reason"] == "price: expected a number, received 'cheap'"
    assert rejected[0]["values"] == {name: rows[3][name] for name in ("id", *SENT)}
    left = [str(row["id"]) for row in rows if row["id"] not in (3, 4, 9, ["not", "text"])]
    assert read_scores(tmp_path / "out", result)["id"].to_pylist() == left


def test_too_many_rejected_rows_leave_no_output(models: Path, tmp_path: Path) -> None:
    rows = make_rows(20)
    rows[3]["time"] = rows[5]["time"] = None
    archive = write_json(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=r"2 of 20 rows were rejected, 10\.0%; --max-rejected"):
        score(models, archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert score(models, archive, tmp_path / "out", max_rejected=0.1).scored == 18


def test_the_same_archive_gives_the_same_files_in_parts_and_in_processes(
    models: Path, tmp_path: Path
) -> None:
    archive = write_parquet(tmp_path / "a.parquet", make_rows(200), row_group_size=50)
    whole = score(models, archive, tmp_path / "one")
    processes = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    flags = ("--runner=FnApiRunner", *processes)
    again = score(models, archive, tmp_path / "two", beam_flags=flags)
    assert whole.files == again.files


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("moves", [0, 1])
def test_a_run_that_was_killed_is_run_again_as_if_nothing_had_happened(
    moves: int, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its files are moved into place, and between them and the marker."""
    archive = write_parquet(tmp_path / "a.parquet", make_rows())
    undisturbed = score(models, archive, tmp_path / "undisturbed")
    move, made = score_job.filesystem.move, iter(range(2))

    def die(pairs: list[tuple[str, str]]) -> None:
        if next(made) == moves:
            raise _KilledError
        move(pairs)

    with monkeypatch.context() as killed:
        killed.setattr(score_job.filesystem, "move", die)
        with pytest.raises(_KilledError):
            score(models, archive, tmp_path / "killed")
    assert not (tmp_path / "killed" / RESULT).exists()
    again = score(models, archive, tmp_path / "killed")
    assert again.model_copy(update={"seconds": undisturbed.seconds}) == undisturbed
    assert sorted(digests(tmp_path / "killed")) == sorted(digests(tmp_path / "undisturbed"))


@pytest.fixture(scope="module")
def loud_models(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base path of an exported model with kernels for a few domains."""
    folder = tmp_path_factory.mktemp("loud")
    fitted: Fitted = jobs.made_up(experiment)
    job: Job = jobs.loud_job(folder / "job", experiment, fitted)
    shape = jobs.kernel_shape(job)
    for seed, domain in enumerate(("all", "scene=home", "region=r1,scene=home")):
        jobs.add_kernel(KernelStore(job), domain, shape, seed)
    export(job, folder / "models")
    return folder / "models"


@pytest.fixture(scope="module")
def day(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of the simulated logs, without their labels."""
    path = tmp_path_factory.mktemp("day") / "day.parquet"
    table = pq.read_table(sorted(logs.glob("*.parquet"))[0]).slice(0, 500)
    pq.write_table(table.drop_columns(["click", "conversion"]), path)
    return path


@pytest.fixture(scope="module")
def loud_peer(loud_models: Path) -> Iterator[Peer]:
    with serving(loud_models) as running:
        yield running


@pytest.mark.parametrize("domain", ["auto", "scene=home", "region=r1,scene=home", "backbone"])
def test_an_exported_models_scores_are_the_servers_bit_by_bit(
    domain: str, loud_models: Path, loud_peer: Peer, day: Path, tmp_path: Path
) -> None:
    result = score(loud_models, day, tmp_path / "out", domain=domain, keep=None, batch_rows=128)
    received = read_scores(tmp_path / "out", result)
    rows = pq.read_table(day).to_pylist()
    with Client(loud_peer.target, NAME, batch_size=128) as client:
        sent = client.predict(rows, domain, ignore_unknown=True)
    assert result.columns[:2] == ("impression_id", "request_id")
    assert received["impression_id"].to_pylist() == [row["impression_id"] for row in rows]
    for name in ("ctr", "cvr", "ctcvr", "score"):
        np.testing.assert_array_equal(
            received[name].to_numpy(), np.array([row[name] for row in sent], np.float32)
        )
    assert received["served_domain"].to_pylist() == [row["served_domain"] for row in sent]
    assert len(result.domains) == (3 if domain == "auto" else 1)


def test_batches_of_other_sizes_differ_in_the_last_bits_at_most(
    loud_models: Path, day: Path, tmp_path: Path
) -> None:
    found = [
        read_scores(path, score(loud_models, day, path, keep=(), batch_rows=size))["ctr"].to_numpy()
        for size in (1_000, 33)
        for path in (tmp_path / str(size),)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_a_domain_that_no_model_knows_is_refused_with_the_nearest(
    loud_models: Path, day: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="knows no domain 'scene=hom'; did you mean 'scene=home'"):
        score(loud_models, day, tmp_path / "out", domain="scene=hom")
    named = {"domain": "scene=home,region=r1", "keep": ()}
    turned = score(loud_models, day, tmp_path / "out", **named)
    assert set(turned.domains) == {"region=r1,scene=home"}


def test_a_damaged_version_scores_nothing(loud_models: Path, day: Path, tmp_path: Path) -> None:
    models = shutil.copytree(loud_models, tmp_path / "models")
    path = models / "1" / "assets.extra" / "logs.json"
    path.write_text(path.read_text().replace("request_id", "request_ID"))
    with pytest.raises(InputError, match=r"1: cannot be loaded: .*logs\.json: damaged"):
        score(models, day, tmp_path / "out")


def test_a_copy_of_a_remote_version_is_the_version_or_an_error(
    loud_models: Path, store: str, tmp_path: Path
) -> None:
    remote = f"{store}/{tmp_path.name}/model/1"
    upload_version(loud_models / "1", remote.removesuffix("/1"))
    assert digests(local_folder(remote)) == digests(loud_models / "1")
    weights = next(name for name in filesystem.list_files(remote) if ".data-" in name)
    content = bytearray(filesystem.read(filesystem.join(remote, weights)))
    content[-1] ^= 1
    filesystem.write(filesystem.join(remote, weights), bytes(content))
    with pytest.raises(InputError, match=rf"{weights}: damaged"):
        local_folder(remote)
