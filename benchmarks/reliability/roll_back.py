"""One domain rolled back on a running server: seconds from the first key of ``trainer.task kernels
rollback`` to the first answer with the earlier kernel's scores, imports, ``serving.export`` and the
server's poll (its default) included.

While the two commands run, the domain is asked again and again for the job's golden requests. What
the earlier kernel answers is computed by the trainer's own path, from what the registry then says,
and not read from the exported model.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.options import Figures
from benchmarks.speed.processes import run_process
from configs import InputError
from configs.domains import BACKBONE
from configs.prediction.score import largest_difference
from serving.client import Client
from serving.export.export_manifest import newest
from serving.selfcheck import TOLERANCE, running_server
from serving.wire.signatures import SERVED_DOMAIN
from trainer.job import Job
from trainer.registry.golden_scores import record_batch
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import job_routes

_MODEL = "rolled_back"
_PAUSE, _PATIENCE = 0.05, 300.0
"""Seconds between two questions, and until an answer is given up."""

Answers = list[dict[str, Any]]


def roll_back(job: Job, models: Path, logs: Path) -> Figures:
    """Rolls back the first domain that was served by two versions.

    Args:
      job: whose newest version is what it serves.
      models: base path of its model.
      logs: folder for what the commands say.

    Returns:
      ``roll_back_seconds`` of the two commands, ``rollback_on_server_seconds`` as above,
      ``roll_back_wrong`` (1 where the registry serves another version than the history's),
      ``rollback_failed_requests``, ``rollback_domains_compared`` and
      ``rollback_other_domains_changed``: of the other active domains and the backbone, whose
      answers differ in any bit.

    Raises:
      InputError: a command failed, or the server did not answer with the earlier scores in five
        minutes.
    """
    store, rows = KernelStore(job), job.golden_requests()
    active = store.active()
    found = next((name for name in active if _way_back(store, name)), None)
    if found is None:
        return {"roll_back_seconds": "not measured: no domain was served by two versions"}
    earlier = store.version_before(found)
    others = [*(name for name in active if name != found), BACKBONE]
    with running_server(models, _MODEL) as target, Client(target, _MODEL) as client:
        before = {name: client.predict(rows, name) for name in others}
        watched = _Watched(client, found, rows)
        start = time.perf_counter()
        with watched.asked():
            for module, *words in (
                ["trainer.task", "kernels", "rollback", found],
                ["serving.export", "--output", str(models)],
            ):
                command = [module, *words, "--job-dir", str(job.folder)]
                run_process(command, logs / f"{module}.txt")
            commands = time.perf_counter() - start
            watched.wait_for(newest(models))
        after = {name: client.predict(rows, name) for name in others}
    expected = _expected(job, found, rows)
    return {
        "roll_back_seconds": commands,
        "roll_back_wrong": int(store.active()[found] != earlier),
        "rollback_on_server_seconds": watched.first(found, expected) - start,
        "rollback_failed_requests": watched.failed,
        "rollback_domains_compared": len(others),
        "rollback_other_domains_changed": sum(before[name] != after[name] for name in others),
    }


def _way_back(store: KernelStore, domain: str) -> bool:
    return any(store.history.before(domain, store.active()[domain])[:1])


def _expected(job: Job, domain: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Output -> value of every row, of what the registry serves now."""
    from serving.export.reference_scores import stored_scores

    experiment = job_routes(KernelStore(job), job.experiment())
    batch = record_batch(experiment, rows, str(job.golden))
    return dict(stored_scores(job, experiment, batch).scores_for(domain)[0])


@dataclass
class _Watched:
    """What a server answers for a domain over time.

    Attributes:
      client: of the server.
      domain: that is asked for.
      rows: of every request.
      seen: moment at which an answer was there (``time.perf_counter``), the version that gave it,
        and the answer.
      failed: requests without an answer.
    """

    client: Client
    domain: str
    rows: list[dict[str, Any]]
    seen: list[tuple[float, int, Answers]] = field(default_factory=list)
    failed: int = 0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Asks until the block ends."""
        done = threading.Event()
        asker = threading.Thread(target=self._ask, args=(done,))
        asker.start()
        try:
            yield
        finally:
            done.set()
            asker.join()

    def _ask(self, done: threading.Event) -> None:
        while not done.wait(_PAUSE):
            try:
                reply = self.client.ask(self.rows, self.domain)
            except Exception:  # whatever it was, the server had to answer
                self.failed += 1
                continue
            self.seen.append((time.perf_counter(), reply.version, reply.rows))

    def wait_for(self, version: Path | None) -> None:
        """Until a version has answered. Raises ``InputError``."""
        wanted, end = int(version.name) if version else None, time.monotonic() + _PATIENCE
        while not any(number == wanted for _, number, _ in self.seen[-1:]):
            if time.monotonic() > end:
                raise InputError(f"version {wanted} did not answer in {_PATIENCE:.0f} s")
            time.sleep(_PAUSE)

    def first(self, served: str, expected: dict[str, Any]) -> float:
        """The moment of the first answer, by a domain's own kernel, that is as expected. Raises
        ``InputError`` where there is none, or where the first answer of all is one already: then
        nothing was rolled back.
        """
        right = [
            moment
            for moment, _, answers in self.seen
            if {answer[SERVED_DOMAIN] for answer in answers} == {served}
            and all(
                largest_difference([answer[name] for answer in answers], values) <= TOLERANCE
                for name, values in expected.items()
            )
        ]
        if not right or right[0] == self.seen[0][0]:
            raise InputError(
                f"domain '{served}': {'every' if right else 'no'} answer has the earlier kernel's"
                " scores; expected those before the roll-back to differ from those after it"
            )
        return right[0]
