"""``python -m trainer.task kernels``: the registry on the command line."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs import InputError
from configs.cli import add_config_arguments
from configs.terminal.plain_text import fit
from preprocessing.filesystem import folder_argument
from trainer.job import Job
from trainer.registry.history import render_history
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.overview import overview, overview_json, render_overview

if TYPE_CHECKING:
    from trainer.registry.version_diff import ScoredRows

_DESCRIPTION = """Look at a job's kernels and choose what is served. Names of domains are exact.

  list                        a line a domain: versions, when the active (else the newest) one was
                              stored, its rows, its gains on validation with 95% intervals in AUC
                              points, whether it is pinned, and what was decided last and why
  show DOMAIN [VERSION]       the card of a version; the active one, else the newest, by default
  activate DOMAIN VERSION     serve this version; the next fine-tuning replaces it by what is
                              significantly better, unless the domain is pinned
  deactivate DOMAIN           let the nearest active kernel above answer; the versions stay; the
                              next fine-tuning decides anew, unless the domain is pinned
  rollback DOMAIN             serve what was served before the active version (by the history;
                              without one, the newest version below that helped on validation), and
                              pin the domain
  history [DOMAIN]            who had what served, when, from which rows, and why; oldest first
  pin DOMAIN                  have fine-tuning leave the domain alone, served or not
  unpin DOMAIN                let fine-tuning tune and decide it again
  remove DOMAIN               delete all versions; the domain is unpinned
  diff DOMAIN FIRST SECOND    weights, and how the scores of the golden requests differ; with --data
                              also the figures of both on the domain's rows of a split
  verify [DOMAIN]             read every version and score the golden requests anew; exit code 1
                              where one is damaged
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Action, domain, versions and ``--json``."""
    parser.description = _DESCRIPTION
    parser.add_argument("action", choices=list(_ACTIONS))
    parser.add_argument("domain", nargs="?", help="exact name")
    parser.add_argument(
        "version", nargs="*", type=int, help="one for activate and show, two for diff"
    )
    parser.add_argument("--json", action="store_true", help="list, history and diff: print JSON")
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--data",
        type=folder_argument,
        metavar="DIR",
        help="diff: a dataset to score both versions on",
    )
    parser.add_argument("--split", help="diff: split of it; evaluation.split by default")


ScoreBoth = Callable[[Job, argparse.Namespace], "ScoredRows"]


def kernels_command(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, score_both: ScoreBoth
) -> None:
    """Runs an action. Raises ``InputError``; exits with code 2 where an argument is missing or
    too many.

    Args:
      arguments: as ``add_arguments`` describes them.
      parser: that read them.
      score_both: scores both versions of a ``diff`` on the rows of ``--data``.
    """
    action = _ACTIONS[arguments.action]
    if action.needs_domain and not arguments.domain:
        parser.error(f"kernels {arguments.action} needs a domain")
    if arguments.domain and action.needs_domain is None:
        parser.error(f"kernels {arguments.action} takes no domain")
    if len(arguments.version) not in action.versions:
        needed = " or ".join(
            ("no version", "a version", "two versions")[n] for n in action.versions
        )
        parser.error(f"kernels {arguments.action} needs {needed}: see kernels --help")
    if arguments.json and not action.prints_json:
        parser.error(f"kernels {arguments.action} prints no JSON")
    names = ("config", "set", "as_of", "data", "split")
    scored_on = [name.replace("_", "-") for name in names if getattr(arguments, name)]
    if scored_on and arguments.action != "diff":
        parser.error(f"kernels {arguments.action} takes no --{scored_on[0]}")
    if scored_on and not arguments.data:
        parser.error(f"kernels diff: --{scored_on[0]} needs --data")
    job = Job(arguments.job_dir)
    job.check_finished()
    if arguments.action == "diff":
        _diff(job, arguments, score_both(job, arguments) if arguments.data else None)
    else:
        action.function(job, arguments)


def _list(job: Job, arguments: argparse.Namespace) -> None:
    lines, tasks = overview(KernelStore(job)), job.experiment().tasks.ranking
    if arguments.json:
        print(json.dumps(overview_json(lines, tasks), indent=1))
    elif lines:
        print(render_overview(lines, tasks))
    else:
        print(f"{job.kernels}: no kernel yet; python -m trainer.task finetune trains them")


def _show(job: Job, arguments: argparse.Namespace) -> None:
    store = KernelStore(job)
    store.check_known(arguments.domain)
    version = next(iter(arguments.version), None)
    if version is None:
        version = store.active_or_newest_version(arguments.domain)
    if version is None:
        raise InputError(f"{store.folder}: domain '{arguments.domain}' has no version")
    print(store.card(arguments.domain, version), end="")


def _history(job: Job, arguments: argparse.Namespace) -> None:
    store = KernelStore(job)
    events = store.history.events(arguments.domain)
    if arguments.domain and not events:
        store.check_known(arguments.domain)
    if arguments.json:
        print(json.dumps([event.model_dump(mode="json") for event in events], indent=1))
    elif events:
        print("\n".join(fit(render_history(events), ())))
    else:
        print(f"{job.history}: nothing yet; it is written when what is served changes")


def _diff(job: Job, arguments: argparse.Namespace, scored: "ScoredRows | None" = None) -> None:
    from trainer.registry.version_diff import kernel_diff, render_diff

    first, second = arguments.version
    difference = kernel_diff(KernelStore(job), arguments.domain, first, second, scored)
    print(json.dumps(difference, indent=1) if arguments.json else render_diff(difference))


def _verify(job: Job, arguments: argparse.Namespace) -> None:
    from trainer.registry.verify import verify

    verdicts = verify(job, arguments.domain)
    for verdict in verdicts:
        print(
            f"{verdict.domain} {verdict.version}:"
            f" {'' if verdict.sound else 'DAMAGED: '}{verdict.found}"
        )
    if not all(verdict.sound for verdict in verdicts):
        sys.exit(1)


def _activate(job: Job, arguments: argparse.Namespace) -> None:
    from trainer.registry.routes import check_servable

    store, (version,) = KernelStore(job), arguments.version
    check_servable(store, job.experiment(), arguments.domain, version)
    store.activate(arguments.domain, version)
    _list(job, arguments)


def _rollback(job: Job, arguments: argparse.Namespace) -> None:
    from trainer.registry.routes import check_servable

    store = KernelStore(job)
    version = store.version_before(arguments.domain)
    check_servable(store, job.experiment(), arguments.domain, version)
    store.rollback(arguments.domain)
    _list(job, arguments)


def _then_list(change: Callable[..., object]) -> Callable[[Job, argparse.Namespace], None]:
    def run(job: Job, arguments: argparse.Namespace) -> None:
        change(KernelStore(job), arguments.domain, *arguments.version)
        _list(job, arguments)

    return run


@dataclass(frozen=True)
class _Action:
    """One word of the command.

    Attributes:
      function: what it does.
      versions: how many version numbers it may be given.
      needs_domain: whether a domain must be given; None where none may.
      prints_json: whether ``--json`` means something.
    """

    function: Callable[[Job, argparse.Namespace], None]
    versions: tuple[int, ...] = (0,)
    needs_domain: bool | None = True
    prints_json: bool = False


_ACTIONS = {
    "list": _Action(_list, needs_domain=None, prints_json=True),
    "show": _Action(_show, (0, 1)),
    "activate": _Action(_activate, (1,)),
    "deactivate": _Action(_then_list(KernelStore.deactivate)),
    "rollback": _Action(_rollback),
    "history": _Action(_history, needs_domain=False, prints_json=True),
    "pin": _Action(_then_list(KernelStore.pin)),
    "unpin": _Action(_then_list(KernelStore.unpin)),
    "remove": _Action(_then_list(KernelStore.remove)),
    "diff": _Action(_diff, (2,), prints_json=True),
    "verify": _Action(_verify, needs_domain=False),
}
