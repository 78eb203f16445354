"""Builds the backbone (embeddings, a body and its heads) as one Keras functional model, and its
form for inference.
"""

import warnings
from itertools import count
from typing import Any

import keras
from keras import ops

from configs import Experiment, InputError
from configs.prediction.tasks import Tasks
from configs.random_streams import Purpose, integer_seed
from preprocessing.features.output_spec import Output
from trainer.backbone.bodies.builder import Build
from trainer.backbone.bodies.registry import build_body
from trainer.backbone.feature_vectors import feature_vectors
from trainer.backbone.layers.domain_specific import PartitionedNormalization
from trainer.backbone.layers.embedding import IdDropout, RowEmbedding
from trainer.backbone.layers.feature_cross import cross
from trainer.backbone.layers.intercepts import Intercepts
from trainer.backbone.layers.row_draws import RowDropout

BIAS = "position_logit"
_INTERCEPTS = "intercepts"

TOPIC_PREFIX = "topic/"
"""Inputs of this name are topic indices, the record columns of the same name; every other input
is a feature.
"""


# Keras wants an input's key to be its name, but allows no '/' in a name; here the keys count, and
# nothing goes by the names.
warnings.filterwarnings(
    "ignore", message="When providing `inputs` as a dict, all keys in the dict must match the names"
)


def build_backbone(experiment: Experiment, outputs: dict[str, Output]) -> keras.Model:
    """Builds an untrained backbone.

    Sources: target attention (Zhou et al. 2018), cross layers (Wang et al. 2021); those of the
      bodies stand in their files.

    Args:
      experiment: features, widths and seed.
      outputs: what the transform gives (``preprocessing.features.output_spec.transform_outputs``).

    Returns:
      A model from a dict of transform outputs (ids ``[B]`` int32, lists ``[B, L]`` int32, numbers
      ``[B]`` or ``[B, L]`` float32) to a dict: ``logits`` ``[B, T]`` (as they are served: with
      intercepts, which are 0 until ``trainer.training.intercepts`` sets them), ``tower`` and
      ``representation`` ``[B, T, width]`` (the taps; the middle axis is ``Tasks.towers``),
      ``input`` ``[B, 1, D]`` (the body's, after dropout and crosses), and ``position_logit``
      ``[B, P]`` (``[B]`` of one), of ``biased``, where the config names a debias feature. Bodies
      that read topics have an input ``topic/NAME`` int32 ``[B]`` for each.
    """
    settings, debias = experiment.backbone, experiment.backbone.debias
    seeds = count(
        integer_seed(experiment.seed, Purpose.BACKBONE_LAYERS), 5
    )  # a layer of several matrices counts on from its own
    inputs = {name: _input(output) for name, output in outputs.items()}
    embedded = feature_vectors(experiment, outputs, inputs, seeds)
    topics = {
        name: keras.Input((), dtype="int32", name=f"topic_{name}") for name in settings.topics
    }
    values = {name: 1 + len(experiment.topics[name].names) for name in settings.topics}
    build = Build(settings, experiment.tasks.towers, topics, values, seeds)

    x = ops.concatenate(
        [tensor for name, tensor in embedded.items() if not debias or name != debias.feature],
        axis=-1,
    )
    if settings.dropout:
        x = RowDropout(settings.dropout, seed=next(seeds), name="dropout")(x)
    x = cross(x, build)
    tasks = build_body(x, build)
    heads = {
        "logits": Intercepts(name=_INTERCEPTS)([task.logit for task in tasks]),
        "tower": ops.stack([task.tower for task in tasks], axis=1),
        "representation": ops.stack([task.representation for task in tasks], axis=1),
        "input": ops.expand_dims(x, axis=1),
    }
    if debias:
        hidden = build.mlp(embedded[debias.feature], debias.layers, "position")
        bias = build.dense(len(biased(experiment.tasks)), BIAS, None)(hidden)
        # of one task as it always was, so that the fingerprint of such a backbone is the same
        heads[BIAS] = ops.squeeze(bias, -1) if bias.shape[-1] == 1 else bias
    named_topics = {f"{TOPIC_PREFIX}{name}": tensor for name, tensor in topics.items()}
    return keras.Model(
        {**inputs, **named_topics},
        heads,
        name=f"{experiment.name}_backbone".replace("-", "_").replace(".", "_"),
    )


def check_shared(model: keras.Model) -> None:
    """Raises ``InputError`` where a layer, such as one of an installed package, draws numbers or
    keeps moments of a batch without knowing that other workers have the rest of it.
    """
    aware = (IdDropout, RowDropout, PartitionedNormalization, Intercepts, RowEmbedding)
    for layer in model.layers:
        if layer.non_trainable_variables and not isinstance(layer, aware):
            raise InputError(
                f"backbone: layer '{layer.name}' ({type(layer).__name__}) draws numbers, or keeps"
                " moments of a batch, of which each of several workers has a part; train in one"
                " process, or leave the layer out"
            )


def intercepts_of(model: keras.Model) -> keras.Variable | None:
    """What a backbone's ``logits`` hold beside what was trained, ``[T]``; None where it is older
    than intercepts.
    """
    return next((layer.bias for layer in model.layers if layer.name == _INTERCEPTS), None)


def biased(tasks: Tasks) -> tuple[int, ...]:
    """Places of the towers whose logits depend on the position: those that wait on no other task.
    Where a row stands moves the click, not the conversion after it.
    """
    return tuple(place for place, name in enumerate(tasks.towers) if not tasks.before(name))


def add_bias(tasks: Tasks, logits: Any, bias: Any) -> Any:
    """The towers' logits ``[B, T]`` with what the position adds to those of ``biased``, ``[B, P]``
    or, of one, ``[B]``.
    """
    columns, places = ops.reshape(bias, (-1, len(biased(tasks)))), biased(tasks)
    return ops.stack(
        [
            logits[:, place] + columns[:, places.index(place)]
            if place in places
            else logits[:, place]
            for place in range(logits.shape[1])
        ],
        axis=1,
    )


def read_tap(heads: dict[str, Any], tap: str) -> Any:
    """The tensor that kernels read of a backbone's heads, ``[B, T, d]``, or ``[B, 1, D]`` for
    ``input`` alone.

    Args:
      heads: of ``build_backbone``; symbolic, TensorFlow or NumPy.
      tap: names of heads joined by ``+``, laid side by side; ``logits`` are read as one number a
        task.

    Raises:
      InputError: there is no such head; a backbone may be older than a head.
    """
    names = tap.split("+")
    missing = [name for name in names if name not in heads]
    if missing:
        raise InputError(
            f"kernel.tap: the backbone has no head '{missing[0]}'; it has: {', '.join(heads)}; read"
            " one of them, or train it again"
        )
    if len(names) == 1 and tap != "logits":
        return heads[tap]
    tensors = [
        ops.expand_dims(heads[name], -1) if name == "logits" else heads[name] for name in names
    ]
    tasks = max(tensor.shape[1] for tensor in tensors)
    return ops.concatenate(
        [
            ops.repeat(tensor, tasks, axis=1) if tensor.shape[1] == 1 else tensor
            for tensor in tensors
        ],
        axis=-1,
    )


def _input(output: Output) -> Any:
    shape = (output.length,) if output.length else ()
    name = f"feature_{output.name}"  # a feature may be called what a layer is called
    return keras.Input(shape, dtype="int32" if output.size else "float32", name=name)


def inference_model(model: keras.Model, experiment: Experiment) -> keras.Model:
    """The backbone as kernels and serving see it, on the same weights: the debias feature is not
    read.
    """
    debias = experiment.backbone.debias
    inputs = {
        name: tensor for name, tensor in model.input.items() if not debias or name != debias.feature
    }
    inference = keras.Model(
        inputs,
        {name: tensor for name, tensor in model.output.items() if name != BIAS},
        name=model.name,
    )
    inference.jit_compile = (
        False  # what is served cannot use XLA, so what is judged does not either
    )
    return inference
