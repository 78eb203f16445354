"""Configs that no peer should send: they must leave the served models alone."""

import random
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import model_management_pb2

from benchmarks.reliability.versioned import NAME
from serving.server.model_config import model_configs
from serving.wire.errors import StatusError

RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
REFUSED = frozenset({"PERMISSION_DENIED"})
"""What answers a config of a peer, unless the server is told to take it."""


def wrong_configs(draw: random.Random) -> tuple[str, bytes, frozenset[str]]:
    """Configs that must leave the served ones alone."""
    config: dict[str, Any] = {"name": NAME, "base_path": "/models", "model_platform": "tensorflow"}
    wrong = draw.choice(
        [
            {"name": ""},
            {"base_path": draw.choice(["", "models", "../models", "/models\0", "/\0/models"])},
            {"base_path": draw.choice(["/", "/etc", "/models/../..", "/proc/self"])},
            {"model_platform": "x" * draw.choice([0, 9])},
        ]
    )
    configs = draw.choice(
        [[config | wrong], [config, config], [config | {"version_labels": {"stable": 77}}]]
    )
    message = model_management_pb2.ReloadConfigRequest(
        config={"model_config_list": {"config": configs}}
    )
    return (
        RELOAD,
        message.SerializeToString(),
        frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION"}) | REFUSED,
    )


def is_valid_reload(data: bytes) -> bool:
    """Whether a server would do as it is told."""
    try:
        message = model_management_pb2.ReloadConfigRequest.FromString(data)
        return (
            message.config.WhichOneof("config") == "model_config_list"
            and model_configs(message.config) is not None
        )
    except (DecodeError, StatusError):
        return False
