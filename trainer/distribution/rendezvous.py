"""Where workers meet before TensorFlow connects them: all are there, and all mean the same run.

TensorFlow's own start waits for an hour, cannot be interrupted, and does not ask what the others
are about to train. So rank 0 listens on its address, the others say who they are and of what, and
are told to go on or why not. The address is free again when TensorFlow takes it.
"""

import json
import re
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from configs import InputError
from trainer.distribution.cluster import Cluster

PATIENCE = 600.0
"""Seconds that workers wait for each other."""
_AGAIN = 0.2
_ONE = 5.0
"""Seconds for one message of a worker that is there."""
_LONGEST = 1 << 16
_DIGEST, _OF_A_DIGEST = re.compile(r"[0-9a-f]{64}"), 12

Facts = Mapping[str, str]
"""What has to be the same on all workers: what it is -> its digest or value."""


def meet(cluster: Cluster, facts: Facts, seconds: float = PATIENCE) -> None:
    """Returns when all workers of a cluster are there and of the same facts.

    Args:
      cluster: with this process's rank.
      facts: of this process.
      seconds: that it waits.

    Raises:
      InputError: a worker did not come in time, or a fact is not the same on all: every worker is
        told so.
    """
    deadline = time.monotonic() + seconds
    if cluster.rank == 0:
        _receive(cluster, facts, deadline)
        return
    with _listening(cluster):  # else TensorFlow would be the first to find that it cannot
        pass
    _report(cluster, facts, deadline)


def difference(cluster: Cluster, facts: Mapping[int, Facts]) -> str:
    """What is not the same on all workers, in one sentence; empty where all is.

    Args:
      cluster: for the names.
      facts: rank -> its facts.
    """
    for rank in sorted(facts):
        for what in sorted(facts[0].keys() | facts[rank].keys()):
            ours, theirs = facts[0].get(what, "none"), facts[rank].get(what, "none")
            if ours != theirs:
                return (
                    f"{cluster.name(rank)}: its {what} is {_shown(theirs)}, and that of"
                    f" {cluster.name(0)} is {_shown(ours)}; start all workers with the same"
                )
    return ""


def _shown(value: str) -> str:
    """A digest by its beginning, all else as it is: paths often differ at their ends."""
    return value[:_OF_A_DIGEST] if _DIGEST.fullmatch(value) else value


def _receive(cluster: Cluster, facts: Facts, deadline: float) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(_listening(cluster))
        there: dict[int, socket.socket] = {}
        said: dict[int, Facts] = {0: facts}
        while missing := [rank for rank in range(1, cluster.size) if rank not in there]:
            if time.monotonic() > deadline:
                raise InputError(
                    f"{cluster.name(missing[0])} did not come, nor {len(missing) - 1} others; start"
                    " all workers, and look for what their logs say"
                    if len(missing) > 1
                    else f"{cluster.name(missing[0])} did not come; start it, and look for what its"
                    " log says"
                )
            with suppress(OSError):
                connection, _ = listener.accept()
                stack.callback(connection.close)
                rank, theirs = _introduction(connection, cluster.size)
                if rank:
                    there[rank], said[rank] = connection, theirs
            there = {rank: found for rank, found in there.items() if not _gone(found)}
        problem = difference(cluster, said)
        for connection in there.values():
            with suppress(OSError):  # who ends just now is missed later
                connection.sendall(json.dumps({"problem": problem}).encode() + b"\n")
    if problem:
        raise InputError(problem)


@contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    port = int(cluster.addresses[cluster.rank].rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"{cluster.name(cluster.rank)}: cannot listen at port {port}:"
            f" {error.strerror}; give TF_CONFIG a port that is free"
        ) from None
    with listener:
        listener.settimeout(_AGAIN)
        yield listener


def _introduction(connection: socket.socket, size: int) -> tuple[int, Facts]:
    """Rank and facts of who has connected; rank 0 where it is none of the workers."""
    content = _line(connection, time.monotonic() + _ONE)
    rank, facts = content.get("rank"), content.get("facts")
    if not isinstance(rank, int) or not 0 < rank < size or not isinstance(facts, dict):
        return 0, {}
    return rank, {str(key): str(value) for key, value in facts.items()}


def _report(cluster: Cluster, facts: Facts, deadline: float) -> None:
    host, _, port = cluster.addresses[0].rpartition(":")
    words = json.dumps({"rank": cluster.rank, "facts": dict(facts)}).encode() + b"\n"
    while time.monotonic() < deadline:
        # Nobody may be there yet, or the first worker of a run that is about to end.
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), _ONE) as to:
            to.sendall(words)
            problem = _line(to, deadline).get("problem")
            if problem:
                raise InputError(str(problem))
            if problem == "":
                return
        time.sleep(_AGAIN)
    raise InputError(f"{cluster.name(0)} did not answer; start it, and look for what its log says")


def _line(connection: socket.socket, deadline: float) -> dict[str, object]:
    """The JSON object that the other side sends as one line; empty where it is something else."""
    received = b""
    while not received.endswith(b"\n") and len(received) < _LONGEST:
        connection.settimeout(max(deadline - time.monotonic(), _AGAIN))
        part = connection.recv(1 << 12)
        if not part:
            return {}
        received += part
    with suppress(ValueError, RecursionError):
        content = json.loads(received)
        return content if isinstance(content, dict) else {}
    return {}


def _gone(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection on which it has nothing to say."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(connection, selectors.EVENT_READ)
        return bool(waiting.select(0))
