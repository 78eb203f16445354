"""What README and docs say of the code is there: files, functions, commands, floors, pictures; and
the README's example runs.
"""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from configs.operations.drift import Drift
from configs.operations.growth import Growth
from configs.operations.refresh import Refresh
from docs.generate.config_reference import anchor
from docs.generate.hooks import GENERATED
from operations.drift.drift_result import (
    BackboneAge,
    DomainCalibration,
    DriftResult,
    FeatureDrift,
    RowsRead,
    Shares,
    TaskAge,
    ValueChange,
)
from operations.refresh.summary import Auc, DomainChange, Model, Summary
from preprocessing.beam.runners import check_runner
from preprocessing.dataset.manifest import FileEntry, Growing, GrownFeature
from preprocessing.profile.data_profile import (
    Bins,
    Change,
    DataProfile,
    Description,
    FeatureProfile,
    LabelRates,
    Reference,
    ReferenceRows,
)
from preprocessing.task import parse_arguments
from serving.score.score_result import ScoreResult
from serving.selfcheck import running_server
from serving.wire.training_logs import TrainingLogs
from tests.test_architecture import FLOORS
from trainer.fleet.folders import ShardRecord
from trainer.fleet.plan import Asked, Plan, TrainedRecord
from trainer.metrics.explanation_results import (
    Dependence,
    ExplainedRow,
    GateUse,
    Importance,
    InputEffect,
    InputLoss,
    Loss,
    ReadInput,
    RequestExplanation,
    SliceImportance,
)
from trainer.metrics.results import (
    Calibration,
    CalibrationBin,
    CalibrationPair,
    DomainComparison,
    DomainDecision,
    DomainResult,
    EvaluationResult,
    MeanGain,
    Outcomes,
    PageComparison,
    PageResult,
    SegmentResult,
)
from trainer.registry.history import Event
from trainer.tuning.results import Trial, TuneResult

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
] + sorted((ROOT / "docs").rglob("*.md"))
IMAGES = ROOT / "docs" / "images"
DRAWINGS = sorted(
    path.stem.removesuffix("-light")
    for path in IMAGES.glob("*-light.svg")
    if path.stem != "results-light"  # a plot, drawn twice
)
FOLDERS = (
    "configs",
    "preprocessing",
    "trainer",
    "serving",
    "operations",
    "domain_kernels",
    "release",
    "benchmarks",
    "tests",
    "docs",
    "deploy",
)
PLACE = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)(?:: (\w+))?`")
MOST_COLUMNS = 100
SVG = "{http://www.w3.org/2000/svg}"


def blocks(page: Path, language: str = "") -> list[str]:
    """The contents of a page's fenced blocks of one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [content for named, content in found if named == language]


def top_level_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_places_in_the_code_exist(page: Path) -> None:
    places = PLACE.findall(page.read_text())
    missing = [path for path, _ in places if not (ROOT / path).exists()]
    missing += [
        f"{path}: {name}"
        for path, name in places
        if name and (ROOT / path).is_file() and name not in top_level_names(ROOT / path)
    ]
    assert not missing


def test_the_architecture_page_names_many_places() -> None:
    places = PLACE.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len([name for _, name in places if name]) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    generated = {(ROOT / "docs" / name).resolve() for name in GENERATED}
    missing = [
        link
        for link in links
        if not link.startswith("https://")
        and (found := (page.parent / link.partition("#")[0]).resolve()) not in generated
        and not found.exists()
    ]
    assert not missing


def test_anchors_of_links_into_the_docs_exist() -> None:
    """Those of the docs' own pages are checked where the site is built."""
    outside = [page for page in PAGES if (ROOT / "docs") not in page.parents]
    links = [
        link
        for page in outside
        for link in re.findall(r"\]\((docs/[\w/-]+\.md#[^)]+)\)", page.read_text())
    ]
    assert len(links) > 20
    for link in links:
        path, _, wanted = link.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(), re.MULTILINE)
        assert wanted in {anchor(heading.replace("`", "")) for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    modules = set(re.findall(r"python -m ([\w.]+)", page.read_text()))
    assert not {name for name in modules if importlib.util.find_spec(name) is None}


def test_every_command_for_a_cluster_is_understood() -> None:
    text = "".join(blocks(ROOT / "docs" / "scaling.md")).replace("\\\n", " ")
    commands = re.findall(r"^python -m preprocessing\.task (.*)$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        ours, flags = parse_arguments(shlex.split(command))
        assert ours.config and ours.input and ours.output
        paths = {"--input": ours.input, "--output": ours.output}
        check_runner(PipelineOptions(flags), paths, ours.shared_filesystem)


def test_the_boot_that_is_explained_is_the_one_that_is_there() -> None:
    (start,) = re.findall(r"^exec .*$", (ROOT / "deploy/portable/boot").read_text(), re.MULTILINE)
    assert any(start in block for block in blocks(ROOT / "docs" / "scaling.md"))


def test_lines_of_the_readme_s_blocks_are_short() -> None:
    lines = [
        line
        for language in ("", "python")
        for block in blocks(ROOT / "README.md", language)
        for line in block.splitlines()
    ]
    assert lines
    assert not [line for line in lines if len(line) > MOST_COLUMNS]


def test_the_drawn_floors_are_the_enforced_ones() -> None:
    block = next(
        block for block in blocks(ROOT / "docs" / "architecture.md") if block.startswith("configs ")
    )
    drawn: dict[str, tuple[tuple[str, ...], ...]] = {}
    for line in re.sub(r"\n +>", " >", block).splitlines():
        package, _, floors = line.partition(" ")
        drawn[package] = tuple(tuple(floor.split()) for floor in floors.split(">"))
    enforced = {package: floors for package, floors in FLOORS.items() if package}
    assert {package: [set(floor) for floor in floors] for package, floors in drawn.items()} == {
        package: [set(floor) for floor in floors] for package, floors in enforced.items()
    }


def test_every_key_of_an_evaluation_is_explained() -> None:
    kinds = (
        EvaluationResult,
        DomainResult,
        DomainDecision,
        DomainComparison,
        MeanGain,
        Outcomes,
        PageComparison,
        PageResult,
        SegmentResult,
        Calibration,
        CalibrationBin,
        CalibrationPair,
    )
    keys = {key for kind in kinds for key in kind.model_fields} - {"tasks"}
    assert keys <= explained("architecture.md", "### What `evaluate --json` prints")


def test_every_key_of_a_profile_is_explained() -> None:
    kinds = (
        Bins,
        Change,
        DataProfile,
        Description,
        FeatureProfile,
        LabelRates,
        Reference,
        ReferenceRows,
    )
    keys = {key for kind in kinds for key in kind.model_fields}
    assert keys <= explained("config.md", "## What the data looks like")


def explained(page: str, title: str) -> set[str]:
    """The words in code style of a section of a page, blocks left out."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n{title}")[2]
    section = section.partition(f"\n{title.partition(' ')[0]} ")[0]
    section = re.sub(r"^```.*?^```$", "", section, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"[\w]+", " ".join(re.findall(r"`([^`]+)`", section))))


def test_every_key_of_an_explanation_is_explained() -> None:
    page = (ROOT / "docs" / "explanation.md").read_text()
    section = page.partition("## What `explain --json` prints")[2]
    kinds = (
        Importance,
        ReadInput,
        SliceImportance,
        InputLoss,
        Loss,
        GateUse,
        Dependence,
        Outcomes,
        RequestExplanation,
        ExplainedRow,
        InputEffect,
    )
    keys = {key for kind in kinds for key in kind.model_fields}
    explained = set(re.findall(r"[\w]+", " ".join(re.findall(r"`([^`]+)`", section))))
    assert keys <= explained


def test_every_key_of_a_plan_of_shards_is_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("| key of `plan.json`, sealed | holds |")[2].partition("\n### ")[0]
    explained = set(re.findall(r"`(\w+)`", section))
    kinds = (Plan, Asked, TrainedRecord, ShardRecord)
    assert {key for kind in kinds for key in kind.model_fields} <= explained


def test_every_key_of_a_search_is_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("written by `trainer.task tune`")[2].partition("\n### ")[0]
    explained = set(re.findall(r"`(\w+)`", section))
    assert {*TuneResult.model_fields, *Trial.model_fields} <= explained


def test_every_key_of_scores_is_explained() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("written by `serving.score`")[2].partition("\n### ")[0]
    explained = set(re.findall(r"`(\w+)`", section))
    assert {*ScoreResult.model_fields, *FileEntry.model_fields} <= explained
    (line,) = re.findall(r"^\| `assets.extra/logs.json` .*$", page, re.MULTILINE)
    assert set(TrainingLogs.model_fields) <= set(re.findall(r"`(\w+)`", line))


def test_every_key_of_a_summary_and_of_a_history_is_explained() -> None:
    summaries = {key for kind in (Summary, DomainChange, Auc, Model) for key in kind.model_fields}
    assert summaries <= explained("operations.md", "### What `summary.json` holds")
    assert set(Event.model_fields) <= explained("operations.md", "## The week")
    assert set(Refresh.model_fields) <= explained("operations.md", "## The day")


def test_every_key_of_what_goes_on_is_explained() -> None:
    assert set(Growth.model_fields) <= explained("config.md", "## How the backbone trains")
    files = explained("architecture.md", "### `<data>/`") | explained(
        "architecture.md", "### `<job>/`"
    )
    assert {*Growing.model_fields, *GrownFeature.model_fields} <= files
    assert {"ancestors", "learned", "shape", "kernels", "transform", "backbone", "job"} <= files


def test_every_key_of_drift_is_explained() -> None:
    kinds = (
        DriftResult,
        RowsRead,
        Shares,
        ValueChange,
        FeatureDrift,
        DomainCalibration,
        TaskAge,
        BackboneAge,
        Drift,
    )
    keys = {key for kind in kinds for key in kind.model_fields}
    assert keys <= explained("monitoring.md", "## Drift")


@pytest.mark.parametrize("name", DRAWINGS)
def test_light_and_dark_drawings_differ_in_their_style_alone(name: str) -> None:
    def without_style(mode: str) -> bytes:
        root = ElementTree.parse(IMAGES / f"{name}-{mode}.svg").getroot()  # noqa: S314 - our own
        for style in root.findall(f"{SVG}style"):
            root.remove(style)
        return ElementTree.tostring(root)

    assert without_style("light") == without_style("dark")


def test_the_readme_s_example_ranks(models_dir: Path) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    assert '"127.0.0.1:8500"' in code
    with running_server(models_dir, "quickstart") as target:
        done = subprocess.run(
            [sys.executable, "-c", code.replace("127.0.0.1:8500", target)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    scores = [float(score) for _, score, _ in lines]
    assert len(lines) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
