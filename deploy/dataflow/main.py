"""What a Flex Template's launcher runs (``preprocessing.flex_template``)."""

import sys

from configs.cli import run
from preprocessing.flex_template import main

if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
