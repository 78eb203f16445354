"""Reads the embedded server's command line: TensorFlow Serving's flags, and a few of its own."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from configs.cli import CommandParser, seconds, whole_number
from configs.errors import InputError
from serving.server.request_log.flags import add_request_log, refused_request_log
from serving.server.stock_flags import add_stock_flags, refused_stock_flag, warn_of_stock_flags
from serving.wire.flag_spelling import with_dashes

MOST_ROWS = 1 << 16
"""Rows of a request, unless a flag says otherwise."""


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, flags with dashes or, as TensorFlow Serving spells them, underscores.
    Exits with code 2 on a bad one.
    """
    parser = CommandParser(
        prog="python -m serving.server",
        description="Serve SavedModels over gRPC, as TensorFlow Serving does.",
    )
    parser.add_argument(
        "--version", action="version", version=f"TensorFlow Library: {version('tensorflow')}"
    )
    _add_models(parser)
    _add_listening(parser)
    _add_running(parser)
    add_request_log(parser)
    add_stock_flags(parser)
    arguments = parser.parse_args([with_dashes(word) for word in argv])
    if arguments.model_config_file is None and arguments.model_base_path is None:
        parser.error("one of the arguments --model-base-path --model-config-file is required")
    if problem := refused_stock_flag(arguments) or refused_request_log(arguments):
        parser.error(problem)
    if arguments.batching_parameters_file and not arguments.enable_batching:
        parser.error("--batching-parameters-file is set without --enable-batching")
    if arguments.monitoring_config_file and arguments.rest_api_port is None:
        parser.error(
            "--monitoring-config-file is set without --rest-api-port, where metrics are served"
        )
    if arguments.rest_api_port is not None and arguments.processes > 1:
        parser.error(
            "--rest-api-port would tell of one process alone: not with --processes above 1"
        )
    if arguments.reload_config_root is not None and arguments.processes > 1:
        parser.error(
            "--reload-config-root would change one process alone: not with --processes above 1; let"
            " all of them poll a --model-config-file"
        )
    if arguments.rest_api_port and arguments.rest_api_port == arguments.port:
        parser.error("--rest-api-port and --port must differ")
    return arguments


def check_paths(arguments: argparse.Namespace) -> None:
    """Raises ``InputError`` where a folder or file that the command line names is not there; warns
    of flags that have no effect.
    """
    warn_of_stock_flags(arguments)
    if arguments.model_config_file is not None and arguments.model_base_path is not None:
        print(
            "warning: --model-base-path has no effect beside --model-config-file", file=sys.stderr
        )
        arguments.model_base_path = None
    for name in ("model_base_path", "reload_config_root"):
        base = getattr(arguments, name)
        if base is not None and not base.is_dir():
            raise InputError(f"--{name.replace('_', '-')}: no such directory: {base}")
    for name in (
        "model_config_file",
        "batching_parameters_file",
        "ssl_config_file",
        "monitoring_config_file",
    ):
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            raise InputError(f"--{name.replace('_', '-')}: no such file: {path}")


def _switch(text: str) -> bool:
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"must be true or false, received {text}")


def _channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    found: list[tuple[str, int | str]] = []
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise argparse.ArgumentTypeError(f"must be NAME=VALUE,..., received {text}")
        try:
            found.append((name, int(value)))
        except ValueError:
            found.append((name, value))
    return tuple(found)


def _add_switch(parser: argparse.ArgumentParser, flag: str, default: bool, what: str) -> None:
    shown = str(default).lower()
    parser.add_argument(
        flag,
        type=_switch,
        nargs="?",
        const=True,
        default=default,
        metavar="true|false",
        help=f"{what} ({shown})",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model-name",
        default="default",
        metavar="NAME",
        help="what requests call the model (%(default)s)",
    )
    parser.add_argument(
        "--model-base-path",
        type=Path,
        metavar="DIR",
        help="directory with a directory for each version",
    )
    parser.add_argument(
        "--model-config-file",
        type=Path,
        metavar="FILE",
        help="several models, their version policies and labels",
    )
    parser.add_argument(
        "--model-config-file-poll-wait-seconds",
        type=seconds,
        default=0.0,
        metavar="S",
        help="look for a changed file; 0: never (0)",
    )
    parser.add_argument(
        "--file-system-poll-wait-seconds",
        type=seconds,
        default=1.0,
        metavar="S",
        help="look for new versions; 0: only at the start (1)",
    )
    parser.add_argument(
        "--reload-config-root",
        type=Path,
        metavar="DIR",
        help=(
            "let every peer change which models are served (HandleReloadConfigRequest), from base"
            " paths below DIR (refused)"
        ),
    )
    _add_switch(
        parser,
        "--allow-version-labels-for-unavailable-models",
        False,
        "let new labels name versions that are not served yet",
    )
    _add_switch(
        parser,
        "--enable-model-warmup",
        True,
        "run a version's assets.extra/tf_serving_warmup_requests before it is served",
    )
    _add_switch(
        parser,
        "--check-exported-versions",
        True,
        "before a version of serving.export is served, check its files and its golden scores",
    )


def _add_listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for every one (%(default)s)",
    )
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535),
        default=8500,
        help="port; 0 for a free one, which is printed (%(default)s)",
    )
    parser.add_argument("--ssl-config-file", type=Path, metavar="FILE", help="SSLConfig: speak TLS")
    parser.add_argument(
        "--rest-api-port",
        type=whole_number(0, 65535),
        metavar="PORT",
        help="HTTP for predictions, models and metrics; 0 for a free one (none)",
    )
    parser.add_argument(
        "--rest-api-num-threads",
        type=whole_number(1),
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="HTTP requests run at once (%(default)s)",
    )
    parser.add_argument(
        "--rest-api-timeout-in-ms",
        type=whole_number(1),
        default=30_000,
        metavar="MS",
        help="how long an HTTP request may take (%(default)s)",
    )
    parser.add_argument(
        "--grpc-channel-arguments",
        type=_channel_arguments,
        default=(),
        metavar="A=B,...",
        help="settings of gRPC's own (none)",
    )
    parser.add_argument(
        "--monitoring-config-file",
        type=Path,
        metavar="FILE",
        help="MonitoringConfig: metrics for Prometheus",
    )
    parser.add_argument(
        "--max-message-bytes",
        type=whole_number(1),
        default=64 << 20,
        metavar="N",
        help="largest request (64 MiB)",
    )
    parser.add_argument(
        "--max-rows",
        type=whole_number(1),
        default=MOST_ROWS,
        metavar="N",
        help="rows of a request (%(default)s)",
    )
    parser.add_argument(
        "--max-concurrent-requests",
        type=whole_number(1),
        default=1024,
        metavar="N",
        help="running and waiting; more are refused (%(default)s)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grpc-max-threads",
        type=whole_number(1),
        default=4 * (os.cpu_count() or 1),
        metavar="N",
        help="requests run at once (%(default)s)",
    )
    parser.add_argument(
        "--processes",
        type=whole_number(1, 256),
        default=1,
        metavar="N",
        help=(
            "processes that share the port, each with a copy of the models in memory; a connection"
            " stays with one of them (%(default)s)"
        ),
    )
    _add_switch(parser, "--enable-batching", False, "run requests together")
    parser.add_argument(
        "--batching-parameters-file",
        type=Path,
        metavar="FILE",
        help="BatchingParameters: how many, and how long they wait",
    )
    parser.add_argument(
        "--tensorflow-session-parallelism",
        type=whole_number(0),
        # a recommender's many small operations lose more to threads than they gain, and requests
        # run side by side anyway
        default=1,
        metavar="N",
        help=(
            "threads within and between a request's operations; 0: as TensorFlow chooses"
            " (%(default)s)"
        ),
    )
    for name, what in (("intra-op", "within an operation"), ("inter-op", "between operations")):
        flag = f"--tensorflow-{name}-parallelism"
        parser.add_argument(
            flag,
            type=whole_number(0),
            default=0,
            metavar="N",
            help=f"threads {what}; 0: as the flag above",
        )
