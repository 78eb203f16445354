"""``python -m preprocessing.remote``: copies a job directory to an object store, or from there.

put LOCAL REMOTE    upload a local folder, whole or not at all; in place of a former one
get REMOTE LOCAL    copy what is there to a local folder, which may not exist yet
"""

import shutil
import sys
from pathlib import Path

from configs import InputError
from configs.cli import CommandParser, run
from configs.files import atomic_directory
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument, is_remote, scratch_folder


def main() -> None:
    """The command. Raises ``InputError``."""
    parser = CommandParser(
        prog="python -m preprocessing.remote",
        description=__doc__,
    )
    parser.add_argument("action", choices=["put", "get"])
    parser.add_argument("source", type=folder_argument, metavar="FROM")
    parser.add_argument("target", type=folder_argument, metavar="TO")
    add_scratch_argument(parser)
    given = parser.parse_args()
    local, remote = (
        (given.source, given.target) if given.action == "put" else (given.target, given.source)
    )
    if is_remote(local) or not is_remote(remote):
        parser.error(
            f"{given.action}: expected a local and a remote folder, in this order to put, in the"
            " other to get"
        )
    scratch = scratch_folder(given.scratch)
    if given.action == "put":
        _put(local, remote, scratch)
    else:
        _get(remote, local, scratch)


def _put(local: Path, remote: str, scratch: Path) -> None:
    from preprocessing.remote.folder import taken_in

    if not local.is_dir():
        raise InputError(f"{local}: no such directory")
    with taken_in(remote, scratch) as folder:
        with atomic_directory(folder.local, replace=True) as new:
            shutil.copytree(local, new, dirs_exist_ok=True)
        folder.publish()


def _get(remote: str, local: Path, scratch: Path) -> None:
    from preprocessing.remote.folder import taken_in

    if local.exists():
        raise InputError(f"{local}: exists already; expected a folder that does not")
    with taken_in(remote, scratch) as folder:
        if not folder.index.files:
            raise InputError(f"{remote}: holds nothing that was uploaded")
        with atomic_directory(local) as new:
            shutil.copytree(folder.local, new, dirs_exist_ok=True)
    print(f"{local}: generation {folder.index.generation} of {remote}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
