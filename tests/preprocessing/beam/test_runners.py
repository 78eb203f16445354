"""Runners: which ones are refused, and that one behind a job service gives the local dataset."""

from collections import Counter
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from configs import InputError
from preprocessing.beam import counters, dofns
from preprocessing.beam.runners import check_runner
from preprocessing.dataset.manifest import Manifest
from tests.preprocessing.shop_logs import IN_PROCESS, build, digests, make_rows, write_json

PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")
REMOTE = {"--input": "gs://bucket/logs/*.parquet", "--output": "hdfs://name/data"}


def check(*flags: str, shared: bool = False, **paths: str) -> None:
    named = {f"--{name}": path for name, path in paths.items()}
    check_runner(PipelineOptions(list(flags)), {**REMOTE, "--transform": None, **named}, shared)


@pytest.mark.parametrize(
    "name", ["DaskRunner", "daskrunner", "dask", "apache_beam.runners.dask.dask_runner.DaskRunner"]
)
def test_dask_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(InputError, match=r"end of a bundle and mixes up the outputs.*; expected"):
        check(f"--runner={name}", shared=True)


@pytest.mark.parametrize(
    "flags",
    [
        ["--runner=DataflowRunner"],
        ["--runner=flink"],
        ["--runner=SparkRunner", "--environment_type=DOCKER"],
        ["--runner=PortableRunner", "--job_endpoint=h:2", "--environment_type=EXTERNAL"],
    ],
)
def test_local_paths_are_refused_where_workers_are_elsewhere(flags: list[str]) -> None:
    check(*flags)
    for name in ("input", "output", "transform"):
        with pytest.raises(InputError, match=rf"--{name} /logs: .*--shared_filesystem"):
            check(*flags, **{name: "/logs"})
        check(*flags, shared=True, **{name: "/logs"})
        with pytest.raises(InputError, match=rf"--{name} logs: .*expected an absolute path"):
            check(*flags, shared=True, **{name: "logs"})


@pytest.mark.parametrize(
    "flags", [[], ["--runner=FnApiRunner"], ["--runner=DirectRunner"], ["--runner=prism"], PORTABLE]
)
def test_local_paths_are_read_where_steps_run_on_this_machine(flags: list[str]) -> None:
    check(*flags, input="logs", output="data")


def test_a_job_service_gives_the_local_dataset_and_counters_are_the_manifest_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(240)
    for row in rows[::50]:
        row["price"] = "cheap"
    write_json(tmp_path / "logs" / "day.jsonl", rows)
    passes: list[dict[str, int]] = []
    found = counters.counted
    monkeypatch.setattr(
        counters, "counted", lambda result: passes.append(found(result)) or passes[-1]
    )
    for place, flags in (("local", IN_PROCESS), ("portable", PORTABLE)):
        passes.clear()
        manifest = build(tmp_path / "logs", tmp_path / place, "data.row_key=[]", flags=flags)
        assert len(passes) == 2
        assert passes[0].items() <= passes[1].items()
        assert passes[1] == of_manifest(manifest) | {"rows": 240}
    assert digests(tmp_path / "local") == digests(tmp_path / "portable")
    assert "warning" not in capsys.readouterr().err


def test_a_job_service_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    write_json(tmp_path / "logs" / "day.jsonl", make_rows(20))
    flags = ("--job_endpoint=localhost:1", "--job_server_timeout=1", "--environment_type=LOOPBACK")
    with pytest.raises(InputError, match=r"--job_endpoint localhost:1: .* does not answer; "):
        build(tmp_path / "logs", tmp_path / "data", flags=("--runner=PortableRunner", *flags))


def test_what_a_user_can_cause_in_a_step_behind_a_job_service_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, checked: object) -> None:
        raise InputError("features.item: no such vectors")

    monkeypatch.setattr(dofns.CountRows, "process", refuse)
    write_json(tmp_path / "logs" / "day.jsonl", make_rows(20))
    with pytest.raises(InputError, match=r"^features.item: no such vectors$"):
        build(tmp_path / "logs", tmp_path / "data", flags=PORTABLE)


def of_manifest(manifest: Manifest) -> dict[str, int]:
    """The counters that a manifest promises."""
    assert manifest.rejected and len(manifest.splits["pretrain"].domains) > 3
    counts: Counter[str] = Counter()
    for rule, rows in manifest.rejected.items():
        counts[f"rejected/{rule}"] = rows
    for name, split in manifest.splits.items():
        counts[f"written/{name}"] = split.rows
        for domain, found in split.domains.items():
            counts[f"written/{name}/{domain}"] = found.rows
    return dict(+counts)
