"""One domain added to 200: seconds until the new version is there, as a user runs the command, and
what it left as it was.

A small simulated backbone; kernels of random weights, which cost what trained ones cost. Scores are
of the golden requests, through the embedded server's own loader.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.method.bench import Bench
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import run_process
from benchmarks.speed.serving import activate, drawn_kernels, experiment_of
from configs import InputError
from configs.domains import BACKBONE
from serving.export.sharded_checkpoint import BACKBONE_DATA
from serving.server.servable import Servable
from serving.wire.row_codec import encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE
from serving.wire.tensor_protos import decode
from trainer.job import Job

_SHARED = ("saved_model.pb", BACKBONE_DATA)


def measure(options: Options) -> Figures:
    """See the module."""
    count = 20 if options.quick else 200
    bench = Bench(experiment_of(count + 1, options.quick), None, options.folder)
    job, domains = drawn_kernels(bench.job, bench.experiment, count + 1, options.folder)
    *kept, added = domains
    models = options.folder / "models"
    shutil.rmtree(models, ignore_errors=True)
    figures: Figures = {"domains": count, "golden_requests": len(job.golden_requests())}
    for stage, active in (("full_export", kept), ("re_export", domains)):
        activate(job, active)
        command = ["serving.export", "--job-dir", str(job.folder), "--output", str(models)]
        figures |= run_process(command, options.folder / f"{stage}.log").figures(stage)
    first, second = models / "1", models / "2"
    before, after = Answers(first, job), Answers(second, job)
    if added in before.served(added) or after.served(added) != {added}:
        raise InputError(f"{models}: expected '{added}' to be served by version 2 alone")
    written = [
        path.stat().st_size
        for path in second.rglob("*")
        if path.is_file() and path.stat().st_nlink == 1
    ]
    return figures | {
        "other_domains_changed": sum(
            before.scores(domain) != after.scores(domain) for domain in (*kept, BACKBONE)
        ),
        "other_columns_of_all_domains_changed": len(
            before.side_by_side(kept) ^ after.side_by_side(kept)
        ),
        "graph_and_backbone_files_changed": sum(
            _sha256(first / name) != _sha256(second / name) for name in _SHARED
        ),
        "re_export_written_mib": sum(written) / (1 << 20),
    }


class Answers:
    """What a version answers to a job's golden requests."""

    def __init__(self, version: Path, job: Job) -> None:
        self._servable, self._rows = Servable(int(version.name), version), job.golden_requests()

    def served(self, domain: str) -> set[str]:
        """The domains that serve, where one is asked for."""
        return {name.decode() for name in self._predict(DEFAULT_SIGNATURE, domain)["served_domain"]}

    def scores(self, domain: str) -> list[bytes]:
        """Every probability under a domain, bit by bit, and what served."""
        outputs = self._predict(DEFAULT_SIGNATURE, domain)
        return [
            *outputs.pop("served_domain"),
            *(values.tobytes() for _, values in sorted(outputs.items())),
        ]

    def side_by_side(self, domains: list[str]) -> set[tuple[bytes, bytes]]:
        """The columns of ``all_domains`` by domain, bit by bit."""
        outputs, wanted = (
            self._predict("all_domains", None),
            {domain.encode() for domain in domains},
        )
        names = outputs.pop("domains")
        columns = np.stack([values for _, values in sorted(outputs.items())])
        return {
            (name, columns[:, :, place].tobytes())
            for place, name in enumerate(names)
            if name in wanted
        }

    def _predict(self, signature: str, domain: str | None) -> dict[str, Any]:
        inputs = encode_rows(self._servable.signatures[signature], self._rows, domain)
        return {
            name: decode(proto) for name, proto in self._servable.predict(signature, inputs).items()
        }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
