"""``domain-kernels``: every command of the modules, with their options and exit codes."""

import sys
from importlib.util import find_spec

import pytest

from benchmarks.speed.startup import MODULES
from configs import parse_experiment
from domain_kernels.command import COMMANDS, command, config_text, configs_here
from domain_kernels.version import VERSION
from tests.conftest import ROOT
from trainer.task import _COMMANDS as TRAINER_COMMANDS


def commands_of_the_tree() -> set[str]:
    """Modules of the storeys that end in ``configs.cli.run``, as everything for a user does."""
    found = set()
    for storey in ("preprocessing", "trainer", "serving", "operations"):
        for path in (ROOT / storey).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if "\n    run(" in text.partition('if __name__ == "__main__":')[2]:
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.add(".".join(parts).removesuffix(".__main__"))
    return found


def test_every_command_of_ours_has_a_name() -> None:
    modules = {module for module, _, _ in COMMANDS.values()}
    assert modules == commands_of_the_tree()
    assert {module for module in MODULES if not module.startswith("benchmarks.")} <= modules
    assert all(find_spec(module) for module in modules)
    steps = [leading[0] for module, leading, _ in COMMANDS.values() if module == "trainer.task"]
    assert sorted(steps) == sorted(TRAINER_COMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["--help"], []])
def test_what_the_command_says_of_itself(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command(words)
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert VERSION in said if words == ["--version"] else all(name in said for name in COMMANDS)


def test_a_command_ends_as_its_module_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["domain-kernels"])
    monkeypatch.delitem(sys.modules, "preprocessing.profile.__main__", raising=False)
    with pytest.raises(SystemExit) as ended:
        command(["profile", "no-such-folder"])
    assert ended.value.code == 2
    assert "no-such-folder" in capsys.readouterr().err


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command(["pretrian"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("did you mean 'pretrain'?") == 1


@pytest.mark.parametrize("name", configs_here())
def test_a_config_that_comes_with_the_package_is_one(name: str) -> None:
    assert parse_experiment(config_text(name)).name
