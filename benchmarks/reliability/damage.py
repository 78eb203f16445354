"""A bit is flipped, or the end is cut off, in any file that a small job leaves: its dataset, its
job directory, a run that was interrupted, its exported model.

Each damage is done to one file, at random, and then what reads such files is run: a step of
training opens and reads the dataset, the backbone is loaded and its kernels score the golden
requests, an interrupted run is resumed, a server loads the version. Bars: every damage is noticed
in one line that names the file (``unnamed`` is 0), or changes no bit of what is read and no score
(``without_effect``); none is accepted with other scores (``changed_scores``), none ends in a
traceback (``tracebacks``).
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reliability.small_job import Small, begin, finish, kill
from benchmarks.speed.options import Figures, Options
from configs import InputError
from preprocessing.beam.progress import say
from serving.wire.errors import StatusError

_SEED, _CASES = 1303, 200
_TRUNCATED = 0.25
"""Share of the cases that are cut; a bit is flipped in the others."""

_INTERRUPTED = 9
"""Steps after which pre-training is interrupted; it has validated once by then."""

Read = Callable[[Path], Iterator[bytes]]
"""Reads everything under a folder as its consumers do, and gives the bits of what it found."""


@dataclass(frozen=True)
class Kind:
    """Files of one kind: a pattern below the folder that is read, and what reads it."""

    folder: str
    pattern: str
    read: Read


_DATASET = (
    *("manifest.json", "golden_requests.jsonl", "profile.json", "transform/*", "dictionaries/*"),
    *("pretrain/*", "finetune/*", "validation/*", "test/*"),
)
_BACKBONE = (
    *("fingerprint.json", "experiment.json", "history.json", "golden_requests.jsonl"),
    *("profile.json", "model.keras", "transform/*", "taps/window.json", "taps/*.npy"),
)
_KERNELS = (
    *("active.json", "pinned.json", "sums.json", "decisions.json", "*/*/weights.npz"),
    *("*/*/manifest.json", "*/*/golden.json", "*/*/backbone.json", "*/*/card.md"),
)
_MEMORY = ("active.json", "*/manifest.json", "*/counts.npz")
_MODEL = ("saved_model.pb", "fingerprint.pb", "variables/*", "assets/*", "assets.extra/*")
_CHECKPOINTS = ("latest", "best")


def _kinds() -> list[Kind]:
    return [
        *(Kind("data", pattern, read_dataset) for pattern in _DATASET),
        *(Kind("job", f"backbone/{pattern}", read_job) for pattern in _BACKBONE),
        *(Kind("job", f"kernels/{pattern}", read_job) for pattern in _KERNELS),
        *(Kind("job", f"memory/{pattern}", read_job) for pattern in _MEMORY),
        *(Kind("job", f"reports/{name}", read_job) for name in ("metrics.json", "profile.json")),
        *(Kind("unzipped", f"backbone/model/{name}", read_job) for name in ("*.json", "*.h5")),
        *(Kind("interrupted", f"backbone/checkpoints/{name}/*", resume) for name in _CHECKPOINTS),
        Kind("interrupted", "backbone/experiment.json", resume),
        *(Kind("models", f"1/{pattern}", read_model) for pattern in _MODEL),
    ]


def measure(options: Options) -> Figures:
    """See the module."""
    root = options.folder
    build(root)
    kinds = _kinds()
    return damage(root, kinds, len(kinds) if options.quick else _CASES, _SEED)


def build(root: Path) -> None:
    """Makes what is damaged, in ``root``: ``data``, ``job``, ``models``, and ``unzipped`` and
    ``interrupted``, jobs of the same dataset whose backbone is not zipped, and not finished.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    small = Small(root)
    small.build()
    log = root / "log.txt"
    for domain in ("all", "scene=home"):
        finish(small.kernels("pin", domain), log)
    shutil.copytree(root / "job", root / "unzipped")
    shutil.move(root / "job", root / "finished")
    process = begin(small.train("pretrain"), log)
    while process.is_alive() and _saved_step(root / "job") < _INTERRUPTED:
        process.join(0.002)
    if not kill(process):
        raise InputError(f"{log}: pre-training ended before it could be interrupted")
    shutil.move(root / "job", root / "interrupted")
    shutil.move(root / "finished", root / "job")
    finish(lambda: _unzip(root / "unzipped" / "backbone"), log)


def _saved_step(job: Path) -> int:
    """Step of the newest checkpoint; 0 where there is none."""
    saved = job.glob("backbone/checkpoints/latest/ckpt-*.index")
    return max((int(path.stem.rpartition("-")[2]) for path in saved), default=0)


def _unzip(backbone: Path) -> None:
    """As backbones too large to be zipped are stored."""
    import keras

    import trainer.backbone.model  # noqa: F401 - its layers
    from trainer.job import Job

    zipped = backbone / "model.keras"
    keras.saving.load_model(zipped, compile=False).save(backbone / "model", zipped=False)
    zipped.unlink()
    job = Job(backbone.parent)
    job.finish(job.fingerprint(), job.rows or {})


def damage(root: Path, kinds: list[Kind], cases: int, seed: int) -> Figures:
    """Damages files one after the other, each in its turn and whole again afterwards.

    Args:
      root: as ``build`` left it.
      kinds: of files; each has about as many cases.
      cases: how many.
      seed: of files, bits and lengths.
    """
    random = np.random.default_rng(seed)
    sound: dict[tuple[str, Read], str] = {}
    found: Counter[str] = Counter()
    for number in range(cases):
        kind = kinds[number % len(kinds)]
        files = sorted(path for path in (root / kind.folder).glob(kind.pattern) if path.is_file())
        files = [path for path in files if path.stat().st_size]
        if not files:
            raise InputError(f"{root / kind.folder}: holds no {kind.pattern}")
        if (kind.folder, kind.read) not in sound:
            sound[kind.folder, kind.read] = _digest(kind.read(root / kind.folder))
        path = files[random.integers(len(files))]
        with _damaged(path, random) as how:
            outcome, said = judge(path, kind, root / kind.folder, sound[kind.folder, kind.read])
        found[outcome] += 1
        if outcome not in ("noticed", "without_effect"):
            say(f"{path.relative_to(root)}, {how}: {outcome}: {said[:300]}")
    outcomes = ("noticed", "without_effect", "unnamed", "changed_scores", "tracebacks")
    return {
        "damaged_files": cases,
        "kinds_of_files": len(kinds),
        **{name: found[name] for name in outcomes},
    }


def judge(path: Path, kind: Kind, folder: Path, sound: str) -> tuple[str, str]:
    """What becomes of a damaged file, and what is said of it.

    Args:
      path: of the file.
      kind: of it.
      folder: that is read.
      sound: digest of what is read where nothing is damaged.
    """
    try:
        with redirect_stderr(StringIO()):
            received = _digest(kind.read(folder))
    except (InputError, StatusError, OSError) as error:  # what commands and servers print
        said = str(error)
        return ("noticed" if path.name in said and "\n" not in said else "unnamed"), said
    except Exception as error:
        return "tracebacks", f"{type(error).__name__}: {error}"
    return ("without_effect" if received == sound else "changed_scores"), ""


@contextmanager
def _damaged(path: Path, random: np.random.Generator) -> Iterator[str]:
    whole = path.read_bytes()
    if random.random() < _TRUNCATED:
        size = int(random.integers(len(whole)))
        content, how = whole[:size], f"cut to {size:,} of {len(whole):,} bytes"
    else:
        bit = int(random.integers(8 * len(whole)))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        content, how = bytes(flipped), f"bit {bit:,} flipped"
    try:
        path.write_bytes(content)
        yield how
    finally:
        path.write_bytes(whole)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def read_dataset(data: Path) -> Iterator[bytes]:
    """Every row of every split as training reads it, the golden requests, and the profile."""
    from preprocessing.dataset.manifest import read_entry
    from preprocessing.profile.data_profile import read_profile
    from trainer.data.dataset import Dataset

    experiment = _experiment()
    dataset = Dataset.open(data, experiment)
    if dataset.manifest.golden_requests:
        yield read_entry(data, dataset.manifest.golden_requests)
    yield repr(read_profile(data)).encode()
    for split in experiment.splits:
        for columns in dataset.batches(split, 4096):
            yield from (f"{name}".encode() + columns[name].tobytes() for name in sorted(columns))


def read_job(folder: Path) -> Iterator[bytes]:
    """The scores of the golden requests under the backbone and every active kernel, what these
    remember, the rows that kernels train on, what is pinned, what later datasets are compared with,
    and the report.
    """
    from preprocessing.profile.given_reference import given_reference
    from trainer.backbone.saving import load_frozen
    from trainer.backbone.stored_taps import window_rows
    from trainer.data.dataset import Dataset
    from trainer.job import Job
    from trainer.memory.lookup import MemoryTables
    from trainer.memory.memory_store import MemoryStore
    from trainer.registry.golden_scores import GoldenRows
    from trainer.registry.kernel_registry import KernelStore
    from trainer.registry.routes import job_routes, memory_read

    job = Job(folder)
    experiment = job.experiment()
    backbone = load_frozen(job, experiment)
    golden = GoldenRows.open(job, backbone)
    yield golden.heads["logits"].numpy().tobytes()
    store = KernelStore(job)
    yield job_routes(store, experiment).model_dump_json().encode()
    yield repr(sorted(store.pinned())).encode()
    yield repr(given_reference(str(folder))).encode()
    for domain, version in store.active().items():
        kernel = store.load(domain, version)
        scores = golden.scores_for(kernel.shape, kernel.weights)["scores"]
        yield f"{domain} {scores}".encode()
    remembered = MemoryStore(job)
    yield repr([remembered.manifest(version) for version in remembered.versions()]).encode()
    if memory := memory_read(store):
        yield repr(remembered.active()).encode()
        for name, tables in (
            MemoryTables(memory, remembered.served(memory).counts).variables().items()
        ):
            yield name.encode() + tables.numpy().tobytes()
    dataset = Dataset.open(folder.parent / "data", experiment)
    rows = window_rows(job, experiment, backbone, dataset, experiment.kernel.tap, "window")
    yield rows.logits.tobytes()
    yield rows.taps.tobytes()


def resume(folder: Path) -> Iterator[bytes]:
    """What an interrupted run goes on from: the weights, the optimisers, and the best weights."""
    from trainer.data.dataset import Dataset
    from trainer.job import Job
    from trainer.training.claim import claim
    from trainer.training.pretrain import _Run

    job, experiment = Job(folder), _experiment()
    data = folder.parent / "data"
    read = {name: experiment.topics[name] for name in experiment.backbone.topics}
    dataset = Dataset.open(data, experiment, read)
    claim(job, experiment, dataset, None)
    run = _Run(experiment, dataset, job)
    state = run.checkpoints.restore()
    if state is None:
        raise InputError(f"{job.checkpoints}: nothing to resume from")
    yield repr(state).encode()
    yield from _values(run)
    run.checkpoints.restore_best(state.stopping.when)
    yield from _values(run)


def _values(run: Any) -> Iterator[bytes]:
    for variable in run.model.variables:
        yield variable.numpy().tobytes()
    for variable in run.learner.adam.variables:
        yield np.asarray(variable.value).tobytes()


def read_model(models: Path) -> Iterator[bytes]:
    """What a server answers of a version, once it is loaded."""
    from serving.server.servable_loader import load, warm_up_requests
    from serving.wire.signatures import DEFAULT_SIGNATURE, WARM_UP_FILE

    version = models / "1"
    servable = load(1, version)
    try:
        for request in warm_up_requests(version / WARM_UP_FILE):
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            answer = servable.predict(name, request.inputs, list(request.output_filter))
            for output in sorted(answer):
                yield output.encode() + answer[output].SerializeToString()
    finally:
        servable.close()


def _experiment() -> Any:
    """The experiment of the small job, as the command line gives it."""
    from benchmarks.reliability.small_job import CONFIG, WITH_CONFIG
    from configs import load_experiment

    return load_experiment(CONFIG, WITH_CONFIG[3::2])
