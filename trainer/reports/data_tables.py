"""The report's section on the data: what features and labels look like in each split."""

from configs.terminal.plain_text import printable
from preprocessing.profile.changes import change_lines
from preprocessing.profile.data_profile import DataProfile, Description
from preprocessing.profile.tables import (
    label_cells,
    show_distance,
    show_number,
    show_share,
    show_top,
)
from trainer.reports.html_page import escape
from trainer.reports.html_tables import table, table_of


def data_sections(profile: DataProfile) -> list[str]:
    """The section, as HTML.

    Args:
      profile: of the dataset that was evaluated.
    """
    reference = profile.reference
    compared = (
        f"Distances are population stability indices, to the {reference.rows:,} rows of split"
        f" '{reference.split}' that the transform was fitted on: above 0.25 a feature needs a look."
        if reference
        else "The rows that the transform was fitted on are not at hand, so nothing is compared."
    )
    title, *changes = change_lines(profile) or ["No feature changes its meaning between splits."]
    items = "".join(f"<li>{escape(printable(line.strip()))}</li>" for line in changes)
    listed = f"<ul>{items}</ul>" if items else ""
    return [
        "<h2>Data</h2>",
        (
            "<p class=note>The dataset's features in each split, those that change first, and then"
            f" by distance. {escape(compared)} Below a distance are the mean (of numbers, and of"
            " the lengths of lists), the share of missing values, that of values outside the"
            " vocabulary, and the most frequent values.</p>"
        ),
        f"<p>{escape(title)}</p>{listed}" if reference else "",
        _features_table(profile),
        table_of("Labels: the mean, which of a label of 0 and 1 is its rate", label_cells(profile)),
    ]


def _features_table(profile: DataProfile) -> str:
    splits = [split for split, rows in profile.rows.items() if rows]
    rows = []
    for name in profile.furthest_first():
        found = profile.features[name].splits
        cells = "".join(f"<td>{_cell(found[split])}</td>" for split in splits)
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{cells}</tr>")
    titles = (f"{split}: {profile.rows[split]:,} rows" for split in splits)
    return table("Features", ["feature", *titles], rows)


def _cell(found: Description) -> str:
    facts = {
        "mean": show_number(found.mean),
        "missing": show_share(found.missing) if found.missing else "",
        "outside": show_share(found.out_of_vocabulary) if found.out_of_vocabulary else "",
        "": show_top(found.top),
    }
    small = "".join(
        f"<small>{escape(f'{name} {fact}'.strip())}</small>" for name, fact in facts.items() if fact
    )
    return f"{show_distance(found) or '-'}{small}"
