"""What ships: the sdist that Beam sends to its workers, and the dependencies that setup.py
promises.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any

import apache_beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.stager import Stager

from benchmarks.reliability.listening import worker_pool
from benchmarks.speed.peers.environments import PINS
from preprocessing.beam.dataset_job import Job
from preprocessing.task import parse_arguments
from tests.preprocessing.shop_logs import build, digests, experiment, make_rows, write_json
from tests.serving.conftest import NAME, save, serving

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "preprocessing", "trainer", "serving", "operations", "domain_kernels")

REQUIREMENTS = "requirements-worker.txt"

IN_THE_WORKER = """
import importlib, inspect, json, pickle, pkgutil, sys
from collections.abc import Callable
from importlib.metadata import distribution
from importlib.resources import files
from typing import Any

import apache_beam as beam
from apache_beam.internal import pickler

import configs, preprocessing

experiment = configs.load_experiment(files("configs") / "quickstart.yaml")
arguments = {
    configs.Experiment: experiment,
    str: "x",
    str | None: "x",
    bool: True,
    int: 1,
    frozenset[str]: frozenset({"x"}),
    dict[str, int]: {"x": 1},
    tuple[str, ...]: ("x",),
}
modules = {
    name: importlib.import_module(name)
    for package in (configs, preprocessing)
    for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
}
from preprocessing.features.statistics import Statistics
from preprocessing.logs.schema import LogTable
from preprocessing.profile.data_profile import ReferenceRows
from preprocessing.profile.describe import ReferenceProfile

arguments[Callable[[configs.Experiment], Any]] = Statistics.empty
arguments[LogTable] = LogTable.of(experiment)
reference = ReferenceProfile(ReferenceRows(split="pretrain", rows=1), {})
arguments[ReferenceProfile | None] = reference
steps = {}
for module in modules.values():
    for name, step in inspect.getmembers(module, inspect.isclass):
        ours = step.__module__ == module.__name__
        if ours and issubclass(step, (beam.DoFn, beam.CombineFn, beam.PTransform)):
            parameters = inspect.signature(step).parameters.values()
            own = [arguments[parameter.annotation] for parameter in parameters]
            copies = [
                pickle.loads(pickle.dumps(step(*own))),
                pickler.loads(pickler.dumps(step(*own))),
            ]
            assert [type(copy) for copy in copies] == [step, step], name
            assert all(copy.__dict__.keys() == step(*own).__dict__.keys() for copy in copies), name
            steps[f"{module.__name__}.{name}"] = inspect.getsourcefile(step)
print(json.dumps({
    "modules": {name: module.__file__ for name, module in modules.items()},
    "steps": steps,
    "data": sorted(
        f"{name}/{path.name}"
        for name in ("configs", "preprocessing")
        for path in files(name).iterdir()
    ),
    "requires": distribution("domain-kernel-recommender").requires,
    "path": sys.path,
}))
"""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What Beam itself makes for its workers of the README's command, ``--setup_file=./setup.py``,
    and what the repository holds: their names on the worker, and the files.
    """
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", REQUIREMENTS):
        shutil.copy(ROOT / name, source / name)
    command = ["--config=c", "--output=o", "--runner=DataflowRunner"]
    _, flags = parse_arguments([*command, "--setup_file", str(source / "setup.py")])
    artifacts = Stager.create_job_resources(
        PipelineOptions(flags), str(tmp_path_factory.mktemp("staged"))
    )
    pairs = Stager.extract_staging_tuple_iter(artifacts)
    return {name: Path(path) for path, name, _ in pairs}


@pytest.fixture(scope="module")
def sdist(staged: dict[str, Path]) -> Path:
    """The package that workers install."""
    return staged["workflow.tar.gz"]


def installed(sdist: Path, folder: Path) -> tuple[Path, Path]:
    """A new environment with nothing but the sdist: its Python, and where its packages are."""
    environment, wheels = folder / "environment", folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    subprocess.run(
        [
            *pip,
            "wheel",
            "--no-deps",
            "--no-index",
            "--no-build-isolation",
            "--wheel-dir",
            wheels,
            sdist,
        ],
        check=True,
    )
    python = environment / "bin" / "python"
    subprocess.run(
        [*pip, "--python", python, "install", "--no-deps", "--no-index", *wheels.iterdir()],
        check=True,
    )
    return python, Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))


@pytest.fixture(scope="module")
def worker_python(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new environment with the sdist installed, and of this one the third-party packages alone:
    its Python, and where its packages are.
    """
    python, own = installed(sdist, tmp_path_factory.mktemp("worker"))
    # A line of a .pth file adds the folder, but reads none of its .pth files, so the editable
    # install of this checkout stays out.
    (own / "third_party.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    return python, own


@pytest.fixture(scope="module")
def worker(worker_python: tuple[Path, Path]) -> dict[str, Any]:
    """What a worker finds there."""
    python, own = worker_python
    command = [python, "-I", "-c", IN_THE_WORKER]
    run = subprocess.run(
        command, cwd=python.parents[2], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found | {"own": str(own)}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_every_module_is_imported_from_the_installed_package(worker: dict[str, Any]) -> None:
    assert str(ROOT) not in worker["path"]
    assert all(file.startswith(worker["own"]) for file in worker["modules"].values())
    expected = {
        module_of(path) for package in ("configs", "preprocessing") for path in sources(package)
    }
    assert set(worker["modules"]) | {"configs", "preprocessing"} == expected


def test_every_step_of_the_job_is_pickled_and_found_again(worker: dict[str, Any]) -> None:
    written = {
        f"{module_of(path)}.{node.name}"
        for path in sources("preprocessing")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases}
        & {"beam.DoFn", "beam.CombineFn", "beam.PTransform"}
    }
    assert set(worker["steps"]) == written
    assert len(written) >= 5
    assert all(file.startswith(worker["own"]) for file in worker["steps"].values())


def test_a_pool_of_installed_workers_gives_the_local_dataset(
    worker_python: tuple[Path, Path], tmp_path: Path
) -> None:
    """Beam's own pool starts the workers, from another environment and in another folder, by the
    example of the documentation.
    """
    python, _ = worker_python
    write_json(tmp_path / "logs" / "day.jsonl", make_rows(200))
    expected = build(tmp_path / "logs", tmp_path / "local", "data.row_key=[]")
    flags = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=EXTERNAL")
    logs, output = str(tmp_path / "logs"), str(tmp_path / "portable")
    with worker_pool(tmp_path, python, {"PATH": "/usr/bin:/bin"}) as address:
        given = (*flags, f"--environment_config={address}")
        job = Job(experiment("data.row_key=[]"), logs, output, given, shared_filesystem=True)
        manifest = job.run()
    assert manifest == expected, (tmp_path / "worker_pool_main.txt").read_text()
    assert digests(tmp_path / "portable") == digests(tmp_path / "local")


def test_the_packages_data_is_there(worker: dict[str, Any]) -> None:
    assert {
        "configs/py.typed",
        "configs/globo.yaml",
        "configs/quickstart.yaml",
        "preprocessing/py.typed",
    } <= set(worker["data"])


def test_the_sdist_holds_the_packages_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {str(path.relative_to(ROOT)) for package in PACKAGES for path in sources(package)}
    expected |= {f"{package}/py.typed" for package in PACKAGES}
    expected |= {"setup.py", "README.md", REQUIREMENTS}
    assert expected <= names
    assert not [name for name in names if name.startswith("tests")]


def promised(worker: dict[str, Any], *extras: str) -> list[str]:
    """The requirements of the plain install and of extras, without their markers."""
    lines = []
    for line in worker["requires"]:
        extra = re.search(r"""extra\s*==\s*['"](\w+)['"]""", line)
        if extra is None or extra[1] in extras:
            lines.append(line.partition(";")[0].strip())
    return lines


def test_workers_are_handed_the_requirements_of_the_job(
    worker: dict[str, Any], staged: dict[str, Path]
) -> None:
    handed = staged["requirements.txt"].read_text().split()
    plain, needed = promised(worker), promised(worker, "preprocess")
    assert {normal(re.split(r"[^\w.-]", line)[0]) for line in handed} == {
        normal(re.split(r"[^\w.-]", line)[0]) for line in needed[len(plain) :]
    }
    assert {"tensorflow", "apache-beam", "pyarrow"} <= {line.partition(">")[0] for line in handed}


def test_beam_is_pinned_to_one_minor_version(worker: dict[str, Any]) -> None:
    """Launcher and workers must run the same; Dataflow's image has it installed before this
    package's dependencies are.
    """
    (pin,) = (line for line in promised(worker, "preprocess") if line.startswith("apache-beam"))
    major, minor = apache_beam.__version__.split(".")[:2]
    assert f">={major}.{minor}" in pin
    assert f"<{major}.{int(minor) + 1}" in pin


NAMESPACES = {"google.protobuf": "protobuf"}
"""Modules inside a package that several distributions share."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def providers() -> dict[str, list[str]]:
    """Top-level module -> distributions."""
    return {
        module: sorted({normal(name) for name in names})
        for module, names in packages_distributions().items()
    }


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules of others that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            if name.partition(".")[0] not in {
                *sys.stdlib_module_names,
                *PACKAGES,
                "tests",
                "benchmarks",
                "release",
                "docs",
            }:
                yield name


def distributions_of(module: str) -> set[str]:
    for namespace, provider in NAMESPACES.items():
        if f"{module}.".startswith(f"{namespace}."):
            return {provider}
    return set(providers()[module.partition(".")[0]])


def imports_trainer(path: Path) -> bool:
    return re.search(r"^\s*(from|import) trainer\b", path.read_text(), re.MULTILINE) is not None


def of_a_peer(path: Path) -> bool:
    """Whether a file runs in a peer's own environment, with what
    ``benchmarks.speed.peers.environments`` pins there.
    """
    return path.parent.name == "peers" and path.stem in ("with_deepctr", "with_rechub")


@pytest.mark.parametrize(
    ("files", "extras"),
    [
        (
            [
                path
                for path in sources("configs") + sources("preprocessing")
                if path.stem != "s3_objects"
            ],
            {"preprocess"},
        ),
        (sources("preprocessing"), {"preprocess", "aws"}),
        (
            [
                path
                for room in ("wire", "client", "compare", "load_test")
                for path in sources(f"serving/{room}")
                if path.stem != "plot"
            ],
            {"client"},
        ),  # plots are optional
        (
            [path for path in sources("trainer") if path.parent.name != "tuning"],
            {"train"},
        ),
        (sources("trainer"), {"tune"}),
        (
            [
                path
                for path in sources("serving")
                if not imports_trainer(path) and path.stem != "plot" and path.parent.name != "score"
            ],
            {"serve"},
        ),  # plots are optional
        (sources("serving/score"), {"serve", "preprocess"}),
        (sources("serving"), {"serve", "train"}),
        (
            [path for path in sources("tests") + sources("benchmarks") if not of_a_peer(path)],
            {"serve", "train", "dev", "bench"},
        ),
        (sources("docs"), {"docs"}),
    ],
    ids=[
        "what a Beam worker runs",
        "what asks S3",
        "clients",
        "trainer",
        "trainer with tune",
        "what serves",
        "what scores archives",
        "what exports",
        "tests and benchmarks",
        "what builds the documentation",
    ],
)
def test_every_import_is_promised_by_a_dependency(
    worker: dict[str, Any], files: list[Path], extras: set[str]
) -> None:
    names = {normal(re.split(r"[^\w.-]", line)[0]) for line in promised(worker, *extras)}
    missing = {
        f"{module} ({path.relative_to(ROOT)})"
        for path in files
        for module in imported(path)
        if not distributions_of(module) & names
    }
    assert not missing


@pytest.mark.parametrize(
    ("stem", "peer"), [("with_deepctr", "deepctr"), ("with_rechub", "torch_rechub")]
)
def test_every_import_of_a_peer_is_pinned(stem: str, peer: str) -> None:
    pinned = {normal(pin.partition("==")[0]) for pin in PINS[peer]}
    files = [
        ROOT / "benchmarks" / "speed" / "peers" / f"{name}.py" for name in (stem, "handed")
    ]  # the second: how a peer reads its rows
    modules = {normal(name.partition(".")[0]) for path in files for name in imported(path)}
    assert normal(peer) in modules
    assert modules <= pinned


HEAVY = ("tensorflow", "apache-beam", "keras", "pyarrow", "scipy", "matplotlib")
CLIENT_COMMANDS = {
    "client": [],
    "compare": ["--other-domain=scene=home", "--by=ctr", "--resamples=10", "--json"],
    "load_test": ["--seconds=0.2", "--threads=1"],
}


@pytest.fixture(scope="module")
def client_python(
    sdist: Path, worker: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Python of a new environment with the sdist installed and nothing but what the extra
    ``client`` and its own requirements name.
    """
    python, own = installed(sdist, tmp_path_factory.mktemp("client"))
    assert not [line for line in promised(worker, "client") if line.startswith(HEAVY)]
    waiting = promised(worker, "client")[len(promised(worker)) :]
    names: set[str] = set()
    while waiting:
        name = normal(re.split(r"[^\w.-]", waiting.pop())[0])
        if name not in names:
            names.add(name)
            waiting += [line for line in distribution(name).requires or () if "extra" not in line]
    assert names == {"grpcio", "numpy", "protobuf", "typing-extensions"}
    for name in names:
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                place = own / file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(str(file.locate())))
    return python


def test_clients_need_grpc_numpy_and_protobuf_alone(client_python: Path, tmp_path: Path) -> None:
    save(10, tmp_path / "models" / "10")
    rows = [{"user": user, "time": 1_700_000_000, "domain": "all"} for user in ("u1", "u2")]
    requests = tmp_path / "rows.jsonl"
    requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = {}
    with serving(tmp_path / "models") as peer:
        standard = [f"--target={peer.target}", f"--model-name={NAME}", f"--requests={requests}"]
        for name, flags in CLIENT_COMMANDS.items():
            command = [client_python, "-I", "-m", f"serving.{name}", *standard, *flags]
            run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
            assert all(line.endswith("requests/s") for line in run.stderr.splitlines())  # progress
            answers[name] = run.stdout
    scores = [json.loads(line) for line in answers["client"].splitlines()]
    assert [score["served_domain"] for score in scores] == ["all", "all"]
    assert json.loads(answers["compare"])["rows"] == 2
    assert json.loads(answers["load_test"])["requests"] > 0
