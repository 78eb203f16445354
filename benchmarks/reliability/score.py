"""An archive scored by the job, and the same rows asked of a running server: the same values, and
how many rows a second.

The quickstart's logs and backbone; kernels of random weights for all its domains, all of them
active, which cost what trained ones cost. ``other_values`` must be 0: values of the job that differ
in any bit from the server's, rows being sent in batches of the same size, under ``auto``, under one
domain, and with a column that names each row's own.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.method.bench import Bench
from benchmarks.speed.options import Figures, Options
from benchmarks.speed.processes import run_process
from benchmarks.speed.serving import exported
from configs import load_experiment
from configs.domain_names import AUTO
from configs.files import write_bytes
from configs.section import read_section
from preprocessing.logs.files import find_sources, plan
from preprocessing.logs.readers import read_piece
from preprocessing.validation.row_checks import check_columns
from serving.client import Client
from serving.score.__main__ import BATCH_ROWS
from serving.score.archive_model import ArchiveModel
from serving.score.request import Request
from serving.score.score_batches import score
from serving.score.score_result import RESULT, ScoreResult
from serving.selfcheck import server_process

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
_MODEL, _ASKED = "score", "asked"
_ROWS_OF_A_BATCH = 256


def measure(options: Options) -> Figures:
    """See the module. ``rows_per_s`` is of the whole job but for the start of the command, in a
    process for each core; ``read_rows_per_cpu_s`` and ``graph_rows_per_cpu_s`` are of one core that
    has started: reading and checking an archive's first file, and running the model on it.
    """
    settings = ["pretrain.epochs=1", f"simulation.rows={6_000 if options.quick else 300_000}"]
    experiment = load_experiment(CONFIG, settings)
    bench = Bench(experiment, None, options.folder)
    domains = len(experiment.domains)
    models = exported(bench.job, experiment, (domains,), options.folder)[domains]
    archive = str(bench.logs)
    output = options.folder / "scores"
    log = options.folder / "score.log"
    finished = run_process(["serving.score", *_words(models, archive, output)], log)
    result = _result(output)
    return {
        "domains": domains,
        **finished.figures("command"),
        "rows": result.rows,
        "rejected_rows": sum(result.rejected.values()),
        "rows_per_s": result.rows / result.seconds,
        **_one_core(models, archive),
        **_compared(models, archive, options),
    }


def _words(models: Path, archive: str, output: Path, *more: str) -> list[str]:
    """The arguments of a run into an empty folder."""
    shutil.rmtree(output, ignore_errors=True)
    places = ["--models", str(models), "--input", archive, "--output", str(output)]
    return [*places, *more]


def _result(output: Path) -> ScoreResult:
    return read_section(output / RESULT, ScoreResult)


def _one_core(models: Path, archive: str) -> Figures:
    model = ArchiveModel.open(str(models), None)
    request = Request.of(model, AUTO, None, (), BATCH_ROWS)
    table, servable = request.table(model), model.load()
    piece = plan(find_sources(archive), table).pieces[0]
    seconds, rows = np.zeros(2), 0
    for again in range(2):  # the first run makes what later ones find
        for raw in _timed(read_piece(piece, table), seconds):
            start = time.process_time()
            checked = check_columns(raw, table)
            between = time.process_time()
            score(servable, checked.rows, request)
            seconds += (between - start, time.process_time() - between)
            rows += checked.rows.num_rows
        if not again:
            seconds[:], rows = 0.0, 0
    servable.close()
    read, graph = (rows / seconds).tolist()
    return {"read_rows_per_cpu_s": read, "graph_rows_per_cpu_s": graph}


def _timed(batches: Iterable[Any], seconds: "np.ndarray[Any, Any]") -> Iterator[Any]:
    """Batches; what it takes to read them is added to the first of ``seconds``."""
    iterator = iter(batches)
    while True:
        start = time.process_time()
        batch = next(iterator, None)
        seconds[0] += time.process_time() - start
        if batch is None:
            return
        yield batch


def _compared(models: Path, archive: str, options: Options) -> Figures:
    """The first file of the archive, with a column of domains, by the job and by a server."""
    first = find_sources(archive)[0].path
    table = pq.read_table(first).slice(0, 2_000)
    names = [AUTO, "all", "scene=home", "region=r1,scene=home", None]
    asked = [names[row % len(names)] for row in range(table.num_rows)]
    small = options.folder / "rows.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column(_ASKED, pa.array(asked, pa.string())), sink)
    write_bytes(small, sink.getvalue().to_pybytes())
    rows = table.to_pylist()
    ways: dict[str, tuple[list[str], list[dict[str, Any]]]] = {
        AUTO: (["--domain", AUTO], rows),
        "scene=home": (["--domain", "scene=home"], rows),
        _ASKED: (
            ["--domain", AUTO, "--domain-column", _ASKED],
            [row | {"domain": own} for row, own in zip(rows, asked, strict=True)],
        ),
    }
    compared = other = 0
    with (
        server_process(models, _MODEL) as (target, _),
        Client(target, _MODEL, batch_size=_ROWS_OF_A_BATCH) as client,
    ):
        for way, (flags, sent) in ways.items():
            output = options.folder / "compared"
            more = [*flags, "--batch-rows", str(_ROWS_OF_A_BATCH)]
            command = ["serving.score", *_words(models, str(small), output, *more)]
            run_process(command, options.folder / "compared.log")
            scored = pq.read_table(output / _result(output).files[0].path)
            domain = AUTO if way == _ASKED else way
            answers = client.predict(sent, domain, ignore_unknown=True)
            found = differing(scored, answers)
            compared, other = compared + found[0], other + found[1]
    return {"compared_values": compared, "other_values": other}


def differing(scored: pa.Table, answers: list[dict[str, Any]]) -> tuple[int, int]:
    """How many values a server has answered, and how many of them the job has in other bits, or
    not at all.
    """
    other = 0
    for name in answers[0]:
        sent = [answer[name] for answer in answers]
        received = scored[name].to_pylist() if name in scored.schema.names else []
        same = sum(one == two for one, two in zip(sent, received, strict=False))
        other += len(sent) - same
    return len(answers) * len(answers[0]), other
