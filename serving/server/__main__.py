"""The command; ``serving.server.main`` has what it does, so that its other processes can import
it by name.
"""

import sys

from configs.cli import run
from serving.server.main import main

if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
