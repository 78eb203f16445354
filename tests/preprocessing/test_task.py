"""The command: its arguments, its exit codes, its output, and that killing it does no harm."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from configs import InputError
from configs.cli import run
from preprocessing.beam.dataset_job import Job
from preprocessing.beam.flags import check_options
from preprocessing.beam.fork_pool import CAN_FORK
from preprocessing.task import main, parse_arguments
from tests.preprocessing.shop_logs import (
    CONFIG,
    digests,
    experiment,
    make_rows,
    write_json,
    write_parquet,
)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "shop.yaml"
    path.write_text(CONFIG)
    return str(path)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command that must exit with code 2."""
    with pytest.raises(SystemExit) as caught:
        run(lambda: main(list(arguments)))
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_unknown_options_are_refused_with_the_nearest_known_one(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--config", config, "--output", "out")
    assert "unknown option '--direct_num_worker'; did you mean '--direct_num_workers'?" in failure(
        capsys, *base, "--direct_num_worker=2"
    )
    assert "unknown option '--runer'; did you mean '--runner'?" in failure(
        capsys, *base, "--runer", "DataflowRunner"
    )
    assert "unknown option '--ouput'; did you mean '--output'?" in failure(
        capsys, "--config", config, "--ouput", "x"
    )
    assert "unknown option '--qqqq': neither this command's nor Beam's" in failure(
        capsys, *base, "--qqqq"
    )
    assert "unexpected argument 'stray'" in failure(capsys, *base, "stray")
    assert "argument --direct_num_workers: invalid int value: 'two'" in failure(
        capsys, *base, "--direct_num_workers=two"
    )
    assert "argument --direct_num_workers: expected 0 (one for each core) or more" in failure(
        capsys, *base, "--direct_num_workers=-1"
    )
    assert "the following arguments are required: --config, --output" in failure(capsys)


def test_mistakes_of_input_are_one_line(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    assert "no logs: expected --input or the config's data.input" in failure(
        capsys, "--config", config, "--output", output
    )
    assert "nowhere/*.csv: no file matches" in failure(
        capsys, "--config", config, "--output", output, "--input", f"{tmp_path}/nowhere/*.csv"
    )
    assert "unknown key 'dta'; did you mean 'data'?" in failure(
        capsys, "--config", config, "--output", output, "--set", "dta.user=x"
    )
    assert "--transform is empty; expected a folder, '.' for the current one" in failure(
        capsys, "--config", config, "--output", output, "--input", config, "--transform="
    )
    assert not Path(output).exists()


def test_beam_options_pass_through_and_the_local_runner_is_named() -> None:
    base = ["--config", "c", "--output", "o"]
    ours, flags = parse_arguments(base)
    assert (ours.config, ours.output, ours.input) == ("c", "o", None)
    mode = "multi_processing" if CAN_FORK else "multi_threading"
    assert flags[:2] == ["--runner=FnApiRunner", f"--direct_running_mode={mode}"]
    cloud = [
        "--runner",
        "DataflowRunner",
        "--project=p",
        "--temp_location",
        "gs://b/t",
        "--setup_file",
        "elsewhere/setup.py",
        "--num_workers=3",
    ]
    assert parse_arguments(base + cloud)[1] == cloud
    assert parse_arguments([*base, "--direct_num_workers=1"])[1] == [
        "--runner=FnApiRunner",
        "--direct_num_workers=1",
    ]


@pytest.mark.parametrize("flags", [["--setup_file={}"], ["--setup_file", "{}"]])
def test_workers_get_the_requirements_beside_the_setup_file(
    flags: list[str], tmp_path: Path
) -> None:
    requirements = tmp_path / "requirements-worker.txt"
    requirements.write_text("tensorflow\n")
    cloud = ["--runner=DataflowRunner", *(flag.format(tmp_path / "setup.py") for flag in flags)]

    def passed_on(*more: str) -> list[str]:
        return parse_arguments(["--config", "c", "--output", "o", *cloud, *more])[1]

    named = f"--requirements_file={requirements}"
    assert passed_on() == [*cloud, named, "--requirements_cache=skip"]
    assert passed_on("--requirements_cache=f") == [*cloud, "--requirements_cache=f", named]
    own = "--requirements_file=own.txt"
    assert passed_on(own) == [*cloud, own]


def test_a_run_reports_its_passes_and_warns_of_overlapping_windows(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = write_parquet(tmp_path / "logs" / "day[1].parquet", make_rows())  # no glob: it is there
    run(
        lambda: main(
            [
                "--config",
                config,
                "--input",
                str(logs),
                "--output",
                str(tmp_path / "data"),
                "--set",
                "splits.finetune.start=2024-01-01T12:00:00",
            ]
        )
    )
    captured = capsys.readouterr()
    assert captured.out == ""
    # A pass that takes long says how far it is; how long it takes is no matter of this test.
    lines = [line for line in captured.err.splitlines() if not line.endswith(" so far")]
    assert lines[0].startswith("warning: splits 'pretrain' and 'finetune' overlap")
    assert lines[1] == "analyse: started"
    assert lines[2].startswith("analyse: done, 500 rows in ") and lines[2].endswith(" rows/s")
    assert lines[3] == "write: started"
    assert lines[4].startswith("write: done, 500 rows in ")
    assert lines[5].endswith(
        "data: pretrain 100, finetune 150, validation 100, test 100; outside every split 100;"
        " rejected 0"
    )
    assert len(lines) == 6


def test_a_run_with_a_given_transform_says_whose_it_is(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = write_parquet(tmp_path / "logs" / "a.parquet", make_rows())
    base = ["--config", config, "--input", str(logs), "--runner=FnApiRunner"]
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    main([*base, "--output", first])
    capsys.readouterr()
    main([*base, "--output", second, "--transform", first])
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith(f"{second}: ")
    ]
    assert line.endswith(f"; rejected 0; transform of {first}")


def test_a_killed_run_leaves_no_dataset_and_the_next_run_is_as_if_nothing_had_happened(
    config: str, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    for seed in range(2):
        write_json(logs / f"{seed}.jsonl", make_rows(400, seed))
    small = "data.batch_rows=20"
    command = [
        sys.executable,
        "-m",
        "preprocessing.task",
        "--config",
        config,
        "--set",
        small,
        "--input",
        str(logs),
        "--output",
    ]
    process = subprocess.Popen(
        [*command, str(tmp_path / "killed")],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    give_up = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob(".partial/pretrain/*.tfrecord"))) < 2:
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(InputError, match=r"killed/\.partial: another run is at work here"):
        Job(experiment(small), str(logs), str(tmp_path / "killed"), ("--runner=FnApiRunner",)).run()
    assert list((tmp_path / "killed").glob(".partial/pretrain/*.tfrecord"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {".partial"}

    for output in ("killed", "undisturbed"):
        Job(experiment(small), str(logs), str(tmp_path / output), ("--runner=FnApiRunner",)).run()
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--nixda"], "unknown option '--nixda'"),
        (["--runer=prism"], "did you mean '--runner'"),
        (["--runner=prism", "much"], "unexpected argument 'much'"),
        (["--direct_num_workers=-1"], "expected 0 .one for each core. or more, received -1"),
        (["--direct_num_workers=many"], "invalid int value: 'many'"),
        ("--runner=prism", "expected a list of texts"),
        ({"--runner": "prism"}, "expected a list of texts"),
    ],
)
def test_options_of_beam_that_there_are_not_are_refused_for_a_caller_too(
    given: Any, said: str
) -> None:
    with pytest.raises(InputError, match=f"beam_options: .*{said}"):
        check_options(given)
    check_options(["--runner=prism", "--direct_num_workers", "2"])
