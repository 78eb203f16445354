"""Puts transform, frozen backbone and kernel slots behind four signatures, of stock TensorFlow
operations alone: this is what is exported.

The graph depends on the experiment, the backbone and the layout of the slots; which kernels it
serves is in variables.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from configs import Experiment
from configs.prediction.score import SCORE
from configs.tensorflow_import import tf
from preprocessing.features.key_hashes import hash_keys, hash_text
from preprocessing.features.topic import element_index, first_of
from preprocessing.features.transform import Transform
from preprocessing.logs.schema import Column, served_columns
from serving.export.kernel_slots import Slots
from serving.export.shape_checks import check_rows
from serving.wire.signatures import SERVED_DOMAIN
from trainer.backbone.model import TOPIC_PREFIX
from trainer.kernels.bank import MEMORY, SLOT, domain_model, kernel_inputs
from trainer.kernels.page_scores import BY_FIELDS, PageScores, RowTopics
from trainer.kernels.routing import auto_rank, composed_ranks
from trainer.losses import predictions

KERNELS = "kernels/"
"""What the names of the slots' variables begin with in a version's checkpoint."""
_AUTO_RANK = -1
_DTYPES: dict[str, tuple[tf.DType, int]] = {
    "string": (tf.string, 1),
    "strings": (tf.string, 2),
    "number": (tf.float32, 1),
    "numbers": (tf.float32, 2),
    "timestamp": (tf.int64, 1),
}
_PARSED: dict[str, Any] = {
    "string": tf.io.FixedLenFeature([], tf.string, ""),
    "strings": tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True, default_value=""),
    "number": tf.io.FixedLenFeature([], tf.float32, math.nan),
    "numbers": tf.io.FixedLenSequenceFeature(
        [], tf.float32, allow_missing=True, default_value=math.nan
    ),
    "timestamp": tf.io.FixedLenFeature([], tf.int64, 0),
}
"""How a column is read from a ``tf.Example``; one that is not there is missing, as the transform
spells missing.
"""


class Recommender(tf.Module):
    """What is exported.

    Args:
      experiment: the one the backbone was trained with, as its kernels route it
        (``trainer.registry.routes``).
      transform: fitted.
      backbone: frozen, for inference.
      slots: a domain without a kernel in them is answered by the nearest one above it that has one.
    """

    def __init__(
        self, experiment: Experiment, transform: Transform, backbone: keras.Model, slots: Slots
    ) -> None:
        super().__init__(name="recommender")
        self._experiment, self._transform, self._backbone = (
            experiment,
            transform,
            _Untracked(backbone),
        )
        self._slots, self._domain_model = (
            _Untracked(slots),
            _Untracked(domain_model(backbone, slots.bank)),
        )
        # Keras objects stay untracked and their variables are listed here: each is saved once.
        self.backbone = [variable.value for variable in backbone.weights]
        self.kernels = slots.variables()
        self._pages = PageScores(experiment)
        unnamed = self._pages.of_request(None)
        named = [self._pages.of_request(domain) for domain in slots.domains]
        self._place_of = [unnamed, *named]  # by rank; the backbone's has no domain
        ranks = slots.ranks()
        initializer = tf.lookup.KeyValueTensorInitializer(
            list(ranks), list(ranks.values()), tf.string, tf.int32
        )
        # A name that nobody has, the empty one included, is read as ``auto``.
        self._ranks = tf.lookup.StaticHashTable(initializer, default_value=_AUTO_RANK)
        self.columns = served_columns(experiment)
        self._item_columns = [column.name for column in self.columns if column.side == "item"]

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """The signatures by name, traced; ``rank`` where a column is the item's."""
        raw = {column.name: _tensor_spec(column, None) for column in self.columns}
        by_side = {
            column.name: _tensor_spec(column, None if column.side == "item" else 1)
            for column in self.columns
        }
        domain, domain_once = (
            tf.TensorSpec([rows], tf.string, name="domain") for rows in (None, 1)
        )
        examples = {"examples": tf.TensorSpec([None], tf.string, name="examples"), "domain": domain}
        wanted = {
            "serving_default": (self._serving_default, raw | {"domain": domain}),
            "all_domains": (self._all_domains, raw),
            "examples": (self._examples, examples),
            **(
                {"rank": (self._rank, by_side | {"domain": domain_once})}
                if self._item_columns
                else {}
            ),
        }
        # No Python condition depends on a tensor, and looking for one would take as long as the
        # tracing.
        return {
            name: tf.function(function, autograph=False).get_concrete_function(specs)
            for name, (function, specs) in wanted.items()
        }

    def _serving_default(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._of_rows(check_rows(inputs))

    def _of_rows(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = {name: tensor for name, tensor in inputs.items() if name != "domain"}
        features = self._transform.features(raw)
        return self._scores(features, raw, inputs["domain"], self._memory(raw))

    def _examples(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs = check_rows(inputs)
        raw = tf.io.parse_example(
            inputs["examples"], {column.name: _parsed(column) for column in self.columns}
        )
        return self._of_rows({**raw, "domain": inputs["domain"]})

    def _rank(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What is the same for every candidate is looked up once; its ids and numbers are
        repeated in front of the backbone.
        """
        inputs = check_rows(inputs, once=inputs.keys() - set(self._item_columns))
        items = {name: inputs[name] for name in self._item_columns}
        once = {
            column.name: inputs[column.name] for column in self.columns if column.name not in items
        }
        first = tf.zeros([tf.shape(items[self._item_columns[0]])[0]], tf.int32)

        def repeated(tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {name: tf.gather(tensor, first) for name, tensor in tensors.items()}

        # Crosses of both sides need every row; what `once` gives replaces the rest, which nothing
        # reads then and TensorFlow prunes.
        raw = repeated(once) | items
        features = self._transform.features(raw) | repeated(self._transform.features(once))
        memory = self._memory(once | items, tf.shape(first)[0])
        return self._scores(features, raw, tf.gather(inputs["domain"], first), memory)

    def _scores(
        self,
        features: dict[str, tf.Tensor],
        raw: dict[str, tf.Tensor],
        domain: tf.Tensor,
        memory: dict[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        slots: Slots = self._slots.value

        def topics() -> dict[str, tf.Tensor]:
            return self._topics(raw)

        ranks, places, *together = self._routed(domain, topics)
        slot = tf.gather(slots.answer_of, ranks)
        answering = tf.gather(slots.answer_of, together[0]) if together else slot
        logits = self._domain_model.value(
            {**self._inputs(features, topics), **memory, SLOT: answering}, training=False
        )
        predicted = predictions(self._experiment.tasks, logits)
        served = tf.gather(tf.constant(slots.names), tf.gather(slots.rank_of, slot))
        score = self._pages.values(predicted, places)
        return {**predicted, SCORE: tf.identity(score), SERVED_DOMAIN: served}

    def _routed(self, domain: tf.Tensor, topics: RowTopics) -> tuple[tf.Tensor, ...]:
        """Of every row, the rank of the domain that it is routed to, and the place of the
        expression that ranks it, int32 ``[N]`` each; where kernels answer together, also the ranks
        of theirs, int32 ``[N, 1 + P]`` (``routing.composed_ranks``).
        """
        slots: Slots = self._slots.value
        asked = self._ranks.lookup(domain)
        automatic = tf.equal(asked, _AUTO_RANK)
        named = self._places(tf.maximum(asked, 0))
        by_fields = tf.equal(named, BY_FIELDS)
        composed = slots.bank.slots_of_row  # empty where every row has one slot
        alone = [tf.pad(asked[:, tf.newaxis], [[0, 0], [0, n - 1]]) for n in composed]

        def from_fields() -> tuple[tf.Tensor, ...]:
            found, rows = topics(), tf.shape(asked)[0]
            ranks = auto_rank(found, slots.domains, rows, slots.slot_of)
            places = self._pages.of_rows(lambda: found, rows)
            together = [
                tf.where(
                    automatic[:, tf.newaxis],
                    composed_ranks(ranks, found, slots.domains, rows, slots.slot_of),
                    named_alone,
                )
                for named_alone in alone
            ]
            return tf.where(automatic, ranks, asked), tf.where(by_fields, places, named), *together

        # requests that name their domain do not pay for what grows with the ways of cutting traffic
        wanted = tf.reduce_any(tf.logical_or(automatic, by_fields))
        found: tuple[tf.Tensor, ...] = tf.cond(wanted, from_fields, lambda: (asked, named, *alone))
        return found

    def _places(self, ranks: tf.Tensor) -> tf.Tensor:
        """The place of the expression for rows whose request names the domain of a rank."""
        return tf.gather(tf.constant(self._place_of, tf.int32), ranks)

    def _all_domains(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        raw = check_rows(raw)
        slots: Slots = self._slots.value
        inputs, bank = (
            self._inputs(self._transform.features(raw), lambda: self._topics(raw)),
            slots.bank,
        )
        heads, used = self._backbone.value(inputs, training=False), slots.used()
        taps = kernel_inputs(bank.shape, heads, self._memory(raw).get(MEMORY))
        logits = bank.every_slot(taps, heads["logits"], inputs.get(bank.shape.user), used)
        predicted = predictions(self._experiment.tasks, tf.reshape(logits, [-1, bank.shape.towers]))
        shown = {task: predicted[task] for task in self._experiment.tasks.ranking}
        named = self._places(slots.rank_of[:used])[:, tf.newaxis]
        by_fields = self._pages.of_rows(lambda: self._topics(raw), tf.shape(logits)[1])
        places = tf.where(tf.equal(named, BY_FIELDS), by_fields, named)
        shown[SCORE] = self._pages.values(predicted, tf.reshape(places, [-1]))
        by_row = {
            name: tf.transpose(tf.reshape(values, [used, tf.shape(logits)[1]]))
            for name, values in shown.items()
        }
        return {**by_row, "domains": tf.gather(tf.constant(slots.names), slots.rank_of[:used])}

    def _topics(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Topic indices, each worked out once per distinct value: a topic may have a thousand
        values, a request seldom has many.
        """
        topics = self._experiment.topics.items()
        distinct = {
            column: tf.unique(tf.reshape(raw[column], [-1]))
            for column in {topic.column: None for _, topic in topics}
        }
        found = {}
        for name, topic in topics:
            values, places = distinct[topic.column]
            places = tf.reshape(places, tf.shape(raw[topic.column]))
            index = tf.gather(element_index(topic, values), places)
            found[name] = first_of(index) if topic.read_as == "strings" else index
        return found

    def _memory(
        self, raw: dict[str, tf.Tensor], rows: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """What rows remember, as an input of the domain model; nothing where kernels do not read
        it.

        Args:
          raw: columns.
          rows: how many there are, where columns of one row hold for all of them; what these alone
            decide is hashed and looked up once.
        """
        slots: Slots = self._slots.value
        memory = slots.bank.shape.remembers
        if memory is None or slots.memory is None:
            return {}
        keys = hash_keys(memory, {name: hash_text(raw[name]) for name in memory.columns})
        return {MEMORY: slots.memory.rates(keys, rows)}

    def _inputs(self, features: dict[str, tf.Tensor], topics: RowTopics) -> dict[str, tf.Tensor]:
        """The backbone's inputs among the transform's outputs; few backbones read topics."""
        names, outputs = list(self._backbone.value.input), features
        if any(name.startswith(TOPIC_PREFIX) for name in names):
            outputs = {
                **features,
                **{f"{TOPIC_PREFIX}{name}": index for name, index in topics().items()},
            }
        return {name: outputs[name] for name in names}


class _Untracked:
    """Keeps a Keras object out of TensorFlow's object graph."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _tensor_spec(column: Column, rows: int | None) -> tf.TensorSpec:
    dtype, rank = _DTYPES[column.kind]
    return tf.TensorSpec([rows, column.size][:rank], dtype, name=column.name)


def _parsed(column: Column) -> Any:
    """How a column is read from a ``tf.Example``."""
    if column.size is None:
        return _PARSED[column.kind]
    return tf.io.FixedLenFeature([column.size], tf.float32, [math.nan] * column.size)
