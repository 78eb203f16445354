"""The command; ``serving.server.main`` has what it does, so that its other processes can import
it by name.
"""

import sys

from configs.cli import run
from serving.server.flags import arguments_of, check_paths


def _main() -> None:
    """What the command line alone shows to be wrong is said before TensorFlow is loaded."""
    check_paths(arguments_of(sys.argv[1:]))
    from serving.server.main import main

    main(sys.argv[1:])


if __name__ == "__main__":
    run(_main)
