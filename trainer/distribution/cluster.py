"""Reads ``TF_CONFIG``: which processes pre-train together, as Vertex AI, Kubeflow's training
operator or a script of one's own name them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs import InputError

VARIABLE = "TF_CONFIG"
"""The environment variable."""
_KINDS = ("chief", "worker")
_EXPECTED = (
    '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}, and one'
    " 'chief' at most"
)


@dataclass(frozen=True)
class Cluster:
    """Processes that pre-train together.

    Attributes:
      addresses: ``HOST:PORT`` of each by its rank: the chief where there is one, then the workers.
      rank: of this process.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.addresses)

    def name(self, rank: int) -> str:
        """How a process is called in messages."""
        return f"worker {rank} of {self.size} ({self.addresses[rank]})"


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that ``TF_CONFIG`` describes; None where there is none, or one process alone.

    Args:
      environment: of this process.

    Raises:
      InputError: it cannot be read, or names parameter servers or evaluators, which pre-training
        has no use for.
    """
    text = environment.get(VARIABLE, "")
    if not text.strip():
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{VARIABLE}: not JSON: {error}; expected {_EXPECTED}") from None
    cluster = content.get("cluster") if isinstance(content, dict) else None
    if isinstance(content, dict) and not cluster:
        return None
    task = content.get("task") if isinstance(content, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise InputError(f"{VARIABLE}: received {text[:200]}; expected {_EXPECTED}")
    _check_kinds(cluster)
    addresses = {kind: _addresses(cluster, kind) for kind in _KINDS}
    if len(addresses["chief"]) > 1:
        raise InputError(
            f"{VARIABLE}: names {len(addresses['chief'])} chiefs; expected one at most"
        )
    every = (*addresses["chief"], *addresses["worker"])
    if len(set(every)) < len(every):
        raise InputError(f"{VARIABLE}: names an address twice; expected one for each process")
    return Cluster(every, _rank(task, addresses)) if len(every) > 1 else None


def _check_kinds(cluster: Mapping[str, Any]) -> None:
    for kind in sorted(cluster):
        if cluster[kind] and kind not in _KINDS:
            what = {"ps": "parameter servers", "evaluator": "evaluators"}.get(
                kind, f"tasks '{kind}'"
            )
            raise InputError(
                f"{VARIABLE}: names {what}, and pre-training has none: every worker holds all"
                " weights; expected 'chief' and 'worker' alone"
            )


def _addresses(cluster: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    found = cluster.get(kind) or []
    if not isinstance(found, list) or not all(map(_is_address, found)):
        raise InputError(f"{VARIABLE}: cluster.{kind} is {found!r}; expected a list of HOST:PORT")
    return tuple(found)


def _is_address(text: object) -> bool:
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16


def _rank(task: Mapping[str, Any], addresses: Mapping[str, tuple[str, ...]]) -> int:
    kind, index = task.get("type"), task.get("index")
    if isinstance(index, str) and index.isascii() and index.isdigit():
        index = int(index)
    there = addresses.get(kind, ()) if isinstance(kind, str) else ()
    if type(index) is not int or not 0 <= index < len(there):
        raise InputError(
            f"{VARIABLE}: this task is {kind!r} {task.get('index')!r}, which the cluster does not"
            f" name; it has {len(addresses['chief'])} chief and {len(addresses['worker'])} workers"
        )
    return index + (len(addresses["chief"]) if kind == "worker" else 0)
