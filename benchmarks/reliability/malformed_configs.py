"""Configs that no peer should send: they must leave the served models alone."""

import random
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow_serving.apis import model_management_pb2

from benchmarks.reliability.versioned import NAME
from serving.server.model_config import model_configs
from serving.wire.errors import StatusError

RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
REFUSED = frozenset({"PERMISSION_DENIED"})
"""What answers a config of a peer, unless the server is told to take it."""


def wrong_configs(draw: random.Random, root: Path) -> tuple[str, bytes, frozenset[str]]:
    """Configs that must leave the served ones alone: of a server that takes none from peers, and of
    one that takes what lies below ``root``, where version 1 of the model is.
    """
    config: dict[str, Any] = {"name": NAME, "base_path": str(root), "model_platform": "tensorflow"}
    refused, absent = frozenset({"INVALID_ARGUMENT"}), frozenset({"UNKNOWN"})
    outside = draw.choice(["/", "/etc", f"{root}/../..", f"{root}-else", "/proc/self"])
    absent_path = draw.choice([f"{root}/no", f"{root}/x/y"])
    wrong: list[tuple[list[dict[str, Any]], frozenset[str]]] = [
        ([config | {"name": ""}], refused),
        ([config | {"base_path": draw.choice(["", "models", "../models"])}], refused),
        ([config | {"base_path": draw.choice([f"{root}\0", f"/\0{root}", "\0"])}], refused),
        ([config | {"base_path": outside}], REFUSED),
        ([config | {"model_platform": "x" * draw.choice([0, 9])}], refused),
        ([config, config], refused),
        ([config | {"model_version_policy": {"specific": {}}}], refused),
        ([config | {"logging_config": {}}], refused),
        ([config | {"version_labels": {"stable": 77}}], frozenset({"FAILED_PRECONDITION"})),
        ([config, config | {"name": "unknown", "base_path": absent_path}], absent),
        ([config | {"name": "x" * draw.choice([1, 10_000]), "base_path": f"{root}/1"}], absent),
        ([config | {"base_path": f"{root}/{'x' * draw.choice([300, 5_000])}"}],
         absent | refused),
    ]  # fmt: skip
    configs, codes = draw.choice(wrong)
    message = model_management_pb2.ReloadConfigRequest(
        config={"model_config_list": {"config": configs}}
    )
    return RELOAD, message.SerializeToString(), codes | REFUSED


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
