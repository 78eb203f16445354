"""The rules of the house, read from every module's source: who may import whom, and what nobody
may do.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "preprocessing", "trainer", "serving", "operations", "domain_kernels")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
FLOORS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (
        ("domain_kernels",),
        ("operations",),
        ("serving",),
        ("trainer",),
        ("preprocessing",),
        ("configs",),
    ),
    "configs": (
        ("cli",),
        ("load",),
        ("schema",),
        ("consistency", "domain_definitions"),
        ("domains",),
        ("topics",),
        ("features", "memory", "operations", "simulation", "training", "tuning", "windows"),
        ("prediction",),
        ("plugins", "section"),
        ("digests",),
        ("files",),
        ("asides", "calls"),
        (
            "domain_names",
            "errors",
            "progress",
            "random_streams",
            "tensorflow_import",
            "terminal",
            "values",
        ),
    ),
    "preprocessing": (
        ("flex_template",),
        ("task", "simulate", "suggest"),
        ("beam", "simulator", "suggestion"),
        ("profile",),
        ("dataset",),
        ("features", "validation"),
        ("logs", "remote"),
        ("auc", "filesystem", "hashing"),
        ("s3_objects",),
    ),
    "trainer": (
        ("task",),
        ("steps",),
        ("fleet", "tuning"),
        ("training",),
        ("ancestry", "distillation", "explanation"),
        ("evaluation",),
        ("prerequisites",),
        ("registry",),
        ("kernels", "memory"),
        ("backbone",),
        ("reports",),
        ("data", "losses", "metrics"),
        ("distribution", "job", "staging", "target_rows"),
    ),
    "serving": (
        ("selfcheck", "signature_lock"),
        ("compare", "in_process", "load_test", "score"),
        ("client", "server", "export"),
        ("wire",),
    ),
    "operations": (("mlflow_export",), ("refresh",), ("drift",)),
    "domain_kernels": (("__main__",), ("command", "parts"), ("places", "version")),
}
"""Package -> its rooms from the top floor down. A room may import what stands on a floor below its
own; rooms of one floor know nothing of each other. A single file is a room like a folder.
"""
MOST_FILES = 20
SERVERS = (
    "serving.server.__main__",
    "serving.client.__main__",
    "serving.load_test.__main__",
    "serving.compare.__main__",
)
MODEL_LIBRARIES = ("keras", "tf_keras", "tensorflow_recommenders", "keras_rs")


def parse(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """Absolute names of everything that a module imports anywhere, functions and type-checking
    blocks included.
    """
    found: set[str] = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative imports hide what is imported"
            base = node.module or ""
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and dotted(node.func) in (
            "importlib.import_module",
            "__import__",
        ):
            found |= {
                argument.value for argument in node.args if isinstance(argument, ast.Constant)
            }
    return found


def top(name: str) -> str:
    return name.partition(".")[0]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a name or attribute, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def reachable(module: str) -> set[str]:
    """Our modules that importing one loads, itself and the packages above them included."""
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        parents = {name.rpartition(".")[0]} if "." in name else set()
        waiting |= ({found for found in imports(name) if found in MODULES} | parents) - seen
    return seen


def uses(module: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every name, attribute, imported name and keyword argument
    ``keyword=constant``.
    """
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, dotted(node)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            yield node.value.lineno, f"{node.arg}={node.value.value}"


def test_every_package_is_looked_at() -> None:
    assert {top(module) for module in MODULES} == set(PACKAGES)
    assert len(MODULES) > 50


def room(module: str, package: str) -> str:
    """The room of ``package`` that a module is in; empty for the package itself or another's."""
    prefix = f"{package}." if package else ""
    return module.removeprefix(prefix).partition(".")[0] if module.startswith(prefix) else ""


@pytest.mark.parametrize("package", FLOORS, ids=lambda package: package or "packages")
def test_nothing_looks_upward(package: str) -> None:
    height = {name: floor for floor, rooms in enumerate(FLOORS[package]) for name in rooms}
    wrong = []
    for module in MODULES:
        if not (own := room(module, package)):
            continue
        assert own in height, f"{module}: room '{own}' stands on no floor of '{package}'"
        for found in imports(module):
            other = room(found, package)
            if other in height and other != own and height[other] <= height[own]:
                wrong.append(f"{module} imports {found}")
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_is_small_enough_to_look_around_in(package: str) -> None:
    folders: dict[Path, int] = {}
    for path in (ROOT / package).rglob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            folders[path.parent] = folders.get(path.parent, 0) + 1
    assert folders
    assert not {folder: count for folder, count in folders.items() if count > MOST_FILES}


def test_tests_mirror_the_rooms() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    strange = {
        folder.relative_to(ROOT / "tests")
        for folder in folders
        if not (ROOT / folder.relative_to(ROOT / "tests")).is_dir()
    }
    assert not strange


def test_workers_stay_light() -> None:
    wrong = {
        module: found
        for module in MODULES
        if top(module) in ("configs", "preprocessing")
        and (found := set(map(top, imports(module))) & set(MODEL_LIBRARIES))
    }
    assert not wrong


def test_configs_do_not_import_tensorflow_but_to_quiet_it() -> None:
    assert {
        module
        for module in MODULES
        if top(module) == "configs" and "tensorflow" in map(top, imports(module))
    } == {"configs.tensorflow_import"}


def test_tensorflow_is_imported_in_one_way() -> None:
    """``configs.tensorflow_import`` keeps its start-up noise away."""
    others = {
        module
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, ast.Import) and "tensorflow" in {alias.name for alias in node.names}
    }
    assert others == {"configs.tensorflow_import"}


@pytest.mark.parametrize("module", SERVERS)
def test_servers_and_clients_know_no_model_code(module: str) -> None:
    loaded = reachable(module)
    assert not {name for name in loaded if top(name) in ("trainer", "preprocessing")}
    assert not {name for name in loaded if set(map(top, imports(name))) & set(MODEL_LIBRARIES)}


FORBIDDEN = {
    "tf.keras": "Keras 3 is 'import keras'",
    "tensorflow.keras": "Keras 3 is 'import keras'",
    "pickle": "runs what a file says",
    "cloudpickle": "runs what a file says",
    "dill": "runs what a file says",
    "marshal": "runs what a file says",
    "joblib": "runs what a file says",
    "eval": "runs what a text says",
    "exec": "runs what a text says",
    "yaml.load": "yaml.safe_load reads data only",
    "yaml.unsafe_load": "yaml.safe_load reads data only",
    "yaml.full_load": "yaml.safe_load reads data only",
    "keras.layers.Lambda": "cannot be reloaded in safe mode",
    "layers.Lambda": "cannot be reloaded in safe mode",
    "keras.config.enable_unsafe_deserialization": "turns safe mode off",
    "safe_mode=False": "turns safe mode off",
    "allow_pickle=True": "runs what a file says",
    "shell=True": "runs what a text says",
    "tf.py_function": "cannot be served",
    "tf.numpy_function": "cannot be served",
    "os.system": "runs what a text says",
}

ASKED = {("trainer.steps", "tensorflow.keras")}
"""What is looked at and not used: ``check_keras`` asks which Keras the caller's ``tf.keras`` is."""


@pytest.mark.parametrize("module", MODULES)
def test_nothing_forbidden_is_used(module: str) -> None:
    wrong = [
        f"{MODULES[module]}:{line}: {name}: {why}"
        for line, name in uses(module)
        for forbidden, why in FORBIDDEN.items()
        if name == forbidden or name.startswith(f"{forbidden}.")
        if (module, name) not in ASKED
    ]
    assert not wrong


def test_nobody_asks_for_the_class_of_a_feature() -> None:
    kinds = {
        node.name
        for module in MODULES
        if module.startswith("configs.features.")
        for node in parse(module).body
        if isinstance(node, ast.ClassDef) and re.fullmatch(r"[A-Z]\w*Feature", node.name)
    }
    assert len(kinds) > 4
    named = {
        module: found
        for module in MODULES
        if not module.startswith("configs.features")
        and (found := {name.rpartition(".")[2] for _, name in uses(module)} & kinds)
    }
    assert named.pop("preprocessing.features.kinds.registry") == kinds
    # a file of a kind names its own settings alone
    assert all(module.startswith("preprocessing.features.kinds.") for module in named)
    owners = [kind for found in named.values() for kind in found]
    assert sorted(owners) == sorted(kinds)
    asked = [
        f"{MODULES[module]}:{call.lineno}"
        for module in MODULES
        for call in ast.walk(parse(module))
        if isinstance(call, ast.Call)
        and dotted(call.func) in ("isinstance", "issubclass")
        and {node.id for node in ast.walk(call) if isinstance(node, ast.Name)} & kinds
    ]
    assert not asked


WRITERS = {
    "write_text",
    "write_bytes",
    "rename",
    "renames",
    "link",
    "symlink",
    "symlink_to",
    "hardlink_to",
    "touch",
    "mkstemp",
    "mkdtemp",
    "TemporaryFile",
    "NamedTemporaryFile",
    "TemporaryDirectory",
    "SpooledTemporaryFile",
    "copy2",
    "copyfile",
    "copytree",
    "move",
    "truncate",
    "save",
    "savez",
    "savez_compressed",
    "savetxt",
    "tofile",
    "memmap",
    "open_memmap",
    "savefig",
    "write_table",
    "ParquetWriter",
    "TFRecordWriter",
    "write_file",
    "SaveV2",
    "MergeV2Checkpoints",
    "create_file_writer",
    "CheckpointManager",
}
"""Last names of calls that write or rename a file, whatever their arguments."""
OURS = ("", "files", "filesystem")
"""On what our own functions of such names are called."""

WRITTEN_ELSEWHERE = {
    "configs.cli": {"os.open": "the null device"},
    "configs.tensorflow_import": {"tempfile.TemporaryFile": "never has a name"},
    "preprocessing.beam.dataset_job": {"given.save": "by preprocessing.filesystem"},
    "preprocessing.beam.duplicates": {"np.save": "into memory"},
    "preprocessing.features.ids": {"path.write_bytes": "into the transform's temporary folder"},
    "preprocessing.features.transform": {
        "tempfile.TemporaryDirectory": "for TensorFlow to read vocabularies from, while it builds",
    },
    "preprocessing.filesystem": {
        "remote.create": "Beam's",
        "remote.rename": "Beam's",
    },
    "preprocessing.flex_template": {"tempfile.TemporaryDirectory": "for the config, while it runs"},
    "preprocessing.s3_objects": {"s3.open": "Beam's"},
    "preprocessing.remote.__main__": {"shutil.copytree": "into an atomic_directory"},
    "preprocessing.remote.folder": {"tempfile.TemporaryDirectory": "of a part that is read"},
    "preprocessing.simulate": {"pq.write_table": "into an atomic_directory"},
    "trainer.backbone.saving": {"model.save": "into an atomic_file or atomic_directory"},
    "trainer.backbone.stored_taps": {
        "np.lib.format.open_memmap": "into an atomic_directory",
        "path.open": "the same file, whose place on the disk is taken",
    },
    "trainer.distillation.stored_scores": {
        "tf.io.TFRecordWriter": "into an atomic_directory",
    },
    "trainer.backbone.stored_outputs": {
        "np.save": "into an atomic_directory",
        "np.savez": "into an atomic_directory",
    },
    "trainer.kernels.kernel_files": {"np.savez": "into memory"},
    "preprocessing.beam.dofns": {"new.save": "a transform, by filesystem.write"},
    "trainer.ancestry.weights": {
        "tempfile.TemporaryDirectory": "vocabularies that a look-up reads once",
    },
    "trainer.memory.memory_store": {"np.savez": "into memory"},
    "trainer.registry.kernel_version": {"np.savez": "into memory"},
    "trainer.reports.plots": {"figure.savefig": "into memory"},
    "trainer.training.kernel_training": {
        "tf.summary.create_file_writer": "TensorBoard's logs grow"
    },
    "trainer.training.claim": {"dataset.fitted.save": "into an atomic_directory"},
    "trainer.training.pretrain": {
        "tf.summary.create_file_writer": "TensorBoard's logs grow",
        "self.checkpoints.save": "TensorFlow's own way; a run without them starts again",
    },
    "trainer.training.checkpoints": {
        "tf.train.CheckpointManager": "TensorFlow's own way; a run without them starts again",
        "self.best.save": "TensorFlow's own way; a run without them starts again",
        "self.latest.save": "TensorFlow's own way; a run without them starts again",
    },
    "serving.export.golden_cases": {"np.savez": "into memory"},
    "serving.export.sharded_checkpoint": {
        "tf.raw_ops.SaveV2": "into an atomic_directory",
        "tf.raw_ops.MergeV2Checkpoints": "into an atomic_directory",
    },
    "serving.export.version_writer": {"tf.saved_model.save": "into an atomic_directory"},
    "serving.export.warmup_requests": {"tf.io.TFRecordWriter": "into an atomic_directory"},
    "serving.score.archive_model": {
        "tempfile.mkdtemp": "among the process's temporary files, of a model that is elsewhere",
    },
    "serving.score.score_batches": {"pq.write_table": "into memory"},
    "serving.server.request_log.rotated_files": {
        "os.open": "a log grows; who reads it leaves out half a record at its end",
        "os.fdopen": "the same file, which its owner alone may read",
    },
    "serving.load_test.plot": {"figure.savefig": "into an atomic_file"},
}
"""Module -> what writes there without ``configs.files``, and why it may."""


def writes(module: str) -> set[str]:
    """Dotted names of the calls by which a module writes, renames or replaces a file."""
    found = set()
    for node in ast.walk(parse(module)):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        owner, _, last = (
            name or f"?.{node.func.attr if isinstance(node.func, ast.Attribute) else ''}"
        ).rpartition(".")
        constants = [
            argument.value
            for argument in (*node.args, *(keyword.value for keyword in node.keywords))
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
        if last in ("open", "fdopen"):
            for_writing = owner == "os" or any(
                set(mode) <= set("rwxabt+") and set(mode) & set("wxa+") for mode in constants
            )
        elif last == "replace":  # a path's has one argument, a text's two, a moment's keywords
            for_writing = owner == "os" or (len(node.args) == 1 and not node.keywords)
        elif last == "copy":
            for_writing = owner == "shutil"
        else:
            for_writing = last in WRITERS and owner not in OURS
        if for_writing or name == "remote.create":
            found.add(name or last)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_files_are_written_by_configs_files_alone(module: str) -> None:
    if module not in ("configs.files", "configs.asides"):
        assert writes(module) == WRITTEN_ELSEWHERE.get(module, {}).keys()


def test_what_writes_is_found() -> None:
    assert writes("configs.files") >= {
        "half.open",
        "half.replace",
        "source.replace",
        "new.rename",
        "os.link",
        "shutil.copyfile",
    }
    assert writes("configs.asides") >= {"open", "os.open", "tempfile.mkdtemp", "new.rename"}
    assert WRITTEN_ELSEWHERE.keys() <= MODULES.keys()


def test_only_the_trainer_package_sets_legacy_keras() -> None:
    flag = "TF_USE_LEGACY_KERAS"
    setters = {
        module
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, ast.Constant) and node.value == flag
    }
    assert setters == {"trainer"}


def test_no_import_cycles() -> None:
    def cycle(module: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in path:
            return (*path[path.index(module) :], module)
        if module in done:
            return None
        for found in sorted(imports(module) & MODULES.keys() - {top(module)}):
            if trouble := cycle(found, (*path, module)):
                return trouble
        done.add(module)
        return None

    done: set[str] = set()
    assert [trouble for module in MODULES if (trouble := cycle(module, ()))] == []
    assert sys.getrecursionlimit() > len(MODULES)
