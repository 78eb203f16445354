"""``python -m serving.export``: a job directory -> one SavedModel: transform, frozen backbone and kernel bank, raw features in.

The graph is made of stock TensorFlow ops, so that TensorFlow Serving's own image can run it.
"""

import math
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
_Topics = Callable[[], dict[str, tf.Tensor]]
"""Computes the rows' topics where they are needed."""
_DTYPES: dict[str, tuple[tf.DType, int]] = {
    "string": (tf.string, 1),
    "strings": (tf.string, 2),
    "number": (tf.float32, 1),
    "timestamp": (tf.int64, 1),
}
_PARSED: dict[str, Any] = {
    "string": tf.io.FixedLenFeature([], tf.string, ""),
    "strings": tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True, default_value=""),
    "number": tf.io.FixedLenFeature([], tf.float32, math.nan),
    "timestamp": tf.io.FixedLenFeature([], tf.int64, 0),
}
"""How a column is read from a ``tf.Example``; one that is not there is missing, as the transform spells missing."""


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
        self._item_columns = [column.name for column in self.columns if column.side == "item"]

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """The signatures by name, traced; ``rank`` where a column is the item's."""
        raw = {column.name: _tensor_spec(column, None) for column in self.columns}
        by_side = {column.name: _tensor_spec(column, None if column.side == "item" else 1) for column in self.columns}
        domain, domain_once = (tf.TensorSpec([rows], tf.string, name="domain") for rows in (None, 1))
        examples = {"examples": tf.TensorSpec([None], tf.string, name="examples"), "domain": domain}
        ranked = {"rank": tf.function(self._rank).get_concrete_function(by_side | {"domain": domain_once})} if self._item_columns else {}
        return {
            "serving_default": tf.function(self._serving_default).get_concrete_function(raw | {"domain": domain}),
            "all_domains": tf.function(self._all_domains).get_concrete_function(raw),
            "examples": tf.function(self._examples).get_concrete_function(examples),
            **ranked,
        }

    def _serving_default(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = {name: tensor for name, tensor in inputs.items() if name != "domain"}
        return self._scores(self._transform.features(raw), lambda: self._topics(raw), inputs["domain"])

    def _examples(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(inputs["examples"], {column.name: _PARSED[column.kind] for column in self.columns})
        return self._serving_default({**raw, "domain": inputs["domain"]})

    def _rank(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What is the same for every candidate is looked up once; its ids and numbers are repeated in front of the backbone."""
        items = {name: inputs[name] for name in self._item_columns}
        once = {column.name: inputs[column.name] for column in self.columns if column.name not in items}
        first = tf.zeros([tf.shape(items[self._item_columns[0]])[0]], tf.int32)

        def repeated(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {name: tf.gather(tensor, first) for name, tensor in tensors.items()}

        # Crosses of both sides need every row; what `once` gives replaces the rest, which nothing reads then and TensorFlow prunes.
        raw = repeated(once) | items
        features = self._transform.features(raw) | repeated(self._transform.features(once))
        return self._scores(features, lambda: self._topics(raw), tf.gather(inputs["domain"], first))

    def _scores(self, features: dict[str, tf.Tensor], topics: _Topics, domain: tf.Tensor) -> dict[str, tf.Tensor]:
        slots = self._slots.lookup(domain)
        automatic = tf.equal(slots, _AUTO_SLOT)
        slots = tf.cond(  # requests that name their domain do not pay for what grows with the number of domains
            tf.reduce_any(automatic),
            lambda: tf.where(automatic, auto_rank(topics(), self._domains, tf.shape(slots)[0]), slots),
            lambda: slots,
        )
        logits = self._domain_model.value({**self._inputs(features, topics), "slot": slots}, training=False)
        log_p = log_probabilities(logits)
        return {**{task: tf.exp(value) for task, value in log_p.items()}, "served_domain": tf.gather(tf.constant(self._names), slots)}

    def _all_domains(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, bank = self._inputs(self._transform.features(raw), lambda: self._topics(raw)), self._bank.value
        heads = self._backbone.value(inputs, training=False)
        logits = bank.every_slot(read_tap(heads, bank.shape.tap), heads["logits"], inputs.get(bank.shape.user))
        slots, rows = bank.slots, tf.shape(logits)[1]
        log_p = log_probabilities(tf.reshape(logits, [-1, 2]))
        by_row = {task: tf.transpose(tf.reshape(tf.exp(log_p[task]), [slots, rows])) for task in ("ctr", "ctcvr")}
        return {**by_row, "domains": tf.constant(self._names)}

    def _topics(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Topic indices, each worked out once per distinct value: a topic may have a thousand values, a request seldom has many."""
        topics = self._experiment.topics
        distinct = {topic.column: tf.unique(raw[topic.column]) for topic in topics.values()}
        indices = self._transform.topics({column: values.y for column, values in distinct.items()})
        return {name: tf.gather(index, distinct[topics[name].column].idx) for name, index in indices.items()}

    def _inputs(self, features: dict[str, tf.Tensor], topics: _Topics) -> dict[str, tf.Tensor]:
        """The backbone's inputs among the transform's outputs; few backbones read topics."""
        names, outputs = list(self._backbone.value.input), features
        if any(name.startswith(TOPIC_PREFIX) for name in names):
            outputs = {**features, **{f"{TOPIC_PREFIX}{name}": index for name, index in topics().items()}}
        return {name: outputs[name] for name in names}


class _Untracked:
    """Keeps a Keras object out of TensorFlow's object graph."""

    def __init__(self, value: Any) -> None:
        self.value = value


def served_columns(experiment: Experiment) -> list[Column]:
    """The raw columns of a request: all that features and topics read, less the debias feature's own."""
    debias = experiment.backbone.debias
    features = {column for name in experiment.features if not debias or name != debias.feature for column in experiment.columns_of(name)}
    read = features | {topic.column for topic in experiment.topics.values()}
    return [column for column in raw_columns(experiment).values() if column.name in read]


def _tensor_spec(column: Column, rows: int | None) -> tf.TensorSpec:
    dtype, rank = _DTYPES[column.kind]
    return tf.TensorSpec([rows, None][:rank], dtype, name=column.name)


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
