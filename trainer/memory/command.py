"""``python -m trainer.task memory``: what kernels remember, on the command line."""

import argparse
import json

from configs import InputError
from configs.cli import add_config_arguments, read_config
from configs.memory import Memory
from configs.terminal.plain_text import fit
from preprocessing.dataset.manifest import as_of_dataset, load_manifest
from preprocessing.filesystem import folder_argument
from trainer.job import Job
from trainer.memory.memory_store import MemoryStore

_DESCRIPTION = """Refresh what a job's kernels remember, and choose what is served.

  list                a line a version: the refresh at which it counted, its keys, what is active
  refresh             count the rows of a dataset of new days (--config, --data) on top of what is
                      served, store a version, and serve it
  activate VERSION    serve this version
  rollback            serve the version on top of which the served one counted
  remove VERSION      delete a version that is not served
"""
_ACTIONS = {"list": False, "refresh": False, "activate": True, "rollback": False, "remove": True}
"""Action -> whether it takes a version."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Action, version, dataset and ``--json``."""
    parser.description = _DESCRIPTION
    parser.add_argument("action", choices=list(_ACTIONS))
    parser.add_argument("version", nargs="?", type=int)
    parser.add_argument("--json", action="store_true", help="list: print JSON")
    add_config_arguments(parser, required=False)
    parser.add_argument(
        "--data", type=folder_argument, metavar="DIR", help="refresh: dataset of new days"
    )
    parser.add_argument(
        "--allow-gap",
        action="store_true",
        help="refresh: even where rows are missing between what is served and the dataset",
    )


def check_arguments(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exits with code 2 where an argument is missing or too many."""
    action = arguments.action
    if (arguments.version is not None) != _ACTIONS[action]:
        parser.error(f"memory {action} {'needs a' if _ACTIONS[action] else 'takes no'} version")
    if arguments.json and action != "list":
        parser.error(f"memory {action} prints no JSON")
    names = ("config", "set", "as_of", "data", "allow_gap")
    given = [name for name in names if getattr(arguments, name)]
    if given and action != "refresh":
        parser.error(f"memory {action} takes no --{given[0].replace('_', '-')}")
    if action == "refresh" and not (arguments.config and arguments.data):
        parser.error("memory refresh needs --config and --data")


def memory_command(arguments: argparse.Namespace, memory: Memory | None) -> None:
    """Runs an action, and lists the versions.

    Args:
      arguments: as ``add_arguments`` describes them.
      memory: that the active kernels read; None where they read none.

    Raises:
      InputError: no finished backbone, no such version, or what was read is damaged or does not
        fit.
    """
    job = Job(arguments.job_dir)
    store = MemoryStore(job)
    if arguments.action == "refresh":
        _refresh(arguments, job, store, memory)
    elif arguments.action == "activate":
        store.activate(arguments.version)
    elif arguments.action == "remove":
        store.remove(arguments.version)
    elif arguments.action == "rollback":
        if memory is None:
            raise InputError(f"{job.kernels}: no active kernel reads memory")
        store.rollback(memory)
    _list(store, arguments.json)


def _refresh(
    arguments: argparse.Namespace, job: Job, store: MemoryStore, memory: Memory | None
) -> None:
    experiment = read_config(arguments, as_of_dataset(arguments.data))
    if memory is None:
        raise InputError(
            f"{job.kernels}: no active kernel reads memory; run python -m trainer.task finetune"
            " with a config that has a memory section"
        )
    if experiment.memory is None or experiment.memory.definition != memory.definition:
        says = experiment.memory.words if experiment.memory else "nothing"
        raise InputError(
            f"{arguments.config}: active kernels read memory of {memory.words}, and the config says"
            f" {says}, or other settings of it; leave its memory section as it was, or tune all"
            " domains by this config"
        )
    memory = experiment.memory  # with its bounds of storage
    manifest = load_manifest(arguments.data)
    splits = [name for name in experiment.splits if name in manifest.splits]
    from trainer.data.dataset import Dataset
    from trainer.memory.row_memory import RowMemory

    dataset = Dataset.open(arguments.data, experiment, {}, memory)
    base = store.served_or_none(memory)
    rows = RowMemory(experiment, dataset, store, memory)
    if not rows.refresh(splits, base, gaps=arguments.allow_gap):
        until = f"{base.until:%Y-%m-%d %H:%M}Z" if base else "now"
        raise InputError(
            f"{arguments.data}: what is served counts until {until}, and no later refresh can be"
            f" counted from these rows (one every {memory.refresh_hours} h,"
            f" {memory.delay_hours:g} h after the rows); nothing is changed"
        )


def _list(store: MemoryStore, as_json: bool) -> None:
    if as_json:
        found = [store.manifest(version) for version in store.versions()]
        lines = [
            one.model_dump(mode="json", exclude={"files"}) | {"active": store.is_active(one)}
            for one in found
        ]
        print(json.dumps(lines, indent=1))
    elif store.versions():
        titles = ["version", "until", "keys", "memory", ""]
        rows = [_line(store, version) for version in store.versions()]
        print("\n".join(fit([titles, *rows], titles[:1])))
    else:
        print(
            f"{store.folder}: no memory yet; trainer.task finetune with a memory section makes it"
        )


def _line(store: MemoryStore, version: int) -> list[str]:
    try:
        found = store.manifest(version)
    except InputError as error:
        return [str(version), "DAMAGED", str(error), "", ""]
    keys = ", ".join(f"{count:,} of {name}" for name, count in found.keys.items())
    active = "active" if store.is_active(found) else ""
    return [str(version), found.until, keys, found.memory.words, active]
