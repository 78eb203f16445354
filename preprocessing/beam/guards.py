"""What stops a job before it writes, and what it warns of."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from configs import Experiment, InputError
from configs.values import NEGATIVE_WEIGHT, NO_AMOUNT, NO_LABEL
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.progress import say
from preprocessing.features.fitted import Fitted
from preprocessing.features.kept_columns import MOST_MEMBERS
from preprocessing.logs.files import missing_columns_error
from preprocessing.logs.schema import raw_columns
from preprocessing.validation.row_checks import label_without

_SHOWN_ERRORS = 3
_SHOWN_RULES = 3
_FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?|-?\d+e-\d+")


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


class UnfitRowsError(InputError):
    """The rows of logs are not what a dataset can be made of; another day's may be."""


def check_rows(tally: Tally, experiment: Experiment, logs: str, fitting: bool) -> None:
    """Raises ``UnfitRowsError`` where the rows are not what a dataset can be made of.

    Args:
      tally: of the analysis.
      experiment: that the dataset is for.
      logs: where they are; the message begins with it.
      fitting: whether a transform is fitted: then every split needs rows; otherwise one does.
    """
    try:
        _check_rows(tally, experiment, logs, fitting)
    except InputError as error:
        raise UnfitRowsError(str(error)) from None


def _check_rows(tally: Tally, experiment: Experiment, logs: str, fitting: bool) -> None:
    check_json_names(tally, raw_columns(experiment), logs)
    _check_rejected(tally, experiment, logs)
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
    for said in _one_class_alone(tally, experiment):
        if fitting:
            raise InputError(
                f"{logs}: {said}; expected both, from a longer window or another column"
            )
        say(f"warning: {said}: nothing can be learned from it, or judged by it")


def _check_rejected(tally: Tally, experiment: Experiment, logs: str) -> None:
    """Refuses logs of which too much is rejected, by what they then lack."""
    settings, out_of_order = experiment.data, 0
    for earlier, later in experiment.tasks.steps:
        count = tally.rejected[label_without(earlier, later)]
        out_of_order += count
        share = count / tally.rows
        if share <= settings.max_conversion_without_click:
            continue
        raise InputError(
            f"{logs}: {count} of {tally.rows} rows have {later} = 1 with {earlier} = 0, a share of"
            f" {share:.6f};"
            f" data.max_conversion_without_click allows {settings.max_conversion_without_click};"
            " with a larger share they go to rejected/ and the rest goes on"
        )
    if settings.weight and (rule := f"{settings.weight}: {NEGATIVE_WEIGHT}") in tally.examples:
        raise InputError(
            f"{logs}: {tally.rejected[rule]} of {tally.rows} rows have a negative weight; the"
            f" first: {tally.examples[rule][2]}; leave such rows out of the logs"
        )
    for label in experiment.label_columns:
        is_amount = label in experiment.tasks.amounts
        refused = tally.rejected[rule := f"{label}: {NO_AMOUNT if is_amount else NO_LABEL}"]
        positives = sum(counts[label] for counts in tally.positives.values())
        if refused and refused / (refused + positives) > settings.max_rejected:
            raise InputError(
                f"{logs}: label '{label}' is {'no amount' if is_amount else 'neither 0 nor 1'} in"
                f" {refused} rows, and {'above its typical' if is_amount else '1'} in"
                f" {positives} of the splits; data.max_rejected allows {settings.max_rejected:g}"
                f" of both; the first: {tally.examples[rule][2]}"
            )
    others = tally.rejected.total() - out_of_order
    check_share(tally, others, logs, settings.max_rejected, "data.max_rejected")


def check_json_names(tally: Tally, needed: Iterable[str], logs: str) -> None:
    """Raises ``InputError`` where no row of JSON lines had a column that is needed."""
    if tally.json_names and set(needed) - tally.json_names:
        raise missing_columns_error(logs, sorted(tally.json_names), needed)


def check_share(tally: Tally, rejected: int, logs: str, allowed: float, setting: str) -> None:
    """Raises ``InputError`` where too large a share of the rows was rejected, or all of them.

    Args:
      tally: of the rows.
      rejected: how many of them count.
      logs: where they are; the message begins with it.
      allowed: the largest share.
      setting: that says so, as a user calls it.
    """
    if rejected <= allowed * tally.rows and rejected < tally.rows:
        return
    reasons = sorted(tally.rejected.items(), key=lambda item: (-item[1], item[0]))
    shown = "; ".join(f"{count} rows: {rule}" for rule, count in reasons[:_SHOWN_RULES])
    raise InputError(
        f"{logs}: {rejected} of {tally.rows} rows were rejected, {rejected / tally.rows:.1%};"
        f" {setting} allows {allowed:.1%}; {shown}; the first of the most frequent:"
        f" {tally.examples[reasons[0][0]][2]}"
    )


def say_rejected(rejected: Mapping[str, int], folder: str) -> None:
    """The line on where rejected rows are, if there are any, and by which rules."""
    if not rejected:
        return
    often = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    rules = "; ".join(f"{rows:,}: {rule}" for rule, rows in often[:_SHOWN_RULES])
    more = f"; {len(often) - _SHOWN_RULES} more rules" if len(often) > _SHOWN_RULES else ""
    say(f"rejected rows are in {folder}/rejected: {rules}{more}")


def _one_class_alone(tally: Tally, experiment: Experiment) -> Iterator[str]:
    """Says of which splits a label has one value alone."""
    for split in experiment.splits:
        for label in experiment.label_columns:
            rows = tally.splits[split]
            if rows and (positives := tally.positives[split][label]) in (0, rows):
                bound = experiment.tasks.thresholds[label]
                value = positives // rows
                if label in experiment.tasks.amounts:
                    said = f"{'above' if value else 'at most'} {bound:g}, its 'typical',"
                else:
                    said = str(value)
                yield f"label '{label}' is {said} on all {rows} rows of split '{split}'"


def warn_of_long_lists(tally: Tally) -> None:
    """A dataset keeps the most frequent members of a long list."""
    for column, rows in sorted(tally.cut.items()):
        if rows:
            say(
                f"warning: column '{column}': {rows:,} rows list more than {MOST_MEMBERS} different"
                f" values; for later topics {MOST_MEMBERS} of each are kept: those that this"
                " config's topics ask for, then the most frequent"
            )


def warn_of_fractions(fitted: Fitted) -> None:
    """Names the features whose ids are mostly fractions: a vector or a number that is read as text
    gets an id for each value, of which no later row has the same.
    """
    for name, values in sorted(fitted.vocabularies.items()):
        fractions = [value for value in values if _FRACTION.fullmatch(value)]
        if 2 * len(fractions) > len(values):
            say(
                f"warning: feature '{name}': {len(fractions):,} of the {len(values):,} values in"
                f" its vocabulary are fractions such as {fractions[0]}, each with an id of its own;"
                " numbers belong in numeric features"
            )


def _span(tally: Tally) -> str:
    first, last = (
        "nowhere" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
        for seconds in (tally.first, tally.last)
    )
    return f"the logs' sound rows are from {first} to {last}"
