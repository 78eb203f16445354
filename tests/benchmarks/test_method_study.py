"""Studies: draws are paired, differences and intervals are those worked out by hand, finished cells are not run twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainer  # noqa: F401 - before TensorFlow
from benchmarks.method import cells as cells_module
from benchmarks.method.bench import Bench
from benchmarks.method.cells import cells_of, read_cells, run_cells
from benchmarks.method.draws import Draws
from benchmarks.method.methods import METHODS
from benchmarks.method.methods.tuned import Tuned, part_of
from benchmarks.method.outcome import AUTO
from benchmarks.method.report import write_report
from benchmarks.method.results import Results, estimate
from benchmarks.method.sections import report_of
from benchmarks.method.study import STUDIES, Study, load_study
from benchmarks.method.text import render_text
from configs import Experiment, InputError
from tests.conftest import QUICKSTART, SMALL
from trainer.metrics import auc

USERS = np.array([3, 3, 1, 1, 2, 2, 2, 5], np.int64)
LABELS = np.array([1, 0, 0, 1, 0, 1, 0, 1], np.float32)
SCORES = np.array([0.9, 0.2, 0.4, 0.3, 0.1, 0.8, 0.8, 0.6], np.float32)
ONES = np.ones(8, np.float32)


def test_a_draw_is_the_auc_with_every_user_counted_as_often_as_drawn() -> None:
    value, drawn = Draws(USERS, ONES, resamples=20, seed=4).auc(LABELS, SCORES, np.arange(8))
    assert value == auc(LABELS, SCORES)
    for draw, found in enumerate(drawn):
        counts = np.bincount(np.random.default_rng([4, draw]).integers(4, size=4), minlength=4)
        times = counts[np.unique(USERS, return_inverse=True)[1]]
        expected = auc(LABELS, SCORES, times)
        assert found == pytest.approx(value if expected is None else expected, abs=1e-6)


def test_draws_of_a_slice_are_those_of_the_split() -> None:
    """The same users are drawn in a domain as in all rows, so differences of domains are paired."""
    draws, rows = Draws(USERS, ONES, resamples=10), np.array([0, 1, 4, 5, 6])
    _, drawn = draws.auc(LABELS[rows], SCORES[rows], rows)
    outside = np.ones(8)
    outside[[2, 3, 7]] = 0
    _, masked = Draws(USERS, outside.astype(np.float32), resamples=10).auc(LABELS, SCORES, np.arange(8))
    np.testing.assert_allclose(drawn, masked, atol=1e-6)


def test_one_class_is_no_figure() -> None:
    assert Draws(USERS, ONES, resamples=3).auc(np.zeros(8, np.float32), SCORES, np.arange(8)) == (None, [])


def test_an_estimate_has_the_spread_of_users_and_of_seeds() -> None:
    found = estimate([(0.01, np.array([0.01, 0.03])), (0.03, np.array([0.03, 0.05]))], scale=100.0)
    users, seeds = np.std([2.0, 4.0], ddof=1), np.std([1.0, 3.0], ddof=1) / 2**0.5
    half = 1.96 * (users**2 + seeds**2) ** 0.5
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert found.seeds == pytest.approx((1.0, 3.0))
    alone = estimate([(0.01, np.array([0.01, 0.03]))], scale=100.0)
    assert alone.high - alone.value == pytest.approx(1.96 * users)


def _outcome(active: list[str] | None, **aucs: float) -> dict[str, Any]:
    cell = {
        name: {"rows": 5, **{task: {"auc": value, "draws": [value, value + 0.01]} for task in ("ctr", "ctcvr")}}
        for name, value in aucs.items()
    }
    return {"active": active, "parameters": 1, "rows": 2, "seconds": 3.0, "notes": {}, "splits": {"test": cell}}


def test_gains_average_domains_and_leave_out_what_is_not_active(experiment: Experiment) -> None:
    zero, own = _outcome(None, a=0.6, b=0.7, auto=0.6), _outcome(["a"], a=0.62, b=0.66, auto=0.65)
    results = Results({("zero", 1): zero, ("own", 1): own}, experiment.domains)
    plain = results.gain("own", "zero", "test", ["a", "b"], "ctr")
    served = results.gain("own", "zero", "test", ["a", "b"], "ctr", activated=True)
    assert plain and served
    assert plain.value == pytest.approx(-1.0)
    assert served.value == pytest.approx(1.0)
    assert served.low == pytest.approx(served.high)  # both sides move by the same in every draw
    routed = results.gain("own", "zero", "test", [AUTO], "ctr", activated=True)
    assert routed and routed.value == pytest.approx(5.0)
    assert results.gain("own", "zero", "test", ["missing"], "ctr") is None
    share = results.ratio("own", "own", "zero", "test", ["a"], "ctr")
    assert share and share.value == pytest.approx(1.0)


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
            "methods": {"zero_shot": {"title": "zero-shot", "run": "backbone"}, "kernels": {"title": "kernels", "run": "kernels"}},
            "sections": [
                {"id": "main", "title": "Methods", "kind": "methods", "rows": [{"method": "kernels"}]},
                {"id": "domains", "title": "Domains", "kind": "domains", "rows": [{"method": "kernels"}, {"method": "kernels/all"}]},
                {"id": "curve", "title": "Curve", "kind": "curve", "curves": [{"title": "k", "points": [{"method": "kernels", "x": 1}]}]},
                {"id": "activity", "title": "Activity", "kind": "activity", "rows": [{"method": "kernels"}]},
                {"id": "absent", "title": "Absent", "kind": "absent", "rows": [{"method": "kernels"}]},
            ],
            "bars": [{"bar": "gain", "method": "kernels"}, {"bar": "never worse", "method": "kernels", "kind": "never_worse"}],
            **changed,
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, logs: Path) -> tuple[Study, Path]:
    study, folder = _study(), tmp_path_factory.mktemp("study")
    assert len(list(run_cells(study, cells_of(study, (17,)), str(logs / "*.parquet"), folder))) == 2
    return study, folder


def test_a_finished_cell_is_not_run_twice_and_a_changed_one_is(finished: tuple[Study, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    study, folder = finished
    monkeypatch.setattr(cells_module, "Bench", lambda *arguments: pytest.fail("ran again"))
    assert not list(run_cells(study, cells_of(study, (17,)), None, folder))
    changed = _study(resamples=6)
    assert not any(cell.finished(folder) for cell in cells_of(changed, (17,)))
    assert not read_cells(cells_of(changed, (17,)), folder)


def test_zero_shot_gains_nothing_over_itself_and_the_report_holds_every_section(finished: tuple[Study, Path], tmp_path: Path) -> None:
    study, folder = finished
    cells = cells_of(study, (17,))
    results = Results(read_cells(cells, folder), cells[0].trained.domains)
    same = results.gain("zero_shot", "zero_shot", "test", results.scope(), "ctr")
    assert same and same.value == 0.0 == same.low == same.high
    result = report_of(study, results, "command")
    assert [section["id"] for section in result["sections"]] == ["main", "domains", "curve", "activity", "absent"]
    assert [bar["met"] is None for bar in result["bars"]] == [False, False]
    json.dumps(result, allow_nan=False)
    assert "kernels" in render_text(result)
    write_report(result, tmp_path / "report.html")
    assert "scene=home" in (tmp_path / "report.html").read_text()


def test_parts_of_a_window_are_its_last_days_and_whole_users(finished: tuple[Study, Path], logs: Path) -> None:
    study, folder = finished
    window = Bench(cells_of(study, (17,))[0].built, str(logs / "*.parquet"), folder).rows("finetune")
    half = part_of(window, Tuned(share=0.5), seed=1)
    assert 0 < len(half.logits) < len(window.logits)
    kept = set(half.columns["row/user"].tolist())
    assert len(half.logits) == sum(user in kept for user in window.columns["row/user"].tolist())
    assert len(part_of(window, Tuned(days=1), seed=1).logits) == len(window.logits)  # the small window is one day
    assert part_of(window, Tuned(), seed=1) is window


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"sections": [{"id": "a", "title": "A", "kind": "methods", "rows": [{"method": "nobody"}]}]},
            "'nobody' is no method of this study",
        ),
        ({"methods": {"zero_shot": {"title": "z", "run": "backbone", "runs": 1}}}, "unknown key"),
    ],
)
def test_mistakes_of_a_study_are_one_line(changed: dict[str, Any], expected: str, tmp_path: Path) -> None:
    content = _study().model_dump(mode="json") | changed
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    with pytest.raises(InputError, match=expected):
        load_study(str(tmp_path / "study.yaml"))


def test_an_unknown_method_or_study_is_named() -> None:
    with pytest.raises(InputError, match=r"no such study; there are: .*quick"):
        load_study("nothing")
    study = _study(methods={"zero_shot": {"title": "z", "run": "magic"}}, sections=[], bars=[])
    with pytest.raises(InputError, match="'magic' is no method; there are: backbone"):
        cells_of(study, (17,))
