"""``python -m serving.export``: a job directory -> one SavedModel: transform, frozen backbone and
kernels in slots, raw features in.

Where the newest version has the same backbone and graph and enough slots, only the kernels and the
domain table are written; everything else of the new version is that version's, linked.
``assets.extra/export.json`` says what each version is made of.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs import Experiment, InputError
from configs.asides import make_folder
from configs.domains import ALL
from configs.files import atomic_directory, check_no_pattern, link, write_unsynced
from configs.tensorflow_import import tf
from preprocessing.features.transform import Transform
from serving.export import golden_cases
from serving.export.export_manifest import (
    EXTRA,
    Record,
    files_of,
    kernels_of,
    memory_entry,
    newest,
    sources_of,
)
from serving.export.kernel_slots import (
    Layout,
    Slots,
    common_shape,
    domains_outside_config,
    head_room,
)
from serving.export.list_lengths import state_lists
from serving.export.logs_description import write_logs_description
from serving.export.serving_module import Recommender
from serving.export.sharded_checkpoint import TwoShards, write_kernels, write_variables
from serving.export.supported_ops import check_stock, read_meta_graph
from serving.export.warmup_requests import write_warmup
from serving.wire.signatures import WARM_UP_FILE
from trainer.backbone.model import read_tap
from trainer.backbone.saving import load_frozen
from trainer.job import Job
from trainer.kernels.kernel import KernelShape
from trainer.memory.counts import Counts
from trainer.memory.memory_store import MemoryStore, StoredMemory
from trainer.registry.kernel_registry import KernelStore, StoredKernel
from trainer.registry.routes import job_routes, names_known


@dataclass(frozen=True)
class _Wanted:
    """What a version is to hold.

    Attributes:
      job: whose backbone it is.
      experiment: of the job, as its kernels route it.
      kernels: the active ones.
      others: domains that it must know beside the experiment's.
      requests: the golden ones.
      slots: of the bank; None for any number that they fit into.
      memory: what they remember; None where they do not.
    """

    job: Job
    experiment: Experiment
    kernels: list[StoredKernel]
    others: tuple[str, ...]
    requests: list[golden_cases.Row]
    slots: int | None
    memory: StoredMemory | None

    @property
    def counts(self) -> Counts | None:
        """What the kernels remember; None where they do not."""
        return self.memory.counts if self.memory else None

    def slots_of(self, layout: Layout) -> Slots:
        """The kernels in the slots of a layout."""
        return Slots(
            layout.domains(self.experiment),
            layout.shape,
            layout.slots,
            self.kernels,
            self.counts,
            self.experiment.routing.compose,
        )

    @classmethod
    def of(cls, job: Job, slots: int | None) -> "_Wanted":
        """A job's backbone and its active kernels. Raises ``InputError`` where they cannot be
        exported.
        """
        store = KernelStore(job)
        experiment = job_routes(store, job.experiment())
        kernels = [store.load(domain, number) for domain, number in store.active().items()]
        shape = common_shape(kernels)
        remembered = shape.remembers if shape else None
        memory = MemoryStore(job).served(remembered) if remembered else None
        if slots is not None and slots <= len(kernels):
            raise InputError(
                f"--slots {slots}: expected at least {len(kernels) + 1}, one for each active kernel"
                " and one for the backbone"
            )
        names = names_known(store, experiment)
        if contradicted := sorted(store.known().keys() - names):
            print(
                f"warning: {', '.join(contradicted)}: not as the active kernels define their topics"
                " now, so requests that name them are routed as 'auto'; tune them again, or remove"
                " them",
                file=sys.stderr,
            )
        others = sorted(domains_outside_config(experiment, names))
        requests = job.golden_requests(experiment)
        return cls(job, experiment, kernels, tuple(others), requests, slots, memory)


def export(
    job: Job,
    models: Path,
    version: int | None = None,
    *,
    full: bool = False,
    slots: int | None = None,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Writes ``<models>/<version>``; the directory appears whole or not at all, and never changes
    afterwards.

    Args:
      job: with a finished backbone; its active kernels are exported.
      models: base path of the model, as a server is given it.
      version: a new one; the next free integer where None.
      full: write everything anew, whatever the newest version holds.
      slots: of the bank, the backbone's included; None keeps the newest version's, or leaves
        head-room.
      check: called with the folder of the whole version before it appears under ``models``; where
        it raises, it never does.

    Raises:
      InputError: no finished backbone or no golden requests, a damaged kernel, a version that
        exists already, too few slots, or an operation that TensorFlow Serving does not have.
    """
    check_no_pattern(models)
    wanted = _Wanted.of(job, slots)
    experiment = wanted.experiment
    version = _free(models, version)
    sources, former = sources_of(job, experiment), newest(models)
    record = Record.read(former) if former else None
    reason = "asked for" if full else _reason(wanted, sources, former, record)
    with atomic_directory(models / str(version)) as aside:
        if former is None or record is None or reason:
            print(f"full export: {reason}", file=sys.stderr)
            layout, served = _write_all(aside, wanted)
        else:
            print(
                f"new kernels and domain table; the rest is version {former.name}'s",
                file=sys.stderr,
            )
            layout, served = record.layout, _write_kernels(aside, wanted, former, record.layout)
        kernels = kernels_of(wanted.kernels, served)
        known = record.kernels if record else {}
        changed = [
            domain
            for domain in served
            if known and (domain not in known or kernels[domain].sha256 != known[domain].sha256)
        ]
        _write_extra(aside, wanted, models.resolve().name, list(served), changed)
        write_logs_description(aside, experiment, layout.domains(experiment))
        files = files_of(aside, former, record.files if record else {})
        memory, ancestor = memory_entry(wanted.memory), job.ancestor()
        if memory:
            print(f"memory: version {memory.version}, until {memory.until}", file=sys.stderr)
        Record(
            sources=sources,
            layout=layout,
            kernels=kernels,
            memory=memory,
            scores=experiment.ranked_by if experiment.scores else {},
            compose=experiment.routing.compose,
            ancestors=tuple(ancestor["ancestors"]) if ancestor else (),
            files=files,
        ).write(aside)
        if check:
            check(aside)
    return models / str(version)


def _reason(
    wanted: _Wanted, sources: dict[str, str], former: Path | None, record: Record | None
) -> str:
    """Why the newest version cannot be built on; empty where it can."""
    if former is None:
        return "there is no earlier version"
    if record is None:
        return f"version {former.name} does not say what it is made of"
    problem = record.unusable(former, sources) or record.layout.refuses(
        wanted.experiment, wanted.kernels, wanted.others, wanted.slots
    )
    return problem and f"version {former.name} {problem}"


def _write_all(aside: Path, wanted: _Wanted) -> tuple[Layout, dict[str, int]]:
    """Writes the SavedModel and the golden rows' taps; returns its layout and the slots of what
    it serves.
    """
    job, experiment, kernels = wanted.job, wanted.experiment, wanted.kernels
    transform, backbone = Transform(experiment, job.fitted()), load_frozen(job, experiment)
    shape = common_shape(kernels) or KernelShape.of(
        experiment.kernel,
        read_tap(backbone.output, experiment.kernel.tap).shape[-1],
        towers=len(experiment.tasks.towers),
    )
    layout = Layout(shape, wanted.slots or head_room(len(kernels)), wanted.others)
    slots = wanted.slots_of(layout)
    module = Recommender(experiment, transform, backbone, slots)
    shards = TwoShards()
    options = tf.saved_model.SaveOptions(experimental_sharding_callback=shards)
    tf.saved_model.save(module, str(aside), signatures=module.signatures(), options=options)
    state_lists(aside, experiment)
    check_stock(read_meta_graph(aside))
    write_variables(aside, shards.backbone, slots.variables())
    write_unsynced(
        aside / EXTRA / golden_cases.TAPS,
        golden_cases.golden_taps(experiment, wanted.requests, transform, backbone, shape),
    )
    return layout, slots.served()


def _write_kernels(aside: Path, wanted: _Wanted, former: Path, layout: Layout) -> dict[str, int]:
    """Writes the kernels' data file and the index, and links the rest of an earlier version;
    returns the slots of what it serves.
    """
    slots = wanted.slots_of(layout)
    assets = [path.relative_to(former).as_posix() for path in (former / "assets").glob("*")]
    for name in ("saved_model.pb", f"{EXTRA}/{golden_cases.TAPS}", *assets):
        link(former / name, aside / name)
    write_kernels(former, aside, slots.variables())
    return slots.served()


def _write_extra(
    aside: Path, wanted: _Wanted, model: str, served: list[str], changed: list[str]
) -> None:
    """Writes the golden cases and the warm-up requests."""
    extra = aside / EXTRA
    cases = golden_cases.golden_cases(
        wanted.experiment,
        wanted.requests,
        extra / golden_cases.TAPS,
        wanted.kernels,
        served,
        changed,
        wanted.counts,
    )
    write_unsynced(extra / golden_cases.FILE, json.dumps(cases, allow_nan=False).encode())
    write_warmup(
        aside / WARM_UP_FILE,
        read_meta_graph(aside),
        model,
        wanted.requests,
        next(iter(served), ALL),
    )


def _free(models: Path, version: int | None) -> int:
    """The version to write, which does not exist yet; ``models`` is made where it does not."""
    taken = (
        [int(path.name) for path in models.iterdir() if path.name.isdecimal()]
        if models.is_dir()
        else []
    )
    version = max(taken, default=0) + 1 if version is None else version
    if version in taken:
        raise InputError(
            f"{models / str(version)}: exists already; a version never changes, choose another"
            " --version"
        )
    try:
        make_folder(models)
    except OSError as error:
        raise InputError(f"{models}: cannot be written to: {error.strerror}") from None
    return version
