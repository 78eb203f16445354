"""The dataset's profile on its way through the Beam job: merged and written by the second pass,
completed by the command.
"""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from configs import Experiment
from preprocessing import filesystem
from preprocessing.beam.pass_summary import Tally
from preprocessing.beam.progress import say
from preprocessing.dataset.manifest import PROFILE_FILE, FileEntry
from preprocessing.profile.changes import change_lines, find_changes
from preprocessing.profile.counts import merge_counts
from preprocessing.profile.data_profile import DataProfile, parse_profile
from preprocessing.profile.describe import (
    ReferenceProfile,
    describe_features,
    label_rates,
    own_reference,
)


def write_features(
    parts: beam.PCollection,
    experiment: Experiment,
    folder: str,
    fitting: bool,
    given: ReferenceProfile | None,
) -> None:
    """Merges counts of batches and writes the profile, but for labels, into ``folder``.

    Args:
      parts: ``ProfileCounts``.
      experiment: of the dataset.
      folder: of the dataset.
      fitting: whether the transform was fitted on these rows; then the pre-training split is the
        reference.
      given: the reference otherwise; None for none.
    """
    _ = (
        parts
        | "MergeProfile" >> beam.CombineGlobally(merge_counts).without_defaults()
        | "WriteProfile" >> beam.ParDo(_WriteProfile(experiment, folder, fitting, given))
    )


class _WriteProfile(beam.DoFn):
    """``ProfileCounts`` of all rows -> the file."""

    def __init__(
        self, experiment: Experiment, folder: str, fitting: bool, given: ReferenceProfile | None
    ) -> None:
        self._experiment = experiment
        self._folder = folder
        self._fitting = fitting
        self._given = given

    def process(self, counts: Any) -> Iterator[Any]:
        """Writes it; gives nothing."""
        own = own_reference(self._experiment, counts) if self._fitting else None
        reference = own or self._given
        features = describe_features(self._experiment, counts, reference)
        splits = self._experiment.splits
        rows = {name: counts[name].rows if name in counts else 0 for name in splits}
        sampled = {name: len(counts[name].sample.numbers) for name in splits if name in counts}
        learned = reference.rows.split if reference else ""
        profile = DataProfile(
            reference=reference.rows if reference else None,
            rows=rows,
            sampled=sampled,
            features=features,
            labels={},
            changes=find_changes(features, rows, learned, own is not None),
        )
        filesystem.write(filesystem.join(self._folder, PROFILE_FILE), profile.to_json())
        return iter(())


def complete_profile(folder: str, experiment: Experiment, written: Tally) -> FileEntry:
    """Adds the labels to the profile that the second pass has written; gives its entry in the
    manifest.
    """
    path = filesystem.join(folder, PROFILE_FILE)
    profile = parse_profile(filesystem.read(path), path)
    labels = label_rates(experiment, written.domains)
    whole = profile.model_copy(update={"labels": labels})
    return FileEntry(path=PROFILE_FILE, rows=0, sha256=filesystem.write(path, whole.to_json()))


def say_changes(data: str) -> None:
    """Names the features of a finished dataset that change their meaning between splits, as the
    last lines of the command.
    """
    path = filesystem.join(data, PROFILE_FILE)
    profile = parse_profile(filesystem.read(path), path)
    if profile.reference is None:
        say(
            f"note: {data} is compared with nothing: what --transform or --grow names holds no data"
            " profile of the rows that its transform was fitted on"
        )
    elif profile.changes:
        for line in change_lines(profile):
            say(line)
