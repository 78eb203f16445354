"""Other tasks than clicks and orders, from logs to ranked pages: five of them, one an amount, and
clicks alone.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs import Experiment, InputError, load_experiment
from configs.training import Routing
from preprocessing.beam.dataset_job import Job as DatasetJob
from preprocessing.task import parse_arguments
from serving.client import Client, Ranker
from serving.export.reference_scores import TrainerScores
from serving.export.version_writer import export
from serving.selfcheck import TOLERANCE, check
from tests.conftest import QUICKSTART, SMALL
from tests.serving.conftest import NAME, serving
from trainer.evaluation import judged_rows
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.kernel_rows import KernelRows
from trainer.job import Job
from trainer.metrics.results import EvaluationResult
from trainer.metrics.task_metrics import AMOUNT_METRICS, METRICS
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes
from trainer.reports.text_table import describe_pages, render_table
from trainer.training.finetune import finetune
from trainer.training.pretrain import pretrain

FIVE = """tasks={
  open: {label: click},
  order: {label: conversion, after: open, loss_weight: 0, entire: {name: order_all},
    matured_after: 6},
  tip: {label: tipped, after: order, entire: {name: tip_all}},
  like: {label: liked},
  stay: {label: seconds, kind: regression, after: open, typical: 20}}"""
SCORE = "score=open ** 0.5 * order_all * (1 + 20 * like) * stay"
"""A funnel of three, with late orders, a task beside it, and an amount."""

OUTPUTS = {"open", "order", "order_all", "tip", "tip_all", "like", "stay"}


@pytest.fixture(scope="module")
def richer_logs(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small logs with tips, likes, and seconds that depend on the shop's rating."""
    folder = tmp_path_factory.mktemp("richer")
    random = np.random.default_rng(1)
    for path in sorted(logs.glob("*.parquet")):
        table = pq.read_table(path)
        rating = table.column("rating").to_numpy()
        clicked = table.column("click").to_numpy() == 1
        seconds = np.where(clicked, random.lognormal(rating - 1.0, 0.3), 0.0)
        tipped = (table.column("conversion").to_numpy() == 1) & (random.random(len(rating)) < 0.5)
        liked = random.random(len(rating)) < 0.02 + 0.2 * (rating > 4.2)
        labels = {"tipped": tipped, "liked": liked, "seconds": seconds}
        for name, values in labels.items():
            table = table.append_column(name, pa.array(values.astype(np.float64)))
        pq.write_table(table, folder / path.name)
    return folder


class Run:
    """Every step, as the commands take them."""

    def __init__(self, folder: Path, logs: Path, *settings: str) -> None:
        self.experiment = load_experiment(QUICKSTART, [*SMALL, "evaluation.truth=~", *settings])
        self.logs, self.data = str(logs / "*.parquet"), folder / "data"
        self.job, self.models = Job(folder / "job"), folder / "models"
        _, flags = parse_arguments(["--config", str(QUICKSTART), "--output", str(self.data)])
        DatasetJob(self.experiment, self.logs, str(self.data), tuple(flags)).run()
        pretrain(self.experiment, self.data, self.job)
        finetune(self.experiment, self.data, self.job, ["all", "scene=home", "region=r1"])
        self.result = evaluate(self.experiment, self.data, self.job)
        self.version = export(self.job, self.models)


@pytest.fixture(scope="module")
def five(richer_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    page = "evaluation.page={label: conversion, top: 3}"
    segments = ("data.topic_columns=[rating]", "evaluation.segments=[scene, rating]")
    return Run(tmp_path_factory.mktemp("five"), richer_logs, FIVE, SCORE, page, *segments)


@pytest.fixture(scope="module")
def clicks(richer_logs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its order inside requests is learned, too."""
    task = "tasks={open: {label: click, ranking_loss: {share: 0.3}}}"
    return Run(tmp_path_factory.mktemp("clicks"), richer_logs, task)


def all_names(content: Any) -> set[str]:
    """Keys and texts of JSON, at any depth."""
    if isinstance(content, dict):
        return set(content).union(*map(all_names, content.values()))
    if isinstance(content, list):
        return set().union(*map(all_names, content)) if content else set()
    return {content} if isinstance(content, str) else set()


def test_five_tasks_are_judged_each_by_its_kind(five: Run) -> None:
    result = five.result
    assert set(result.overall) == OUTPUTS
    assert result.ranked == ("open", "order_all", "tip_all", "like")
    for name, figures in result.overall.items():
        assert tuple(figures) == (AMOUNT_METRICS if name == "stay" else METRICS)
    stay = result.overall["stay"]
    assert 0.75 < float(stay["pcoc"].kernel) < 1.35
    assert float(stay["auc"].kernel) > 0.8  # the rating says most of it
    assert float(stay["mae"].kernel) < float(stay["rmse"].kernel)
    stored = json.loads((five.job.reports / "metrics.json").read_text())
    assert EvaluationResult.model_validate(stored) == result
    assert "STAY" in render_table(result)


def test_amounts_are_calibrated_and_ordered(five: Run) -> None:
    result = five.result
    assert set(result.order_agreement or {}) == {"stay"}
    assert float((result.order_agreement or {})["stay"].kernel) > 0.7  # 0.5 by chance
    curves = result.calibration or {}
    assert set(curves) == OUTPUTS
    bins = curves["stay"].kernel.bins
    assert len(bins) == 10
    assert bins[0].observed < bins[-1].observed
    assert 1.0 < bins[-1].predicted < 1_000.0  # seconds, and no probability


def test_numbers_are_cut_into_quarters(five: Run) -> None:
    segments = five.result.segments or {}
    assert list(segments) == ["scene", "rating"]
    counts = [found.rows for found in segments["rating"].values()]
    assert len(counts) == 4
    assert sum(counts) == five.result.rows
    lows = [float(name.split(" to ")[0]) for name in segments["rating"]]
    assert lows == sorted(lows)
    likes = [found.positives["like"] for found in segments["rating"].values()]
    assert likes[-1] > 2 * likes[0]  # the higher rated are liked
    assert "rating=" in render_table(five.result)


def test_pages_are_judged_by_their_score(five: Run, clicks: Run) -> None:
    page = five.result.page
    assert page
    assert (page.label, page.top, clicks.result.page) == ("conversion", 3, None)
    for metric in page.metrics.values():
        assert 0.0 < float(metric.kernel) < 1.0
    assert "the first 3 rows" in render_table(five.result)


def test_an_amount_is_served_in_its_unit(five: Run) -> None:
    rows = pq.read_table(Path(five.logs).parent).slice(0, 200).to_pylist()
    sent = [{**row, "timestamp": row["timestamp"].isoformat()} for row in rows]
    seen = [row["seconds"] for row in rows if row["click"]]
    with serving(five.models) as peer, Client(peer.target, NAME) as client:
        answers = client.predict(sent, "all", ignore_unknown=True)
    assert set(answers[0]) == OUTPUTS | {"score", "served_domain"}
    mean = np.mean([a["stay"] for a, row in zip(answers, rows, strict=True) if row["click"]])
    assert mean == pytest.approx(np.mean(seen), rel=0.35)
    for answer in answers:
        funnel = answer["open"] * answer["order"]
        assert answer["order_all"] == pytest.approx(funnel, rel=1e-5)
        assert answer["tip_all"] == pytest.approx(funnel * answer["tip"], rel=1e-5)
        score = answer["open"] ** 0.5 * answer["order_all"] * (1 + 20 * answer["like"])
        assert answer["score"] == pytest.approx(score * answer["stay"], rel=1e-4)


@pytest.mark.parametrize("run", ["five", "clicks"])
def test_served_is_what_was_trained(run: str, request: pytest.FixtureRequest) -> None:
    done: Run = request.getfixturevalue(run)
    found = check(done.experiment, done.data, done.job, done.models, 300)
    worst = [of["largest_difference"] for of in (*found["domains"].values(), found["rank"])]
    assert max(worst) <= TOLERANCE


def test_a_page_is_ranked_by_the_score(five: Run) -> None:
    user = {"user_id": "u1", "scene": "home", "timestamp": "2025-03-08T12:00:00Z"}
    shops = [{"shop_id": f"s{number}", "rating": 3.5 + number / 10} for number in range(12)]
    with (
        serving(five.models) as peer,
        Ranker(peer.target, NAME) as ranker,
        Ranker(peer.target, NAME, by="like") as by_likes,
    ):
        ranking = ranker.rank(user, shops)
        other = by_likes.rank(user, shops)
    assert ranking.scores == [answer["score"] for answer in ranking.answers]
    assert ranking.order == sorted(range(12), key=lambda place: -ranking.scores[place])
    assert other.scores == [answer["like"] for answer in ranking.answers]


def test_the_score_changes_without_training(five: Run, tmp_path: Path) -> None:
    job = Job(shutil.copytree(five.job.folder, tmp_path / "job"))
    models = shutil.copytree(five.models, tmp_path / "models")
    other = load_experiment(QUICKSTART, [*SMALL, "evaluation.truth=~", FIVE, "score=2 * like"])
    job.choose_score(other)
    assert job.experiment().score == "2 * like"
    row = {"user_id": "u1", "shop_id": "s1", "timestamp": "2025-03-08T12:00:00Z"}
    assert export(job, models).name == "2"
    with serving(models) as peer, Client(peer.target, NAME) as client:
        (answer,) = client.predict([row], "auto")
    assert answer["score"] == 2 * answer["like"]
    with pytest.raises(InputError, match="a score reads the tasks of the backbone"):
        job.choose_score(load_experiment(QUICKSTART, SMALL))
    job.score.write_text(job.score.read_text().replace("like", "open"))
    with pytest.raises(InputError, match=r"run python -m trainer\.task score again"):
        job.experiment()


def test_a_domain_is_ranked_by_a_score_of_its_own(
    five: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Job(shutil.copytree(five.job.folder, tmp_path / "job"))
    settings = [*SMALL, "evaluation.truth=~", FIVE, "evaluation.page={label: conversion, top: 3}"]
    own = {"scene=home": "open - 2 * like", "region=r9": "stay"}
    other = load_experiment(QUICKSTART, [*settings, SCORE, f"scores={json.dumps(own)}"])
    assert job.choose_score(other) == {"all": SCORE.removeprefix("score="), **own}
    assert job.experiment().scores == own
    export(job, tmp_path / "models")
    routed = job_routes(KernelStore(job), job.experiment())
    found = check(routed, five.data, job, tmp_path / "models", 300)
    assert found["domains"].keys() >= own.keys()
    worst = [of["largest_difference"] for of in (*found["domains"].values(), found["rank"])]
    assert max(worst) <= TOLERANCE

    sides: dict[str, Any] = {}
    monkeypatch.setattr(judged_rows, "compare_pages", lambda _, of, draws: sides.update(of) or {})
    page = evaluate(other, five.data, job).page
    assert page
    assert page.scores == other.ranked_by
    note = "pages are judged by the scores of this config"
    assert note not in capsys.readouterr().err
    evaluate(five.experiment, five.data, job)
    assert note in capsys.readouterr().err
    assert "(scene=home by open - 2 * like, region=r9 by stay)" in describe_pages(page)
    sides.clear()
    evaluate(other, five.data, job)
    kernels = [KernelStore(job).load(*of) for of in KernelStore(job).active().items()]
    rows = KernelRows.open(other, five.data, job, kernels, other.topics).of_split("test", "")
    served = TrainerScores(routed, kernels, rows)
    names = {"backbone": "backbone", "kernel": "auto", "all": "all"}
    known = rows.columns["known/conversion"] > 0
    for side, scores in sides.items():
        np.testing.assert_array_equal(scores, served.scores_for(names[side])[0]["score"][known])


def test_what_is_exported_without_an_active_kernel_answers_as_the_backbone(
    five: Run, tmp_path: Path
) -> None:
    job = Job(shutil.copytree(five.job.folder, tmp_path / "job"))
    store = KernelStore(job)
    for domain in store.active():
        store.deactivate(domain)
    export(job, tmp_path / "models")
    routed = job_routes(KernelStore(job), job.experiment())
    found = check(routed, five.data, job, tmp_path / "models", 100)
    assert found["rank"]["largest_difference"] <= TOLERANCE


def test_kernels_answer_together_from_evaluation_to_server(five: Run, tmp_path: Path) -> None:
    job = Job(shutil.copytree(five.job.folder, tmp_path / "job"))
    store = KernelStore(job)
    for domain in ("all", "scene=home", "region=r1"):
        store.activate(domain, 1)
    alone = evaluate(five.experiment, five.data, job)
    together = five.experiment.model_copy(update={"routing": Routing(compose=0.5)})
    result = evaluate(together, five.data, job)
    assert (alone.compose, result.compose) == (None, 0.5)
    assert result.domains == alone.domains
    assert result.overall != alone.overall
    assert "ones together (compose 0.5)" in " ".join(render_table(result).split())

    job.choose_routing(together.routing)
    routed = job_routes(store, job.experiment())
    kernels = [store.load(*of) for of in store.active().items()]
    rows = KernelRows.open(together, five.data, job, kernels, together.topics).of_split("test", "")
    served, names = TrainerScores(routed, kernels, rows).scores_for("auto")
    judged = judged_rows.JudgedRows(together, rows, None)
    figures = judged.figures(served, judged.every)
    for task, metrics in result.overall.items():
        assert {name: pair.kernel for name, pair in metrics.items()} == figures[task]
    assert set(names) >= {"scene=home", "region=r1", "all"}

    export(job, tmp_path / "models")
    found = check(routed, five.data, job, tmp_path / "models", 300)
    worst = [of["largest_difference"] for of in (*found["domains"].values(), found["rank"])]
    assert max(worst) <= TOLERANCE


def test_the_score_of_one_domain_is_chosen_alone(five: Run, tmp_path: Path) -> None:
    job = Job(shutil.copytree(five.job.folder, tmp_path / "job"))

    def config(scores: str) -> Experiment:
        settings = [*SMALL, "evaluation.truth=~", FIVE, "score=like", f"scores={scores}"]
        return load_experiment(QUICKSTART, settings)

    plain = SCORE.removeprefix("score=")
    chosen = job.choose_score(config("{scene=home: open, region=r1: like}"), ["scene=home"])
    assert chosen == job.experiment().ranked_by == {"all": plain, "scene=home": "open"}
    chosen = job.choose_score(config("{region=r1: stay}"), ["region=r1"])
    assert chosen == {"all": plain, "scene=home": "open", "region=r1": "stay"}
    chosen = job.choose_score(config("{region=r1: stay}"), ["scene=home"])
    assert chosen == job.experiment().ranked_by == {"all": plain, "region=r1": "stay"}
    chosen = job.choose_score(config("{}"), ["all"])
    assert chosen == {"all": "like", "region=r1": "stay"}
    assert job.choose_score(config("{}")) == job.experiment().ranked_by == {"all": "like"}


def test_clicks_alone_say_nothing_of_any_other_task(clicks: Run) -> None:
    assert set(clicks.result.overall) == {"open"}
    with serving(clicks.models) as peer, Client(peer.target, NAME) as client:
        row = {"user_id": "u1", "shop_id": "s1", "timestamp": "2025-03-08T12:00:00Z"}
        (answer,) = client.predict([row], "auto")
    assert set(answer) == {"open", "score", "served_domain"}
    assert answer["score"] == answer["open"]
    manifests = [json.loads(path.read_text()) for path in clicks.job.kernels.rglob("*.json")]
    files = [json.loads(path.read_text()) for path in clicks.job.reports.rglob("*.json")]
    said = set().union(*map(all_names, [*manifests, *files]))
    assert not said & {"order", "order_all", "conversion", "ctr", "cvr", "ctcvr"}


def test_a_job_is_not_used_for_other_tasks(five: Run, clicks: Run) -> None:
    other: Experiment = clicks.experiment
    with pytest.raises(Exception, match="tasks") as caught:
        finetune(other, clicks.data, five.job, [])
    assert "was trained for open (click), order (conversion where click is 1)" in str(caught.value)
