"""What fitting a transform leaves: vocabularies, moments, boundaries; and, where it was grown from
an older one, since when values are unseen. Saved as text that people can read.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.features.value_list import ValueList, as_lines

SETTINGS = "transform.json"
"""The file of a transform with all but its vocabularies."""
_VERSION = 2
"""Of what a transform computes from its constants; those that name none are of version 1."""
_AGAIN = "run preprocessing.task again (--transform JOB for data of a job's backbone)"


@dataclass(frozen=True)
class FittedFeature:
    """The constants of one feature: one of these, as ``Fitted`` describes them."""

    vocabulary: Sequence[str] | None = None
    moments: tuple[float, float] | None = None
    boundaries: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Fitted:
    """A fitted transform's constants.

    Attributes:
      settings: canonical JSON of the features it was fitted for (older ones hold topics, too); part
        of the digest.
      vocabularies: feature -> values in the order of their ids.
      moments: feature -> mean and standard deviation (of a numeric feature; after log1p where it
        asks for it).
      boundaries: feature -> ascending boundaries (of a numeric feature's buckets).
      version: of what is computed from them; a backbone that learned from an older one goes on
        reading it.
      grown_from: digest of the transform that its vocabularies were grown from
        (``preprocessing.features.growth``); None where it was fitted.
      unseen: of such a one, feature -> int64 ``[values]``: seconds of new rows since one had the
        value of each id.
      counted_until: of such a one, the end of the windows of new rows, seconds since 1970.
    """

    settings: str
    vocabularies: dict[str, Sequence[str]]
    moments: dict[str, tuple[float, float]]
    boundaries: dict[str, tuple[float, ...]]
    version: int = _VERSION
    grown_from: str | None = None
    unseen: dict[str, pa.Int64Array] = field(default_factory=dict)
    counted_until: int | None = None

    @property
    def fills_with_mean(self) -> bool:
        """Whether a missing number that is not standardised becomes the mean, no longer 0."""
        return self.version > 1

    @classmethod
    def of(cls, experiment: Experiment, features: Mapping[str, FittedFeature]) -> "Fitted":
        """The constants of every feature, by name, as those of one transform."""
        return cls(
            settings=cls.settings_of(experiment),
            vocabularies={
                name: found.vocabulary
                for name, found in features.items()
                if found.vocabulary is not None
            },
            moments={
                name: found.moments for name, found in features.items() if found.moments is not None
            },
            boundaries={
                name: found.boundaries
                for name, found in features.items()
                if found.boundaries is not None
            },
        )

    @staticmethod
    def settings_of(experiment: Experiment) -> str:
        """The settings that decide what a transform computes."""
        return json.dumps(experiment.transform_settings, sort_keys=True)

    def files(self) -> dict[str, bytes]:
        """The files of the transform: name -> content."""
        files = {SETTINGS: self.constants(self.vocabularies)}
        for name, values in self.vocabularies.items():
            files[vocabulary_file(name)] = as_lines(values)
        for name, seconds in self.unseen.items():
            files[_unseen_file(name)] = as_lines(seconds.cast(pa.large_string()))
        return files

    def constants(self, vocabularies: Iterable[str]) -> bytes:
        """The content of ``SETTINGS``, beside which there is a file for each of these features'
        vocabularies.
        """
        constants = {
            "settings": json.loads(self.settings),
            "vocabularies": sorted(vocabularies),
            "moments": {
                name: [mean.hex(), deviation.hex()]
                for name, (mean, deviation) in self.moments.items()
            },
            "boundaries": {
                name: [value.hex() for value in values] for name, values in self.boundaries.items()
            },
        }
        if self.version > 1:
            constants["version"] = self.version
        if self.grown_from is not None:
            constants |= {
                "grown_from": self.grown_from,
                "unseen": sorted(self.unseen),
                "counted_until": self.counted_until,
            }
        return json.dumps(constants, sort_keys=True, indent=1).encode()

    @property
    def digest(self) -> str:
        """sha256 over every file."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files().items()):
            digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()

    def save(self, folder: str) -> None:
        """Writes the files into a folder on any Beam filesystem (``filesystem.write``)."""
        for name, content in self.files().items():
            filesystem.write(filesystem.join(folder, name), content)

    @classmethod
    def load(cls, folder: str) -> "Fitted":
        """Reads what ``save`` wrote. Raises ``InputError`` where a file is missing or damaged."""
        read = SETTINGS

        def values(name: str) -> ValueList:
            nonlocal read
            read = vocabulary_file(name)
            return ValueList.of_lines(_read(folder, read))

        def unseen(name: str) -> pa.Int64Array:
            nonlocal read
            read = _unseen_file(name)
            found = pa.array(map(int, _read(folder, read).split()), pa.int64())
            if len(found) != len(vocabularies[name]):
                raise ValueError(f"{len(found)} lines, expected {len(vocabularies[name])}")
            return found

        try:
            constants = json.loads(_read(folder, SETTINGS))
            vocabularies = {name: values(name) for name in constants["vocabularies"]}
            return cls(
                settings=json.dumps(constants["settings"], sort_keys=True),
                vocabularies=dict[str, Sequence[str]](vocabularies),
                moments={
                    name: (float.fromhex(a), float.fromhex(b))
                    for name, (a, b) in constants["moments"].items()
                },
                boundaries={
                    name: tuple(float.fromhex(value) for value in values)
                    for name, values in constants["boundaries"].items()
                },
                version=_known_version(constants.get("version", 1)),
                grown_from=constants.get("grown_from"),
                unseen={name: unseen(name) for name in constants.get("unseen", ())},
                counted_until=constants.get("counted_until"),
            )
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            where = f"{folder}: not a fitted transform: {read}"
            raise InputError(f"{where}: {error!r}; {_AGAIN}") from None

    def check_matches(self, experiment: Experiment, where: str, advice: str = _AGAIN) -> None:
        """Raises ``InputError`` where the experiment's features are not those it was fitted for.

        Args:
          experiment: that reads it.
          where: what holds it; the message begins with it.
          advice: what to do then; the message ends with it.
        """
        ours, theirs = experiment.transform_settings, json.loads(self.settings)
        names = sorted(ours["features"].keys() | theirs["features"].keys())
        differing = [
            f"features.{name}"
            for name in names
            if ours["features"].get(name) != theirs["features"].get(name)
        ]
        if differing or ours["order"]["features"] != theirs["order"]["features"]:
            raise InputError(
                f"{where}: fitted for other settings of"
                f" {', '.join(differing) or 'the order of features'}; {advice}"
            )

    def same_outputs_as(self, other: "Fitted") -> bool:
        """Whether both give the same outputs, whatever topics an older one names."""
        return self._decisive() == other._decisive()

    def _decisive(self) -> tuple[Any, ...]:
        settings = json.loads(self.settings)
        features = settings["features"], settings["order"]["features"]
        return features, self.vocabularies, self.moments, self.boundaries, self.version


def vocabulary_file(name: str) -> str:
    """The file of a feature's vocabulary, in the folder of a transform."""
    return f"{name}.txt"


def _unseen_file(name: str) -> str:
    return f"{name}.unseen"  # no feature's vocabulary ends so


def _known_version(version: object) -> int:
    if type(version) is not int or not 1 <= version <= _VERSION:
        raise ValueError(f"version {version!r}, expected 1 to {_VERSION}: a newer program wrote it")
    return version


def _read(folder: str, name: str) -> bytes:
    return filesystem.read(filesystem.join(folder, name))
