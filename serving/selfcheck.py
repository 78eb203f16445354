"""``python -m serving.selfcheck`` checks that a server answers what the trainer computes.

Starts the embedded server on a free port, sends raw log rows under two domains, two that have
scores of their own, ``auto`` and ``backbone`` over gRPC, and compares every answer with the
trainer's own path: validated rows, Beam's batch transform, the reloaded backbone, the stored
kernels.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import Experiment, InputError
from configs.cli import CommandParser, run
from configs.domains import AUTO, BACKBONE
from configs.prediction.score import largest_difference
from preprocessing.dataset.manifest import load_manifest
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument, is_remote, scratch_folder
from serving.wire.signatures import RANK_SIGNATURE, SERVED_DOMAIN
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes
from trainer.staging import at_hand

if TYPE_CHECKING:  # Beam, Arrow and TensorFlow, where rows are read and scored: not for --help
    import pyarrow as pa

    from serving.client import Client

TOLERANCE = 1e-5
_MODEL = "selfcheck"


def log_rows(experiment: Experiment, logs: str, count: int) -> "pa.RecordBatch":
    """The first ``count`` sound rows of the newest files, of any split. Raises ``InputError`` where
    there are none.
    """
    import pyarrow as pa

    from preprocessing.logs.files import find_sources, plan
    from preprocessing.logs.readers import read_piece
    from preprocessing.validation.row_checks import validate

    found: list[pa.RecordBatch] = []
    for piece in reversed(plan(find_sources(logs, experiment.evaluation.truth), experiment).pieces):
        for raw in read_piece(piece, experiment):
            found.append(validate(raw, experiment).rows)
            if sum(batch.num_rows for batch in found) >= count:
                return pa.concat_batches(found).slice(0, count)
    if not any(batch.num_rows for batch in found):
        raise InputError(f"{logs}: no sound row")
    return pa.concat_batches(found)


@contextmanager
def server_process(models: Path, name: str = _MODEL, *flags: str) -> Iterator[tuple[str, int]]:
    """The embedded server on a free port of this machine, as a process of its own; gives its
    address and id, stops it in the end.
    """
    command = [
        sys.executable,
        "-m",
        "serving.server",
        "--model-name",
        name,
        "--model-base-path",
        str(models),
        "--port",
        "0",
        *flags,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own module
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line:
                raise InputError(f"{models}: the server did not start (its message is above)")
            yield line.split()[-1], server.pid
        finally:
            server.terminate()
            server.wait(timeout=30)


@contextmanager
def running_server(models: Path, name: str = _MODEL) -> Iterator[str]:
    """``server_process``; gives its address."""
    with server_process(models, name) as (target, _):
        yield target


def check(experiment: Experiment, data: Path, job: Job, models: Path, count: int) -> dict[str, Any]:
    """Runs the comparison. Returns rows, for every domain asked for the largest difference and the
    domains that served, and for ``rank`` the largest difference from the same rows written out.
    """
    import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
    from preprocessing.logs.schema import served_columns
    from serving.client import Client
    from serving.export.reference_scores import stored_scores

    rows = log_rows(experiment, load_manifest(data).input, count)
    expected = stored_scores(job, experiment, rows)
    columns = served_columns(experiment)
    requests = rows.select([column.name for column in columns]).to_pylist()
    shared = [column.name for column in columns if column.side != "item"]
    asked = [
        *[*expected.active, *(domain.name for domain in experiment.domains)][:2],
        *[*experiment.scores][:2],
        AUTO,
        BACKBONE,
    ]
    result: dict[str, Any] = {"rows": len(requests), "domains": {}}
    with running_server(models) as target, Client(target, _MODEL) as client:
        for domain in asked:
            answers = client.predict(requests, domain)
            scores, served = expected.scores_for(domain)
            if [answer[SERVED_DOMAIN] for answer in answers] != served:
                raise InputError(
                    f"asked for '{domain}': served_domain of the server and of the job's active"
                    " kernels differ; export again"
                )
            differences = [
                largest_difference([answer[task] for answer in answers], scores[task])
                for task in scores
            ]
            result["domains"][domain] = {
                "largest_difference": float(max(differences)),
                "served": sorted(set(served)),
            }
        if RANK_SIGNATURE in client.signatures():
            result["rank"] = {"largest_difference": rank_difference(client, requests, shared)}
    return result


def rank_difference(client: "Client", rows: list[dict[str, Any]], shared: list[str]) -> float:
    """Every row's item for the first row's user and context: largest difference between ``rank``
    and the same rows written out.
    """
    first = {name: rows[0][name] for name in shared}
    together = client.rank(
        first,
        [{name: value for name, value in row.items() if name not in first} for row in rows],
        AUTO,
    )
    apart = client.predict([row | first for row in rows], AUTO)
    differences = [
        largest_difference([one[task]], [other[task]])
        for one, other in zip(together, apart, strict=True)
        for task in one.keys() - {SERVED_DOMAIN}
    ]
    return float(max(differences))


def main() -> None:
    """The command; exit code 1 where an answer is off by more than ``TOLERANCE``."""
    parser = CommandParser(
        prog="python -m serving.selfcheck",
        description="Compare a server's answers with the trainer's own scores.",
    )
    parser.add_argument(
        "--data",
        type=folder_argument,
        required=True,
        metavar="DIR",
        help="dataset; its manifest names the logs",
    )
    parser.add_argument(
        "--job-dir",
        type=folder_argument,
        required=True,
        metavar="DIR",
        help="the job that was exported",
    )
    parser.add_argument(
        "--models",
        type=folder_argument,
        required=True,
        metavar="MODELS",
        help="base path of the model; its newest version is served",
    )
    parser.add_argument("--rows", type=int, default=500, metavar="N", help="rows to send (500)")
    add_scratch_argument(parser)
    arguments = parser.parse_args()
    with at_hand(arguments, changes=False):
        result = _checked(arguments)
    print(json.dumps(result, indent=1))
    worst = max(
        part["largest_difference"]
        for part in [*result["domains"].values(), result.get("rank", {"largest_difference": 0.0})]
    )
    same = worst <= TOLERANCE
    print(
        f"served {'=' if same else '!='} trained: largest difference {worst:.2e}, tolerance"
        f" {TOLERANCE:.0e}",
        file=sys.stderr,
    )
    sys.exit(0 if same else 1)


def _checked(arguments: argparse.Namespace) -> dict[str, Any]:
    """The result of ``check``, of a model wherever it is."""
    job, models = Job(arguments.job_dir), arguments.models
    job.check_finished()
    load_manifest(arguments.data)
    if is_remote(models):
        import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
        from serving.export.remote_models import models_here

        here: AbstractContextManager[Path] = models_here(models, scratch_folder(arguments.scratch))
    else:
        here = nullcontext(models)
    with here as folder:
        if not folder.is_dir():
            raise InputError(f"--models: no such directory: {models}")
        if not any(path.name.isdecimal() for path in folder.iterdir()):
            raise InputError(f"{models}: holds no version; run python -m serving.export")
        experiment = job_routes(KernelStore(job), job.experiment())
        return check(experiment, arguments.data, job, folder, arguments.rows)


if __name__ == "__main__":
    run(main)
