"""What new logs are compared with where their transform is a job's or another dataset's: the
pre-training split that the transform was fitted on, as that dataset's profile describes it.
"""

from configs.errors import InputError
from preprocessing import filesystem
from preprocessing.dataset.manifest import PROFILE_FILE
from preprocessing.profile.data_profile import parse_profile
from preprocessing.profile.describe import ReferenceProfile

_PLACES = (f"backbone/{PROFILE_FILE}", PROFILE_FILE)
"""Of a job and of a dataset."""


def given_reference(source: str) -> ReferenceProfile | None:
    """The reference of a job or a dataset, on any Beam filesystem; None where it is older than
    profiles, or had none itself.

    Raises:
      InputError: its profile is damaged.
    """
    paths = [filesystem.join(source, place) for place in _PLACES]
    path = next(filter(filesystem.exists, paths), None)
    if path is None:
        return None
    try:
        content = filesystem.read(path)
    except OSError as error:
        raise InputError(f"--transform: {path}: {error}") from None
    profile = parse_profile(content, f"--transform: {path}")
    if profile.reference is None:
        return None
    features = {
        name: feature.reference
        for name, feature in profile.features.items()
        if feature.reference is not None
    }
    return ReferenceProfile(profile.reference, features)
