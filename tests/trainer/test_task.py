"""The training command: what it does, and one line with exit code 2 for every mistake."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs import Experiment, InputError
from configs.cli import run
from tests.conftest import ROOT
from trainer import steps, task
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

HOME = "scene=home"
EXPLAIN = ("explain", "--config", "c", "--job-dir", "j")
MODULES = {
    "pretrain": "trainer.training.pretrain",
    "finetune": "trainer.training.finetune",
    "evaluate": "trainer.evaluation.evaluate",
    "write_report": "trainer.reports.html_report",
}


@pytest.fixture(scope="module")
def config(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small experiment as a file."""
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False))
    return str(path)


class Command:
    """Runs ``python -m trainer.task`` in this process."""

    def __init__(self, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
        self.patch, self.output = patch, output

    def __call__(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self.patch.setattr(sys, "argv", ["task.py", *map(str, words)])
        self.output.readouterr()
        try:
            run(task.main)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.output.readouterr()
        return code, out, err

    def refused(self, *words: object) -> str:
        """The one line on stderr."""
        code, out, err = self(*words)
        assert (code, out) == (2, "")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["pretrain", "--help"],
        ["finetune", "-h"],
        ["evaluate", "--help"],
        ["explain", "--help"],
        ["kernels", "--help"],
        ["tune", "--help"],
    ],
)
def test_help(words: list[str], command: Command) -> None:
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    for name in (
        ("pretrain", "finetune", "evaluate", "report", "explain", "kernels")
        if words == ["--help"]
        else ("--job-dir",)
    ):
        assert name in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrain", "--data", "d", "--job-dir", "j"], "--config"),
        (["pretrain", "--config", "missing.yaml", "--job-dir", "j"], "--data"),
        (["pretrain", "--config", "missing.yaml", "--data", "d"], "--job-dir"),
        (
            ["pretrain", "--config", "missing.yaml", "--data", "d", "--job-dir", "j"],
            "missing.yaml: cannot be read",
        ),
        (
            ["--config", "missing.yaml", "--data", "d", "--job-dir", "j"],
            "missing.yaml: cannot be read",
        ),
        (
            ["pretrain", "--config", "c", "--data", "d", "--job-dir", "j", "--epochs", "3"],
            "unrecognized arguments: --epochs 3",
        ),
        (["pretrain", "--conf", "c", "--data", "d", "--job-dir", "j"], "--config"),
        (
            ["pretrian", "--config", "c", "--data", "d", "--job-dir", "j"],
            "invalid choice: 'pretrian'",
        ),
        (
            ["evaluate", "--config", "c", "--data", "d", "--job-dir", "j", "--split"],
            "expected one argument",
        ),
        ([*EXPLAIN], "explain needs --data, or --example"),
        ([*EXPLAIN, "--data", "d", "--example", "f"], "explain --example takes no --data"),
        ([*EXPLAIN, "--data", "d", "--request", "r", "--rows", "5"], "--request takes no --rows"),
        ([*EXPLAIN, "--example", "f", "--request", "r"], "not allowed with argument"),
        ([*EXPLAIN, "--data", "d", "--permutations", "0"], "--permutations: must be a whole"),
        (["kernels", "shake", "--job-dir", "j"], "invalid choice: 'shake'"),
        (
            ["kernels", "list", "--job-dir", "nowhere"],
            "no such job; run python -m trainer.task pretrain",
        ),
        (["report", "--job-dir", "nowhere"], "nowhere"),
        (["tune", "--config", "c", "--data", "d", "--job-dir", "j"], "--trials"),
        (
            ["tune", "--config", "c", "--data", "d", "--job-dir", "j", "--trials", "0"],
            "argument --trials: must be a whole number from 1 to 2147483647, received 0",
        ),
        (
            ["tune", "--config", "c", "--job-dir", "j", "--trials", "1", "--timeout", "inf"],
            "argument --timeout: must be a number of seconds, 0 or more, received inf",
        ),
        ([], "--config"),
    ],
)
def test_mistakes_on_the_command_line(words: list[str], message: str, command: Command) -> None:
    assert message in command.refused(*words)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.epochs=0", "pretrain.epochs"),
        ("pretrain.epoch=1", "did you mean 'epochs'"),
        ("seed", "expected key.path=value"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_mistakes_in_overrides(override: str, message: str, config: str, command: Command) -> None:
    assert message in command.refused(
        "pretrain", "--config", config, "--set", override, "--data", "d", "--job-dir", "j"
    )


@pytest.mark.parametrize("name", ["pretrain", "finetune", "evaluate", "explain"])
def test_a_dataset_that_is_not_there(
    name: str, config: str, job_dir: Path, command: Command, tmp_path: Path
) -> None:
    line = command.refused(
        name, "--config", config, "--data", tmp_path / "none", "--job-dir", job_dir
    )
    assert "manifest.json: not found; expected a dataset written by preprocessing.task" in line
    assert not (tmp_path / "none").exists()


def test_the_wrong_dataset_leaves_no_job_behind(
    config: str, dataset_dir: Path, tmp_path: Path, command: Command
) -> None:
    where = ("--data", dataset_dir, "--job-dir", tmp_path / "job")
    line = command.refused(
        "pretrain", "--config", config, "--set", "features.rating.log1p=true", *where
    )
    assert "features.rating" in line
    assert not (tmp_path / "job").exists()


def test_explain_prints_json_alone_on_stdout(
    config: str, dataset_dir: Path, job_dir: Path, command: Command, tmp_path: Path
) -> None:
    where = ("explain", "--config", config, "--data", dataset_dir, "--job-dir", job_dir)
    few = ("--rows", 600, "--permutations", 1)
    code, out, err = command(*where, *few, "--output", tmp_path, "--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "explanation.json").read_text())
    assert "Traceback" not in err
    code, out, _ = command(*where, *few, "--output", tmp_path)
    assert code == 0
    assert "CTCVR-AUC: " in out
    assert "no such directory" in command.refused(*where, "--output", tmp_path / "none")
    assert "is no split" in command.refused(*where, "--split", "tset")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(Job(job_dir).golden.read_text())
    example = ("explain", "--config", config, "--job-dir", job_dir, "--example", rows)
    code, out, _ = command(*example, "--json")
    assert code == 0
    assert len(json.loads(out)["rows"]) == len(rows.read_text().splitlines())
    for content, message in (("[1]", "rows.jsonl:1: expected a JSON object"), ("", "no rows")):
        rows.write_text(content)
        code, out, err = command(*example)
        assert (code, out) == (2, "")
        assert message in err.splitlines()[-1]


def test_evaluate_prints_json_alone_on_stdout(
    config: str, dataset_dir: Path, job_copy: Path, command: Command
) -> None:
    where = ("--config", config, "--data", dataset_dir, "--job-dir", job_copy)
    code, out, err = command("evaluate", *where, "--json", "--split", "validation")
    assert code == 0
    assert json.loads(out) == json.loads((job_copy / "reports" / "metrics.json").read_text())
    assert "Traceback" not in err
    code, out, _ = command("evaluate", *where)
    assert code == 0
    assert "CTR-AUC" in out
    assert f"\n{HOME}: " in out
    assert "undefined" in out
    assert command.refused("evaluate", *where, "--split", "tset")
    code, out, _ = command("report", "--job-dir", job_copy)
    assert code == 0
    assert (job_copy / "reports" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["pretrain", "finetune", "evaluate", "report"]),
        (["run"], ["pretrain", "finetune", "evaluate", "report"]),
        (["pretrain"], ["pretrain"]),
        (["finetune", "--domains", HOME, "all"], ["finetune"]),
    ],
)
def test_steps(
    words: list[str],
    expected: list[str],
    config: str,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a subcommand everything runs in turn, which is what a training service launches."""
    called: list[str] = []
    for name in ("pretrain", "finetune", "evaluate", "write_report"):
        module = importlib.import_module(MODULES[name])
        monkeypatch.setattr(
            module,
            name,
            lambda *arguments, name=name: called.append((name.removeprefix("write_"), arguments)),
        )
    for module, name in (
        ("trainer.reports.text_table", "render_table"),
        ("trainer.training.outcome", "render_outcomes"),
    ):
        monkeypatch.setattr(importlib.import_module(module), name, lambda *_: "table")
    alone: list[bool] = []
    monkeypatch.setattr(
        "trainer.training.pretrain.one_thread_an_operation", lambda: alone.append(True)
    )
    for module, name in (
        (steps, "check_dataset"),
        (steps, "check_kernels"),
        (task, "check_evaluated"),
    ):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(Job, "check_finished", lambda self: None)
    code, out, err = command(
        *words, "--config", config, "--data", tmp_path / "data", "--job-dir", tmp_path / "job"
    )
    assert code == 0, err
    assert [name for name, _ in called] == expected
    assert bool(alone) == (expected == ["pretrain"])  # other steps share the process's threads
    everything = len(expected) > 1  # then the evaluation's table is alone on stdout
    assert out == ("" if expected == ["pretrain"] else "table\n")
    assert (err == "table\nreport: None\n") == everything
    for name, arguments in called:
        if name != "report":
            assert arguments[1:3] == (tmp_path / "data", Job(tmp_path / "job"))
        if name == "finetune":
            assert arguments[3] == words[2:]


def row(table: str, domain: str) -> list[str]:
    """The words of a domain's line of the list of kernels."""
    return next(line.split() for line in table.splitlines() if line.split()[0] == domain)


def test_kernels_are_listed_activated_deactivated_and_removed(
    job_copy: Path, command: Command
) -> None:
    def active() -> int | None:
        return KernelStore(Job(job_copy)).active().get(HOME)

    where = ("--job-dir", job_copy)
    assert command("kernels", "activate", HOME, 1, *where)[0] == 0
    assert active() == 1
    assert row(command("kernels", "list", *where)[1], HOME)[:3] == [HOME, "1", "1"]
    assert row(command("kernels", "deactivate", HOME, *where)[1], HOME)[:3] == [HOME, "-", "1"]
    assert active() is None
    code, out, _ = command("kernels", "remove", HOME, *where)
    assert code == 0
    left = [line.split()[0] for line in out.splitlines()]
    assert HOME not in left
    assert f"region=r1,{HOME}" in left


def test_kernels_are_pinned_and_unpinned(job_copy: Path, command: Command) -> None:
    where = ("--job-dir", job_copy)
    code, out, _ = command("kernels", "pin", HOME, *where)
    assert code == 0
    assert "pinned;" in row(out, HOME)
    (line,) = [
        line
        for line in json.loads(command("kernels", "list", "--json", *where)[1])
        if line["domain"] == HOME
    ]
    assert line["pinned"] is True
    assert line["decision"]["reason"]
    code, out, _ = command("kernels", "unpin", HOME, *where)
    assert code == 0
    assert "pinned;" not in row(out, HOME)
    code, _, err = command("kernels", "pin", "scene=hme", *where)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "did you mean 'scene=home'?" in err


def test_a_version_is_compared_rolled_back_and_verified(job_copy: Path, command: Command) -> None:
    store, where = KernelStore(Job(job_copy)), ("--job-dir", job_copy)
    former = store.load(HOME, 1)
    longer = {name: 2 * array for name, array in former.weights.items()}
    # what is the same is not stored twice
    other = former.manifest.model_copy(update={"activated": True, "seed": 18})
    for weights in (former.weights, longer):
        store.add(HOME, weights, other, former.golden)
    assert store.versions(HOME) == [1, 2, 3]
    code, out, _ = command("kernels", "diff", HOME, 2, 3, *where)
    assert code == 0
    norm = float(np.linalg.norm(former.weights["weight_0"]))
    assert ["weight_0", f"{norm:.4f}", f"{2 * norm:.4f}", f"{norm:.4f}"] in [
        line.split() for line in out.splitlines()
    ]
    assert "no figures: give --data" in out
    code, out, _ = command("kernels", "diff", HOME, 2, 3, "--json", *where)
    assert code == 0
    assert json.loads(out)["weights"]["weight_0"]["first"] == pytest.approx(norm)
    for version in (2, 3):
        command("kernels", "activate", HOME, version, *where)
    assert row(command("kernels", "rollback", HOME, *where)[1], HOME)[:3] == [HOME, "2", "1-3"]
    code, out, _ = command("kernels", "history", HOME, *where)
    assert code == 0
    assert "rollback: version 2, before version 3" in out.splitlines()[-1]
    told = json.loads(command("kernels", "history", "--json", *where)[1])
    assert {event["domain"] for event in told} >= {HOME}
    code, out, _ = command("kernels", "verify", HOME, *where)
    assert (code, out.count("golden scores identical")) == (1, 2)
    assert f"{HOME} 3: DAMAGED: golden scores differ by at most" in out
    store.remove(HOME)
    code, out, _ = command("kernels", "verify", *where)
    assert code == 0
    assert len(out.splitlines()) == len(store.domains())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["activate"], "needs a domain"),
        (["diff", HOME, "1"], "needs two versions"),
        (["remove", HOME, "1"], "needs no version"),
        (["remove"], "needs a domain"),
        (["activate", HOME], "needs a version"),
        (["activate", HOME, "one"], "invalid int value: 'one'"),
        (["activate", HOME, "7"], f"no version 7 of domain '{HOME}'; there are: 1"),
        (["activate", "scene", "1"], "no kernel of domain 'scene'; did you mean"),
        (["remove", "scene=moon"], "no kernel of domain 'scene=moon'"),
        (["deactivate", "scene=moon"], "scene=moon"),
        (["rollback", "scene=moon"], "no kernel of domain 'scene=moon'"),
        (["rollback"], "needs a domain"),
        (["verify", "scene=moon"], "no kernel of domain 'scene=moon'"),
        (["verify", HOME, "1"], "needs no version"),
        (["list", HOME], "takes no domain"),
        (["activate", HOME, "1", "--json"], "prints no JSON"),
        (["activate", "../active.json", "1"], "no kernel of domain '../active.json'"),
        (["show", "scene=hmoe"], f"no kernel of domain 'scene=hmoe'; did you mean '{HOME}'?"),
        (["show"], "needs a domain"),
        (["show", HOME, "1", "2"], "needs no version or a version"),
        (["show", HOME, "7"], f"no version 7 of domain '{HOME}'; there are: 1"),
    ],
)
def test_kernels_that_are_not_there(
    words: list[str], message: str, job_dir: Path, command: Command
) -> None:
    before = KernelStore(Job(job_dir)).active()
    assert message in command.refused("kernels", *words, "--job-dir", job_dir)
    assert KernelStore(Job(job_dir)).active() == before


def test_the_real_process_says_one_line_and_exits_with_2(config: str, tmp_path: Path) -> None:
    """TensorFlow's own start-up noise included, which no test inside this process would see."""
    words = [
        "pretrain",
        "--config",
        config,
        "--data",
        str(tmp_path / "none"),
        "--job-dir",
        str(tmp_path / "job"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "trainer.task", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_teacher_that_is_not_finished_is_said_before_anything_is_loaded(
    command: Command, config: str, dataset_dir: Path, tmp_path: Path
) -> None:
    words = ["--config", config, "--data", dataset_dir, "--job-dir", tmp_path / "job"]
    for before in (["pretrain"], []):
        said = command.refused(*before, *words, "--teacher", tmp_path / "none")
        assert "none: no such job; run python -m trainer.task pretrain first" in said
    assert not (tmp_path / "job").exists()


def test_a_student_is_taught_by_the_job_that_is_named(
    command: Command, config: str, dataset_dir: Path, job_dir: Path, tmp_path: Path
) -> None:
    job = Job(tmp_path / "job")
    words = ["--config", config, "--data", dataset_dir, "--job-dir", job.folder]
    words += ["--set", "pretrain.teacher.weight=0.7", "--set", "pretrain.epochs=1"]
    assert "name its job with --teacher" in command.refused("pretrain", *words)
    code, _, err = command("pretrain", *words, "--teacher", job_dir)
    assert code == 0, err
    assert f"taught by {job_dir}: backbone" in err
    record = job.teacher()
    assert record
    assert record["kernels"].keys() == KernelStore(Job(job_dir)).active().keys()


def test_routing_is_chosen_without_training(config: str, job_copy: Path, command: Command) -> None:
    words = ("routing", "--config", config, "--job-dir", job_copy)
    code, out, err = command(*words, "--set", "routing.compose=0.5")
    assert (code, err) == (0, "")
    said = "from the next serving.export on, rows under 'auto' are answered by the kernels of all"
    assert f"routing.json: {said} their single-topic domains together, where they have" in out
    assert "several (compose 0.5)" in out
    job = Job(job_copy)
    assert job.experiment().routing.compose == 0.5
    content = job.routing.read_text()
    job.routing.write_text(content.replace("0.5", "0.7"))
    with pytest.raises(InputError, match=r"damaged.*run python -m trainer\.task routing again"):
        job.experiment()
    _, out, _ = command(*words)
    assert out.endswith("answered by the kernel of their most specific domain alone\n")
    assert job.experiment().routing.compose is None


def test_scores_are_chosen_all_or_those_of_some_domains(
    config: str, job_copy: Path, command: Command
) -> None:
    words = ("score", "--config", config, "--job-dir", job_copy)
    own = "scores={scene=home: ctr, region=r1: cvr}"
    code, out, err = command(*words, "--set", "score=ctr * cvr", "--set", own)
    assert (code, err) == (0, "")
    said = "from the next serving.export on, pages are ranked by ctr * cvr; scene=home by ctr"
    assert f"score.json: {said}; region=r1 by cvr" in out
    _, out, _ = command(*words, "--domain", HOME)
    assert out.endswith("pages are ranked by ctr * cvr; region=r1 by cvr\n")
    assert Job(job_copy).experiment().scores == {"region=r1": "cvr"}
    line = command.refused(*words, "--domain", "scene=hom")
    assert "--domain: 'scene=hom' is no domain of this config; did you mean 'scene=home'?" in line
    line = command.refused(*words, "--set", "scores={scene=hom: ctr}")
    assert "scores: 'scene=hom' is no domain of this config; did you mean 'scene=home'?" in line


TUNE = ("--set", "tune={pretrain.learning_rate: {low: 0.003, high: 0.03, log: true}}")


def test_tune_searches_and_prints_what_to_set(
    command: Command, config: str, dataset_dir: Path, tmp_path: Path
) -> None:
    words = ["tune", "--config", config, "--data", dataset_dir, "--job-dir", tmp_path / "search"]
    code, out, err = command(*words, *TUNE, "--trials", 1, "--set", "pretrain.epochs=1")
    assert code == 0, err
    assert "1 trial, judged by mean AUC on the" in out
    assert "no trial was better than the config as it is" in out
    assert (tmp_path / "search" / "tune.html").exists()


def test_tune_says_what_it_misses_before_anything_is_trained(
    command: Command,
    config: str,
    dataset_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["tune", "--config", config, "--job-dir", tmp_path / "search", "--trials", 2]
    data = ["--data", dataset_dir]
    assert "expected --data, or --input" in command.refused(*words, *TUNE)
    assert "tune: missing; expected the settings to try" in command.refused(*words, *data)
    said = command.refused(*words, *data, "--set", "tune={pretrain.rate: {choices: [1, 2]}}")
    assert "tune.pretrain.rate: 1 gives no config" in said
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = command.refused(*words, *data, *TUNE)
    assert "optuna is not installed: run make install, or pip install '.[tune]'" in said
    assert not (tmp_path / "search").exists()
