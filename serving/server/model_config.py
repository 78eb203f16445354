"""Reads which models a server serves and which of their versions: what TensorFlow Serving's
``ModelServerConfig`` says, checked.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.wire.errors import StatusError, invalid

_PLATFORM = "tensorflow"


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions found on disk are to be served.

    Attributes:
      latest: how many of the largest numbers; None for all of them. Without effect where there are
        ``specific`` ones.
      specific: exactly these, as far as they are there.
    """

    latest: int | None = 1
    specific: frozenset[int] = frozenset()

    def wanted(self, found: Collection[int]) -> list[int]:
        """The versions to serve, in ascending order."""
        if self.specific:
            return sorted(self.specific & set(found))
        return sorted(found)[-self.latest if self.latest else 0 :]


@dataclass(frozen=True)
class ModelConfig:
    """A model to serve.

    Attributes:
      name: what requests call it.
      base_path: directory with a directory for each version.
      policy: which versions.
      labels: version label -> version.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)


def model_configs(config: Any) -> list[ModelConfig]:
    """The models that a ``ModelServerConfig`` lists.

    Raises:
      StatusError: INVALID_ARGUMENT where TensorFlow Serving would refuse it, and for what is not
        supported here: custom configs, other platforms than TensorFlow, request logging.
    """
    if config.WhichOneof("config") == "custom_model_config":
        raise invalid("custom_model_config is not supported; list the models in model_config_list")
    models: dict[str, ModelConfig] = {}
    for entry in config.model_config_list.config:
        if entry.name in models:
            raise invalid(f"Illegal to list model {entry.name} multiple times in config list")
        models[entry.name] = _model_config(entry)
    return list(models.values())


def _model_config(entry: Any) -> ModelConfig:
    if not entry.name:
        raise invalid("a model in the config list has no name")
    where = f"model {entry.name}"
    if entry.model_type or entry.model_platform != _PLATFORM:
        raise invalid(
            f'{where}: model_platform must be "{_PLATFORM}" (and model_type not set), received'
            f' "{entry.model_platform}"'
        )
    if entry.HasField("logging_config"):
        raise invalid(
            f"{where}: logging_config is not supported; --request-log-dir logs requests here"
        )
    if "\0" in entry.base_path:
        raise invalid(f"{where}: base_path must be a path, received one with a NUL character")
    if not Path(entry.base_path).is_absolute():
        raise invalid(
            f'Expected {where} to have an absolute path; got base_path()="{entry.base_path}"'
        )
    return ModelConfig(
        entry.name,
        Path(entry.base_path),
        _policy(where, entry.model_version_policy),
        dict(entry.version_labels),
    )


def _policy(where: str, policy: Any) -> VersionPolicy:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return VersionPolicy(latest=None)
        case "specific":
            if not policy.specific.versions:
                raise invalid(f"{where}: model_version_policy specific lists no versions")
            return VersionPolicy(specific=frozenset(policy.specific.versions))
        case _:
            return VersionPolicy(latest=max(policy.latest.num_versions, 1))


def check_below(configs: Iterable[ModelConfig], root: Path) -> None:
    """Raises ``StatusError``, PERMISSION_DENIED, where a base path does not lie at or below
    ``root``, links followed.
    """
    for config in configs:
        if not config.base_path.resolve().is_relative_to(root.resolve()):
            raise StatusError(
                grpc.StatusCode.PERMISSION_DENIED,
                f"model {config.name}: base_path {config.base_path} is not below {root}, under"
                " which this server loads what peers name",
            )


def unknown_label(label: str) -> StatusError:
    """A request named a version label that its model does not have."""
    return invalid(f"Unrecognized servable version label: {label}")


def unavailable_label(name: str, version: int) -> StatusError:
    """A config gave a label to a version that cannot be asked yet."""
    words = (
        f"Request to assign label to version {version} of model {name}, which is not currently"
        " available for inference"
    )
    return StatusError(grpc.StatusCode.FAILED_PRECONDITION, words)
