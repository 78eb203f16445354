"""A transform that was fitted before, to be applied to other logs."""

import json

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.dataset.manifest import MANIFEST
from preprocessing.features.fitted import Fitted

_PLACES = (
    ("backbone/fingerprint.json", "transform", "backbone/transform"),
    (MANIFEST, "transform_digest", "transform"),
)
"""Of a job and of a dataset: the file that is written last, its key with the transform's digest,
and the transform's folder.
"""


OF_A_JOB = ("backbone/fingerprint.json", "backbone/transform/", "backbone/profile.json")
"""How the names of the files begin that are read of a job."""


def given_transform(
    source: str, experiment: Experiment, name: str | None = None, option: str = "--transform"
) -> Fitted:
    """The transform of a finished job or dataset, on any Beam filesystem.

    Args:
      source: folder of the job or dataset.
      experiment: that it must have been fitted for.
      name: of the folder in messages, where ``source`` is a copy of it.
      option: that named the folder, in messages.

    Raises:
      InputError: there is none, it is damaged, or it was fitted for other features.
    """
    where = f"{option}: {name or source}"
    there = [place for place in _PLACES if filesystem.exists(filesystem.join(source, place[0]))]
    if not there:
        raise InputError(
            f"{where}: neither a job with a finished backbone ({_PLACES[0][0]}) nor a finished"
            f" dataset ({MANIFEST})"
        )
    record, key, folder = there[0]
    fitted = Fitted.load(filesystem.join(source, folder))
    try:
        digest = json.loads(filesystem.read(filesystem.join(source, record)))[key]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: {record} is damaged: {error!r}") from None
    if fitted.digest != digest:
        raise InputError(f"{where}: {folder} is damaged: its sha256 is not the one in {record}")
    advice = f"expected the config that it was fitted for, or no {option}"
    fitted.check_matches(experiment, where, advice)
    return fitted
