"""Where folders at ``gs://`` and ``s3://`` become local ones: the one place around every command,
which itself sees local folders alone.
"""

import argparse
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from configs import InputError
from preprocessing import filesystem
from preprocessing.remote.scratch import called, check_store, is_remote, scratch_folder

_DATASET, _JOB, _TEACHER, _OLDER = "data", "job_dir", "teacher", "older"
_MODELS = "models"  # which commands take in themselves


@contextmanager
def at_hand(
    arguments: argparse.Namespace,
    *,
    changes: bool = True,
    local_only: Collection[str] = ("example", "output"),
) -> Iterator[None]:
    """Takes in the folders that a command line names, and puts their local copies in the
    arguments' place; does nothing where all are local.

    Args:
      arguments: what was read of ``--data``, ``--job-dir``, ``--teacher``, ``--from`` and
        ``--scratch``; a remote folder is a text, a local one a path. The store of ``models`` is
        asked with theirs, before any of them is taken in.
      changes: whether the job is uploaded where the command ends well.
      local_only: arguments that cannot be remote.

    Raises:
      InputError: a folder cannot be taken in, or not by this command.
      OSError: one cannot be read or written.
    """
    given = {name: path for name, path in vars(arguments).items() if is_remote(path)}
    wanted = [name for name in (_DATASET, _JOB, _TEACHER, _OLDER) if name in given]
    for name in local_only:
        if name in given:
            raise InputError(f"--{name}: expected a local path, received {given[name]}")
    for name in (*wanted, _MODELS):
        if name in given and name != _DATASET:
            check_store(given[name])
    filesystem.look(*(given[name] for name in (*wanted, _MODELS) if name in given))
    if not wanted:
        yield
        return
    if _JOB in given and (
        getattr(arguments, "shard", None) or getattr(arguments, "command", "") == "gather"
    ):
        raise InputError(
            f"--job-dir: {given[_JOB]}: shards find each other by a folder that all of them see;"
            " give one of a mount, and python -m preprocessing.remote put it there after gather"
        )
    from preprocessing.dataset.staging import staged_dataset
    from preprocessing.remote.folder import RemoteFolder, taken_in

    scratch = scratch_folder(arguments.scratch)
    with ExitStack() as open_folders:
        folders: dict[str, RemoteFolder] = {}
        for name in wanted:
            if name == _DATASET:
                arguments.data = staged_dataset(given[name], scratch)
                open_folders.enter_context(called(arguments.data, given[name]))
                continue
            folders[name] = open_folders.enter_context(taken_in(given[name], scratch))
            setattr(arguments, name, folders[name].local)
        yield
        if changes and _JOB in folders:
            folders[_JOB].publish()
