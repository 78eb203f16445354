"""Fine-tuning: the backbone runs once, frozen, over the window; the kernels of all domains train
on its stored taps.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.domain_definitions import definition_of
from configs.domains import ALL, Domain, named_domains
from configs.tensorflow_import import tf
from trainer.backbone.frozen_pass import BackboneOutputs, open_frozen, run_frozen
from trainer.backbone.model import read_tap
from trainer.backbone.stored_taps import window_rows
from trainer.data.progress_bar import row_bar
from trainer.evaluation.activation import passes_activation_rule
from trainer.evaluation.comparison import compare
from trainer.job import Job
from trainer.kernels.gate import GATE
from trainer.kernels.kernel import Adapter, KernelShape, KernelWeights, Rows, user_columns
from trainer.kernels.scoring import mean_auc, score_rows
from trainer.registry.golden_scores import GoldenRows, keep_requests
from trainer.registry.kernel_manifest import KernelRecord
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import topics_with
from trainer.training.domain_mixing import training_data
from trainer.training.early_stopping import EarlyStopping
from trainer.training.gate_fitting import with_gate, with_support
from trainer.training.joint_kernel_trainer import DomainData, JointTrainer, schedule
from trainer.training.outcome import Outcome
from trainer.training.warm_start import initial_kernels, levels

_NO_ROWS = np.empty(0, np.int64)


def finetune(experiment: Experiment, data: Path, job: Job, names: list[str]) -> list[Outcome]:
    """Trains a kernel for every named domain (every domain where none is named), stores it, and
    activates it where it helps.

    The validation split is halved by user: one half decides when a kernel stops, the other judges
    it, so that the interval is honest. A kernel is activated where the 95% interval of its CTR- or
    CTCVR-AUC gain over the backbone lies above zero and neither lies below it; otherwise its domain
    keeps what it is served by.

    Returns:
      What was decided of each domain, in the order in which they were trained.

    Raises:
      InputError: an unknown domain, no finished backbone, or a dataset that the backbone was not
        trained for.
    """
    domains = named_domains(experiment.domains, names, "--domains")
    dataset, backbone = open_frozen(experiment, data, job)
    keep_requests(dataset, job)
    golden = GoldenRows.open(job, backbone)
    tap, store = experiment.kernel.tap, KernelStore(job)
    topics_with(store, job.experiment(), experiment, {domain.name for domain in domains})
    shape = KernelShape.of(experiment.kernel, read_tap(backbone.output, tap).shape[-1])
    shape = with_support(shape, experiment, dataset.fitted)
    keep = user_columns(shape)
    _check_shapes(
        store, shape, {domain.name for domain in domains}
    )  # before the forward passes, which take most of the wait
    window = window_rows(job, experiment, backbone, dataset, tap, "taps of the window", keep)
    validation = run_frozen(
        backbone, dataset, experiment.finetune.validation, tap, "taps of validation", keep
    )
    tuning = _Tuning(experiment, store, job.logs / "finetune", shape, window, validation, golden)
    kernels: dict[str, KernelWeights] = {}
    warm_start = experiment.finetune.warm_start
    if warm_start != "none":
        kernels[ALL] = tuning.kernel_of_all_traffic(
            anew=any(domain.name == ALL for domain in domains)
        )
        domains = [domain for domain in domains if domain.name != ALL]
    if warm_start == "parent":
        kernels = tuning.stored({name for domain in domains for name in domain.parents}) | kernels
    for level in levels(warm_start, domains):
        kernels |= tuning.train_and_store(level, kernels)
    return tuning.outcomes


def stopping_rows(validation: BackboneOutputs, domain: Domain) -> Rows:
    """A domain's validation rows of the users that decide when its kernel stops."""
    rows = validation.domain_rows(domain)
    return rows[~judges(validation, rows)]


def judging_rows(validation: BackboneOutputs, domain: Domain) -> Rows:
    """A domain's validation rows of the other users, who judge the kernel."""
    rows = validation.domain_rows(domain)
    return rows[judges(validation, rows)]


def judges(validation: BackboneOutputs, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which of the rows are of users who judge kernels; the others stop their training."""
    users: npt.NDArray[np.int64] = validation.columns["row/user"][rows].astype(np.int64, copy=False)
    return (users & 1).astype(bool)


def _check_shapes(store: KernelStore, shape: KernelShape, tuned: set[str]) -> None:
    """Kernels of different shapes cannot share a bank: refuses to begin what could not be
    exported.
    """
    for domain, version in store.active().items():
        if domain not in tuned and store.load(domain, version).shape != shape:
            raise InputError(
                f"the active kernel of '{domain}' has another shape than this config's kernels;"
                " tune all domains, or deactivate it"
            )


@dataclass(frozen=True)
class _Tuning:
    """What every training of one run shares, and what has been decided so far."""

    experiment: Experiment
    store: KernelStore
    logs: Path
    shape: KernelShape
    window: BackboneOutputs
    validation: BackboneOutputs
    golden: GoldenRows
    outcomes: list[Outcome] = field(default_factory=list)

    def kernel_of_all_traffic(self, anew: bool) -> KernelWeights:
        """The kernel that the others start from: the stored one, unless it is to be trained anew
        or there is none of this shape.
        """
        stored = {} if anew else self.stored({ALL})
        return (stored or self.train_and_store([Domain(ALL)], {}))[ALL]

    def stored(self, names: set[str]) -> dict[str, KernelWeights]:
        """The stored kernels of this run's shape among the named domains', less their gates."""
        found = {name: self.store.active_or_newest(name) for name in sorted(names)}
        return {
            name: {array: kernel.weights[array] for array in self.shape.variables()}
            for name, kernel in found.items()
            if kernel and kernel.shape == self.shape
        }

    def train_and_store(
        self, domains: list[Domain], known: dict[str, KernelWeights]
    ) -> dict[str, KernelWeights]:
        """Trains kernels together, judges each on validation, stores all and activates those that
        help.

        Args:
          domains: of one level.
          known: kernels that they may start from, by domain; none where each starts from a new one.

        Returns:
          The kernels by domain, less their gates.
        """
        rows_of = {domain.name: len(self.window.domain_rows(domain)) for domain in domains}
        for name in (name for name, rows in rows_of.items() if not rows):
            split = self.experiment.finetune.split
            print(
                f"{name}: no rows in split '{split}'; no kernel; the nearest one above answers",
                file=sys.stderr,
            )
            self.outcomes.append(Outcome(name))
        domains = [domain for domain in domains if rows_of[domain.name]]
        if not domains:
            return {}
        start = (
            initial_kernels(self.experiment.finetune.warm_start, domains, known) if known else None
        )
        kernels = train_kernels(
            self.experiment, self.shape, self.window, self.validation, domains, start, self.logs
        )
        for domain, trained in zip(domains, kernels, strict=True):
            stopping = stopping_rows(self.validation, domain)
            kernel = with_gate(
                self.experiment, self.shape, trained, self.window, self.validation, stopping
            )
            rows = judging_rows(self.validation, domain)
            figures = compare(
                self.experiment,
                self.validation,
                rows,
                score_rows(self.shape, kernel, self.validation, rows),
            )
            content = {
                "shape": self.shape.to_json(),
                "definition": definition_of(domain, self.experiment.topics),
                "seed": self.experiment.seed,
                "kernel": self.experiment.kernel.model_dump(mode="json"),
                "finetune": self.experiment.finetune.model_dump(mode="json"),
                "rows": {
                    "train": rows_of[domain.name],
                    "validation": len(rows),
                },  # of validation, the half that judges
                "windows": self._windows(),
                "validation": figures,
                "activated": passes_activation_rule(figures),
                **({GATE: kernel[GATE].tolist()} if GATE in kernel else {}),
            }
            record = KernelRecord.model_validate(content)
            version = self.store.add(
                domain.name, kernel, record, self.golden.scores_for(self.shape, kernel)
            )
            if record.activated:
                self.store.activate(domain.name, version)
            active = self.store.active().get(domain.name)
            self.outcomes.append(Outcome(domain.name, version, record, active))
        return {domain.name: kernel for domain, kernel in zip(domains, kernels, strict=True)}

    def _windows(self) -> dict[str, list[str]]:
        """First moment and end of the rows that a kernel learned from and is judged on."""
        settings = self.experiment.finetune
        splits = {
            "train": self.experiment.splits[settings.split],
            "validation": self.experiment.splits[settings.validation],
        }
        return {
            part: [split.start.isoformat(), split.end.isoformat()] for part, split in splits.items()
        }


def train_kernels(
    experiment: Experiment,
    adapter: Adapter,
    window: BackboneOutputs,
    validation: BackboneOutputs,
    domains: list[Domain],
    start: KernelWeights | list[KernelWeights] | None = None,
    logs: Path | None = None,
) -> list[KernelWeights]:
    """Trains the kernels of several domains together.

    After every epoch each domain is scored on its own stopping rows (mean of CTR- and CTCVR-AUC);
    it keeps its best kernel, the one it started from included, and leaves training after
    ``finetune.patience`` epochs without a better one. A domain whose stopping rows have one class
    only cannot be scored; it keeps its last kernel.

    Args:
      experiment: settings and seed.
      adapter: what is trained for every domain, e.g. a ``KernelShape``.
      window: rows of the fine-tuning split, with taps.
      validation: rows of the validation split, with taps.
      domains: what is trained; each has rows in the window.
      start: the kernel that all start from, or one for each in the order of ``domains``; a new one
        for each, a function of seed and name, where None. It is the w0 of the KL where
        ``finetune.prior`` is ``parent``; a new kernel's w0 is N(0, I) always. Those that are given
        a start train at ``finetune.child_learning_rate``.
      logs: folder for TensorBoard: every domain's training loss and validation AUC by epoch;
        nothing is logged where None.

    Returns:
      Kernels in the order of ``domains``, without gates (``trainer.training.gate_fitting``).
    """
    settings = experiment.finetune
    if start and settings.child_learning_rate:
        settings = settings.model_copy(update={"learning_rate": settings.child_learning_rate})
        experiment = experiment.model_copy(update={"finetune": settings})
    given = start if isinstance(start, list) else [start] * len(domains)
    initial = [
        kernel or adapter.initial(experiment.seed, domain.name)
        for kernel, domain in zip(given, domains, strict=True)
    ]
    data = training_data(experiment, adapter, window, domains, initial)
    trainer = JointTrainer(
        experiment,
        adapter,
        data,
        initial,
        initial if start and settings.prior == "parent" else None,
    )
    held_out = [stopping_rows(validation, domain) for domain in domains]

    def score(index: int) -> float | None:
        rows = held_out[index]
        return mean_auc(
            experiment,
            validation,
            rows,
            score_rows(adapter, trainer.kernel(index), validation, rows),
        )

    writer = tf.summary.create_file_writer(str(logs)) if logs else tf.summary.create_noop_writer()
    stopping = [EarlyStopping(settings.patience) for _ in domains]
    best = [trainer.kernel(index) for index in range(len(domains))]
    for index, of_domain in enumerate(stopping):
        of_domain.update(score(index), 0)
    for epoch in range(settings.epochs):
        training = [index for index in range(len(domains)) if not stopping[index].stopped]
        if not training:
            break
        trainer.training = len(training)
        present = [
            domain if index in training else DomainData(domain.name, _NO_ROWS)
            for index, domain in enumerate(data)
        ]
        with row_bar(
            f"kernels {epoch + 1}/{settings.epochs}", sum(len(domain.rows) for domain in present)
        ) as bar:
            loss, seen = np.zeros(len(domains)), np.zeros(len(domains))
            batches = schedule(present, settings.batch_size, experiment.seed, epoch)
            for rows, losses in zip(batches, trainer.train_epoch(window, batches), strict=True):
                counts = np.array([len(part) for part in rows])
                loss, seen = loss + counts * losses, seen + counts
                bar.update(int(counts.sum()))
        for index in training:
            value = score(index)
            with writer.as_default(step=epoch + 1):
                tf.summary.scalar(f"{domains[index].name}/loss", loss[index] / seen[index])
                tf.summary.scalar(
                    f"{domains[index].name}/validation_auc", -np.inf if value is None else value
                )
            if stopping[index].update(value, epoch + 1):
                best[index] = trainer.kernel(index)
    return best
