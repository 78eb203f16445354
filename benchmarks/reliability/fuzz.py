"""Values, logs and requests that nobody should send, to everything that reads them.

*Readers*: random values in CSV, JSON lines and Parquet, in rows of a client, in ``tf.Example`` and
over HTTP (``read_values``, ``read_scores``), YAML scalars in configs (``yaml_scalars``), and odd
logs by the command (``odd_logs``). Bars: one reading and one score everywhere, or a refusal in one
line and exit code 2 (``other_readings``, ``other_scores``, ``changed_rows``, ``wrong_ends``), and
no traceback (``tracebacks``).

*Servers*: malformed messages to every method and the HTTP port of servers that are as by default,
and with batching on and configs taken from peers; rows that do not belong together to an exported
recommender. Bars: every request is answered before its deadline with a code that fits what is wrong
with it (``wrong_codes``, ``unanswered_requests``), no server ends (``crashes``), a good request in
between gets the same answer, to the bit, throughout, as does an odd one whose answer another one's
is known to be (``changed_good_answers``), and memory is flat once the first third has been sent
(``memory_growth_mib``).
"""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.reliability import odd_logs, yaml_scalars
from benchmarks.reliability.malformed import MOST_BYTES, Malformed, malformed
from benchmarks.reliability.malformed_http import malformed_http
from benchmarks.reliability.malformed_rows import MOST_ROWS, MalformedRows
from benchmarks.reliability.malformed_rows import NAME as ROWS_NAME
from benchmarks.reliability.peers import Peer, Served
from benchmarks.reliability.read_scores import SERVED_COLUMNS, ScoredRows, trainer_scores
from benchmarks.reliability.read_values import Readings, draws, good_row, logs, sound_rows
from benchmarks.reliability.small_job import Small
from benchmarks.reliability.versioned import save
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import resident_mib
from configs import Experiment
from preprocessing.logs.schema import served_columns
from serving.client import Client
from serving.selfcheck import server_process
from serving.server.worker_processes import shared_port

_HTTP_EVERY = 5
"""One request in so many goes to the HTTP port."""
_SEED, _THREADS = 2501, 4
_REQUESTS, _QUICK_REQUESTS = 10_000, 500
"""Malformed ones, to the model that names its version, and as many to the recommender."""
_ODD_LOGS, _QUICK_ODD_LOGS = 39, 3
_LAST_BITS = 1e-6
_FLAGS: tuple[list[str], ...] = ([], ["--enable-batching", "--reload-config-root={}"])
"""Of the two servers."""
_COUNTS = (
    *("odd_logs", "odd_logs_read", "odd_logs_refused", "yaml_scalars", "yaml_scalars_refused"),
    *("read_values", "sent_values", "malformed_requests"),
)
_ZERO = (
    *("other_readings", "other_scores", "changed_rows", "wrong_ends", "tracebacks"),
    *("wrong_codes", "unanswered_requests", "crashes", "changed_good_answers"),
)
"""What went wrong."""


def measure(options: Options) -> Figures:
    """See the module."""
    count = _QUICK_REQUESTS if options.quick else _REQUESTS
    odd = _QUICK_ODD_LOGS if options.quick else _ODD_LOGS
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    small = Small(options.folder / "small")
    small.folder.mkdir()
    small.build()  # in processes that are forked, so first
    total = odd_logs.measure(small.logs, options.folder / "odd", odd, _SEED)
    total += yaml_scalars.measure(count // 5, _SEED)
    total += _readers(small, options.folder / "read", count // 20)
    versioned = Served.versioned(options.folder / "models")
    save(1, versioned.base / "1")
    columns = served_columns(_experiment(small))
    sound = sound_rows(small.logs, columns)
    growth, resident = [], []
    for names in _FLAGS:
        flags = [name.format(versioned.base.absolute()) for name in names]
        seed, half = _SEED + len(flags), count // len(_FLAGS)
        https = half // _HTTP_EVERY
        requests = [
            *malformed(seed, half - https, versioned.base.absolute()),
            *malformed_http(seed, https),
        ]
        rows = MalformedRows(columns, sound, batched=bool(flags))
        recommender = Served(
            small.models,
            ROWS_NAME,
            rows.good(),
            rows.good_body(),
            _LAST_BITS if flags else 0.0,
        )
        for served, sent in ((versioned, requests), (recommender, [*rows.draw(seed, half)])):
            random.Random(seed).shuffle(sent)  # noqa: S311 - a seed, to repeat failures
            found, (warm, end) = _sent(served, sent, flags)
            total += found
            total["malformed_requests"] += len(sent)
            growth.append(end - warm)
            resident.append(end)
    answers = {
        f"answered_{code.removeprefix('code_')}_requests": number
        for code, number in sorted(total.items())
        if code.startswith("code_")
    }
    return {
        **{name: total[name] for name in (*_COUNTS, *_ZERO)},
        "memory_growth_mib": max(growth),
        "memory_mib": max(resident),
        **answers,
    }


def _readers(small: Small, folder: Path, count: int) -> Counter[str]:
    """Random values of so many logs, read and scored in every way."""
    readings = Readings.of(folder)
    base = good_row(small.logs)
    drawn = draws(logs(), count, _SEED)
    for kind, values in drawn:
        readings.read(base, kind, values)
    experiment = _experiment(small)
    with _free_port() as port:
        flags = [f"--rest-api-port={port}"]
        with (
            server_process(small.models, ROWS_NAME, *flags) as (target, _),
            Client(target, ROWS_NAME) as client,
        ):
            rows = ScoredRows(client, port, ROWS_NAME, experiment)
            for kind, values in drawn:
                for value in values if kind in SERVED_COLUMNS else []:
                    rows.send(base | {SERVED_COLUMNS[kind]: value}, SERVED_COLUMNS[kind])
            rows.compare(trainer_scores(small.job, experiment))
    return readings.found + rows.found


def _experiment(small: Small) -> Experiment:
    """The one that the model routes by."""
    from trainer.job import Job
    from trainer.registry.kernel_registry import KernelStore
    from trainer.registry.routes import job_routes

    job = Job(small.job)
    return job_routes(KernelStore(job), job.experiment())


def _sent(
    served: Served, requests: list[Malformed], flags: list[str]
) -> tuple[Counter[str], tuple[float, float]]:
    """What became of the requests; the server's memory after a third of them, and in the end."""
    found: Counter[str] = Counter()
    limits = [f"--max-message-bytes={MOST_BYTES}", f"--max-rows={MOST_ROWS}"]
    with _free_port() as http_port:
        limits.append(f"--rest-api-port={http_port}")
        with server_process(served.base, served.name, *limits, *flags) as (target, pid):
            peer = Peer(target, http_port, served)
            good = peer.good_answers()
            third = len(requests) // 3
            memory = []
            with ThreadPoolExecutor(_THREADS) as pool:
                for part in (requests[:third], requests[third:]):
                    for counted in pool.map(partial(peer.judge, good), range(len(part)), part):
                        found.update(counted)
                    memory.append(resident_mib(pid))
            found["crashes"] += memory[-1] == 0.0
    return found, (memory[0], memory[-1])


@contextmanager
def _free_port() -> Iterator[int]:
    with shared_port("127.0.0.1", 0) as port:
        pass  # it was free a moment ago
    yield port
