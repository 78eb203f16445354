"""The server's flags of what it keeps of requests."""

import argparse
from pathlib import Path

from configs.cli import share, whole_number


def add_request_log(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; nothing is kept unless ``--request-log-dir`` or ``--slow-request-ms`` is
    given.
    """
    parser.add_argument(
        "--request-log-dir",
        type=Path,
        metavar="DIR",
        help="log a sample of the requests and answers there, as records of PredictionLog (off)",
    )
    parser.add_argument(
        "--request-log-sampling",
        type=share,
        default=0.01,
        metavar="SHARE",
        help="share of the requests that is logged (%(default)s)",
    )
    parser.add_argument(
        "--request-log-file-bytes",
        type=whole_number(1),
        default=64 << 20,
        metavar="N",
        help="a file that has as many is followed by another (64 MiB)",
    )
    parser.add_argument(
        "--request-log-bytes",
        type=whole_number(1),
        default=1 << 30,
        metavar="N",
        help="of all files together; then the oldest go (1 GiB)",
    )
    parser.add_argument(
        "--slow-request-ms",
        type=whole_number(0),
        metavar="MS",
        help=(
            "keep the requests that take as long, under /monitoring/slow_requests of"
            " --rest-api-port, and log all of them (off)"
        ),
    )
    parser.add_argument(
        "--slow-requests",
        type=whole_number(1, 100_000),
        default=100,
        metavar="N",
        help="how many slow requests are kept (%(default)s)",
    )


def refused_request_log(arguments: argparse.Namespace) -> str:
    """What is wrong with the flags together; else empty."""
    if arguments.slow_request_ms is not None and (
        arguments.rest_api_port is None and arguments.request_log_dir is None
    ):
        return (
            "--slow-request-ms is set without --rest-api-port, where slow requests are shown, and"
            " without --request-log-dir, where they are logged"
        )
    if arguments.request_log_bytes < arguments.processes:
        return "--request-log-bytes: expected at least one for each of --processes"
    return ""
