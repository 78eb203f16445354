"""Evaluation: the JSON that others read, figures against a reckoning by hand, and the best
reachable ones.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from configs import Experiment, InputError
from configs.domains import is_single_topic
from configs.section import read_section
from preprocessing import filesystem
from tests.object_store import store_folder
from tests.tasks import TARGETS, TASKS
from tests.trainer.conftest import MANIFEST, change_json, one_line, random_kernel, variant
from trainer.backbone.frozen_pass import BackboneOutputs, run_frozen
from trainer.backbone.model import read_tap
from trainer.data.dataset import Dataset
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.kernels.scoring import predicted_rows, score_rows
from trainer.metrics.results import EvaluationResult
from trainer.metrics.task_metrics import METRICS
from trainer.registry.kernel_registry import KernelStore

EMPTY = "region=r9"


NAMES = ("all", "scene=home", "scene=search", "region=r1", "region=r2", "region=r1,scene=home")
SCENES = ("home", "search")
ACTIVE = ("all", "scene=home", "region=r1", "region=r1,scene=home")


@pytest.fixture(scope="module")
def job(
    experiment: Experiment,
    job_dir: Path,
    frozen: keras.Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Job:
    """The small job with kernels that do something, whatever its fine-tuning found."""
    folder = tmp_path_factory.mktemp("evaluate") / "job"
    shutil.copytree(job_dir, folder, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    store = KernelStore(Job(folder))
    shape = KernelShape.of(
        experiment.kernel, read_tap(frozen.output, experiment.kernel.tap).shape[-1]
    )
    for seed, name in enumerate(NAMES):
        record = MANIFEST | {"shape": shape.to_json()}
        version = store.add(name, random_kernel(shape, seed, scale=0.3), record)
        if name in ACTIVE:
            store.activate(name, version)
    return Job(folder)


@pytest.fixture
def job_copy(job: Job, tmp_path: Path) -> Path:
    """A copy of it, to change."""
    return shutil.copytree(job.folder, tmp_path / "job")


@pytest.fixture(scope="module")
def result(experiment: Experiment, dataset_dir: Path, job: Job) -> dict[str, Any]:
    return evaluate(experiment, dataset_dir, job).to_json()


@pytest.fixture(scope="module")
def rows(experiment: Experiment, dataset: Dataset, frozen: keras.Model) -> BackboneOutputs:
    return run_frozen(frozen, dataset, "test", experiment.kernel.tap, "test")


def test_the_json_has_exactly_the_keys_of_the_contract(
    result: dict[str, Any], experiment: Experiment
) -> None:
    keys = [
        "split",
        "overall",
        "domains",
        "oracle",
        "mean",
        "config",
        "backbone_seen",
        "ranking",
        "page",
        "rows",
        "positives",
        "undecided",
        "segments",
        "calibration",
        "order_agreement",
    ]
    assert list(result) == keys
    assert result["split"] == "test"
    assert list(result["domains"]) == [domain.name for domain in experiment.domains]
    assert set(METRICS) == {"auc", "gauc", "log_loss", "ne", "pcoc"}
    assert (
        set(result["overall"]) == set(result["oracle"]) == set(TARGETS) == {"ctr", "cvr", "ctcvr"}
    )
    for task in TARGETS:
        assert set(result["overall"][task]) == set(result["oracle"][task]) == set(METRICS)
        assert all(
            set(figure) == {"backbone", "kernel", "all"}
            for figure in result["overall"][task].values()
        )
        assert set(result["mean"][task]) == set(METRICS)
        assert all(
            set(mean) == {"delta", "ci95", "domains", "off", "delta_all", "ci95_all", "undecided"}
            for mean in result["mean"][task].values()
        )
        for domain in result["domains"].values():
            about = ["served_domain", "version", "decision", "seen", "positives", "undecided"]
            assert list(domain) == ["rows", "active", *about, *TARGETS]
            assert set(domain[task]) == set(METRICS)
            keys = {"backbone", "kernel", "delta", "ci95", "all", "delta_all", "ci95_all"}
            assert all(set(figure) == keys for figure in domain[task].values())
            assert domain["decision"] is None or list(domain["decision"]) == [
                "outcome",
                "reason",
                "against",
                "version",
                "active",
            ]


def test_the_json_is_strict_and_is_what_the_report_reads(result: dict[str, Any], job: Job) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == json.loads(
        (job.reports / "metrics.json").read_text()
    )


@pytest.mark.usefixtures("result")
def test_the_dataset_s_profile_lies_beside_it_for_the_report(dataset_dir: Path, job: Job) -> None:
    assert job.judged_profile.parent == job.reports
    assert job.judged_profile.read_bytes() == (dataset_dir / "profile.json").read_bytes()


def test_a_slice_without_two_classes_is_undefined_with_its_rows_counted(
    result: dict[str, Any],
) -> None:
    assert result["domains"][EMPTY]["rows"] == 0
    for task in TARGETS:
        for figure in result["domains"][EMPTY][task].values():
            assert set(figure.values()) == {"undefined"}
    nothing = {"positives": 0, "negatives": 0}
    assert result["domains"][EMPTY]["undecided"] == dict.fromkeys(TARGETS, nothing)


def test_rows_and_activity_are_those_of_manifest_and_store(
    result: dict[str, Any], dataset: Dataset, job: Job
) -> None:
    for name, domain in result["domains"].items():
        assert domain["rows"] == dataset.manifest.splits["test"].domains[name].rows
        assert domain["active"] is (name in KernelStore(job).active())


def test_what_is_written_is_read_as_it_was(
    result: dict[str, Any], job: Job, experiment: Experiment
) -> None:
    read = read_section(job.reports / "metrics.json", EvaluationResult)
    assert read.to_json() == result
    assert [name for name in read.domains if is_single_topic(name)] == [
        domain.name for domain in experiment.domains if len(domain.conditions) == 1
    ]


def test_the_mean_gain_is_over_the_single_topic_domains_with_a_gain(result: dict[str, Any]) -> None:
    for task in TARGETS:
        for metric in METRICS:
            known = [
                (domain[task][metric]["delta"], domain["active"])
                for name, domain in result["domains"].items()
                if name != "all"
                and "," not in name
                and domain[task][metric]["delta"] != "undefined"
            ]
            mean = result["mean"][task][metric]
            assert mean["domains"] == len(known) > 2
            assert mean["off"] == sum(not active for _, active in known)
            assert mean["delta"] == pytest.approx(np.mean([delta for delta, _ in known]))
            low, high = mean["ci95"]
            assert low < high


def test_segments_are_judged_as_domains_are_but_as_they_are_served(
    dataset_dir: Path, job_copy: Path, result: dict[str, Any], rows: BackboneOutputs
) -> None:
    experiment = variant("evaluation.segments=[scene, shop_id]")
    found = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()
    segments = found.pop("segments")
    assert found.pop("config") != result["config"]
    assert found == {key: result[key] for key in found}
    assert result["segments"] is None
    assert list(segments) == ["scene", "shop_id"]
    assert list(segments["shop_id"])[-1] == "other"
    assert len(segments["shop_id"]) == 21
    for values in segments.values():
        assert sum(segment["rows"] for segment in values.values()) == len(rows.logits)
        for task in TARGETS:
            total = sum(segment["positives"][task] for segment in values.values())
            assert total == result["positives"][task]
    served, _ = served_by_hand(rows, Job(job_copy), experiment)
    for scene in SCENES:
        segment, domain = segments["scene"][scene], result["domains"][f"scene={scene}"]
        assert list(segment) == ["rows", "positives", "undecided", *TARGETS]
        for key in ("rows", "positives", "undecided"):
            assert segment[key] == domain[key]
        for task in TARGETS:
            for metric, cell in segment[task].items():
                assert cell.keys() == domain[task][metric].keys()
                for side in ("backbone", "all"):
                    assert cell[side] == domain[task][metric][side]
                assert cell["ci95"][0] <= cell["ci95"][1]
            inside = np.flatnonzero(rows.columns["topic/scene"] == 1 + SCENES.index(scene))
            expected = auc_of(rows, inside, served[inside], task)
            assert segment[task]["auc"]["kernel"] == pytest.approx(expected, abs=1e-5)


def test_a_segment_that_the_dataset_does_not_keep_is_refused_before_the_pass(
    dataset_dir: Path, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="reads column 'rating', which this dataset") as error:
        evaluate(variant("evaluation.segments=[rating]"), dataset_dir, job)
    one_line(error)
    assert capsys.readouterr() == ("", "")


def test_a_task_with_too_few_outcomes_has_counts_and_no_figure(
    dataset_dir: Path, job_copy: Path, result: dict[str, Any], rows: BackboneOutputs
) -> None:
    minimum = 150
    experiment = variant(f"evaluation.minimum_positives={minimum}")
    found = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()
    few = set()
    for domain in experiment.domains:
        name, inside = domain.name, rows.domain_rows(domain)
        now, before = found["domains"][name], result["domains"][name]
        for task in TARGETS:
            label = "click" if task == "ctr" else "conversion"
            clicked = rows.labels("click")[inside] > 0
            labels = rows.labels(label)[inside][clicked if task == "cvr" else slice(None)]
            outcomes = {"positives": labels.sum(), "negatives": (1 - labels).sum()}
            if min(outcomes.values()) >= minimum:
                assert task not in now["undecided"]
                assert now[task] == before[task]
                continue
            few.add((name, task))
            assert now["undecided"][task] == outcomes
            figures = [cell for metric in now[task].values() for cell in metric.values()]
            assert set(figures) == {"undefined"}
            assert now["rows"] == before["rows"]
    assert 0 < len(few) < len(TARGETS) * len(experiment.domains)
    for task in TARGETS:
        single = [name for name in found["domains"] if is_single_topic(name)]
        undecided = [name for name in single if (name, task) in few]
        decided = [
            delta
            for name in single
            if (delta := found["domains"][name][task]["auc"]["delta"]) != "undefined"
        ]
        mean = found["mean"][task]["auc"]
        assert (mean["undecided"], mean["domains"]) == (len(undecided), len(decided))
        assert mean["delta"] == (pytest.approx(np.mean(decided)) if decided else "undefined")


def test_all_rows_undecidable_have_no_figure_but_their_curve(
    dataset_dir: Path, job_copy: Path, result: dict[str, Any]
) -> None:
    experiment = variant("evaluation.minimum_positives=1_000_000")
    found = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()
    assert list(found["undecided"]) == list(TARGETS)
    for part in ("overall", "oracle"):
        for metrics in found[part].values():
            for figure in metrics.values():
                assert set(figure.values() if part == "overall" else [figure]) == {"undefined"}
    for task, sides in found["calibration"].items():
        for side, curve in sides.items():
            assert curve["ece"] == "undefined"
            assert curve["bins"] == result["calibration"][task][side]["bins"]


def test_calibration_is_of_all_rows_of_a_task_s_space(result: dict[str, Any]) -> None:
    for task, sides in result["calibration"].items():
        for side, curve in sides.items():
            rows = [of["rows"] for of in curve["bins"]]
            assert sum(rows) == (result["positives"]["ctr"] if task == "cvr" else result["rows"])
            assert sum(of["positives"] for of in curve["bins"]) == result["positives"][task]
            predicted = np.average([of["predicted"] for of in curve["bins"]], weights=rows)
            observed = np.average([of["observed"] for of in curve["bins"]], weights=rows)
            pcoc = result["overall"][task]["pcoc"][side]
            assert predicted / observed == pytest.approx(pcoc)
            assert 0.0 <= curve["ece"] < 0.5
    assert result["order_agreement"] == {}


def auc_of(rows: BackboneOutputs, chosen: Any, logits: npt.NDArray[np.float32], task: str) -> float:
    """By scikit-learn, over the task's sample space; the small experiment has no weights."""
    labels = rows.labels("click" if task == "ctr" else "conversion")[chosen]
    inside = rows.labels("click")[chosen] > 0 if task == "cvr" else np.ones(len(labels), bool)
    return float(roc_auc_score(labels[inside], predicted_rows(TASKS, logits)[task][inside]))


def test_a_domains_kernel_is_its_own_active_or_not(
    result: dict[str, Any], rows: BackboneOutputs, job: Job, experiment: Experiment
) -> None:
    store, compared = KernelStore(job), 0
    for domain in experiment.domains:
        kernel = store.active_or_newest(domain.name)
        if kernel is None:
            continue
        inside = rows.domain_rows(domain)
        logits = score_rows(kernel.shape, kernel.weights, rows, inside)
        for task in TARGETS:
            figure = result["domains"][domain.name][task]["auc"]
            assert figure["backbone"] == pytest.approx(
                auc_of(rows, inside, rows.logits[inside], task), abs=1e-9
            )
            assert figure["kernel"] == pytest.approx(auc_of(rows, inside, logits, task), abs=1e-9)
            assert figure["delta"] == pytest.approx(
                figure["kernel"] - figure["backbone"], abs=1e-12
            )
            assert figure["ci95"][0] <= figure["ci95"][1]
            compared += 1
    assert compared >= 3 * len(NAMES)


def test_the_kernel_of_all_traffic_is_the_second_reference(
    result: dict[str, Any], rows: BackboneOutputs, job: Job, experiment: Experiment
) -> None:
    kernel = KernelStore(job).active_or_newest("all")
    assert kernel is not None
    everything = np.arange(len(rows.logits))
    logits = score_rows(kernel.shape, kernel.weights, rows, everything)
    for task in TARGETS:
        overall = result["overall"][task]["auc"]["all"]
        assert overall == pytest.approx(auc_of(rows, everything, logits, task), abs=1e-9)
        for domain in experiment.domains:
            if task in result["domains"][domain.name]["undecided"]:
                continue
            inside = rows.domain_rows(domain)
            figure = result["domains"][domain.name][task]["auc"]
            expected = auc_of(rows, inside, logits[inside], task)
            assert figure["all"] == pytest.approx(expected, abs=1e-9)
            if figure["kernel"] == "undefined":
                assert figure["delta_all"] == "undefined"
                continue
            difference = figure["kernel"] - figure["all"]
            assert figure["delta_all"] == pytest.approx(difference, abs=1e-12)
            assert figure["ci95_all"][0] <= figure["ci95_all"][1]
        for figure in result["domains"]["all"][task].values():
            assert figure["all"] == figure["kernel"]
            assert (figure["delta_all"], figure["ci95_all"]) == (0.0, [0.0, 0.0])


def test_every_domain_says_what_is_judged_what_was_decided_and_what_answers(
    result: dict[str, Any], rows: BackboneOutputs, job: Job, experiment: Experiment
) -> None:
    store = KernelStore(job)
    active, decisions = store.active(), store.decisions()
    assert decisions
    for domain in experiment.domains:
        found = result["domains"][domain.name]
        assert found["version"] == store.active_or_newest_version(domain.name)
        decision = decisions[domain.name].model_dump(
            mode="json", exclude={"tests", "positives", "definition"}
        )
        assert found["decision"] == decision
        assert found["served_domain"] in (*active, "backbone")
        assert (found["served_domain"] == domain.name) is found["active"]
        inside = rows.domain_rows(domain)
        assert found["positives"] == {
            "ctr": rows.labels("click")[inside].sum(),
            "cvr": rows.labels("conversion")[inside].sum(),
            "ctcvr": rows.labels("conversion")[inside].sum(),
        }
    assert result["config"] == hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()


@pytest.mark.parametrize(
    ("split", "backbone", "kernels", "line"),
    [
        ("test", [], [], ""),
        ("pretrain", ["train"], [], "the backbone learned from: its figures flatter them"),
        ("finetune", [], ["train"], r"\d+ of \1 kernels learned from: its figures flatter them"),
        (
            "validation",
            ["validation"],
            ["validation"],
            r"the backbone and \d+ of \1 kernels were stopped or judged by: its figures flatter",
        ),
    ],
)
def test_days_that_trained_or_judged_are_said_to_flatter(
    experiment: Experiment,
    dataset_dir: Path,
    job_copy: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    backbone: list[str],
    kernels: list[str],
    line: str,
) -> None:
    result = evaluate(experiment, dataset_dir, Job(job_copy), split).to_json()
    assert result["backbone_seen"] == backbone
    stored = [domain for domain in result["domains"].values() if domain["version"]]
    assert all(domain["seen"] == kernels for domain in stored)
    said = [text for text in capsys.readouterr().err.splitlines() if "overlaps days" in text]
    assert len(said) == bool(line)
    if line:
        pattern = f"split '{split}' overlaps days that {line}"
        assert re.match(pattern.replace(r"\1", str(len(stored))), said[0])


def auto_domain(row: dict[str, int], active: set[str], experiment: Experiment) -> str:
    """The rule of routing, for this experiment's one pair of crossed topics."""
    value = {
        topic: [None, *settings.names][row[topic]] for topic, settings in experiment.topics.items()
    }
    wanted = [
        f"region={value['region']},scene={value['scene']}",
        *(f"{topic}={value[topic]}" for topic in experiment.topics),
        "all",
    ]
    return next((name for name in wanted if name in active), "backbone")


def served_by_hand(
    rows: BackboneOutputs, job: Job, experiment: Experiment
) -> tuple[npt.NDArray[np.float32], set[str]]:
    """Logits of every row under its auto domain, and which domains these are."""
    store = KernelStore(job)
    served, everything = rows.logits.copy(), np.arange(len(rows.logits))
    kernels = {name: store.load(name, version) for name, version in store.active().items()}
    scores = {
        name: score_rows(kernel.shape, kernel.weights, rows, everything)
        for name, kernel in kernels.items()
    }
    used = set()
    for index in everything:
        row = {topic: int(rows.columns[f"topic/{topic}"][index]) for topic in experiment.topics}
        name = auto_domain(row, set(kernels), experiment)
        used.add(name)
        if name != "backbone":
            served[index] = scores[name][index]
    return served, used


def test_overall_scores_every_row_under_its_auto_domain(
    result: dict[str, Any], rows: BackboneOutputs, job: Job, experiment: Experiment
) -> None:
    served, used = served_by_hand(rows, job, experiment)
    everything = np.arange(len(served))
    assert len(used) > 2
    for task in TARGETS:
        figures = result["overall"][task]["auc"]
        assert figures["backbone"] == pytest.approx(
            auc_of(rows, everything, rows.logits, task), abs=1e-9
        )
        assert figures["kernel"] == pytest.approx(auc_of(rows, everything, served, task), abs=1e-5)
        assert figures["kernel"] != figures["backbone"]


def test_the_oracle_is_the_truth_joined_by_hand(
    result: dict[str, Any], logs: Path, experiment: Experiment
) -> None:
    truth = {
        row["impression_id"]: row
        for path in (logs / "truth").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    split = experiment.splits["test"]
    labels: dict[str, list[int]] = {task: [] for task in TARGETS}
    scores: dict[str, list[float]] = {task: [] for task in TARGETS}
    for path in logs.glob("*.parquet"):
        table = pq.read_table(path, columns=["impression_id", "timestamp", "click", "conversion"])
        for row in table.to_pylist():
            if split.start <= row["timestamp"] < split.end:
                for task in TARGETS if row["click"] else ("ctr", "ctcvr"):
                    labels[task].append(row["click" if task == "ctr" else "conversion"])
                    scores[task].append(truth[row["impression_id"]][task])
    assert len(labels["ctr"]) == result["domains"]["all"]["rows"]
    for task in TARGETS:
        oracle = result["oracle"][task]
        assert oracle["auc"] == pytest.approx(roc_auc_score(labels[task], scores[task]), abs=1e-6)
        assert oracle["log_loss"] == pytest.approx(
            log_loss(labels[task], np.array(scores[task], np.float64)), rel=1e-4
        )
        assert oracle["pcoc"] == pytest.approx(
            np.mean(scores[task]) / np.mean(labels[task]), rel=1e-4
        )
    assert result["oracle"]["ctr"]["auc"] > result["overall"]["ctr"]["auc"]["backbone"]


@pytest.fixture
def moved(dataset_dir: Path, logs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of dataset and truth, to change."""
    data = shutil.copytree(dataset_dir, tmp_path / "data")
    shutil.copytree(logs / "truth", tmp_path / "logs" / "truth")
    change_json(
        data / "manifest.json",
        lambda manifest: manifest.update(input=str(tmp_path / "logs" / "*.parquet")),
    )
    return data, tmp_path / "logs" / "truth"


def test_without_the_truth_there_is_no_oracle(
    moved: tuple[Path, Path], experiment: Experiment, job_copy: Path
) -> None:
    data, truth = moved
    shutil.rmtree(truth)
    assert evaluate(experiment, data, Job(job_copy)).oracle is None


def test_the_truth_may_lie_on_an_object_store(
    moved: tuple[Path, Path],
    experiment: Experiment,
    job_copy: Path,
    store: str,
    result: dict[str, Any],
) -> None:
    data, truth = moved
    place = f"{store}/evaluation/logs"
    store_folder(truth, f"{place}/truth")
    change_json(
        data / "manifest.json", lambda manifest: manifest.update(input=f"{place}/*.parquet")
    )
    assert evaluate(experiment, data, Job(job_copy)).to_json()["oracle"] == result["oracle"]
    filesystem.delete_folder(place)
    assert evaluate(experiment, data, Job(job_copy)).oracle is None


def test_the_truth_beside_logs_whose_folder_is_called_like_a_glob(
    moved: tuple[Path, Path], experiment: Experiment, job_copy: Path, tmp_path: Path
) -> None:
    data, truth = moved
    folder = truth.parent.rename(tmp_path / "logs[1]")
    change_json(data / "manifest.json", lambda manifest: manifest.update(input=str(folder)))
    assert evaluate(experiment, data, Job(job_copy)).oracle is not None


TRUTH_DAMAGE: dict[str, Callable[[Path], object]] = {
    "a day is missing": lambda truth: sorted(truth.glob("*.parquet"))[-1].unlink(),
    "cut": lambda truth: sorted(truth.glob("*.parquet"))[-1].write_bytes(b"PAR1 and no more"),
    "a column is missing": lambda truth: [
        pq.write_table(pq.read_table(path).drop(["cvr"]), path) for path in truth.glob("*.parquet")
    ],
}


@pytest.mark.parametrize("damage", TRUTH_DAMAGE.values(), ids=TRUTH_DAMAGE)
def test_damaged_truth_is_refused_in_one_line(
    damage: Callable[[Path], object],
    moved: tuple[Path, Path],
    experiment: Experiment,
    job_copy: Path,
) -> None:
    data, truth = moved
    damage(truth)
    with pytest.raises(InputError) as error:
        evaluate(experiment, data, Job(job_copy))
    assert str(truth) in one_line(error)


def test_an_unknown_split_is_refused(experiment: Experiment, dataset_dir: Path, job: Job) -> None:
    with pytest.raises(
        InputError, match="'tset' is no split; the config has: pretrain, finetune, validation, test"
    ) as error:
        evaluate(experiment, dataset_dir, job, "tset")
    one_line(error)


def test_another_split_can_be_asked_for(
    experiment: Experiment, dataset: Dataset, dataset_dir: Path, job_copy: Path
) -> None:
    result = evaluate(experiment, dataset_dir, Job(job_copy), "validation").to_json()
    assert result["split"] == "validation"
    assert result["domains"]["all"]["rows"] == dataset.rows("validation")
    assert (
        result["domains"]["all"]
        != evaluate(experiment, dataset_dir, Job(job_copy)).to_json()["domains"]["all"]
    )


def test_without_kernels_everything_is_the_backbone(
    experiment: Experiment, dataset_dir: Path, job_copy: Path
) -> None:
    shutil.rmtree(job_copy / "kernels")
    result = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()
    for task in TARGETS:
        assert all(
            figure["backbone"] == figure["kernel"] for figure in result["overall"][task].values()
        )
        assert result["domains"]["all"][task]["auc"] == {
            "backbone": result["overall"][task]["auc"]["backbone"],
            **dict.fromkeys(
                ("kernel", "delta", "ci95", "all", "delta_all", "ci95_all"), "undefined"
            ),
        }
        assert result["mean"][task]["auc"] == {
            **dict.fromkeys(("delta", "ci95", "delta_all", "ci95_all"), "undefined"),
            "domains": 0,
            "off": 0,
            "undecided": 1,  # the domain without rows
        }
    for domain in result["domains"].values():
        about = (domain["served_domain"], domain["version"], domain["decision"], domain["seen"])
        assert about == ("backbone", None, None, [])


def test_without_a_kernel_of_all_traffic_there_is_no_second_reference(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, result: dict[str, Any]
) -> None:
    KernelStore(Job(job_copy)).remove("all")
    without = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()
    for task in TARGETS:
        assert {cell["all"] for cell in without["overall"][task].values()} == {"undefined"}
        before, after = (found["domains"]["scene=home"][task]["auc"] for found in (result, without))
        second = {"all": "undefined", "delta_all": "undefined", "ci95_all": "undefined"}
        assert after == before | second


def test_a_domain_without_a_kernel_has_both_references(
    experiment: Experiment, dataset_dir: Path, job_copy: Path, result: dict[str, Any]
) -> None:
    KernelStore(Job(job_copy)).remove("scene=home")
    without = evaluate(experiment, dataset_dir, Job(job_copy)).to_json()["domains"]["scene=home"]
    for task in TARGETS:
        for metric, cell in without[task].items():
            before = result["domains"]["scene=home"][task][metric]
            assert (cell["backbone"], cell["all"]) == (before["backbone"], before["all"])
            assert {cell[key] for key in ("kernel", "delta", "delta_all")} == {"undefined"}


def test_a_dataset_that_the_backbone_was_not_trained_for_is_refused(
    experiment: Experiment, other_dataset_dir: Path, job: Job
) -> None:
    with pytest.raises(InputError, match="is not the one that the backbone") as error:
        evaluate(experiment, other_dataset_dir, job)
    one_line(error)
