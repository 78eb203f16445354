"""The Flex Template: its parameters are the command's, and its one step runs the command."""

import json
from pathlib import Path
from typing import Any

import pytest

from preprocessing import flex_template, task

FOLDER = Path(__file__).parents[2] / "deploy" / "dataflow"
OF_BEAM = {"sdk_container_image"}
NOT_ON_DATAFLOW = {"help", "shared_filesystem"}
SAID_OTHERWISE = {"config", "set"}  # where the file is; how several are written


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def test_the_parameters_are_the_command_s_arguments() -> None:
    ours = {action.dest: action for action in task.own_parser()._actions}
    parameters = {found["name"]: found for found in read("metadata.json")["parameters"]}
    assert parameters.keys() == (ours.keys() - NOT_ON_DATAFLOW) | OF_BEAM
    for name in ours.keys() & parameters.keys():
        assert parameters[name]["isOptional"] is not ours[name].required
        if name not in SAID_OTHERWISE:
            assert parameters[name]["helpText"] == ours[name].help


def test_the_spec_holds_the_metadata() -> None:
    assert read("template.json")["metadata"] == read("metadata.json")


def test_its_job_runs_the_command_with_the_same_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "experiment.yaml"
    config.write_text("name: shop")
    runs: list[list[str]] = []

    def record(arguments: list[str]) -> None:
        assert Path(arguments[1]).read_text() == "name: shop"
        runs.append([arguments[0], *arguments[2:]])

    monkeypatch.setattr(task, "main", record)
    ours = ["--config", str(config), "--set=a.b=1; c=[2, 3]", "--output=gs://bucket/data"]
    ours += ["--as-of=2025-03-09"]
    of_the_template = ["--job_name=day", "--dataflow_job_file", str(tmp_path / "job.json")]
    beams = ["--runner=FnApiRunner", "--project=p", "--temp_location=gs://bucket/tmp"]
    flex_template.main([*ours, "--input=gs://bucket/logs/*", *of_the_template, *beams])
    expected = ["--config", "--output", "gs://bucket/data", "--set", "a.b=1", "--set", "c=[2, 3]"]
    expected += ["--input", "gs://bucket/logs/*", "--as-of", "2025-03-09"]
    assert runs == [[*expected, *beams]]


def test_an_unknown_parameter_is_refused_at_launch(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flex_template.main(["--config=c", "--output=o", "--inptu=i", "--runner=FnApiRunner"])
    assert "unknown option '--inptu'; did you mean '--input'?" in capsys.readouterr().err
