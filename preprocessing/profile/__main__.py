"""``python -m preprocessing.profile``: prints the profile of a dataset: which features change their
meaning after the pre-training split, every feature in every split, and how often labels are
positive in every domain.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from configs import InputError
from configs.cli import CommandParser, run
from preprocessing.plain_text import align


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="python -m preprocessing.profile", description=__doc__)
    parser.add_argument(
        "data", type=Path, metavar="DATASET", help="folder that preprocessing.task has written"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the profile as JSON, as profile.json holds it"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Raises ``InputError``."""
    given = parse_arguments(arguments)
    from preprocessing.dataset.manifest import PROFILE_FILE
    from preprocessing.profile.changes import change_lines
    from preprocessing.profile.data_profile import read_profile
    from preprocessing.profile.tables import feature_cells, label_cells

    profile = read_profile(given.data)
    if profile is None:
        raise InputError(
            f"{given.data}: holds no {PROFILE_FILE}; it is older than profiles; run"
            " preprocessing.task again"
        )
    if given.json:
        print(json.dumps(profile.model_dump(mode="json"), indent=1))
        return
    reference = profile.reference
    compared = (
        f"distances are to the {reference.rows:,} rows of split '{reference.split}' that the"
        " transform was fitted on"
        if reference
        else "no rows to compare with are at hand"
    )
    splits = ", ".join(f"{split} {rows:,}" for split, rows in profile.rows.items())
    numbers = ("missing", "outside vocabulary", "mean", "deviation", "5%", "median", "95%")
    labels = label_cells(profile)
    lines = [
        f"rows: {splits}; {compared}",
        "",
        *align(feature_cells(profile), (*numbers, "distance")),
        "",
        *align(labels, labels[0][1:]),
    ]
    if changes := change_lines(profile):
        lines += ["", *changes]
    print("\n".join(line.rstrip() for line in lines))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
