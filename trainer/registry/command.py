"""``python -m trainer.task kernels``: the registry on the command line."""

import argparse
import json
import sys
from collections.abc import Callable

from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.verify import verify
from trainer.registry.version_diff import kernel_diff, render_diff

_DESCRIPTION = """Look at a job's kernels and choose what is served. Names of domains are exact.

  list                        domains and versions; [n] is the active one
  activate DOMAIN VERSION     serve this version
  rollback DOMAIN             serve the newest version below the active one that helped on
                              validation
  deactivate DOMAIN           serve the backbone; the versions stay
  remove DOMAIN               delete all versions
  diff DOMAIN FIRST SECOND    weights, validation figures, and how the scores of the golden requests
                              differ
  verify [DOMAIN]             read every version and score the golden requests anew; exit code 1
                              where one is damaged
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Action, domain, versions and ``--json``."""
    parser.description, parser.formatter_class = _DESCRIPTION, argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", choices=list(_ACTIONS))
    parser.add_argument("domain", nargs="?", help="exact name")
    parser.add_argument("version", nargs="*", type=int, help="one for activate, two for diff")
    parser.add_argument("--json", action="store_true", help="diff alone: print JSON")


def kernels_command(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Runs an action. Raises ``InputError``; exits with code 2 where an argument is missing or
    too many.
    """
    function, versions, needs_domain = _ACTIONS[arguments.action]
    if needs_domain and not arguments.domain:
        parser.error(f"kernels {arguments.action} needs a domain")
    if arguments.domain and needs_domain is None:
        parser.error(f"kernels {arguments.action} takes no domain")
    if len(arguments.version) != versions:
        parser.error(
            f"kernels {arguments.action} needs"
            f" {('no version', 'a version', 'two versions')[versions]}"
        )
    if arguments.json and arguments.action != "diff":
        parser.error(f"kernels {arguments.action} prints no JSON")
    function(Job(arguments.job_dir), arguments)


def _list(job: Job, arguments: argparse.Namespace) -> None:
    store = KernelStore(job)
    active = store.active()
    for domain in store.domains():
        versions = (
            f"[{version}]" if active.get(domain) == version else str(version)
            for version in store.versions(domain)
        )
        print(f"{domain}: {' '.join(versions)}")


def _diff(job: Job, arguments: argparse.Namespace) -> None:
    difference = kernel_diff(KernelStore(job), arguments.domain, *arguments.version)
    print(json.dumps(difference, indent=1) if arguments.json else render_diff(difference))


def _verify(job: Job, arguments: argparse.Namespace) -> None:
    verdicts = verify(job, arguments.domain)
    for verdict in verdicts:
        print(
            f"{verdict.domain} {verdict.version}:"
            f" {'' if verdict.sound else 'DAMAGED: '}{verdict.found}"
        )
    if not all(verdict.sound for verdict in verdicts):
        sys.exit(1)


def _then_list(change: Callable[..., object]) -> Callable[[Job, argparse.Namespace], None]:
    def run(job: Job, arguments: argparse.Namespace) -> None:
        change(KernelStore(job), arguments.domain, *arguments.version)
        _list(job, arguments)

    return run


_ACTIONS: dict[str, tuple[Callable[[Job, argparse.Namespace], None], int, bool | None]] = {
    "list": (_list, 0, None),
    "activate": (_then_list(KernelStore.activate), 1, True),
    "deactivate": (_then_list(KernelStore.deactivate), 0, True),
    "rollback": (_then_list(KernelStore.rollback), 0, True),
    "remove": (_then_list(KernelStore.remove), 0, True),
    "diff": (_diff, 2, True),
    "verify": (_verify, 0, False),
}
"""Action -> function, number of versions, and whether it needs a domain (None: takes none)."""
