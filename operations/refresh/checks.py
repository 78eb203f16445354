"""What stops a refresh: rows, features and kernels beside the thresholds of the config's section
``refresh``. Each finding is one line.

Figures of the distance between windows (``operations.drift``) belong beside these, once they are to
be shown with a refresh: ``check_data`` is where.
"""

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from statistics import median

import numpy as np
import numpy.typing as npt

from configs import Experiment, InputError
from configs.windows.relative import Days
from operations.refresh.summary import Auc
from preprocessing.dataset.manifest import Manifest
from preprocessing.profile.data_profile import DataProfile, FeatureProfile


class RefusedError(Exception):
    """A threshold is crossed: nothing is released.

    Attributes:
      reasons: each in one line.
    """

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


def rows_by_day(
    experiment: Experiment, moments: npt.NDArray[np.int64], start: datetime, end: datetime
) -> dict[str, int]:
    """Day -> its rows, also of days without any, of the days that lie in a window as a whole.

    Args:
      experiment: says when days begin.
      moments: of the rows, seconds since 1970.
      start: of the window.
      end: of the window.
    """
    days = Days(experiment.data.time_zone, experiment.data.day_starts)
    found: dict[str, int] = {}
    day = days.start(start)
    while (following := days.start(day + timedelta(hours=12), 1)) <= end:
        if day >= start:
            found[days.name(day)] = _rows_between(moments, day, following)
        day = following
    return found


def rows_by_piece(moments: npt.NDArray[np.int64], start: datetime, end: datetime) -> dict[str, int]:
    """The rows of every 24 hours of a window, counted from its start, by when they begin. Arguments
    are those of ``rows_by_day``.
    """
    found: dict[str, int] = {}
    while start + timedelta(days=1) <= end:
        following = start + timedelta(days=1)
        found[f"{start:%Y-%m-%dT%H:%MZ}"] = _rows_between(moments, start, following)
        start = following
    return found


def _rows_between(moments: npt.NDArray[np.int64], start: datetime, end: datetime) -> int:
    return int(((moments >= start.timestamp()) & (moments < end.timestamp())).sum())


def rejected_share(manifest: Manifest) -> float:
    """Share of the logs' rows that were rejected."""
    rejected = sum(manifest.rejected.values())
    sound = sum(split.rows for split in manifest.splits.values()) + manifest.outside_splits
    return rejected / max(1, rejected + sound)


def check_data(
    experiment: Experiment,
    manifest: Manifest,
    profile: DataProfile | None,
    learned: Mapping[str, int],
    judging: Mapping[str, int],
) -> tuple[list[str], list[str]]:
    """What is wrong with the rows of a refresh: reasons to stop, and notes.

    Args:
      experiment: the thresholds.
      manifest: of the dataset.
      profile: of the dataset, compared with what the backbone learned from.
      learned: rows by day of the split that kernels learn from.
      judging: the same of the split that judges, which is the newest.
    """
    settings, reasons = experiment.refresh, []
    share = rejected_share(manifest)
    if settings.most_rejected is not None and share > settings.most_rejected:
        often = max(manifest.rejected, key=manifest.rejected.__getitem__)
        reasons.append(
            f"{share:.1%} of the rows were rejected, most of them for '{often}';"
            f" refresh.most_rejected allows {settings.most_rejected:.1%}"
        )
    reasons += _odd_days(experiment, learned, judging)
    notes = [
        f"split '{split}' is shorter than a day: its rows are not compared with other days'"
        for split, rows in (
            (experiment.finetune.split, learned),
            (experiment.finetune.validation, judging),
        )
        if not rows
    ]
    notes += [
        f"day {day} of split '{experiment.finetune.split}' has no rows"
        for day, rows in learned.items()
        if not rows
    ]
    if profile is None:
        return reasons, [
            *notes,
            "the job has no profile of what its backbone learned from, so"
            " features are not compared with it",
        ]
    for name, feature in profile.features.items():
        broken = list(_broken(experiment, name, feature))
        (reasons if settings.broken_features else notes).extend(broken)
        if not broken:
            reasons += _unknown(experiment, name, feature)
    return reasons, notes


def _odd_days(
    experiment: Experiment, learned: Mapping[str, int], judging: Mapping[str, int]
) -> Iterator[str]:
    """The days that judge which have too few or too many rows beside those before them."""
    settings, known = experiment.refresh, [rows for rows in learned.values() if rows]
    usual = median(known) if known else 0
    for day, rows in judging.items() if usual else ():
        said = f"day {day} has {rows:,} rows, the days before have {usual:,.0f} in the middle"
        if settings.least_rows is not None and rows < settings.least_rows * usual:
            yield f"{said}; refresh.least_rows asks for {settings.least_rows:g} of them"
        if settings.most_rows is not None and rows > settings.most_rows * usual:
            yield f"{said}; refresh.most_rows allows {settings.most_rows:g} times as many"


def _broken(experiment: Experiment, name: str, feature: FeatureProfile) -> Iterator[str]:
    """Where a feature has one value alone, or none, and had several where the backbone learned."""
    reference = feature.reference
    for split in (experiment.finetune.validation, experiment.finetune.split):
        there = feature.splits.get(split)
        if there is None or reference is None or feature.kind == "moment":
            continue
        if there.missing >= 1.0 and reference.missing < 1.0:
            yield (
                f"feature '{name}' is missing on every row of split '{split}', and on"
                f" {reference.missing:.1%} where the backbone learned"
            )
        elif there.constant is not None and reference.constant is None:
            yield (
                f"feature '{name}' is {there.constant} on every row of split '{split}', and had"
                " several values where the backbone learned"
            )
        else:
            continue
        return


def _unknown(experiment: Experiment, name: str, feature: FeatureProfile) -> Iterator[str]:
    """Where a feature's values are much more often unknown in the newest rows."""
    allowed, settings = experiment.refresh.more_out_of_vocabulary, experiment.finetune
    shares = [
        feature.splits[split].out_of_vocabulary
        for split in (settings.split, settings.validation)
        if split in feature.splits
    ]
    if allowed is None or len(shares) < 2 or shares[0] is None or shares[1] is None:
        return
    if shares[1] - shares[0] > allowed:
        yield (
            f"feature '{name}': {shares[1]:.1%} of its values in split '{settings.validation}' have"
            f" no id of their own, {shares[0]:.1%} in split '{settings.split}';"
            f" refresh.more_out_of_vocabulary allows {allowed:.1%} more"
        )


def check_release(
    experiment: Experiment, active: int, deactivated: list[str], auc: Auc
) -> list[str]:
    """What is wrong with what would be released: reasons to stop.

    Args:
      experiment: the thresholds.
      active: how many kernels are served now.
      deactivated: domains that would be served by nothing of their own any more.
      auc: as served now, as proposed, and of the refresh before.
    """
    settings, reasons = experiment.refresh, []
    count, share = len(deactivated), settings.most_deactivated
    if share is not None and count > max(settings.few_deactivated, share * active):
        shown = ", ".join(deactivated[:5]) + (", ..." if count > 5 else "")
        reasons.append(
            f"{count} of {active} active kernels would be deactivated ({shown});"
            f" refresh.most_deactivated allows {share:.0%}, or {settings.few_deactivated}"
        )
    fall, today, yesterday = settings.most_auc_fall, auc.before, auc.yesterday
    if fall is None or today is None or yesterday is None or yesterday - today <= fall:
        return reasons
    return [
        *reasons,
        f"AUC of what is served is {today:.4f} on the rows that judge, and was {yesterday:.4f} at"
        f" the refresh before; refresh.most_auc_fall allows {fall:g}",
    ]


def check_config(experiment: Experiment) -> None:
    """Says what a config lacks for a daily refresh. Raises ``InputError`` where nothing can be
    tuned.
    """
    if experiment.pretrain.progressive:
        raise InputError(
            "pretrain.progressive: its kernels learn from taps that pre-training left, of its own"
            " window alone; expected a backbone without it for a daily refresh"
        )
    if experiment.as_of is None:
        print(
            "note: no window of this config counts from as_of, so every day has the same rows;"
            ' expected such as start: "as_of - 6d"',
            file=sys.stderr,
        )
