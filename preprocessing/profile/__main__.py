"""``python -m preprocessing.profile``: prints the profile of a dataset: which features change their
meaning after the pre-training split, every feature in every split, and how often labels are
positive in every domain.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from configs import InputError
from configs.cli import CommandParser, run
from configs.terminal.plain_text import fit, wrap
from preprocessing.filesystem import folder_argument
from preprocessing.remote.scratch import add_scratch_argument, is_remote, scratch_folder


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = CommandParser(prog="python -m preprocessing.profile", description=__doc__)
    parser.add_argument(
        "data",
        type=folder_argument,
        metavar="DATASET",
        help="folder that preprocessing.task has written",
    )
    add_scratch_argument(parser)
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

    folder = given.data
    if is_remote(folder):
        from preprocessing.dataset.staging import staged_dataset

        folder = staged_dataset(folder, scratch_folder(given.scratch), (PROFILE_FILE,))
    profile = read_profile(folder)
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
        *wrap(f"rows: {splits}; {compared}"),
        "",
        *fit(feature_cells(profile), (*numbers, "distance")),
        "",
        *fit(labels, labels[0][1:]),
    ]
    if changes := change_lines(profile):
        lines += ["", *(line for change in changes for line in wrap(change))]
    print("\n".join(line.rstrip() for line in lines))


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
