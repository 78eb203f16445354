"""A pass of the threaded local runner that fails is run once more, in one thread; other runners'
failures are theirs.
"""

from collections.abc import Iterator
from typing import ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from preprocessing.beam.running import run_graph


class FailsOnce(beam.DoFn):
    """A step that fails the first time it is run."""

    runs: ClassVar[list[str]] = []

    def process(self, element: str) -> Iterator[str]:
        self.runs.append(element)
        if len(self.runs) == 1:
            raise NotImplementedError("Invalid PaneInfoEncoding: 6")
        yield element


@pytest.mark.parametrize(
    ("flags", "repeated"),
    [(["--direct_running_mode=multi_threading", "--direct_num_workers=2"], True), ([], False)],
)
def test_a_pass_of_the_threaded_runner_that_fails_is_run_once_more(
    flags: list[str], repeated: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    FailsOnce.runs.clear()
    options = PipelineOptions(["--runner=FnApiRunner", *flags])

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create(["row"]) | beam.ParDo(FailsOnce())

    if not repeated:
        with pytest.raises(Exception, match="PaneInfoEncoding"):
            run_graph(build, options)
        return
    run_graph(build, options)
    assert FailsOnce.runs == ["row", "row"]
    assert "once more, in one thread" in capsys.readouterr().err
