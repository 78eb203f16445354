"""Fingerprints a backbone: sha256 over every weight and over its transform; and says where two
differ.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import InputError

if TYPE_CHECKING:  # fingerprints are compared where no model is
    import keras


def model_fingerprint(model: "keras.Model", transform_digest: str) -> dict[str, Any]:
    """sha256 over every weight (path, dtype, shape, bytes) of a backbone and over its
    transform's vocabularies and constants.
    """
    from trainer.backbone.layers.chunked_tables import numpy_view

    digests = {}
    for variable in model.weights:
        tensor = np.ascontiguousarray(numpy_view(variable.value))
        digest = hashlib.sha256(f"{tensor.dtype.str} {tensor.shape}\n".encode())
        digest.update(tensor.data)
        digests[variable.path] = digest.hexdigest()
    whole = hashlib.sha256(
        json.dumps([transform_digest, digests], sort_keys=True).encode()
    ).hexdigest()
    return {"fingerprint": whole, "transform": transform_digest, "tensors": digests}


def check_transform(expected: dict[str, Any], digest: str, where: str) -> None:
    """Raises ``InputError`` where a transform is not the one of a backbone's fingerprint."""
    if expected["transform"] != digest:
        raise InputError(
            f"{where}: its transform (sha256 {digest[:12]}) is not the one that the backbone's"
            f" fingerprint names ({expected['transform'][:12]})"
        )


def check_fingerprint(expected: dict[str, Any], received: dict[str, Any], where: str) -> None:
    """Raises ``InputError`` naming the first difference of two fingerprints."""
    if expected["fingerprint"] == received["fingerprint"]:
        return
    check_transform(expected, received["transform"], where)
    raise InputError(
        f"{where}: {fingerprint_difference(expected, received)} differs from the backbone's"
        " fingerprint"
    )


def fingerprint_difference(expected: dict[str, Any], received: dict[str, Any]) -> str | None:
    """What differs first between two fingerprints: the transform, or a tensor by name; None
    where neither does.
    """
    if expected["transform"] != received["transform"]:
        return "the transform (vocabularies and constants)"
    names = sorted(expected["tensors"].keys() | received["tensors"].keys())
    return next(
        (
            f"tensor '{name}'"
            for name in names
            if expected["tensors"].get(name) != received["tensors"].get(name)
        ),
        None,
    )
