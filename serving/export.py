"""``python -m serving.export``: a job directory -> one SavedModel: transform, frozen backbone and kernel bank, raw features in.

The graph is made of stock TensorFlow ops, so that TensorFlow Serving's own image can run it.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from configs import Experiment, InputError
from configs.command import CommandParser, run
from configs.domains import AUTO, BACKBONE
from preprocessing.columns import Column, raw_columns
from preprocessing.transform import Transform
from trainer.backbone import TOPIC_PREFIX, load_frozen, read_tap
from trainer.job import Job
from trainer.kernels import KernelBank, KernelShape, domain_model
from trainer.objectives import log_probabilities
from trainer.routing import auto_rank, most_specific_first, parse_domain
from trainer.store import KernelStore, StoredKernel

_AUTO_SLOT = -1
_DTYPES: dict[str, tuple[tf.DType, int]] = {
    "string": (tf.string, 1),
    "strings": (tf.string, 2),
    "number": (tf.float32, 1),
    "timestamp": (tf.int64, 1),
}


class Recommender(tf.Module):
    """What is exported.

    Args:
      experiment: the one the backbone was trained with.
      transform: fitted.
      backbone: frozen, for inference.
      kernels: the active ones; each is served under its domain's name, every other domain by the backbone.
    """

    def __init__(self, experiment: Experiment, transform: Transform, backbone: keras.Model, kernels: list[StoredKernel]) -> None:
        super().__init__(name="recommender")
        by_name = {kernel.domain: kernel for kernel in kernels}
        self._domains = most_specific_first([parse_domain(name, experiment.topics) for name in by_name], experiment.topics)
        self._experiment, self._transform, self._backbone = experiment, transform, _Untracked(backbone)
        shape = _common_shape(kernels, experiment, backbone)
        bank = KernelBank(1 + len(kernels), shape)
        for slot, domain in enumerate(self._domains, 1):  # most specific first, so that the rank of `auto` is the slot
            bank.put(slot, by_name[domain.name].weights)
        self._bank, self._domain_model = _Untracked(bank), _Untracked(domain_model(backbone, bank))
        # Keras objects stay untracked and their variables are listed here: each is saved once.
        self._variables = [variable.value for variable in [*backbone.weights, *bank.weights]]
        self._names = [BACKBONE, *(domain.name for domain in self._domains)]
        slots = {**{name: slot for slot, name in enumerate(self._names)}, AUTO: _AUTO_SLOT}
        initializer = tf.lookup.KeyValueTensorInitializer(list(slots), list(slots.values()), tf.string, tf.int32)
        self._slots = tf.lookup.StaticHashTable(initializer, default_value=0)
        self.columns = served_columns(experiment)

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """The signatures by name, traced."""
        raw = {column.name: _tensor_spec(column) for column in self.columns}
        domain = tf.TensorSpec([None], tf.string, name="domain")
        return {
            "serving_default": tf.function(self._serving_default).get_concrete_function(raw | {"domain": domain}),
            "all_domains": tf.function(self._all_domains).get_concrete_function(raw),
        }

    def _serving_default(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = {name: tensor for name, tensor in inputs.items() if name != "domain"}
        slots = self._slots.lookup(inputs["domain"])
        automatic = auto_rank(self._transform.topics(raw), self._domains, tf.shape(slots)[0])
        slots = tf.where(tf.equal(slots, _AUTO_SLOT), automatic, slots)
        logits = self._domain_model.value({**self._inputs(raw), "slot": slots}, training=False)
        log_p = log_probabilities(logits)
        return {**{task: tf.exp(value) for task, value in log_p.items()}, "served_domain": tf.gather(tf.constant(self._names), slots)}

    def _all_domains(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, bank = self._inputs(raw), self._bank.value
        heads = self._backbone.value(inputs, training=False)
        logits = bank.every_slot(read_tap(heads, bank.shape.tap), heads["logits"], inputs.get(bank.shape.user))
        slots, rows = bank.slots, tf.shape(logits)[1]
        log_p = log_probabilities(tf.reshape(logits, [-1, 2]))
        by_row = {task: tf.transpose(tf.reshape(tf.exp(log_p[task]), [slots, rows])) for task in ("ctr", "ctcvr")}
        return {**by_row, "domains": tf.constant(self._names)}

    def _inputs(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The backbone's inputs among the transform's outputs."""
        topics = {f"{TOPIC_PREFIX}{name}": index for name, index in self._transform.topics(raw).items()}
        outputs = {**self._transform.features(raw), **topics}
        return {name: outputs[name] for name in self._backbone.value.input}


class _Untracked:
    """Keeps a Keras object out of TensorFlow's object graph."""

    def __init__(self, value: Any) -> None:
        self.value = value


def served_columns(experiment: Experiment) -> list[Column]:
    """The raw columns of a request: all that features and topics read, less the debias feature's own."""
    debias = experiment.backbone.debias
    features = {experiment.column_of(name) for name in experiment.features if not debias or name != debias.feature}
    read = features | {topic.column for topic in experiment.topics.values()}
    return [column for column in raw_columns(experiment).values() if column.name in read]


def _tensor_spec(column: Column) -> tf.TensorSpec:
    dtype, rank = _DTYPES[column.kind]
    return tf.TensorSpec([None] * rank, dtype, name=column.name)


def _common_shape(kernels: list[StoredKernel], experiment: Experiment, backbone: keras.Model) -> KernelShape:
    shapes = {kernel.shape for kernel in kernels}
    if not shapes:
        return KernelShape.of(experiment.kernel, read_tap(backbone.output, experiment.kernel.tap).shape[-1])
    if len(shapes) > 1:
        described = "; ".join(f"{kernel.domain} has {kernel.shape}" for kernel in kernels)
        raise InputError(f"kernels of different shapes cannot share one bank: {described}")
    return shapes.pop()


def export(job: Job, models: Path, version: int | None = None) -> Path:
    """Writes ``<models>/<version>``; the directory appears whole or not at all.

    Args:
      job: with a finished backbone; its active kernels are exported.
      models: base path of the model, as a server is given it.
      version: a new one; the next free integer where None.

    Raises:
      InputError: no finished backbone, a damaged kernel, or a version that exists already.
    """
    experiment = job.experiment()
    store = KernelStore(job)
    kernels = [store.load(domain, number) for domain, number in store.active().items()]
    module = Recommender(experiment, Transform(experiment, job.fitted()), load_frozen(job, experiment), kernels)

    taken = [int(path.name) for path in models.iterdir() if path.name.isdecimal()] if models.is_dir() else []
    version = max(taken, default=0) + 1 if version is None else version
    if version in taken:
        raise InputError(f"{models / str(version)}: exists already; a version never changes, choose another --version")
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{models}: cannot be written to: {error.strerror}") from None
    aside = Path(tempfile.mkdtemp(dir=models, prefix=".export-"))
    try:
        tf.saved_model.save(module, str(aside), signatures=module.signatures())
        aside.chmod(0o755)
        aside.rename(models / str(version))
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return models / str(version)


def main() -> None:
    """The command."""
    parser = CommandParser(prog="python -m serving.export", description="Export a job's backbone and active kernels as one SavedModel.")
    parser.add_argument("--job-dir", type=Path, required=True, metavar="DIR", help="with a finished backbone")
    parser.add_argument("--output", type=Path, required=True, metavar="MODELS", help="base path of the model; versions are folders in it")
    parser.add_argument("--version", type=int, metavar="N", help="the next free integer by default")
    arguments = parser.parse_args()
    if arguments.version is not None and arguments.version < 1:
        parser.error(f"argument --version: expected an integer from 1 on, received {arguments.version}")
    print(f"exported {export(Job(arguments.job_dir), arguments.output, arguments.version)}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
