"""The schedules in ``deploy/refresh`` run a command that this version understands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from operations.refresh.__main__ import REFUSED_CODE, parser
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "refresh"


def words_of(path: Path) -> list[str]:
    """The options that a schedule gives, whatever form it has."""
    text = path.read_text()
    if path.name == "crontab":
        (line,) = [line for line in text.splitlines() if "operations.refresh" in line]
        return shlex.split(line.partition("operations.refresh ")[2].partition(" >> ")[0])
    if path.name == "kubernetes.yaml":
        spec = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]
        (code,) = spec["podFailurePolicy"]["rules"]
        assert code["onExitCodes"]["values"] == [REFUSED_CODE]
        (container,) = spec["template"]["spec"]["containers"]
        return shlex.split(container["args"][0].partition("operations.refresh ")[2])
    if path.name == "vertex.yaml":
        (pool,) = yaml.safe_load(text)["workerPoolSpecs"]
        assert pool["containerSpec"]["command"][-1] == "operations.refresh"
        return list(pool["containerSpec"]["args"])
    assert f"REFUSED = {REFUSED_CODE}" in text
    return re.findall(r'f?"(--[a-z-]+=[^"]*)"', text)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_schedule_gives_the_command_what_it_needs(path: Path) -> None:
    if path.suffix == ".py":
        compile(path.read_text(), str(path), "exec")
    found = parser().parse_args(words_of(path))
    assert all((found.config, found.job_dir, found.input, found.as_of, found.work, found.models))
    assert not found.dry_run
