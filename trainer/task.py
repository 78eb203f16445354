"""The training command: ``python -m trainer.task [pretrain | finetune | gather | evaluate |
report | explain | kernels | score | routing | memory | tune]``.

Without a subcommand it runs pretrain, finetune, evaluate and report, which is what a training
service launches.
"""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from configs import InputError
from configs.cli import (
    CommandParser,
    add_config_arguments,
    read_config,
    run,
)
from configs.domains import ALL, named_domains
from preprocessing.dataset.manifest import as_of_dataset
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument
from trainer.distribution.cluster import read_cluster
from trainer.explanation import command as explanation_arguments
from trainer.fleet import command as fleet_arguments
from trainer.job import Job
from trainer.memory import command as memory_arguments
from trainer.prerequisites import (
    as_of_job,
    check_dataset,
    check_evaluated,
    check_split,
)
from trainer.registry.command import add_arguments, kernels_command
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.routes import memory_read
from trainer.staging import at_hand
from trainer.steps import evaluate, finetune, pretrain, rank_here, tensorflow_loaded
from trainer.tuning import command as tune_arguments

if TYPE_CHECKING:
    from configs import Experiment
    from trainer.registry.version_diff import ScoredRows


def main() -> None:
    """Parses the command line and runs the subcommand, on local copies of remote folders."""
    arguments = _parser().parse_args(_with_default_subcommand(sys.argv[1:]))
    if arguments.command in _BY_FIRST and not _is_first(arguments.command):
        return
    with at_hand(arguments, changes=arguments.command not in _TOGETHER or not rank_here()):
        arguments.function(arguments)


def _is_first(what: str) -> bool:
    """Whether this is the process that goes on where one alone does something: of several workers
    (``TF_CONFIG``) the first. The others say so.
    """
    cluster = read_cluster(os.environ)
    if cluster and cluster.rank:
        print(f"{cluster.name(cluster.rank)}: {what} is done by worker 0 alone", file=sys.stderr)
    return not (cluster and cluster.rank)


def _with_default_subcommand(words: list[str]) -> list[str]:
    return (
        words
        if words and (not words[0].startswith("-") or words[0] in ("-h", "--help"))
        else ["run", *words]
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m trainer.task",
        description=__doc__,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if name not in ("report", "kernels", "memory"):
            add_config_arguments(command)
        if name not in ("report", "explain", "kernels", "memory", "score", "routing", "tune"):
            command.add_argument(
                "--data",
                type=folder_argument,
                required=True,
                metavar="DIR",
                help="dataset written by python -m preprocessing.task",
            )
        command.add_argument(
            "--job-dir",
            type=folder_argument,
            required=True,
            metavar="DIR",
            help="where the backbone, kernels and reports are",
        )
        add_scratch_argument(command)
        if name in ("pretrain", "run"):
            command.add_argument(
                "--teacher",
                type=folder_argument,
                metavar="DIR",
                help="job whose backbone and active kernels teach this one (pretrain.teacher)",
            )
            command.add_argument(
                "--from",
                dest="older",
                type=folder_argument,
                metavar="DIR",
                help=(
                    "job whose backbone this one goes on from, on a dataset of new days made with"
                    " preprocessing.task --grow (growth)"
                ),
            )
        if name in ("finetune", "run"):
            command.add_argument(
                "--domains",
                nargs="+",
                default=[],
                metavar="DOMAIN",
                help="domains to tune; all of the config's by default",
            )
        if name == "finetune":
            fleet_arguments.add_arguments(command)
        if name == "score":
            command.add_argument(
                "--domain",
                nargs="+",
                default=[],
                metavar="DOMAIN",
                help="choose only the scores of these ('all' is score); all of them by default",
            )
        if name in ("evaluate", "run"):
            command.add_argument(
                "--json", action="store_true", help="print JSON instead of a table"
            )
            command.add_argument("--split", help="split to evaluate; evaluation.split by default")
        if name == "explain":
            explanation_arguments.add_arguments(command)
        if name == "kernels":
            add_arguments(command)
        if name == "memory":
            memory_arguments.add_arguments(command)
        if name == "tune":
            tune_arguments.add_arguments(command)
    return parser


def _read(arguments: argparse.Namespace) -> "Experiment":
    """The config of a step, whose windows may count from the moment of its dataset."""
    data = getattr(arguments, "data", None)
    known = as_of_dataset(data) if data else as_of_job(Job(arguments.job_dir))
    return read_config(arguments, known)


def _pretrain(arguments: argparse.Namespace, *, alone: bool = True) -> None:
    pretrain(
        _read(arguments),
        arguments.data,
        arguments.job_dir,
        teacher=arguments.teacher,
        older=arguments.older,
        alone=alone,
    )


def _finetune(arguments: argparse.Namespace, *, alone: bool = True) -> None:
    experiment = _read(arguments)
    if shard := fleet_arguments.shard_of(arguments):
        named_domains(experiment.domains, arguments.domains, "--domains")
        job = Job(arguments.job_dir)
        check_dataset(arguments.data, experiment.finetune.split, experiment.finetune.validation)
        job.check_finished()
        with tensorflow_loaded():
            print(fleet_arguments.shard_command(arguments, experiment, job, shard))
        return
    outcomes = finetune(experiment, arguments.data, arguments.job_dir, arguments.domains)
    from trainer.training.outcome import render_outcomes

    # the result of a run of all steps is that of the evaluation, alone on stdout
    print(
        render_outcomes(outcomes, experiment.tasks.ranking),
        file=sys.stdout if alone else sys.stderr,
    )


def _gather(arguments: argparse.Namespace) -> None:
    experiment, job = _read(arguments), Job(arguments.job_dir)
    check_dataset(arguments.data, experiment.finetune.split, experiment.finetune.validation)
    job.check_finished()
    with tensorflow_loaded():
        found = fleet_arguments.gather_command(arguments, experiment, job)
    print(found)


def _evaluate(arguments: argparse.Namespace) -> None:
    result = evaluate(_read(arguments), arguments.data, arguments.job_dir, arguments.split)
    from trainer.reports.text_table import render_table

    print(json.dumps(result.to_json(), indent=1) if arguments.json else render_table(result))


def _report(arguments: argparse.Namespace) -> None:
    check_evaluated(Job(arguments.job_dir))
    from trainer.reports.html_report import write_report

    print(f"report: {write_report(arguments.job_dir)}", file=sys.stderr)


def _explain(arguments: argparse.Namespace) -> None:
    explanation_arguments.check_arguments(arguments, _parser())
    experiment, job = _read(arguments), Job(arguments.job_dir)
    check_split(experiment, arguments.split)
    if arguments.data:
        check_dataset(arguments.data, arguments.split or experiment.evaluation.split)
    job.check_finished()
    with tensorflow_loaded():
        found = explanation_arguments.explain_command(arguments, experiment, job)
    print(found)


def _run(arguments: argparse.Namespace) -> None:
    experiment = _read(arguments)
    named_domains(experiment.domains, arguments.domains, "--domains")
    check_split(experiment, arguments.split)
    from preprocessing.remote.folder import publish

    _pretrain(arguments, alone=False)
    if not _is_first("what follows pre-training"):
        return
    publish(arguments.job_dir)
    _finetune(arguments, alone=False)
    publish(arguments.job_dir)
    _evaluate(arguments)
    _report(arguments)


def _kernels(arguments: argparse.Namespace) -> None:
    if arguments.action == "verify":
        Job(arguments.job_dir).check_finished()
        with tensorflow_loaded():
            kernels_command(arguments, _parser(), _score_both)
    else:
        kernels_command(arguments, _parser(), _score_both)


def _memory(arguments: argparse.Namespace) -> None:
    memory_arguments.check_arguments(arguments, _parser())
    job = Job(arguments.job_dir)
    job.check_finished()
    memory = memory_read(KernelStore(job))
    if arguments.action == "refresh":
        check_dataset(arguments.data)
        with tensorflow_loaded():
            memory_arguments.memory_command(arguments, memory)
    else:
        memory_arguments.memory_command(arguments, memory)


def _score_both(job: Job, arguments: argparse.Namespace) -> "ScoredRows":
    for name in ("set", "as_of"):
        if getattr(arguments, name) and not arguments.config:
            raise InputError(f"--{name.replace('_', '-')}: needs --config")
    experiment = _read(arguments) if arguments.config else job.experiment()
    check_split(experiment, arguments.split)
    check_dataset(arguments.data)
    with tensorflow_loaded():
        from trainer.evaluation.version_comparison import score_both

        return score_both(
            experiment,
            arguments.data,
            job,
            arguments.split,
            arguments.domain,
            arguments.version,
        )


def _score(arguments: argparse.Namespace) -> None:
    experiment, job = _read(arguments), Job(arguments.job_dir)
    domains = named_domains(experiment.domains, arguments.domain, "--domain")
    named = [domain.name for domain in domains] if arguments.domain else []
    chosen = job.choose_score(experiment, named)
    own = "".join(f"; {domain} by {text}" for domain, text in chosen.items() if domain != ALL)
    print(f"{job.score}: from the next serving.export on, pages are ranked by {chosen[ALL]}{own}")


def _routing(arguments: argparse.Namespace) -> None:
    routing, job = _read(arguments).routing, Job(arguments.job_dir)
    job.choose_routing(routing)
    how = (
        "the kernel of their most specific domain alone"
        if routing.compose is None
        else "the kernels of all their single-topic domains together, where they have several"
        f" (compose {routing.compose:g})"
    )
    print(
        f"{job.routing}: from the next serving.export on, rows under 'auto' are answered by {how}"
    )


def _tune(arguments: argparse.Namespace) -> None:
    space = tune_arguments.open_space(arguments)
    with tensorflow_loaded():
        from trainer.training.pretrain import one_thread_an_operation
        from trainer.tuning.search import tune
        from trainer.tuning.summary import render_summary

        one_thread_an_operation()
        where = (arguments.job_dir, arguments.data, arguments.input)
        result = tune(space, *where, arguments.trials, arguments.timeout)
    print(render_summary(result, arguments.job_dir), end="")


_TOGETHER = ("run", "pretrain")
"""Commands that several workers run together."""

_BY_FIRST = ("finetune", "gather", "evaluate", "report", "tune")
"""Commands that the first of several workers runs alone, for services that start all of them."""

_COMMANDS = {
    "run": (_run, "pretrain, finetune, evaluate and report in turn (the default)"),
    "pretrain": (_pretrain, "train the backbone; resumes where it was interrupted"),
    "finetune": (_finetune, "train kernels on the frozen backbone"),
    "gather": (_gather, fleet_arguments.GATHER),
    "evaluate": (_evaluate, "judge backbone and kernels, domain by domain"),
    "report": (_report, "write reports/report.html from the last evaluation"),
    "explain": (_explain, "say what the model reads, on a split or in one request"),
    "kernels": (_kernels, "list, show, compare, verify, activate, roll back or remove kernels"),
    "score": (_score, "choose what pages are ranked by, without training anything"),
    "routing": (_routing, "choose how rows under 'auto' are answered, without training anything"),
    "memory": (_memory, "refresh, list, activate, roll back or remove what kernels remember"),
    "tune": (_tune, "try settings of pre-training, judged on validation rows alone"),
}

if __name__ == "__main__":
    run(main)
