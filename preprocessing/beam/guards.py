"""What stops a job before it writes, and what it warns of."""

from datetime import UTC, datetime

from configs import Experiment, InputError
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.progress import say
from preprocessing.features.kept_columns import MOST_MEMBERS
from preprocessing.logs.files import missing_columns_error
from preprocessing.logs.schema import raw_columns
from preprocessing.validation.row_checks import CONVERSION_WITHOUT_CLICK

_SHOWN_ERRORS = 3


def warn_of_overlap(experiment: Experiment) -> None:
    """Kernels should learn from other rows than the backbone."""
    names = experiment.pretrain.split, experiment.finetune.split
    pretrain, finetune = (experiment.splits[name] for name in names)
    if pretrain.start < finetune.end and finetune.start < pretrain.end:
        say(
            f"warning: splits '{names[0]}' and '{names[1]}' overlap: kernels that learn from rows"
            " the backbone was trained on learn to undo its over-confidence"
        )


def check_errors(tally: Tally) -> None:
    """Raises ``InputError`` where files could not be read."""
    if tally.errors:
        errors = sorted(tally.errors)
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise InputError("; ".join(errors[:_SHOWN_ERRORS]) + more)


def check_rows(tally: Tally, experiment: Experiment, logs: str, fitting: bool) -> None:
    """Raises ``InputError`` where the rows are not what a dataset can be made of.

    Args:
      tally: of the analysis.
      experiment: that the dataset is for.
      logs: where they are; the message begins with it.
      fitting: whether a transform is fitted: then every split needs rows; otherwise one does.
    """
    needed = raw_columns(experiment)
    if tally.json_names and needed.keys() - tally.json_names:
        raise missing_columns_error(logs, sorted(tally.json_names), needed)
    refused = tally.rejected.total()
    if refused == tally.rows:
        rule, count = min(tally.rejected.items(), key=lambda item: (-item[1], item[0]))
        raise InputError(
            f"{logs}: all {tally.rows} rows were rejected; most often ({count} rows): {rule}"
        )
    without_click = tally.rejected[CONVERSION_WITHOUT_CLICK]
    share = without_click / tally.rows
    if share > experiment.data.max_conversion_without_click:
        cvr = experiment.tasks.cvr
        raise InputError(
            f"{logs}: {without_click} of {tally.rows} rows have {cvr.label} = 1 with {cvr.space} ="
            f" 0, a share of {share:.6f}; data.max_conversion_without_click allows"
            f" {experiment.data.max_conversion_without_click}; with a larger share they go to"
            " rejected/ and the rest goes on"
        )
    empty = [name for name in experiment.splits if not tally.splits[name]]
    if empty and fitting:
        split = experiment.splits[empty[0]]
        raise InputError(
            f"{logs}: no rows in split '{empty[0]}' ({split.start.isoformat()} to"
            f" {split.end.isoformat()}); {_span(tally)}; logs of new days alone need --transform"
        )
    if len(empty) == len(experiment.splits):
        raise InputError(f"{logs}: no rows in any split; {_span(tally)}")
    if empty:
        say(f"warning: no rows in splits {', '.join(empty)}: they stay empty; {_span(tally)}")


def warn_of_long_lists(tally: Tally) -> None:
    """A dataset keeps the most frequent members of a long list."""
    for column, rows in sorted(tally.cut.items()):
        if rows:
            say(
                f"warning: column '{column}': {rows:,} rows list more than {MOST_MEMBERS} different"
                f" values; for later topics {MOST_MEMBERS} of each are kept: those that this"
                " config's topics ask for, then the most frequent"
            )


def _span(tally: Tally) -> str:
    first, last = (
        "nowhere" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
        for seconds in (tally.first, tally.last)
    )
    return f"the logs' sound rows are from {first} to {last}"
