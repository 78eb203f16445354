"""``preprocessing.task`` as one Dataflow job, which a Flex Template launches (``deploy/dataflow``).

A template is the graph of one job, and ``preprocessing.task`` runs two, one after what the other
has found. So the template's graph has one step alone, which runs the command on its one worker; the
command submits its own jobs under the same options, and the template's job ends as it ends.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from preprocessing import filesystem, task

SETTING_SEPARATOR = ";"
"""Between settings of ``--set``: a template has each parameter once."""

_OF_THE_TEMPLATE = ("--template_location", "--dataflow_job_file", "--job_name")
_ONE_WORKER = ("--num_workers=1", "--max_num_workers=1")


def main(arguments: Sequence[str]) -> None:
    """Makes the template's graph, and runs it: a template's launcher gives the parameters, and
    Dataflow's own options beside them.
    """
    ours, flags = task.own_and_others(list(arguments))
    with beam.Pipeline(options=PipelineOptions([*flags, *_ONE_WORKER])) as pipeline:
        command = RunCommand(command_words(ours, flags))
        _ = pipeline | "Config" >> beam.Create([ours.config]) | "RunCommand" >> beam.ParDo(command)


def command_words(ours: argparse.Namespace, flags: Sequence[str]) -> tuple[str, ...]:
    """The arguments of ``preprocessing.task`` but for its config.

    Args:
      ours: the template's parameters.
      flags: Beam's options; those of the template itself are left out, so that the command's own
        jobs are submitted.
    """
    words = ["--output", ours.output]
    settings = [one.strip() for text in ours.set for one in text.split(SETTING_SEPARATOR)]
    words += [word for setting in settings if setting for word in ("--set", setting)]
    for name in ("input", "transform", "as_of"):
        if getattr(ours, name):
            words += [f"--{name.replace('_', '-')}", getattr(ours, name)]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in _OF_THE_TEMPLATE:
        parser.add_argument(name)
    return (*words, *parser.parse_known_args(flags)[1])


class RunCommand(beam.DoFn):
    """The path of a config -> a finished dataset."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words

    def process(self, config: str) -> Iterator[str]:
        """Runs the command to its end; gives nothing."""
        with tempfile.TemporaryDirectory() as folder:
            local = filesystem.join(folder, "config.yaml")
            filesystem.write(local, filesystem.read(config))
            task.main(["--config", local, *self._words])
        return iter(())
