"""Studies: finished cells are not run twice, reports hold what was asked, mistakes are one line."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow
from benchmarks.method import __main__ as command
from benchmarks.method import cells as cells_module
from benchmarks.method.bench import Bench, _alone
from benchmarks.method.cells import cells_of, read_cells, run_cells
from benchmarks.method.methods import METHODS
from benchmarks.method.methods.tuned import Tuned, part_of
from benchmarks.method.report import write_report
from benchmarks.method.results import Results
from benchmarks.method.sections import report_of
from benchmarks.method.study import STUDIES, Study, load_study
from benchmarks.method.text import render_text
from configs import Experiment, InputError, load_experiment
from configs.cli import run
from configs.files import write_json
from tests.benchmarks.method.test_results import outcome_of
from tests.conftest import QUICKSTART, SMALL
from trainer.job import Job


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_studies_read_and_their_settings_exist(path: Path) -> None:
    study = load_study(path.stem)
    cells = cells_of(study, study.seeds[:1])
    assert {cell.name for cell in cells} == set(study.methods)


def test_every_method_is_in_the_quick_study() -> None:
    assert {method.run for method in load_study("quick").methods.values()} == set(METHODS)


def _study(**changed: Any) -> Study:
    return Study.model_validate(
        {
            "name": "small",
            "title": "Small",
            "description": "Two methods.",
            "config": str(QUICKSTART),
            "set": SMALL,
            "seeds": [17],
            "resamples": 5,
            "methods": {
                "zero_shot": {"title": "zero-shot", "run": "backbone"},
                "kernels": {"title": "kernels", "run": "kernels"},
            },
            "sections": [
                {
                    "id": "main",
                    "title": "Methods",
                    "kind": "methods",
                    "rows": [{"method": "kernels"}],
                },
                {
                    "id": "log_loss",
                    "title": "Log loss",
                    "kind": "log_loss",
                    "rows": [{"method": "kernels"}, {"method": "kernels/all"}],
                },
                {
                    "id": "domains",
                    "title": "Domains",
                    "kind": "domains",
                    "rows": [{"method": "kernels"}, {"method": "kernels/all"}],
                },
                {
                    "id": "curve",
                    "title": "Curve",
                    "kind": "curve",
                    "curves": [{"title": "k", "points": [{"method": "kernels", "x": 1}]}],
                },
                {
                    "id": "activity",
                    "title": "Activity",
                    "kind": "activity",
                    "rows": [{"method": "kernels"}],
                },
                {
                    "id": "absent",
                    "title": "Absent",
                    "kind": "absent",
                    "rows": [{"method": "kernels"}],
                },
            ],
            "bars": [
                {"bar": "gain", "method": "kernels"},
                {"bar": "never worse", "method": "kernels", "kind": "never_worse"},
            ],
            **changed,
        }
    )


def _curve_of(*points: dict[str, Any]) -> dict[str, Any]:
    """A section of one curve of the kernels."""
    return {
        "id": "c",
        "title": "C",
        "kind": "curve",
        "curves": [{"title": "k", "points": [{"method": "kernels", **point} for point in points]}],
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, logs: Path) -> tuple[Study, Path]:
    study, folder = _study(), tmp_path_factory.mktemp("study")
    assert len(list(run_cells(study, cells_of(study, (17,)), str(logs / "*.parquet"), folder))) == 2
    return study, folder


def test_a_finished_cell_is_not_run_twice_and_a_changed_one_is(
    finished: tuple[Study, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, folder = finished
    monkeypatch.setattr(cells_module, "Bench", lambda *arguments: pytest.fail("ran again"))
    assert not list(run_cells(study, cells_of(study, (17,)), None, folder))
    changed = _study(resamples=6)
    assert not read_cells(cells_of(changed, (17,)), folder)


def test_studies_of_one_folder_keep_their_own_cells(
    finished: tuple[Study, Path], tmp_path: Path
) -> None:
    study, folder = finished
    first, other = cells_of(study, (17,))[0], cells_of(_study(resamples=6), (17,))[0]
    assert first.name == other.name and first.path(folder) != other.path(folder)
    assert first.outcomes(folder) is not None
    assert other.outcomes(folder) is None
    path = first.path(tmp_path)
    path.parent.mkdir()
    path.write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object with outcomes"):
        first.outcomes(tmp_path)


def test_zero_shot_gains_nothing_over_itself_and_the_report_holds_every_section(
    finished: tuple[Study, Path], tmp_path: Path
) -> None:
    study, folder = finished
    cells = cells_of(study, (17,))
    results = Results(
        read_cells(cells, folder), cells[0].trained.domains, study.experiment().tasks.ranking
    )
    same = results.gain("zero_shot", "zero_shot", "test", results.scope(), "ctr")
    assert same and same.value == 0.0 == same.low == same.high
    result = report_of(study, results, "command")
    assert [section["id"] for section in result["sections"]] == [
        "main",
        "log_loss",
        "domains",
        "curve",
        "activity",
        "absent",
    ]
    assert [bar["met"] is None for bar in result["bars"]] == [False, False]
    (losses,) = result["sections"][1]["tables"]
    kernels, shared = (row["cells"] for row in losses["rows"])
    gain = results.gain("kernels", "zero_shot", "test", results.scope(), "ctr", metric="log_loss")
    assert gain and kernels[1] == gain.cell()
    assert shared[3] is None or shared[3].endswith("%]")
    json.dumps(result, allow_nan=False)
    assert "kernels" in render_text(result)
    write_report(result, tmp_path / "report.html")
    assert "scene=home" in (tmp_path / "report.html").read_text()


def test_parts_of_a_window_are_its_last_days_and_whole_users(
    finished: tuple[Study, Path], logs: Path
) -> None:
    study, folder = finished
    window = Bench(cells_of(study, (17,))[0].built, str(logs / "*.parquet"), folder).rows(
        "finetune"
    )
    half = part_of(window, Tuned(share=0.5), seed=1)
    assert 0 < len(half.logits) < len(window.logits)
    kept = set(half.columns["row/user"].tolist())
    assert len(half.logits) == sum(user in kept for user in window.columns["row/user"].tolist())
    assert len(part_of(window, Tuned(days=1), seed=1).logits) == len(
        window.logits
    )  # the small window is one day
    assert part_of(window, Tuned(), seed=1) is window


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {
                "sections": [
                    {"id": "a", "title": "A", "kind": "methods", "rows": [{"method": "nobody"}]}
                ]
            },
            "'nobody' is no method of this study",
        ),
        ({"methods": {"zero_shot": {"title": "z", "run": "backbone", "runs": 1}}}, "unknown key"),
        (
            {"methods": {"zero/shot": {"title": "z", "run": "backbone"}}},
            "'zero/shot' cannot be used as a name",
        ),
        (
            {"methods": {"zero_shot": {"title": "z", "run": "backbone", "seeds": [3]}}},
            "3 is no seed of this study",
        ),
        ({"resamples": 1}, "resamples: .*greater than or equal to 2"),
        (
            {"bars": [{"bar": "b", "method": "kernels", "split": "moon"}]},
            "'moon' is no split of this study; there are: test",
        ),
        (
            {"bars": [{"bar": "b", "method": "kernels", "kind": "recovered"}]},
            "bar 'b': 'reference' is for the kinds",
        ),
        (
            {"bars": [{"bar": "b", "method": "kernels/all", "activated": True}]},
            "expected a method with a model for each domain",
        ),
        (
            {"bars": [{"bar": "b", "method": "kernels", "against": "kernels", "activated": True}]},
            "against its own backbone",
        ),
        (
            {"sections": [_curve_of({"x": 1}, {"x": 2, "reference": "kernels"})]},
            "section 'c': 'reference' is .* for all of them or none",
        ),
        ({"sections": [_curve_of({"reference": "nobody"})]}, "'nobody' is no method of this study"),
        (
            {"bars": [{"bar": "b", "method": "kernels", "tasks": ["cvr"]}]},
            "study.yaml: bar 'b': tasks: 'cvr' is no task over all rows",
        ),
        (
            {"bars": [{"bar": "b", "method": "kernels", "at_least": [0.1, 0.2, 0.3]}]},
            "study.yaml: bar 'b': at_least: expected a number for each of ctr, ctcvr, received 3",
        ),
    ],
)
def test_mistakes_of_a_study_are_one_line(
    changed: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    content = _study(sections=[], bars=[]).model_dump(mode="json") | changed
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    with pytest.raises(InputError, match=expected) as caught:
        load_study(str(tmp_path / "study.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "valid dictionary"), (b"\xff", "expected UTF-8 text"), (b"a: [", "not valid YAML")],
)
def test_a_study_that_is_none_is_one_line(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_bytes(content)
    with pytest.raises(InputError, match=expected):
        load_study(str(tmp_path / "study.yaml"))


def test_a_point_has_its_own_reference(experiment: Experiment) -> None:
    outcomes = {
        ("zero_shot", 17): outcome_of(None, auto=0.6),
        ("kernels", 17): outcome_of(["all"], auto=0.65),
    }
    outcomes["kernels/all", 17] = outcome_of(["all"], auto=0.7)
    study = _study(bars=[], sections=[_curve_of({"x": 1, "reference": "kernels/all"})])
    result = report_of(
        study, Results(outcomes, experiment.domains, experiment.tasks.ranking), "command"
    )
    (section,) = result["sections"]
    assert section["tables"][0]["rows"][0]["cells"][2].startswith("50% [")
    assert section["plots"][0]["series"][0]["y"][0] == pytest.approx(0.5)
    assert section["plots"][0]["y_label"] == "share of the gap closed"


def test_a_point_that_has_not_run_has_no_row(experiment: Experiment) -> None:
    outcomes = {
        ("zero_shot", 17): outcome_of(None, auto=0.6),
        ("kernels/all", 17): outcome_of(["all"], auto=0.7),
    }
    ran = {"x": 1, "method": "kernels/all", "reference": "kernels/all"}
    points = _curve_of(ran, {"x": 2, "reference": "kernels/all"})
    result = report_of(
        _study(bars=[], sections=[points]),
        Results(outcomes, experiment.domains, experiment.tasks.ranking),
        "command",
    )
    rows = [row["cells"] for row in result["sections"][0]["tables"][0]["rows"]]
    assert [x for _, x, _ in rows] == ["1.0"]


def test_the_command(
    finished: tuple[Study, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    study, folder = finished
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps({**study.model_dump(mode="json"), "logs": "*.parquet"}))

    def call(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["method", *words])
        with pytest.raises(SystemExit) as stopped:
            run(command.main)
            raise SystemExit(0)
        return int(stopped.value.code or 0)

    named = ("--study", str(path), "--output", str(tmp_path / "out"))
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.parquet").touch()
    for wrong, message in (
        (
            [*named, "--only", "kernel", "--input", str(logs)],
            "--only: 'kernel' is no method of study 'small'; there are: zero_shot, kernels",
        ),
        (
            [*named, "--input", str(tmp_path / "nowhere")],
            "nowhere: no such folder; give --input or RECSYS_DATA",
        ),
        ([*named, "--input", str(tmp_path)], "holds no *.parquet"),
        ([*named, "--seeds", "seventeen"], "invalid int value"),
        ([*named, "--seeds", "-1", "--input", str(logs)], "seed"),
        ([*named, "--quick"], "not allowed with argument --study"),
    ):
        assert call(*wrong) == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1 and message in printed.err and not printed.out
    # A report needs no logs, and says what is missing.
    assert (
        call(*named, "--no-run", "--input", str(tmp_path / "nowhere"), "--seeds", "17", "17") == 0
    )
    assert "not measured" in capsys.readouterr().out
    path.write_text(json.dumps(study.model_dump(mode="json")))
    assert call("--study", str(path), "--output", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == [17]


def test_one_process_makes_a_folder_and_the_others_wait(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with _alone(tmp_path / "data" / "x"):
            order.append("second")

    with _alone(tmp_path / "data" / "x"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_costs_leave_out_what_adapters_share_and_what_is_not_decided(
    experiment: Experiment,
) -> None:
    own, zero = outcome_of(["all", "scene=home"], auto=0.6), outcome_of(None, auto=0.6)
    own["notes"]["taps_seconds"] = 2.0
    study = _study(
        bars=[],
        sections=[
            {"id": "main", "title": "Methods", "kind": "methods", "rows": [{"method": "kernels"}]}
        ],
    )
    result = report_of(
        study,
        Results(
            {("kernels", 17): own, ("zero_shot", 17): zero},
            experiment.domains,
            experiment.tasks.ranking,
        ),
        "command",
    )
    cells = result["sections"][0]["tables"][0]["rows"][0]["cells"]
    assert [cell and cell["value"] for cell in cells[9:]] == [1, 2, 1.0, 1]
    rows = [{"method": "zero_shot"}]
    study = _study(
        bars=[], sections=[{"id": "main", "title": "Methods", "kind": "methods", "rows": rows}]
    )
    result = report_of(
        study,
        Results({("zero_shot", 17): zero}, experiment.domains, experiment.tasks.ranking),
        "command",
    )
    assert result["sections"][0]["tables"][0]["rows"][0]["cells"][12] is None


@pytest.mark.parametrize(
    ("steps", "progressive", "rows"),
    [([4, 8], "false", 2_000), ([4, 6], "false", 1_536), ([4, 8], "true", 2_300)],
)
def test_rows_of_a_backbone_end_where_its_training_did(
    steps: list[int], progressive: str, rows: int, tmp_path: Path
) -> None:
    settings = [
        "pretrain.epochs=2",
        "pretrain.batch_size=256",
        f"pretrain.progressive={progressive}",
    ]
    experiment = load_experiment(QUICKSTART, settings)
    job = Job(tmp_path)
    write_json(job.backbone / "history.json", [{"step": step} for step in steps])
    bench = SimpleNamespace(
        job=job,
        dataset=SimpleNamespace(rows={"pretrain": 1_000, "finetune": 300}.__getitem__),
        backbone=SimpleNamespace(weights=[]),
        rows=lambda split: SimpleNamespace(logits=np.zeros((1, 2), np.float32)),
        pretrain_seconds=1.0,
    )
    assert METHODS["backbone"](bench, experiment, ["test"], {})[""].rows == rows  # type: ignore[arg-type]


def test_an_option_that_an_adapter_has_not_is_named(experiment: Experiment) -> None:
    bench = SimpleNamespace(backbone=None)
    with pytest.raises(
        InputError, match=r"options: got an unexpected keyword argument 'counts'; there are: count$"
    ):
        METHODS["last_layers"](bench, experiment, ["test"], {"counts": 2})  # type: ignore[arg-type]


def test_methods_of_other_tasks_are_not_compared() -> None:
    changed = ["tasks={click: {label: click}}"]
    method = {"title": "clicks alone", "run": "backbone", "backbone": changed}
    study = _study(sections=[], bars=[], methods={"clicks": method})
    with pytest.raises(InputError, match=r"methods\.clicks: its tasks are click \(click\), and a"):
        cells_of(study, (17,))


def test_an_unknown_method_or_study_is_named() -> None:
    with pytest.raises(InputError, match=r"no such study; there are: .*quick"):
        load_study("nothing")
    study = _study(methods={"zero_shot": {"title": "z", "run": "magic"}}, sections=[], bars=[])
    with pytest.raises(InputError, match="'magic' is no method; there are: backbone"):
        cells_of(study, (17,))
