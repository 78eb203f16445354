"""``python -m serving.signature_lock VERSION`` asks whether a version still offers what clients
rely on.

``signature.lock.json`` beside this file is the agreement. ``contract`` holds for every config: the
inputs and outputs that do not depend on its features and tasks. ``quickstart`` is all of
``configs/quickstart.yaml``'s. For each signature it gives every input's and output's data type and
dimensions (-1: any), so that a name, a type or a rank that changes is a change of this file, in
plain view.
"""

import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from configs import InputError
from configs.cli import CommandParser, run
from configs.files import write_bytes
from configs.prediction.score import SCORE
from serving.wire.signatures import DOMAIN, DOMAINS, EXAMPLES, SERVED_DOMAIN
from serving.wire.tensor_protos import dtype_name

LOCK = Path(__file__).with_name("signature.lock.json")
CONTRACT, QUICKSTART = "contract", "quickstart"
_NO_TASKS = {SCORE, SERVED_DOMAIN, DOMAINS}

Signatures = dict[str, dict[str, dict[str, str]]]
"""Signature -> ``inputs`` or ``outputs`` -> name -> data type and dimensions, e.g. ``float
[-1]``.
"""


def signatures_of(meta_graph: Message) -> Signatures:
    """What a version offers."""
    return {
        name: {"inputs": _described(signature.inputs), "outputs": _described(signature.outputs)}
        for name, signature in sorted(meta_graph.signature_def.items())
        if not name.startswith("__")
    }


def contract_of(signatures: Signatures) -> Signatures:
    """The part that no config changes: the outputs that are no task's, and the inputs that are no
    raw feature.
    """
    own = {
        name: signature["inputs"]
        if name == EXAMPLES
        else {key: shown for key, shown in signature["inputs"].items() if key == DOMAIN}
        for name, signature in signatures.items()
    }
    return {
        name: {
            "inputs": own[name],
            "outputs": {
                key: shown for key, shown in signature["outputs"].items() if key in _NO_TASKS
            },
        }
        for name, signature in signatures.items()
    }


def differences(agreed: Signatures, offered: Signatures) -> list[str]:
    """One line for each signature, input or output that is missing, new or another; none where
    both are the same.
    """
    lines = []
    flat = [
        {
            (name, side, key): shown
            for name, sides in signatures.items()
            for side, keys in sides.items()
            for key, shown in keys.items()
        }
        for signatures in (agreed, offered)
    ]
    for place in sorted(flat[0].keys() | flat[1].keys()):
        before, after = (part.get(place, "nothing") for part in flat)
        if before != after:
            lines.append(f"{' '.join(place)}: expected {before}, received {after}")
    return lines


def _described(infos: Any) -> dict[str, str]:
    return {
        name: f"{_dtype(info.dtype)} {[dim.size for dim in info.tensor_shape.dim]}"
        for name, info in sorted(infos.items())
    }


def _dtype(number: int) -> str:
    return dtype_name(number).removeprefix("DT_").lower()


def main() -> None:
    """The command; exit code 1 where something differs."""
    parser = CommandParser(
        prog="python -m serving.signature_lock",
        description="Compare a version's signatures with the agreed ones.",
    )
    parser.add_argument(
        "version", type=Path, metavar="VERSION", help="folder of an exported version"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="the quickstart's own inputs too, not only what holds for every config",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="agree on this version of the quickstart: writes the lock file",
    )
    arguments = parser.parse_args()
    if not (arguments.version / "saved_model.pb").is_file():
        raise InputError(f"{arguments.version}: no exported version; expected saved_model.pb in it")

    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from serving.export.supported_ops import read_meta_graph

    offered = signatures_of(read_meta_graph(arguments.version))
    if arguments.write:
        agreement = {CONTRACT: contract_of(offered), QUICKSTART: offered}
        write_bytes(LOCK, (json.dumps(agreement, indent=1) + "\n").encode())
        return
    agreed = json.loads(LOCK.read_text(encoding="utf-8"))
    lines = (
        differences(agreed[QUICKSTART], offered)
        if arguments.all
        else differences(agreed[CONTRACT], contract_of(offered))
    )
    print("\n".join(lines) or "as agreed", file=sys.stderr if lines else sys.stdout)
    sys.exit(1 if lines else 0)


if __name__ == "__main__":
    run(main)
