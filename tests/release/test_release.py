"""A release: the wheel, installed alone, runs from an empty folder, and reads and writes what a
checkout does.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from configs import InputError
from configs.digests.code import code_digest
from domain_kernels.version import VERSION
from release.__main__ import build
from release.renaming import Namespace, module_names
from serving.export.export_manifest import sources_of
from tests.conftest import ROOT, SMALL
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes

NAMESPACE = Namespace("above", module_names(["trainer/task.py", "trainer/job.py"]))

IN_THE_WHEEL = """
import json, sys
from pathlib import Path

import domain_kernels
from domain_kernels import Experiment, Ranker, export, pretrain

assert {name for name in sys.modules if name.partition(".")[0] in ("configs", "trainer")} == set()
data, job, own, models, settings = sys.argv[1:]
export(job, models)
with Ranker(models) as ranker:
    (answer,) = ranker.score([{"user_id": "u1", "timestamp": "2025-03-08T12:00:00Z"}], "all")
short = Experiment.load("quickstart.yaml", [*json.loads(settings), "pretrain.epochs=1"])
pretrain(short, data, own)
print(json.dumps({"file": domain_kernels.__file__, "answer": answer}))
"""

OWN_PARTS_BESIDE_THE_WHEEL = """
import json, sys
from pathlib import Path

from domain_kernels import Experiment, Ranker, export, preprocess, pretrain

logs, *settings = sys.argv[1:]
experiment = Experiment.load("quickstart.yaml", settings)
manifest = preprocess(experiment, "data", logs)
pretrain(experiment, "data", "job")
export("job", "models")
with Ranker("models") as ranker:
    rows = [{"user_id": "u1", "timestamp": f"2025-03-08T{hour}:00:00Z"} for hour in (12, 18)]
    scores = [answer["score"] for answer in ranker.score(rows, "backbone")]
checkout = [name for name in sys.modules if name.partition(".")[0] in ("configs", "trainer")]
print(json.dumps({"scores": scores, "checkout": checkout}))
"""
OWN_PARTS = (
    "features.cycle={kind: cyclic_time, side: context, column: timestamp}",
    "backbone.body=wide_and_deep",
    "backbone.options={width: 8}",
    "pretrain.epochs=1",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the tools of this environment; twine has found nothing wrong."""
    files = build(tmp_path_factory.mktemp("release") / "dist", isolated=False)
    (found,) = (path for path in files if path.suffix == ".whl")
    assert len(files) == 2
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bin`` of an environment with the wheel, which sees this one's libraries and no checkout."""
    folder = tmp_path_factory.mktemp("installed") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel],
        check=True,
    )
    (own,) = (folder / "lib").glob("python*/site-packages")
    # a path file's paths are looked at, their path files are not: the checkout stays out of sight
    (own / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


def run(environment: Path, folder: Path, *words: str) -> str:
    """Standard output of a program of the environment, run in a folder."""
    finished = subprocess.run(
        [environment / words[0], *words[1:]],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_everything_in_the_wheel_is_under_one_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        digest = archive.read("domain_kernels/configs/digests/code.sha256").decode().strip()
    assert tops == {"domain_kernels", f"domain_kernel_recommender-{VERSION}.dist-info"}
    modules = {name for name in names if name.endswith(".py")}
    for package in ("configs", "preprocessing", "trainer", "serving", "operations"):
        for path in (ROOT / package).rglob("*.py"):
            assert f"domain_kernels/{path.relative_to(ROOT).as_posix()}" in modules
    assert {
        "domain_kernels/configs/quickstart.yaml",
        "domain_kernels/configs/py.typed",
        "domain_kernels/serving/signature.lock.json",
    } <= set(names)
    assert digest == code_digest()


def test_a_wheel_goes_on_with_a_checkouts_job_and_a_checkout_with_a_wheels(
    environment: Path,
    logs: Path,
    dataset_dir: Path,
    job_copy: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    assert run(environment, folder, "domain-kernels", "--version").split()[1] == VERSION
    (folder / "quickstart.yaml").write_text(
        run(environment, folder, "domain-kernels", "config", "quickstart")
    )
    words = [word for setting in SMALL for word in ("--set", setting)]
    run(
        *(environment, folder, "domain-kernels", "preprocess", "--config=quickstart.yaml"),
        *(f"--input={logs}/*.parquet", "--output=data", *words),
    )
    both = (dataset_dir / "manifest.json", folder / "data" / "manifest.json")
    ours, theirs = (json.loads(manifest.read_text()) for manifest in both)
    same = ("data_digest", "transform_digest", "splits", "transform_files", "golden_requests")
    assert {name: theirs[name] for name in same} == {name: ours[name] for name in same}

    places = (folder / "data", job_copy, folder / "own", folder / "models")
    said = run(
        *(environment, folder, "python", "-c", IN_THE_WHEEL, *map(str, places)), json.dumps(SMALL)
    )
    found = json.loads(said.splitlines()[-1])
    assert found["file"].startswith(str(environment.parent))
    assert found["answer"]["served_domain"] in ("all", "backbone")
    job = Job(job_copy)
    record = json.loads((folder / "models" / "1" / "assets.extra" / "export.json").read_text())
    assert record["sources"] == sources_of(job, job_routes(KernelStore(job), job.experiment()))

    own = Job(folder / "own")
    assert load_frozen(own, own.experiment()).count_params() > 0


def installed_beside(environment: Path, package: Path) -> None:
    """A package's folder, installed in the environment."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    python = str(environment / "python")
    subprocess.run([*pip, "--python", python, "install", *alone, package], check=True)


def test_parts_of_ones_own_are_trained_and_exported_beside_the_wheel(
    environment: Path, logs: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples" / "own_parts", tmp_path / "own_parts")
    installed_beside(environment, tmp_path / "own_parts")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "quickstart.yaml").write_text(
        run(environment, folder, "domain-kernels", "config", "quickstart")
    )
    words = (OWN_PARTS_BESIDE_THE_WHEEL, f"{logs}/*.parquet", *SMALL, *OWN_PARTS)
    found = json.loads(run(environment, folder, "python", "-c", *words).splitlines()[-1])
    assert found["checkout"] == []
    assert found["scores"][0] != found["scores"][1]


def test_a_package_that_imports_a_checkouts_names_is_told_the_wheels(
    environment: Path, tmp_path: Path
) -> None:
    info = tmp_path / "former-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: former\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[domain_kernels.bodies]\nold = former_body:body\n")
    (tmp_path / "former_body.py").write_text("from trainer.backbone.bodies.builder import Build\n")
    look = (
        "import sys; sys.path.insert(0, '.')\n"
        "from domain_kernels import InputError\n"
        "from domain_kernels.configs.plugins import BODIES, installed, load\n"
        "try: load(installed(BODIES)['old'])\n"
        "except InputError as error: print(error)\n"
    )
    assert "'old' of package former cannot be loaded: ModuleNotFoundError" in (
        said := run(environment, tmp_path, "python", "-c", look)
    )
    assert said.endswith("; import its names from domain_kernels.parts\n")


@pytest.mark.parametrize("name", ["job", "x"])
@pytest.mark.parametrize("before", ["", "./", "x", "run ", "a.", "("])
def test_a_text_names_a_module_only_where_there_is_one(before: str, name: str) -> None:
    text = f"{before}trainer.{name}.Job"
    renamed = NAMESPACE.in_text(text)
    ours = name == "job" and before in ("", "run ", "(")
    assert renamed == (f"{before}above.trainer.{name}.Job" if ours else text)


def test_code_is_renamed_in_imports_and_texts_alone() -> None:
    source = (
        "import trainer.job as job  # trainer.task\n"
        "from trainer.task import main\n"
        "trainer = job.trainer.task\n"
        'X = f"run trainer.task {trainer.x} now"\n'
        '"""Says\n trainer.job twice: trainer.job."""\n'
    )
    lines = NAMESPACE.in_code(source, "x.py").splitlines()
    assert lines[:3] == [
        "import above.trainer.job as job  # above.trainer.task",
        "from above.trainer.task import main",
        "trainer = job.trainer.task",
    ]
    assert lines[4:] == ['"""Says', ' above.trainer.job twice: above.trainer.job."""']


def test_an_import_whose_name_a_release_would_not_have_is_refused() -> None:
    with pytest.raises(InputError, match=r"x\.py:1: 'import trainer\.job' gives the name"):
        NAMESPACE.in_code("import trainer.job\ntrainer.job.Job()\n", "x.py")


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("x")
    with pytest.raises(InputError, match="holds other files"):
        build(tmp_path, isolated=False)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
