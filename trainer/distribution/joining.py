"""Joins the workers of a cluster, and says it in one line where one is lost."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from configs import Experiment, InputError
from configs.digests.code import code_digest
from configs.digests.listed_files import sha256_of
from configs.digests.sealed_json import digest_of
from configs.tensorflow_import import tf
from preprocessing.dataset.manifest import MANIFEST
from preprocessing.filesystem import one_name
from preprocessing.remote.folder import name_of
from trainer.distribution.agreement import told
from trainer.distribution.cluster import Cluster
from trainer.distribution.collectives import Collectives
from trainer.distribution.rendezvous import Facts, meet
from trainer.distribution.workers import ALONE, Workers

_CONNECTING = 120
"""Seconds that TensorFlow may take to connect workers that are all there; what waits in it cannot
be told to stop, so the process ends.
"""


_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
_SAID = ("Collective ops is aborted", "remote target", "heartbeat")
"""What TensorFlow raises, or says, where another worker is gone; which of them depends on what this
one was doing.
"""


class LostWorkerError(InputError):
    """Another worker has ended, or cannot be reached any more."""


def facts_of(
    experiment: Experiment, data: Path, teacher: Path | None, older: Path | None = None
) -> Facts:
    """What has to be the same on all workers of a pre-training.

    Args:
      experiment: that is trained.
      data: folder of its dataset.
      teacher: ``--teacher``.
      older: ``--from``.
    """
    return {
        "config": digest_of(json.loads(experiment.model_dump_json())),
        "dataset (sha256 of manifest.json)": sha256_of(data / MANIFEST),
        "--teacher": _folder_name(teacher),
        "--from": _folder_name(older),
        "code": code_digest(),
        "TensorFlow": version("tensorflow"),
    }


def _folder_name(folder: Path | None) -> str:
    return "none" if folder is None else one_name(name_of(folder))


@contextmanager
def joined(cluster: Cluster | None, facts: Facts) -> Iterator[Workers]:
    """Connects this process with the other workers, and waits at the end until all are there; one
    process alone where there is no cluster.

    TensorFlow must not have computed anything. Workers that end, however they do, are noticed:
    at once where a connection breaks, after some ten seconds where nothing is heard any more.

    Args:
      cluster: of ``TF_CONFIG``, which is read again here by TensorFlow.
      facts: that have to be the same on all.

    Raises:
      InputError: a worker did not come, or is about to train something else.
      LostWorkerError: a worker was lost.
    """
    if cluster is None:
        yield ALONE
        return
    print(f"{cluster.name(cluster.rank)}: waiting for the others", file=sys.stderr)
    meet(cluster, facts)
    print(
        f"{cluster.name(cluster.rank)}: all are there; connecting (where that takes"
        f" {_CONNECTING} s, this ends with exit code 142: start all again)",
        file=sys.stderr,
    )
    try:
        before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CONNECTING)
        try:
            # connects; of its variables, its steps and its way to split a batch nothing is used
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        workers = Collectives(cluster.rank, cluster.size)
        told(workers)
        yield workers
        told(workers)
        print(f"{cluster.name(cluster.rank)}: {workers.traffic}", file=sys.stderr)
        del strategy
    except RuntimeError as error:
        # Ctrl-C, which met an error of TensorFlow's on its way up
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        raise
    except tf.errors.OpError as error:
        if not isinstance(error, _LOST) and not any(words in str(error) for words in _SAID):
            raise
        raise LostWorkerError(
            f"{cluster.name(cluster.rank)}: another worker has ended or cannot be reached; this one"
            " ends, too. Its log says why; start all workers again, and they go on from the last"
            " checkpoint"
        ) from None
