"""Forked workers: they do the work, they report it, and the death of one is a line and not a
silence.
"""

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from configs import InputError
from preprocessing.beam import progress
from preprocessing.beam.batch_coder import BatchCoder
from preprocessing.beam.fork_pool import CAN_FORK, Workers, forks_wanted
from preprocessing.beam.logging import keep_quiet_about_forks
from preprocessing.beam.running import run_graph

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux alone")

FLAGS = ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")


class NoteProcess(beam.DoFn):
    """Leaves a file that is named after the process and holds its elements; reports each as a
    row.
    """

    def __init__(self, folder: Path, waits: bool = False) -> None:
        self._folder = folder
        self._waits = waits

    def process(self, element: int) -> Iterator[int]:
        progress.advance(1)
        with (self._folder / str(os.getpid())).open("a") as file:
            file.write(f"{element}\n")
        if self._waits:
            time.sleep(60)
        yield element


def run(folder: Path, workers: Workers, waits: bool = False) -> None:
    folder.mkdir()

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | beam.Create(range(10), reshuffle=False)
            | beam.Reshuffle()
            | beam.ParDo(NoteProcess(folder, waits))
        )

    run_graph(build, PipelineOptions(FLAGS), workers)


def test_two_processes_share_the_work_report_it_and_end_with_the_job(tmp_path: Path) -> None:
    with progress.Progress("test"), Workers(FLAGS) as workers:
        run(tmp_path / "first", workers)
        run(tmp_path / "second", workers)
        give_up = time.monotonic() + 20
        while progress._rows < 20 and time.monotonic() < give_up:
            time.sleep(0.01)
        assert progress._rows == 20
    for name in ("first", "second"):
        notes = {int(path.name): path.read_text().split() for path in (tmp_path / name).iterdir()}
        assert len(notes) == 2 and os.getpid() not in notes
        assert [len(elements) for elements in notes.values()] == [5, 5]
        assert sorted(int(element) for elements in notes.values() for element in elements) == list(
            range(10)
        )


def test_a_worker_that_is_killed_ends_the_pass_with_one_line(tmp_path: Path) -> None:
    def kill_the_first() -> None:
        while not (found := list((tmp_path / "notes").glob("*"))):
            time.sleep(0.01)
        os.kill(int(found[0].name), signal.SIGKILL)

    with Workers(FLAGS) as workers:
        killer = threading.Thread(target=kill_the_first)
        killer.start()
        with pytest.raises(
            InputError, match=r"^a worker process died \(killed, most likely because memory ran out"
        ):
            run(tmp_path / "notes", workers, waits=True)
        killer.join()


def test_forks_are_no_reason_for_python_to_warn_and_nothing_else_is_hidden() -> None:
    of_forks = "This process (pid=7) is multi-threaded, use of fork() may lead to deadlocks."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        keep_quiet_about_forks()
        for message in (of_forks, "another"):
            warnings.warn(message, DeprecationWarning, stacklevel=1)
    assert [str(one.message) for one in said] == ["another"]


def test_only_beams_own_local_runner_is_given_workers() -> None:
    assert forks_wanted(PipelineOptions(FLAGS))
    assert not forks_wanted(
        PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=multi_threading"])
    )
    assert not forks_wanted(
        PipelineOptions(["--runner=DataflowRunner", "--direct_running_mode=multi_processing"])
    )


def test_the_size_of_a_batch_is_known_without_pickling_it() -> None:
    class Batch:
        row_count = 7

        def __reduce__(self) -> str:
            raise AssertionError("pickled")

    assert BatchCoder().get_impl().estimate_size(Batch()) == 7
    values = np.arange(3)
    np.testing.assert_array_equal(BatchCoder().decode(BatchCoder().encode(values)), values)
