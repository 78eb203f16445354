"""Fingerprints a backbone: sha256 over every weight, its architecture, its transform, and the
settings that decide scores; and says where two differ.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import InputError
from configs.digests.code import checkout_name
from configs.digests.sealed_json import digest_of

if TYPE_CHECKING:  # fingerprints are compared where no model is
    import keras

_PARTS = {
    "transform": "the transform (vocabularies and constants)",
    "architecture": "the architecture (the model's config)",
    "settings": "a setting that decides scores (backbone/experiment.json)",
}
"""Part of a fingerprint -> what it is of. Older fingerprints have the transform and the tensors."""


def model_fingerprint(
    model: "keras.Model", transform_digest: str, settings: str = ""
) -> dict[str, Any]:
    """The fingerprint of a backbone.

    Args:
      model: whose weights (path, dtype, shape, bytes) and config are hashed.
      transform_digest: of its transform's vocabularies and constants.
      settings: ``settings_digest`` of its experiment.

    Returns:
      ``fingerprint``, over all the rest; ``transform``; ``architecture``; ``settings``; and
      ``tensors``, sha256 by path.
    """
    from trainer.backbone.layers.chunked_tables import numpy_view

    digests = {}
    for variable in model.weights:
        tensor = np.ascontiguousarray(numpy_view(variable.value))
        digest = hashlib.sha256(f"{tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
        digests[variable.path] = digest.hexdigest()
    parts = {
        "transform": transform_digest,
        "architecture": _architecture(model),
        "settings": settings,
        "tensors": digests,
    }
    return {"fingerprint": _whole(parts), **parts}


def settings_digest(experiment: Mapping[str, Any]) -> str:
    """Sha256 of the settings that decide what a backbone answers for raw features.

    Args:
      experiment: as ``backbone/experiment.json`` has it, so that settings which are younger than it
        change nothing.
    """
    backbone = experiment["backbone"]
    read = {name: experiment["topics"][name] for name in backbone.get("topics", ())}
    features = experiment["features"]
    return digest_of([features, list(features), backbone, read, experiment["data"]["timestamp"]])


def check_transform(expected: dict[str, Any], digest: str, where: str) -> None:
    """Raises ``InputError`` where a transform is not the one of a backbone's fingerprint."""
    if expected["transform"] != digest:
        raise InputError(
            f"{where}: its transform (sha256 {digest[:12]}) is not the one that the backbone's"
            f" fingerprint names ({expected['transform'][:12]})"
        )


def check_fingerprint(expected: dict[str, Any], received: dict[str, Any], where: str) -> None:
    """Raises ``InputError`` naming the first difference of two fingerprints; of one that is older
    than architecture and settings the transform and the tensors are compared.
    """
    check_transform(expected, received["transform"], where)
    if difference := fingerprint_difference(expected, received):
        raise InputError(f"{where}: {difference} differs from the backbone's fingerprint")
    if expected["fingerprint"] != _whole(expected):
        raise InputError(f"{where}: fingerprint.json is damaged: it is not that of its own parts")


def fingerprint_difference(expected: dict[str, Any], received: dict[str, Any]) -> str | None:
    """What differs first between two fingerprints: the transform, another part that both have, or a
    tensor by name; None where none does.
    """
    for part, title in _PARTS.items():
        if part in expected and part in received and expected[part] != received[part]:
            return title
    names = sorted(expected["tensors"].keys() | received["tensors"].keys())
    return next(
        (
            f"tensor '{name}'"
            for name in names
            if expected["tensors"].get(name) != received["tensors"].get(name)
        ),
        None,
    )


def _whole(parts: Mapping[str, Any]) -> str:
    beside = [parts[name] for name in ("architecture", "settings") if name in parts]
    content = [parts["transform"], parts["tensors"], *beside]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _architecture(model: "keras.Model") -> str:
    from keras.saving import serialize_keras_object

    config = serialize_keras_object(model)
    inner = config["config"]
    # also operations that are no layers: Keras counts the names of all of them
    names = [inner.get("name"), *(layer["name"] for layer in inner.get("layers", ()))]
    return digest_of(_canonical(config, {name: f"#{place}" for place, name in enumerate(names)}))


def _canonical(config: Any, names: Mapping[str, str]) -> Any:
    """A config without what differs from process to process: addresses of shared objects, names
    that Keras makes up by counting (``names`` are in their place), and where a release has put the
    modules of layers.
    """
    if isinstance(config, Mapping):
        return {
            name: checkout_name(value)
            if name == "module" and isinstance(value, str)
            else _canonical(value, names)
            for name, value in config.items()
            if name != "shared_object_id"
        }
    if isinstance(config, list | tuple):
        return [_canonical(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config
